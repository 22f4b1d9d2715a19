//! Values that the panel would mishandle cannot be constructed.

use std::num::NonZeroU64;
use std::time::Duration;

use chrono::{DateTime, Utc};
use marzban_api::model::{
    DataLimit, Expiry, Flow, Note, NoteError, OnHold, OnHoldError, Proxies, Proxy, Shadowsocks,
    ShadowsocksMethod, Timestamp, TimestampError, Trojan, UnknownProxy, User, Username, UsernameError, Vless,
    Vmess,
};
use proptest::prelude::*;
use serde_json::json;

#[test]
fn a_name_that_the_panel_accepts_is_a_username() {
    let longest = "a".repeat(32);
    let trailing = format!("abc-{}", "x".repeat(60));
    for name in [
        "abc",
        "_1_",
        "user-1.x@mail",
        "abc@",
        "MixedCase01",
        &longest,
        &trailing,
    ] {
        assert_eq!(
            Username::new(name).map(String::from),
            Ok(name.to_owned()),
            "{name}"
        );
        assert_eq!(name.parse::<Username>().unwrap().as_str(), name);
    }
}

#[test]
fn a_name_that_the_panel_refuses_is_no_username() {
    let beginning = |length| UsernameError::Beginning { length };
    let character = |character| UsernameError::Character { character };
    let too_long = "a".repeat(33);
    for (name, error) in [
        ("", beginning(0)),
        ("ab", beginning(2)),
        ("a.b", beginning(1)),
        ("ab-cd", beginning(2)),
        ("-abc", beginning(0)),
        (&too_long, beginning(33)),
        ("abc def", character(' ')),
        ("abc/def", character('/')),
        ("имя", character('и')),
        ("abc\n", character('\n')),
    ] {
        assert_eq!(Username::new(name), Err(error), "{name:?}");
    }
    assert_eq!(
        beginning(2).to_string(),
        "a username starts with 3 to 32 letters, digits and underscores, not with 2"
    );
    assert_eq!(
        character('\n').to_string(),
        "a username consists of ASCII letters, digits, `_`, `@`, `.` and `-`, not of '\\n'"
    );
}

#[test]
fn a_username_is_checked_when_it_is_read() {
    assert_eq!(
        serde_json::from_str::<Username>(r#""alice""#)
            .unwrap()
            .to_string(),
        "alice"
    );
    let error = serde_json::from_str::<Username>(r#""a""#)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("a username starts with 3 to 32"), "{error}");
}

#[test]
fn an_end_in_milliseconds_cannot_be_built() {
    let end = |seconds| Timestamp::from_timestamp(seconds).map(Timestamp::timestamp);
    assert_eq!(end(1_763_000_000), Ok(1_763_000_000));
    assert_eq!(end(253_402_300_799), Ok(253_402_300_799));
    assert_eq!(end(1), Ok(1));
    for seconds in [253_402_300_800, 1_763_000_000_000, i64::MAX] {
        assert_eq!(end(seconds), Err(TimestampError::TooLate { seconds }));
    }
    for seconds in [0, -1, i64::MIN] {
        assert_eq!(end(seconds), Err(TimestampError::TooEarly { seconds }));
    }
    let far = DateTime::<Utc>::MAX_UTC;
    let seconds = far.timestamp();
    assert_eq!(Expiry::at(far), Err(TimestampError::TooLate { seconds }));
    assert_eq!(
        TimestampError::TooLate { seconds: 1 }.to_string(),
        "1 s is after the year 9999; perhaps these are milliseconds"
    );
}

#[test]
fn a_fraction_of_a_second_is_cut_off_an_end() {
    let instant = DateTime::from_timestamp(1_763_000_000, 999_999_999).unwrap();
    let whole = DateTime::from_timestamp(1_763_000_000, 0).unwrap();
    assert_eq!(Timestamp::try_from(instant).map(Timestamp::to_utc), Ok(whole));
}

#[test]
fn a_note_is_neither_empty_nor_longer_than_500_characters() {
    let longest = "ж".repeat(500);
    assert_eq!(
        Note::new(longest.clone()).map(|note| note.to_string()),
        Ok(longest)
    );
    assert_eq!(
        Note::new("x".repeat(501)),
        Err(NoteError::TooLong { length: 501 })
    );
    assert_eq!(Note::new(""), Err(NoteError::Empty));
}

#[test]
fn a_hold_lasts_from_a_second_to_68_years() {
    let hold = |seconds| OnHold::new(Duration::from_secs(seconds)).map(OnHold::duration);
    assert_eq!(hold(1), Ok(Duration::from_secs(1)));
    assert_eq!(hold(2_147_483_647), Ok(Duration::from_secs(2_147_483_647)));
    assert_eq!(
        hold(2_147_483_648),
        Err(OnHoldError::TooLong {
            seconds: 2_147_483_648
        })
    );
    assert_eq!(
        OnHold::new(Duration::from_millis(999)),
        Err(OnHoldError::TooShort)
    );
}

#[test]
fn a_limit_of_no_bytes_is_no_limit() {
    assert_eq!(DataLimit::from_bytes(0), DataLimit::Unlimited);
    assert_eq!(
        DataLimit::from_bytes(5),
        DataLimit::Bytes(NonZeroU64::new(5).unwrap())
    );
    assert_eq!(
        (DataLimit::Unlimited.bytes(), DataLimit::from_bytes(5).bytes()),
        (None, Some(5))
    );
}

fn proxies(settings: &serde_json::Value) -> Proxies {
    let user = json!({"username": "alice", "status": "active", "used_traffic": 0, "proxies": settings});
    serde_json::from_value::<User>(user).unwrap().proxies
}

#[test]
fn the_settings_of_every_protocol_are_read() {
    let text = |text: &str| Some(text.to_owned());
    let read = proxies(&json!({
        "vmess": {"id": "1111"},
        "vless": {"id": "2222", "flow": "xtls-rprx-vision"},
        "trojan": {"password": "secret", "flow": ""},
        "shadowsocks": {"password": "secret", "method": "aes-256-gcm"},
        "wireguard": {"key": "secret"},
    }));
    assert_eq!(
        read.protocols().collect::<Vec<_>>(),
        ["shadowsocks", "trojan", "vless", "vmess", "wireguard"]
    );
    for (protocol, expected) in [
        ("vmess", Vmess { id: text("1111") }.into()),
        (
            "vless",
            Proxy::from(Vless {
                id: text("2222"),
                flow: Some(Flow::Vision),
            }),
        ),
        (
            "trojan",
            Proxy::from(Trojan {
                password: text("secret"),
                flow: Some(Flow::Plain),
            }),
        ),
        (
            "shadowsocks",
            Proxy::from(Shadowsocks {
                password: text("secret"),
                method: Some(ShadowsocksMethod::Aes256Gcm),
            }),
        ),
        (
            "wireguard",
            Proxy::from(UnknownProxy {
                protocol: "wireguard".to_owned(),
                settings: json!({"key": "secret"}),
            }),
        ),
    ] {
        assert_eq!(read.get(protocol), Some(expected), "{protocol}");
    }
    assert_eq!(read.get("socks"), None);
}

#[test]
fn settings_in_an_unknown_form_are_kept() {
    let settings = json!({"id": {"no": "text"}});
    assert_eq!(
        proxies(&json!({"vless": settings})).get("vless"),
        Some(Proxy::Unknown(UnknownProxy {
            protocol: "vless".to_owned(),
            settings,
        }))
    );
}

#[test]
fn protocols_show_their_names_and_no_secret() {
    let read = proxies(&json!({
        "vmess": {"id": "s3cr3t"},
        "vless": {"id": "s3cr3t", "flow": ""},
        "trojan": {"password": "s3cr3t"},
        "shadowsocks": {"password": "s3cr3t", "method": "rc4"},
        "wireguard": {"key": "s3cr3t"},
    }));
    assert_eq!(
        format!("{read:?}"),
        r#"{"shadowsocks", "trojan", "vless", "vmess", "wireguard"}"#
    );
    let each: Vec<_> = read
        .protocols()
        .map(|protocol| format!("{:?}", read.get(protocol).unwrap()))
        .collect();
    assert_eq!(
        each,
        [
            r#"Shadowsocks(Shadowsocks { method: Some(Unknown("rc4")), .. })"#,
            "Trojan(Trojan { flow: None, .. })",
            "Vless(Vless { flow: Some(Plain), .. })",
            "Vmess(Vmess { .. })",
            r#"Unknown(UnknownProxy { protocol: "wireguard", .. })"#,
        ]
    );
}

proptest! {
    #[test]
    fn every_username_is_what_the_panels_rule_says(name in "[a-zA-Z0-9_@.\\- é/]{0,40}") {
        let beginning = name
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
            .unwrap_or(name.len());
        let allowed = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_@.-".contains(letter));
        prop_assert_eq!(Username::new(name).is_ok(), allowed && (3..=32).contains(&beginning));
    }
}
