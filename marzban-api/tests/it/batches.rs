//! Many users by their usernames: which are found, which are unreadable, and which are missing.

use std::time::Duration;

use futures_util::TryStreamExt;
use marzban_api::ErrorKind;
use marzban_api::resource::{BatchGet, ListUsers, UserEntry};

use crate::pages::{numbered, panel};
use crate::wire::{Reply, Wire, builder, granted, html, internal_error, json, user, users};

fn names_of(result: &BatchGet) -> (Vec<&str>, Vec<&str>, Vec<&str>) {
    (
        result.found.keys().map(String::as_str).collect(),
        result.failed.keys().map(String::as_str).collect(),
        result.missing.iter().map(String::as_str).collect(),
    )
}

#[tokio::test]
async fn usernames_are_repeated_without_brackets() {
    let wire = panel(numbered(3), &[]).await;
    wire.client()
        .users()
        .get_many(&["user_0001", "a@b", "user_0001"])
        .await
        .unwrap();
    assert_eq!(wire.lines(), ["GET /api/users?username=a%40b&username=user_0001"]);
}

#[tokio::test]
async fn an_empty_batch_sends_no_request() {
    let wire = panel(numbered(3), &[]).await;
    let result = wire.client().users().get_many::<&str>(&[]).await.unwrap();
    assert_eq!(names_of(&result), (vec![], vec![], vec![]));
    assert_eq!(wire.lines(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_proxys_500_is_no_broken_user() {
    let alice = || users(&[user("alice")], 1);
    for names in [&["alice"][..], &["alice", "boris"]] {
        let wire = Wire::script([html(500), alice()]).await;
        let result = wire.client().users().get_many(names).await.unwrap();
        assert_eq!((result.found.len(), result.failed.len()), (1, 0));
        let wire = Wire::script([html(500), html(500), html(500), alice()]).await;
        let error = wire.client().users().get_many(names).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Server, 3));
    }
}

#[tokio::test]
async fn every_name_is_found_failed_or_missing() {
    let answer = r#"{"users":[
        {"username":"alice","status":"active","used_traffic":1},
        {"username":"broken","status":"active","used_traffic":-1},
        {"username":"double","status":"active","used_traffic":1},
        {"username":"double","status":"active","used_traffic":2},
        {"username":"stranger","status":"active","used_traffic":1}],"total":5}"#;
    let wire = Wire::script([json(200, answer)]).await;
    let asked = ["alice", "broken", "double", "missing"];
    let result = wire.client().users().get_many(&asked).await.unwrap();
    assert_eq!(
        names_of(&result),
        (vec!["alice"], vec!["broken", "double"], vec!["missing"])
    );
    assert!(
        result.failed["double"]
            .to_string()
            .contains("the response contains this user twice")
    );
}

#[tokio::test]
async fn a_user_that_differs_in_case_is_the_only_such_one_that_was_asked_for() {
    for (asked, found, absent) in [
        (&["Casey"][..], vec![("Casey", "casey")], vec![]),
        (&["Casey", "casey"], vec![("casey", "casey")], vec!["Casey"]),
        (&["Casey", "CASEY"], vec![], vec!["CASEY", "Casey"]),
        (&["Casey_"], vec![], vec!["Casey_"]),
    ] {
        let answer = r#"{"users":[{"username":"casey","status":"active","used_traffic":1}],"total":1}"#;
        let wire = Wire::script([json(200, answer)]).await;
        let result = wire.client().users().get_many(asked).await.unwrap();
        let spelled = result
            .found
            .iter()
            .map(|(name, user)| (name.as_str(), user.username.as_str()));
        assert_eq!(spelled.collect::<Vec<_>>(), found, "{asked:?}");
        assert_eq!(result.missing.iter().collect::<Vec<_>>(), absent, "{asked:?}");
    }
    let twice = r#"{"users":[
        {"username":"casey","status":"active","used_traffic":1},
        {"username":"CASEY","status":"active","used_traffic":1}],"total":2}"#;
    let wire = Wire::script([json(200, twice)]).await;
    let result = wire.client().users().get_many(&["Casey"]).await.unwrap();
    assert_eq!(names_of(&result), (vec![], vec!["Casey"], vec![]));
}

#[tokio::test]
async fn no_user_is_missing_while_another_cannot_be_recognized() {
    let wire = Wire::script([users(&[user("alice"), r#"{"username":null}"#.to_owned()], 2)]).await;
    let result = wire
        .client()
        .users()
        .get_many(&["alice", "bobby", "carol"])
        .await
        .unwrap();
    assert_eq!(names_of(&result), (vec!["alice"], vec!["bobby", "carol"], vec![]));
}

#[tokio::test]
async fn a_batch_has_at_most_100_names_and_4_kib() {
    let names = numbered(250);
    let wire = panel(names.clone(), &[]).await;
    let result = wire.client().users().get_many(&names).await.unwrap();
    assert_eq!((result.found.len(), result.missing.len()), (250, 0));
    assert_eq!(
        wire.requests()
            .iter()
            .map(|request| request.usernames().len())
            .collect::<Vec<_>>(),
        [100, 100, 50]
    );

    let long: Vec<_> = (0..60)
        .map(|number| format!("{number:03}{}", "@".repeat(50)))
        .collect();
    let wire = panel(Vec::new(), &[]).await;
    let client = builder(&format!("{}/{}", wire.url, "prefix".repeat(100)))
        .build()
        .unwrap();
    let result = client.users().get_many(&long).await.unwrap();
    assert_eq!(result.missing.len(), 60);
    for line in wire.lines() {
        assert!(line.len() - "GET ".len() <= 4096, "{} bytes", line.len());
    }
    assert!(wire.lines().len() > 1);
}

#[tokio::test]
async fn an_unrenderable_user_is_isolated_and_all_others_are_found() {
    let names = numbered(100);
    let wire = panel(names.clone(), &["user_0041", "user_0077"]).await;
    let result = wire.client().users().get_many(&names).await.unwrap();
    let (found, unreadable, absent) = names_of(&result);
    assert_eq!(
        (found.len(), unreadable, absent.len()),
        (98, vec!["user_0041", "user_0077"], 0)
    );
    let error = &result.failed["user_0041"];
    assert_eq!(
        (error.kind(), error.status(), error.attempts()),
        (ErrorKind::Server, Some(500), 3)
    );
    assert!(wire.requests().len() <= 40, "{}", wire.requests().len());
}

#[tokio::test]
async fn a_panel_that_fails_on_everything_is_given_up() {
    let wire = Wire::script(vec![internal_error(); 1000]).await;
    let error = wire.client().users().get_many(&numbered(300)).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Server, Some(500)));
    assert!(wire.requests().len() <= 16 * 3, "{}", wire.requests().len());
}

#[tokio::test]
async fn a_small_batch_of_which_nothing_can_be_read_is_a_panel_that_is_down() {
    for count in 2..=8 {
        let wire = Wire::script(vec![internal_error(); 100]).await;
        let error = wire
            .client()
            .users()
            .get_many(&numbered(count))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.status()),
            (ErrorKind::Server, Some(500)),
            "{count} users"
        );
    }
    let wire = panel(numbered(1), &["user_0000"]).await;
    let result = wire.client().users().get_many(&numbered(1)).await.unwrap();
    assert_eq!(result.failed.len(), 1, "a single user may well be broken");
}

#[tokio::test]
async fn a_batch_that_fails_otherwise_fails_whole() {
    let wire = Wire::script(vec![html(502); 9]).await;
    let error = wire
        .client()
        .users()
        .get_many(&["alice", "bobby"])
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.attempts(), error.operation()),
        (ErrorKind::Server, 3, "users.get_many")
    );
}

#[tokio::test]
async fn a_foreign_page_never_shows_that_a_user_is_missing() {
    let wire = Wire::script([html(200)]).await;
    let error = wire
        .client()
        .users()
        .get_many(&["alice", "bobby"])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedResponse);
}

#[tokio::test]
async fn one_batch_is_under_way_at_a_time() {
    let wire = Wire::with_logins(
        |_| granted("token"),
        [Reply::Hang(Vec::new()), users(&[user("bobby")], 1)],
    )
    .await;
    let client = wire.client();
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.users().get_many(&["alice"]).await }
    });
    while wire.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = tokio::time::timeout(Duration::from_millis(50), client.users().get_many(&["bobby"])).await;
    assert!(second.is_err(), "the second batch did not wait");
    hanging.abort();
    let result = client.users().get_many(&["bobby"]).await.unwrap();
    assert_eq!(names_of(&result).0, ["bobby"]);
}

#[tokio::test]
async fn a_failed_login_is_not_an_unrenderable_user() {
    let wire = Wire::with_logins(|_| internal_error(), []).await;
    let names = ["alice", "bobby"];
    let error = wire.client().users().get_many(&names).await.unwrap_err();
    assert_eq!(
        (error.operation(), error.kind()),
        ("admins.token", ErrorKind::Server)
    );
    assert_eq!(wire.logins().len(), 3);
    let listed: Result<Vec<UserEntry>, _> =
        wire.client().users().stream(ListUsers::new()).try_collect().await;
    assert_eq!(listed.unwrap_err().operation(), "admins.token");
    assert_eq!((wire.logins().len(), wire.requests().len()), (6, 0));
}
