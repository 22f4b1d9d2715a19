//! New users: what is sent, and what becomes of a response that does not match what the panel did.

use std::time::Duration;

use marzban_api::model::{
    DataLimit, Expiry, Flow, NewNextPlan, NewUser, Note, OnHold, Proxies, ResetStrategy, Shadowsocks,
    ShadowsocksMethod, Timestamp, Trojan, UnknownProxy, User, Username, Vless, Vmess,
};
use marzban_api::{Error, ErrorKind, Timeouts};

use crate::wire::{Reply, Wire, html, internal_error, json, raw, refused, user_not_found};

const GIB: u64 = 1 << 30;

fn alice(proxies: Proxies) -> NewUser {
    NewUser::new(Username::new("alice").unwrap(), proxies)
}

fn vless() -> Proxies {
    Proxies::new(Vless::default())
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds).unwrap()
}

/// A user with a limit, an end and a note.
fn wanted() -> NewUser {
    alice(vless())
        .expire(time(1_796_417_982))
        .data_limit(DataLimit::from_bytes(GIB))
        .note(Note::new("paid").unwrap())
}

/// The wanted user as the panel shows it, made half a second before noon.
const MADE: &str = r#"{"proxies":{"vless":{"id":"11111111-1111-4111-8111-111111111111","flow":""}},
    "expire":1796417982,"data_limit":1073741824,"data_limit_reset_strategy":"no_reset",
    "inbounds":{"vless":["VLESS TCP","VLESS GRPC"]},"note":"paid","sub_updated_at":null,"sub_last_user_agent":null,
    "online_at":null,"on_hold_expire_duration":null,"on_hold_timeout":null,"auto_delete_in_days":null,
    "next_plan":null,"username":"alice","status":"active","used_traffic":0,"lifetime_used_traffic":0,
    "created_at":"2025-09-15T11:59:59.500000","links":[],"subscription_url":"/sub/abc",
    "excluded_inbounds":{"vless":[]},"admin":null}"#;

/// The panel's answer at noon, by its own clock.
fn at_noon(body: &str) -> Reply {
    let headers = "content-type: application/json\r\ndate: Mon, 15 Sep 2025 12:00:00 GMT\r\n";
    Reply::Keep(raw(200, headers, body))
}

fn exists() -> Reply {
    json(409, r#"{"detail":"User already exists"}"#)
}

/// What becomes of a creation, and the requests that it takes.
async fn create(user: &NewUser, replies: Vec<Reply>) -> (Result<User, Error>, Vec<String>) {
    let wire = Wire::script(replies).await;
    let outcome = wire.client().users().create(user).await;
    (outcome, wire.lines())
}

#[tokio::test]
async fn a_new_user_is_written_so_that_nothing_is_left_to_the_panels_traps() {
    let plan = NewNextPlan::new(DataLimit::Unlimited);
    let hold = OnHold::new(Duration::from_hours(720)).unwrap();
    for (user, body) in [
        (
            alice(vless()),
            r#"{"username":"alice","proxies":{"vless":{}},"inbounds":{},"status":"active","data_limit":0}"#,
        ),
        (
            wanted()
                .reset_strategy(ResetStrategy::Month)
                .auto_delete_in_days(14),
            r#"{"username":"alice","proxies":{"vless":{}},"inbounds":{},"status":"active","expire":1796417982,"data_limit":1073741824,"data_limit_reset_strategy":"month","note":"paid","auto_delete_in_days":14}"#,
        ),
        (
            alice(vless()).inbounds("vless", ["VLESS TCP"]).next_plan(plan),
            r#"{"username":"alice","proxies":{"vless":{}},"inbounds":{"vless":["VLESS TCP"]},"status":"active","data_limit":0,"next_plan":{"data_limit":0,"expire":null,"add_remaining_traffic":false,"fire_on_either":true}}"#,
        ),
        (
            alice(vless()).next_plan(NewNextPlan {
                expire: Expiry::At(time(1_798_837_182)),
                add_remaining_traffic: true,
                fire_on_either: false,
                ..NewNextPlan::new(DataLimit::from_bytes(5))
            }),
            r#"{"username":"alice","proxies":{"vless":{}},"inbounds":{},"status":"active","data_limit":0,"next_plan":{"data_limit":5,"expire":1798837182,"add_remaining_traffic":true,"fire_on_either":false}}"#,
        ),
        (
            alice(vless()).expire(time(5)).on_hold(hold),
            r#"{"username":"alice","proxies":{"vless":{}},"inbounds":{},"status":"on_hold","on_hold_expire_duration":2592000,"data_limit":0}"#,
        ),
        (
            alice(vless()).on_hold(hold.until(time(1_919_968_200))),
            r#"{"username":"alice","proxies":{"vless":{}},"inbounds":{},"status":"on_hold","on_hold_expire_duration":2592000,"on_hold_timeout":"2030-11-03T20:30:00","data_limit":0}"#,
        ),
    ] {
        let (made, _) = create(&user, vec![json(200, MADE)]).await;
        assert_eq!(made.unwrap().username, "alice");
        let wire = Wire::script([json(200, MADE)]).await;
        wire.client().users().create(&user).await.unwrap();
        let request = wire.requests().remove(0);
        assert_eq!(
            (request.line.as_str(), request.body.as_str()),
            ("POST /api/user", body)
        );
        assert_eq!(request.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn the_settings_of_every_protocol_are_written() {
    let text = |text: &str| Some(text.to_owned());
    let proxies = Proxies::new(Vmess { id: text("1111") })
        .with(Vless {
            id: None,
            flow: Some(Flow::Vision),
        })
        .with(Trojan {
            password: text("pw"),
            flow: None,
        })
        .with(Shadowsocks {
            password: None,
            method: Some(ShadowsocksMethod::Chacha20IetfPoly1305),
        })
        .with(UnknownProxy {
            protocol: "wireguard".to_owned(),
            settings: serde_json::json!({"key": 1}),
        })
        .with(Vless {
            id: text("2222"),
            flow: None,
        });
    let wire = Wire::script([json(200, MADE)]).await;
    wire.client().users().create(&alice(proxies)).await.unwrap();
    assert_eq!(
        wire.requests()[0].body,
        r#"{"username":"alice","proxies":{"shadowsocks":{"method":"chacha20-ietf-poly1305"},"trojan":{"password":"pw"},"vless":{"flow":"xtls-rprx-vision","id":"2222"},"vmess":{"id":"1111"},"wireguard":{"key":1}},"inbounds":{},"status":"active","data_limit":0}"#
    );
}

#[tokio::test]
async fn what_the_panel_would_take_amiss_is_not_sent() {
    let limit = DataLimit::from_bytes(1 << 63);
    for (user, cause) in [
        (
            alice(vless().without("vless")),
            "a user needs at least one protocol",
        ),
        (
            alice(vless()).inbounds("vless", Vec::<String>::new()),
            "a new user needs at least one inbound of each protocol: the panel takes none for all",
        ),
        (
            alice(vless()).data_limit(limit),
            "the panel cannot store a limit of 9223372036854775808 bytes",
        ),
        (
            alice(vless()).next_plan(NewNextPlan::new(limit)),
            "the panel cannot store a limit of 9223372036854775808 bytes",
        ),
    ] {
        let (outcome, requests) = create(&user, Vec::new()).await;
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.kind(), error.operation(), requests.len()),
            (ErrorKind::InvalidInput, "users.create", 0)
        );
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), cause);
    }
}

/// A broken answer, what the user is then, what is said, and the requests that it takes.
type Case = (&'static str, Vec<Reply>, Result<(), ErrorKind>, &'static str);

async fn check(cases: impl IntoIterator<Item = Case>) {
    for (name, replies, expected, methods) in cases {
        let (outcome, lines) = create(&wanted(), replies).await;
        assert_eq!(
            outcome.map(|_| ()).map_err(|error| error.kind()),
            expected,
            "{name}"
        );
        let sent: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(sent.join(" "), methods, "{name}");
    }
}

#[tokio::test]
async fn a_500_though_the_user_was_made_is_a_creation() {
    let dropped = || Reply::Close(Vec::new());
    check([
        ("made", vec![internal_error(), at_noon(MADE)], Ok(()), "POST GET"),
        (
            "made, cut off",
            vec![dropped(), at_noon(MADE)],
            Ok(()),
            "POST GET",
        ),
        (
            "made, proxy tired",
            vec![html(504), at_noon(MADE)],
            Ok(()),
            "POST GET",
        ),
        (
            "made, already limited",
            vec![
                internal_error(),
                at_noon(&MADE.replace(
                    r#""status":"active","used_traffic":0"#,
                    r#""status":"limited","used_traffic":9"#,
                )),
            ],
            Ok(()),
            "POST GET",
        ),
        (
            "not made",
            vec![internal_error(), user_not_found()],
            Err(ErrorKind::Server),
            "POST GET",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_creation_that_times_out_is_verified() {
    let silent = || Reply::Hang(Vec::new());
    let timeouts = Timeouts {
        request: Duration::from_millis(80),
        ..Timeouts::default()
    };
    for (replies, expected) in [
        (vec![silent(), at_noon(MADE)], Ok(())),
        (vec![silent(), user_not_found()], Err(ErrorKind::Indeterminate)),
        (vec![silent(), html(404)], Err(ErrorKind::Indeterminate)),
    ] {
        let wire = Wire::script(replies).await;
        let client = wire.builder().timeouts(timeouts).build().unwrap();
        let outcome = client.users().create(&wanted()).await;
        assert_eq!(outcome.map(|_| ()).map_err(|error| error.kind()), expected);
        assert_eq!(wire.lines(), ["POST /api/user", "GET /api/user/alice"]);
    }
}

#[tokio::test]
async fn a_user_that_this_call_cannot_have_made_is_not_claimed() {
    let with = |old: &str, new: &str| {
        let body = MADE.replace(old, new);
        assert_ne!(body, MADE);
        vec![internal_error(), at_noon(&body)]
    };
    check([
        (
            "a minute old",
            with("T11:59:59.500000", "T11:59:00"),
            Err(ErrorKind::Conflict),
            "POST GET",
        ),
        (
            "of unknown age",
            with(r#""2025-09-15T11:59:59.500000""#, "null"),
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
        (
            "with another end",
            with("1796417982", "1796417983"),
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
        (
            "with another limit",
            with("1073741824", "1073741825"),
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
        (
            "with another note",
            with(r#""paid""#, r#""free""#),
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
        (
            "with another protocol",
            with(r#""proxies":{"vless""#, r#""proxies":{"vmess""#),
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
        (
            "with another status",
            with(r#""status":"active""#, r#""status":"disabled""#),
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
        (
            "of another case",
            with(r#""alice""#, r#""Alice""#),
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
    ])
    .await;
}

/// The wanted user in full, and the panel's answer about it.
fn in_full() -> (NewUser, String) {
    let plan = NewNextPlan::new(DataLimit::from_bytes(5));
    let user = wanted()
        .reset_strategy(ResetStrategy::Month)
        .inbounds("vless", ["VLESS GRPC"])
        .next_plan(plan)
        .auto_delete_in_days(14);
    let made = MADE
        .replace("no_reset", "month")
        .replace(r#""VLESS TCP","#, "")
        .replace(
            r#""next_plan":null"#,
            r#""next_plan":{"data_limit":5,"expire":null}"#,
        )
        .replace(r#"in_days":null"#, r#"in_days":14"#);
    (user, made)
}

/// The wanted user on hold, and the panel's answer about it.
fn on_hold() -> (NewUser, String) {
    let hold = OnHold::new(Duration::from_hours(24)).unwrap();
    let made = MADE
        .replace(r#""status":"active""#, r#""status":"on_hold""#)
        .replace("1796417982", "null")
        .replace(r#"duration":null"#, r#"duration":86400"#)
        .replace(r#"timeout":null"#, r#"timeout":"2030-11-03T20:30:00""#);
    (wanted().on_hold(hold.until(time(1_919_968_200))), made)
}

#[tokio::test]
async fn every_setting_tells_whether_a_user_is_the_one_that_was_made() {
    for ((user, made), others) in [
        (
            in_full(),
            &[
                ("month", "week"),
                ("VLESS GRPC", "VLESS TCP"),
                (r#""next_plan":{"data_limit":5"#, r#""next_plan":{"data_limit":6"#),
                (r#"in_days":14"#, r#"in_days":15"#),
            ][..],
        ),
        (
            on_hold(),
            &[
                (r#""status":"on_hold""#, r#""status":"active""#),
                ("86400", "86401"),
                ("20:30:00", "20:30:01"),
            ][..],
        ),
    ] {
        let (outcome, _) = create(&user, vec![internal_error(), at_noon(&made)]).await;
        assert_eq!(outcome.unwrap().username, "alice");
        for (old, new) in others {
            let other = made.replace(old, new);
            assert_ne!(other, made);
            let (outcome, _) = create(&user, vec![internal_error(), at_noon(&other)]).await;
            assert_eq!(
                outcome.unwrap_err().kind(),
                ErrorKind::Indeterminate,
                "{new} for {old}"
            );
        }
    }
}

#[tokio::test]
async fn a_creation_that_cannot_be_verified_is_indeterminate() {
    let dropped = || Reply::Close(Vec::new());
    check([
        (
            "perhaps still under way",
            vec![dropped(), user_not_found()],
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
        (
            "perhaps still under way behind a proxy",
            vec![html(502), user_not_found()],
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
        (
            "a user that cannot be shown",
            vec![internal_error(); 4],
            Err(ErrorKind::Indeterminate),
            "POST GET GET GET",
        ),
        (
            "a proxy's word",
            vec![internal_error(), html(404)],
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
        (
            "an unknown route",
            vec![internal_error(), json(404, r#"{"detail":"Not Found"}"#)],
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_success_that_cannot_be_read_is_no_failed_creation() {
    let odd = || json(200, r#"{"username":"alice"}"#);
    check([
        ("made", vec![odd(), at_noon(MADE)], Ok(()), "POST GET"),
        (
            "never readable",
            vec![odd(), odd()],
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
        (
            "not to be seen",
            vec![odd(), user_not_found()],
            Err(ErrorKind::Indeterminate),
            "POST GET",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_409_about_a_user_that_does_not_exist_is_no_conflict() {
    check([
        (
            "a conflict",
            vec![exists(), at_noon(MADE)],
            Err(ErrorKind::Conflict),
            "POST GET",
        ),
        (
            "another one's user",
            vec![exists(), json(403, r#"{"detail":"You're not allowed"}"#)],
            Err(ErrorKind::Conflict),
            "POST GET",
        ),
        (
            "a user that cannot be shown",
            vec![exists(), internal_error(), internal_error(), internal_error()],
            Err(ErrorKind::Conflict),
            "POST GET GET GET",
        ),
        (
            "no conflict",
            vec![exists(), user_not_found()],
            Err(ErrorKind::Rejected),
            "POST GET",
        ),
    ])
    .await;
    let (outcome, _) = create(&wanted(), vec![exists(), user_not_found()]).await;
    let error = outcome.unwrap_err();
    assert!(
        error.to_string().starts_with(
            "users.create: the panel reports that the user exists, but it does not: its database rejected the data \
             (POST /api/user, status 409"
        ),
        "{error}"
    );
    assert_eq!(
        std::error::Error::source(&error)
            .and_then(|cause| cause.downcast_ref::<Error>())
            .map(Error::kind),
        Some(ErrorKind::Conflict)
    );
}

#[tokio::test]
async fn a_definite_response_to_a_creation_is_final() {
    let unknown = r#"{"detail":{"inbounds":"Value error, Inbound X doesn't exist"}}"#;
    check([
        ("made", vec![json(200, MADE)], Ok(()), "POST"),
        (
            "not accepted",
            vec![json(422, unknown)],
            Err(ErrorKind::Rejected),
            "POST",
        ),
        (
            "protocol is off",
            vec![json(
                400,
                r#"{"detail":"Protocol ProxyTypes.Trojan is disabled on your server"}"#,
            )],
            Err(ErrorKind::Rejected),
            "POST",
        ),
        (
            "a proxy's page",
            vec![html(200)],
            Err(ErrorKind::UnexpectedResponse),
            "POST",
        ),
        (
            "token refused once",
            vec![refused(), json(200, MADE)],
            Ok(()),
            "POST POST",
        ),
    ])
    .await;
}
