//! A user's fields in every form in which panels send them.

use chrono::{DateTime, Utc};
use marzban_api::model::{Flow, NextPlan, Proxy, ResetStrategy, User, UserStatus, Vless};
use proptest::prelude::*;

fn decode(json: &str) -> Result<User, serde_json::Error> {
    serde_json::from_str(json)
}

fn with(field: &str, value: &str) -> Result<User, serde_json::Error> {
    decode(&format!(
        r#"{{"username":"alice","status":"active","used_traffic":0,"{field}":{value}}}"#
    ))
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

#[test]
fn expire_is_read_in_every_form() {
    for (value, expected) in [
        ("1757894400", Some("2025-09-15T00:00:00Z")),
        ("1757894400.0", Some("2025-09-15T00:00:00Z")),
        (r#""1757894400""#, Some("2025-09-15T00:00:00Z")),
        (r#""2025-09-15T00:00:00Z""#, Some("2025-09-15T00:00:00Z")),
        (r#""2025-09-15T03:30:00+03:30""#, Some("2025-09-15T00:00:00Z")),
        (r#""2025-09-15T00:00:00""#, Some("2025-09-15T00:00:00Z")),
        (r#""2025-09-15 00:00:00""#, Some("2025-09-15T00:00:00Z")),
        (r#""2025-09-15T00:00:00.25""#, Some("2025-09-15T00:00:00.25Z")),
        ("-1", Some("1969-12-31T23:59:59Z")),
        ("253402300799", Some("9999-12-31T23:59:59Z")),
        ("-62135596800", Some("0001-01-01T00:00:00Z")),
        ("null", None),
        ("0", None),
        ("0.0", None),
        (r#""0""#, None),
    ] {
        assert_eq!(with("expire", value).unwrap().expire, expected.map(at), "{value}");
    }
}

#[test]
fn an_expire_that_is_no_instant_is_refused() {
    for value in [
        "1763000000000",
        "253402300800",
        "-62135596801",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "100000000000000000000",
        "1e300",
        "1.5",
        r#""""#,
        r#""tomorrow""#,
        r#""2025-09-15""#,
        r#""2025-13-45T00:00:00""#,
        r#""1763000000000""#,
        "true",
        "[]",
        "{}",
    ] {
        assert!(with("expire", value).is_err(), "{value}");
    }
}

#[test]
fn an_instant_has_a_fraction_or_none_and_is_utc() {
    for (value, expected) in [
        (r#""2026-11-19T20:13:36""#, Some("2026-11-19T20:13:36Z")),
        (r#""2026-11-19T20:13:36.250000""#, Some("2026-11-19T20:13:36.25Z")),
        (
            r#""2026-11-19T20:13:36.154798""#,
            Some("2026-11-19T20:13:36.154798Z"),
        ),
        (r#""2026-11-19T20:13:36.5-05:00""#, Some("2026-11-20T01:13:36.5Z")),
        ("null", None),
    ] {
        let expected = expected.map(at);
        assert_eq!(with("online_at", value).unwrap().online_at, expected, "{value}");
        assert_eq!(with("created_at", value).unwrap().created_at, expected, "{value}");
        assert_eq!(
            with("sub_updated_at", value).unwrap().sub_updated_at,
            expected,
            "{value}"
        );
        assert_eq!(
            with("on_hold_timeout", value).unwrap().on_hold_timeout,
            expected,
            "{value}"
        );
    }
}

#[test]
fn a_limit_of_zero_is_no_limit() {
    for (value, expected) in [("null", None), ("0", None), ("10737418240", Some(10_737_418_240))] {
        assert_eq!(with("data_limit", value).unwrap().data_limit, expected);
    }
}

#[test]
fn every_field_of_a_present_panel_is_read() {
    let user = decode(
        r#"{"proxies":{"vless":{"id":"11111111-1111-4111-8111-111111111111","flow":""}},"expire":1796417982,
        "data_limit":10737418240,"data_limit_reset_strategy":"month","inbounds":{"vless":["VLESS TCP"]},
        "note":"paid","sub_updated_at":"2026-11-22T20:00:00","sub_last_user_agent":"v2rayNG/1.8",
        "online_at":"2026-11-22T21:00:00.5","on_hold_expire_duration":2592000,"on_hold_timeout":null,
        "auto_delete_in_days":3,"next_plan":{"data_limit":0,"expire":1799009982,"add_remaining_traffic":true,
        "fire_on_either":false},"username":"Alice_01","status":"limited","used_traffic":12,
        "lifetime_used_traffic":34,"created_at":"2026-11-22T21:00:39.858421","links":["vless://x","vless://y"],
        "subscription_url":"/sub/abc","excluded_inbounds":{"vless":["VLESS GRPC"]},
        "admin":{"username":"bob","is_sudo":false,"telegram_id":null,"discord_webhook":null,"users_usage":9},
        "a_field_of_tomorrow":[1,2,3]}"#,
    )
    .unwrap();
    assert_eq!(
        (user.username.as_str(), user.status),
        ("Alice_01", UserStatus::Limited)
    );
    assert_eq!((user.used_traffic, user.lifetime_used_traffic), (12, Some(34)));
    assert_eq!(user.data_limit_reset_strategy, Some(ResetStrategy::Month));
    assert_eq!(
        (user.note.as_deref(), user.sub_last_user_agent.as_deref()),
        (Some("paid"), Some("v2rayNG/1.8"))
    );
    assert_eq!(
        (user.on_hold_expire_duration, user.auto_delete_in_days),
        (Some(2_592_000), Some(3))
    );
    assert_eq!(user.created_at, Some(at("2026-11-22T21:00:39.858421Z")));
    assert_eq!(
        (
            user.inbounds["vless"][0].as_str(),
            user.excluded_inbounds["vless"][0].as_str()
        ),
        ("VLESS TCP", "VLESS GRPC")
    );
    assert_eq!(
        (user.links.len(), user.subscription_url.as_str()),
        (2, "/sub/abc")
    );
    assert_eq!(
        user.proxies.get("vless"),
        Some(Proxy::Vless(Vless {
            id: Some("11111111-1111-4111-8111-111111111111".to_owned()),
            flow: Some(Flow::Plain)
        }))
    );
    assert_eq!(
        user.admin.map(|admin| (admin.username, admin.users_usage)),
        Some(("bob".to_owned(), Some(9)))
    );
    let NextPlan {
        data_limit,
        expire,
        add_remaining_traffic,
        fire_on_either,
        ..
    } = user.next_plan.unwrap();
    assert_eq!((data_limit, expire), (None, Some(at("2027-01-03T20:59:42Z"))));
    assert_eq!((add_remaining_traffic, fire_on_either), (true, false));
}

#[test]
fn words_are_written_as_they_were_read() {
    for word in ["active", "on_hold", "disabled", "limited", "expired", "paused"] {
        assert_eq!(UserStatus::from(word).to_string(), word);
    }
    assert_eq!(ResetStrategy::from("no_reset"), ResetStrategy::NoReset);
}

fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        "-?[0-9]{1,30}(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
        "[ -~]{0,20}".prop_map(|text| format!("{text:?}")),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,12})?"
            .prop_map(|text| format!("{text:?}")),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((field(), inner), 0..6).prop_map(|pairs| {
                let pairs: Vec<_> = pairs
                    .iter()
                    .map(|(key, value)| format!("\"{key}\":{value}"))
                    .collect();
                format!("{{{}}}", pairs.join(","))
            }),
        ]
    })
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "username",
            "status",
            "used_traffic",
            "expire",
            "online_at",
            "next_plan",
            "admin",
            "proxies",
            "links",
        ])
        .prop_map(ToOwned::to_owned),
        "[a-z_]{1,8}",
    ]
}

proptest! {
    #[test]
    fn no_json_makes_the_decoder_panic(json in any_json(), bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let read = decode(&json);
        if let Ok(user) = read {
            let name = serde_json::to_string(&user.username).unwrap();
            prop_assert!(json.contains(&name));
        }
        prop_assert!(serde_json::from_slice::<User>(&bytes).is_err());
    }

    #[test]
    fn any_value_of_any_field_is_read_or_refused(field in field(), value in any_json()) {
        if let Ok(user) = with(&field, &value) {
            prop_assert_eq!(user.username, "alice");
        }
    }

    #[test]
    fn any_instant_of_the_calendar_survives(seconds in -62_135_596_800_i64..=253_402_300_799) {
        prop_assume!(seconds != 0);
        let instant = DateTime::from_timestamp(seconds, 0).unwrap();
        prop_assert_eq!(with("expire", &seconds.to_string()).unwrap().expire, Some(instant));
        let text = format!("{:?}", instant.naive_utc().format("%Y-%m-%dT%H:%M:%S").to_string());
        prop_assert_eq!(with("expire", &text).unwrap().expire, Some(instant));
    }
}
