//! Summaries of users are decoded as tolerantly as whole users.

use marzban_api::model::{User, UserStatus, UserSummary};

use crate::pages::{numbered, panel};
use crate::wire::{Wire, json};

/// Users as panels of all versions write them, and some that cannot be read.
const USERS: &[&str] = &[
    r#"{"username":"plain","status":"active","used_traffic":1,"expire":1757894400,"online_at":"2025-09-01T10:00:00.250000",
        "created_at":"2024-01-01T00:00:00","links":["vless://secret"],"note":"\"}","proxies":{"vless":{"id":"x","flow":""}},
        "inbounds":{"vless":["a"]},"admin":{"username":"ali","is_sudo":false}}"#,
    r#"{"username":"zoned","status":"on_hold","used_traffic":0,"expire":"2025-09-15T03:30:00+03:30","online_at":null}"#,
    r#"{"username":"float","status":"limited","used_traffic":7,"expire":1757894400.0,"links":null}"#,
    r#"{"username":"text","status":"frozen","used_traffic":7,"expire":"1757894400","created_at":"2024-01-01 00:00:00"}"#,
    r#"{"username":"never","status":"disabled","used_traffic":18446744073709551615,"expire":0}"#,
    r#"{"username":"bare","status":"expired","used_traffic":3}"#,
    r#"{"used_traffic":4,"status":"act\u0069ve","username":"esc\u0061ped"}"#,
    r#"{"username":"milliseconds","status":"active","used_traffic":1,"expire":1763000000000}"#,
    r#"{"username":"negative","status":"active","used_traffic":-1}"#,
    r#"{"username":"statusless","used_traffic":1}"#,
    r#"{"username":"numbered","status":5,"used_traffic":1}"#,
    r#"{"username":17,"status":"active","used_traffic":1}"#,
];

#[test]
fn a_summary_agrees_with_the_whole_user_and_is_readable_if_that_is() {
    let (mut read, mut unreadable) = (0, 0);
    for text in USERS {
        let whole = serde_json::from_str::<User>(text);
        let state = serde_json::from_str::<UserSummary>(text);
        match (whole, state) {
            (Ok(whole), Ok(state)) => {
                read += 1;
                assert_eq!(state, UserSummary::from(&whole));
                assert_eq!(state, UserSummary::from(whole));
            }
            (Err(_), Err(_)) => unreadable += 1,
            (whole, state) => panic!("{text}: {whole:?} and {state:?}"),
        }
    }
    assert_eq!((read, unreadable), (7, 5));
}

#[test]
fn fields_that_a_summary_skips_cannot_make_it_unreadable() {
    let text =
        r#"{"username":"alice","status":"active","used_traffic":1,"links":5,"proxies":[1],"note":{"a":[]}}"#;
    let state: UserSummary = serde_json::from_str(text).unwrap();
    assert_eq!(state.status, UserStatus::Active);
    assert!(serde_json::from_str::<User>(text).is_err());
}

#[tokio::test]
async fn one_unreadable_summary_affects_no_other() {
    let double = r#"{"username":"double","status":"active","used_traffic":1}"#;
    let page = [&USERS[..11], &[double, double]].concat().join(",");
    let total = 13;
    let wire = Wire::script([json(200, &format!(r#"{{"users":[{page}],"total":{total}}}"#))]).await;
    let asked = [
        "plain",
        "text",
        "escaped",
        "milliseconds",
        "negative",
        "double",
        "Plain",
    ];
    let answer = wire.client().users().get_many_summaries(&asked).await.unwrap();
    assert_eq!(
        answer.found.keys().collect::<Vec<_>>(),
        ["escaped", "plain", "text"]
    );
    assert_eq!(
        answer.failed.keys().collect::<Vec<_>>(),
        ["double", "milliseconds", "negative"]
    );
    assert_eq!(answer.missing.iter().collect::<Vec<_>>(), ["Plain"]);
    assert_eq!(
        answer.found["text"].status,
        UserStatus::Unknown("frozen".to_owned())
    );
}

#[tokio::test]
async fn an_unreadable_summary_without_a_username_leaves_the_missing_ones_unknown() {
    let page = [USERS[0], USERS[11]].join(",");
    let wire = Wire::script([json(200, &format!(r#"{{"users":[{page}],"total":2}}"#))]).await;
    let asked = ["plain", "other"];
    let answer = wire.client().users().get_many_summaries(&asked).await.unwrap();
    assert_eq!(answer.found.keys().collect::<Vec<_>>(), ["plain"]);
    assert_eq!(answer.failed.keys().collect::<Vec<_>>(), ["other"]);
    assert!(answer.missing.is_empty());
}

#[tokio::test]
async fn summaries_are_fetched_around_a_user_that_the_panel_cannot_render() {
    let wire = panel(numbered(30), &["user_0017"]).await;
    let answer = wire
        .client()
        .users()
        .get_many_summaries(&numbered(30))
        .await
        .unwrap();
    assert_eq!((answer.found.len(), answer.missing.len()), (29, 0));
    assert_eq!(answer.failed.keys().collect::<Vec<_>>(), ["user_0017"]);
}
