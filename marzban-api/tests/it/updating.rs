//! Updates of users: what is sent back so that nothing is lost, and what becomes of a false response.

use std::num::NonZeroU64;
use std::time::Duration;

use marzban_api::model::{
    DataLimit, Expiry, Flow, NewNextPlan, Note, OnHold, Patch, ResetStrategy, SetStatus, Timestamp, Trojan,
    User, UserUpdate, Vless, Vmess,
};
use marzban_api::{Error, ErrorKind};

use crate::wire::{Reply, Wire, html, internal_error, json, user_not_found};

/// A user with a plan and two protocols.
const ALICE: &str = r#"{"proxies":{"vless":{"id":"11111111-1111-4111-8111-111111111111","flow":"","x":1},
    "wireguard":{"key":"k"}},"expire":1796417982,"data_limit":1073741824,"data_limit_reset_strategy":"month",
    "inbounds":{"vless":["VLESS TCP","VLESS GRPC"]},"note":"paid","on_hold_expire_duration":null,
    "on_hold_timeout":null,"auto_delete_in_days":14,
    "next_plan":{"data_limit":2147483648,"expire":1798837182,"add_remaining_traffic":true,"fire_on_either":false},
    "username":"alice","status":"active","used_traffic":5,"created_at":"2025-09-15T11:59:59.500000","admin":null}"#;

const PLAN: &str = r#""next_plan":{"data_limit":2147483648,"expire":1798837182,"add_remaining_traffic":true,"fire_on_either":false}"#;

fn alice() -> User {
    serde_json::from_str(ALICE).unwrap()
}

/// The user with one piece of text replaced.
fn alice_with(old: &str, new: &str) -> String {
    let changed = ALICE.replace(old, new);
    assert_ne!(changed, ALICE);
    changed
}

fn change() -> UserUpdate {
    UserUpdate::for_user(&alice())
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds).unwrap()
}

fn hold() -> OnHold {
    OnHold::new(Duration::from_hours(24)).unwrap()
}

async fn body_of(change: &UserUpdate) -> String {
    let wire = Wire::script([json(200, ALICE)]).await;
    let changed = wire.client().users().update(change).await.unwrap();
    assert_eq!(changed.username, "alice");
    let request = wire.requests().remove(0);
    assert_eq!(request.line, "PUT /api/user/alice");
    assert_eq!(request.header("content-type"), Some("application/json"));
    request.body
}

/// Each change with what it sends besides the plan, before and after it.
#[tokio::test]
async fn a_put_keeps_the_next_plan_and_sends_only_what_changes() {
    for (change, before, after) in [
        (change(), "", ""),
        (
            change()
                .expire(Patch::Keep)
                .data_limit(Patch::Keep)
                .note(Patch::Keep)
                .next_plan(Patch::Keep),
            "",
            "",
        ),
        (change().expire(Expiry::At(time(7))), r#""expire":7,"#, ""),
        (change().expire(Expiry::Never), r#""expire":0,"#, ""),
        (change().expire(Patch::Clear), r#""expire":0,"#, ""),
        (
            change().data_limit(DataLimit::from_bytes(9)),
            r#""data_limit":9,"#,
            "",
        ),
        (
            change().data_limit(DataLimit::Unlimited),
            r#""data_limit":0,"#,
            "",
        ),
        (
            change().reset_strategy(ResetStrategy::NoReset),
            r#""data_limit_reset_strategy":"no_reset","#,
            "",
        ),
        (change().note(Patch::Clear), r#""note":"","#, ""),
        (change().note(Note::new("gift").unwrap()), r#""note":"gift","#, ""),
        (
            change().status(SetStatus::Disabled),
            "",
            r#","status":"disabled""#,
        ),
        (change().status(SetStatus::Active), "", r#","status":"active""#),
        (
            change().status(SetStatus::OnHold(hold().until(time(1_919_968_200)))),
            r#""expire":0,"#,
            r#","status":"on_hold","on_hold_expire_duration":86400,"on_hold_timeout":"2030-11-03T20:30:00""#,
        ),
        (
            change()
                .inbounds("vless", ["VLESS TCP"])
                .inbounds("vmess", Vec::<String>::new()),
            "",
            r#","inbounds":{"vless":["VLESS TCP"],"vmess":[]}"#,
        ),
    ] {
        assert_eq!(body_of(&change).await, format!("{{{before}{PLAN}{after}}}"));
    }
}

#[tokio::test]
async fn a_next_plan_is_taken_away_or_replaced_only_on_purpose() {
    let plan = NewNextPlan::new(DataLimit::Unlimited);
    let replaced =
        r#"{"next_plan":{"data_limit":0,"expire":null,"add_remaining_traffic":false,"fire_on_either":true}}"#;
    assert_eq!(
        body_of(&change().next_plan(Patch::Clear)).await,
        r#"{"next_plan":null}"#
    );
    assert_eq!(body_of(&change().next_plan(plan)).await, replaced);
    let planless: User = serde_json::from_str(&alice_with(PLAN, r#""next_plan":null"#)).unwrap();
    assert_eq!(
        body_of(&UserUpdate::for_user(&planless)).await,
        r#"{"next_plan":null}"#
    );
}

#[tokio::test]
async fn a_change_of_protocols_sends_the_present_secrets_back() {
    let vless = r#""vless":{"flow":"","id":"11111111-1111-4111-8111-111111111111","x":1}"#;
    let vision = r#""vless":{"flow":"xtls-rprx-vision","id":"11111111-1111-4111-8111-111111111111","x":1}"#;
    let wireguard = r#""wireguard":{"key":"k"}"#;
    for (change, proxies) in [
        (
            change().proxy(Vmess::default()),
            format!(r#"{vless},"vmess":{{}},{wireguard}"#),
        ),
        (
            change().proxy(Vless {
                id: None,
                flow: Some(Flow::Vision),
            }),
            format!("{vision},{wireguard}"),
        ),
        (change().without_proxy("wireguard"), vless.to_owned()),
        (
            change()
                .without_proxy("wireguard")
                .without_proxy("vless")
                .proxy(Trojan::default()),
            r#""trojan":{}"#.to_owned(),
        ),
    ] {
        // Settings that were read and are echoed have no order of their own.
        let values = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap();
        assert_eq!(
            values(&body_of(&change).await),
            values(&format!(r#"{{{PLAN},"proxies":{{{proxies}}}}}"#))
        );
        assert!(!format!("{change:?}").contains("11111111"));
    }
}

#[tokio::test]
async fn a_change_that_the_panel_would_take_amiss_is_not_sent() {
    let hold = SetStatus::OnHold(hold());
    let limit = NonZeroU64::new(u64::MAX).unwrap();
    for (change, cause) in [
        (
            change().without_proxy("wireguard").without_proxy("vless"),
            "a user needs at least one protocol",
        ),
        (
            change().status(hold).expire(Expiry::At(time(7))),
            "an on-hold user has no expiry yet",
        ),
        (
            change().data_limit(Patch::Set(limit)),
            "the panel cannot store a limit of 18446744073709551615 bytes",
        ),
    ] {
        let wire = Wire::script([]).await;
        let error = wire.client().users().update(&change).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.operation(), wire.requests().len()),
            (ErrorKind::InvalidInput, "users.update", 0)
        );
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), cause);
    }
}

fn summary(outcome: Result<User, Error>) -> Result<(), ErrorKind> {
    outcome.map(|_| ()).map_err(|error| error.kind())
}

async fn modify(change: &UserUpdate, replies: Vec<Reply>) -> (Result<(), ErrorKind>, String) {
    let wire = Wire::script(replies).await;
    let outcome = summary(wire.client().users().update(change).await);
    (outcome, methods(&wire))
}

fn methods(wire: &Wire) -> String {
    let methods: Vec<_> = wire
        .lines()
        .iter()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    methods.join(" ")
}

/// Each change with the user that shows that it was made.
fn changes() -> Vec<(UserUpdate, String)> {
    vec![
        (
            change().expire(Expiry::At(time(7))),
            alice_with("1796417982", "7"),
        ),
        (change().expire(Patch::Clear), alice_with("1796417982", "null")),
        (
            change().data_limit(DataLimit::from_bytes(9)),
            alice_with("1073741824", "9"),
        ),
        (
            change().data_limit(Patch::Clear),
            alice_with("1073741824", "null"),
        ),
        (
            change().reset_strategy(ResetStrategy::Day),
            alice_with("month", "day"),
        ),
        (change().note(Patch::Clear), alice_with(r#""paid""#, "null")),
        (
            change().note(Note::new("gift").unwrap()),
            alice_with("paid", "gift"),
        ),
        (
            change().next_plan(Patch::Clear),
            alice_with(PLAN, r#""next_plan":null"#),
        ),
        (
            change().next_plan(NewNextPlan::new(DataLimit::Unlimited)),
            alice_with(PLAN, r#""next_plan":{"data_limit":0,"expire":null}"#),
        ),
        (
            change().status(SetStatus::Disabled),
            alice_with(r#""status":"active""#, r#""status":"disabled""#),
        ),
        (
            change().status(SetStatus::OnHold(hold())),
            alice_with(r#""status":"active""#, r#""status":"on_hold""#)
                .replace("1796417982", "null")
                .replace(r#"duration":null"#, r#"duration":86400"#),
        ),
        (
            change().proxy(Vless {
                id: None,
                flow: Some(Flow::Vision),
            }),
            alice_with(r#""flow":"""#, r#""flow":"xtls-rprx-vision""#),
        ),
        (
            change().without_proxy("wireguard"),
            alice_with(r#""wireguard":{"key":"k"}"#, "").replace("},\n    }", "}}"),
        ),
        (
            change().inbounds("vless", ["VLESS TCP"]),
            alice_with(r#","VLESS GRPC""#, ""),
        ),
    ]
}

#[tokio::test]
async fn a_500_though_the_change_was_made_is_a_change() {
    for (change, changed) in changes() {
        for failure in [internal_error(), Reply::Close(Vec::new()), html(504)] {
            let (outcome, methods) = modify(&change, vec![failure, json(200, &changed)]).await;
            assert_eq!((outcome, methods.as_str()), (Ok(()), "PUT GET"), "{changed}");
        }
    }
}

#[tokio::test]
async fn a_500_to_a_change_that_was_not_made_is_a_failure() {
    for (change, changed) in changes() {
        let replaced = changed.replace("11:59:59.5", "12:59:59.5");
        let other = changed.replace(r#""alice""#, r#""Alice""#);
        for (failure, user, expected) in [
            (internal_error(), ALICE, ErrorKind::Server),
            (Reply::Close(Vec::new()), ALICE, ErrorKind::Indeterminate),
            (html(502), ALICE, ErrorKind::Indeterminate),
            (internal_error(), replaced.as_str(), ErrorKind::Server),
            (internal_error(), other.as_str(), ErrorKind::Server),
        ] {
            let (outcome, methods) = modify(&change, vec![failure, json(200, user)]).await;
            assert_eq!(
                (outcome, methods.as_str()),
                (Err(expected), "PUT GET"),
                "{change:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_update_that_cannot_be_verified_is_indeterminate_and_a_definite_response_is_final() {
    let change = change().note(Patch::Clear);
    for (replies, expected, methods) in [
        (
            vec![internal_error(), user_not_found()],
            ErrorKind::Indeterminate,
            "PUT GET",
        ),
        (
            vec![internal_error(); 4],
            ErrorKind::Indeterminate,
            "PUT GET GET GET",
        ),
        (vec![user_not_found()], ErrorKind::NotFound, "PUT"),
        (
            vec![json(403, r#"{"detail":"You're not allowed"}"#)],
            ErrorKind::Forbidden,
            "PUT",
        ),
        (
            vec![json(422, r#"{"detail":{"status":"Input should be .."}}"#)],
            ErrorKind::Rejected,
            "PUT",
        ),
        (vec![html(200)], ErrorKind::UnexpectedResponse, "PUT"),
    ] {
        assert_eq!(
            modify(&change, replies).await,
            (Err(expected), methods.to_owned())
        );
    }
}

#[tokio::test]
async fn an_owner_is_verified_after_a_500() {
    let owned = alice_with(r#""admin":null"#, r#""admin":{"username":"bob","is_sudo":false}"#);
    for (replies, expected) in [
        (vec![internal_error(), json(200, &owned)], Ok(())),
        (vec![internal_error(), json(200, ALICE)], Err(ErrorKind::Server)),
        (
            vec![Reply::Close(Vec::new()), json(200, ALICE)],
            Err(ErrorKind::Indeterminate),
        ),
        (
            vec![json(404, r#"{"detail":"Admin not found"}"#)],
            Err(ErrorKind::NotFound),
        ),
    ] {
        let wire = Wire::script(replies).await;
        let outcome = wire.client().users().set_owner("alice", "bob").await;
        assert_eq!(summary(outcome), expected);
    }
}

/// The user once its plan is the present one.
fn began() -> String {
    alice_with(PLAN, r#""next_plan":null"#)
        .replace("1796417982", "1798837182")
        .replace(r#""used_traffic":5"#, r#""used_traffic":0"#)
}

async fn activate_next_plan(replies: Vec<Reply>) -> (Result<Option<i64>, ErrorKind>, Vec<String>) {
    let wire = Wire::script(replies).await;
    let outcome = wire.client().users().activate_next_plan("alice").await;
    let end = outcome
        .map(|user| user.expire.map(|end| end.timestamp()))
        .map_err(|error| error.kind());
    (end, wire.lines())
}

#[tokio::test]
async fn a_404_though_the_next_plan_was_applied_is_no_failure() {
    let no_plan = || json(404, r#"{"detail":"User doesn't have next plan"}"#);
    let before = || json(200, ALICE);
    let after = || json(200, &began());
    let dropped = alice_with(PLAN, r#""next_plan":null"#);
    let again = began().replace("11:59:59.5", "12:59:59.5");
    let done = Ok(Some(1_798_837_182));
    for (name, replies, expected) in [
        ("as it should be", vec![before(), after()], done),
        ("though begun", vec![before(), no_plan(), after()], done),
        (
            "failed though begun",
            vec![before(), internal_error(), after()],
            done,
        ),
        (
            "not begun",
            vec![before(), no_plan(), before()],
            Err(ErrorKind::Server),
        ),
        (
            "failed",
            vec![before(), internal_error(), before()],
            Err(ErrorKind::Server),
        ),
        (
            "cut off",
            vec![before(), Reply::Close(Vec::new()), before()],
            Err(ErrorKind::Indeterminate),
        ),
        (
            "dropped by another change",
            vec![before(), no_plan(), json(200, &dropped)],
            Err(ErrorKind::Server),
        ),
        (
            "another user",
            vec![before(), no_plan(), json(200, &again)],
            Err(ErrorKind::Server),
        ),
        (
            "deleted meanwhile",
            vec![before(), user_not_found()],
            Err(ErrorKind::NotFound),
        ),
        (
            "nothing to see",
            vec![before(), no_plan(), html(404)],
            Err(ErrorKind::Indeterminate),
        ),
    ] {
        let (outcome, lines) = activate_next_plan(replies).await;
        assert_eq!(outcome, expected, "{name}");
        let all = [
            "GET /api/user/alice",
            "POST /api/user/alice/active-next",
            "GET /api/user/alice",
        ];
        assert_eq!(lines, all[..lines.len()], "{name}");
    }
}

#[tokio::test]
async fn a_user_without_a_next_plan_is_not_sent_into_it() {
    let planless = alice_with(PLAN, r#""next_plan":null"#);
    let wire = Wire::script([json(200, &planless)]).await;
    let error = wire
        .client()
        .users()
        .activate_next_plan("alice")
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.operation(), error.is_user_not_found()),
        (ErrorKind::NotFound, "users.activate_next_plan", false)
    );
    assert_eq!(wire.lines(), ["GET /api/user/alice"]);
}
