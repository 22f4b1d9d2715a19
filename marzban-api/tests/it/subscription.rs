//! What the holder of a subscription's token sees, by the bytes of the panel.

use std::time::Duration;

use marzban_api::ErrorKind;
use marzban_api::model::{ClientType, UsageRange, UserStatus};
use secrecy::ExposeSecret;

use crate::wire::{Reply, Wire, builder, html, internal_error, json, raw};

const TOKEN: &str = "YWxpY2UsMTc5NTM4MTIwMQs3cr3t";

const HEADERS: &str = "content-type: text/plain; charset=utf-8\r\n\
    content-disposition: attachment; filename=\"alice\"\r\n\
    profile-web-page-url: http://panel/sub/YWxpY2UsMTc5NTM4MTIwMQs3cr3t\r\n\
    support-url: https://t.me/help\r\n\
    profile-title: base64:U3Vic2NyaXB0aW9u\r\n\
    profile-update-interval: 12\r\n\
    subscription-userinfo: upload=0; download=2048; total=4096; expire=1795467582\r\n";

// vless://s3cr3t-1\nvless://s3cr3t-2
const LINKS: &str = "dmxlc3M6Ly9zM2NyM3QtMQp2bGVzczovL3MzY3IzdC0y";

#[tokio::test]
async fn a_subscription_is_fetched_as_nobody_and_as_the_given_program() {
    let wire = Wire::script([Reply::Keep(raw(200, HEADERS, LINKS))]).await;
    let client = wire.client();
    let content = client
        .subscription(TOKEN)
        .content("v2rayNG/1.8.19")
        .await
        .unwrap();
    let request = wire.requests().pop().unwrap();
    assert_eq!(request.line, format!("GET /sub/{TOKEN}"));
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.header("user-agent"), Some("v2rayNG/1.8.19"));
    assert_eq!(request.header("accept"), Some("*/*"));
    assert!(wire.logins().is_empty());
    assert_eq!(content.media_type.as_deref(), Some("text/plain"));
    assert_eq!(content.links().unwrap(), ["vless://s3cr3t-1", "vless://s3cr3t-2"]);
}

#[tokio::test]
async fn the_headers_of_a_subscription_are_read() {
    let wire = Wire::script([Reply::Keep(raw(200, HEADERS, LINKS))]).await;
    let info = wire.client().subscription(TOKEN).content("x").await.unwrap().info;
    assert_eq!(
        (info.upload, info.download, info.total),
        (Some(0), Some(2048), Some(4096))
    );
    assert_eq!(info.expire.map(|end| end.timestamp()), Some(1_795_467_582));
    assert_eq!(info.update_interval, Some(Duration::from_hours(12)));
    assert_eq!(info.title.as_deref(), Some("Subscription"));
    assert_eq!(info.support_url.as_deref(), Some("https://t.me/help"));
    assert_eq!(info.filename.as_deref(), Some("alice"));
    let page = info.web_page_url.unwrap();
    assert_eq!(page.expose_secret(), format!("http://panel/sub/{TOKEN}"));
}

#[tokio::test]
async fn a_subscription_without_limits_has_none_and_broken_headers_count_as_absent() {
    let unlimited = "subscription-userinfo: upload=0; download=0; total=0; expire=0\r\nprofile-title: plain\r\n\
        content-disposition: attachment; filename*=UTF-8''%D0%B8%D0%BC%D1%8F\r\n";
    let broken = "subscription-userinfo: upload; download=x; total=-1; expire=99999999999999;;=\r\n\
        profile-title: base64:%%%\r\nprofile-update-interval: 99999999999999999999\r\ncontent-disposition: inline\r\n";
    let wire = Wire::script([
        Reply::Keep(raw(200, unlimited, "")),
        Reply::Keep(raw(200, broken, "{}")),
    ])
    .await;
    let client = wire.client();
    let info = client.subscription(TOKEN).content("x").await.unwrap().info;
    assert_eq!((info.download, info.total, info.expire), (Some(0), None, None));
    assert_eq!(
        (info.title.as_deref(), info.filename.as_deref()),
        (Some("plain"), Some("имя"))
    );
    let content = client.subscription(TOKEN).content("x").await.unwrap();
    let info = &content.info;
    assert_eq!(
        (info.upload, info.download, info.total, info.expire),
        (None, None, None, None)
    );
    assert_eq!(
        (&info.title, &info.filename, info.update_interval),
        (&None, &None, None)
    );
    assert_eq!(content.links(), None);
}

#[tokio::test]
async fn the_format_of_a_program_is_asked_for_by_its_word() {
    let all = [
        (ClientType::SingBox, "sing-box"),
        (ClientType::ClashMeta, "clash-meta"),
        (ClientType::Clash, "clash"),
        (ClientType::Outline, "outline"),
        (ClientType::V2ray, "v2ray"),
        (ClientType::V2rayJson, "v2ray-json"),
    ];
    let wire = Wire::script(vec![json(200, "{}"); all.len()]).await;
    let client = wire.client();
    for (program, word) in all {
        let content = client.subscription(TOKEN).as_client(&program).await.unwrap();
        assert_eq!(content.media_type.as_deref(), Some("application/json"));
        assert_eq!(&content.body[..], b"{}");
        assert_eq!(wire.lines().pop().unwrap(), format!("GET /sub/{TOKEN}/{word}"));
    }
}

#[tokio::test]
async fn the_user_of_a_subscription_is_read_without_its_owner() {
    let user = r#"{"proxies":{"vless":{"id":"s3cr3t"}},"expire":1795467582,"data_limit":null,"username":"alice",
        "status":"active","used_traffic":5,"lifetime_used_traffic":5,"created_at":"2026-11-22T20:59:48.449478",
        "links":["vless://s3cr3t"],"subscription_url":"/sub/s3cr3t"}"#;
    let wire = Wire::script([json(200, user)]).await;
    let user = wire.client().subscription(TOKEN).info().await.unwrap();
    assert_eq!(
        (user.username.as_str(), user.status, user.used_traffic),
        ("alice", UserStatus::Active, 5)
    );
    assert!(user.admin.is_none() && user.inbounds.is_empty());
    assert_eq!(wire.lines(), [format!("GET /sub/{TOKEN}/info")]);
    assert_eq!(wire.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn the_usage_of_a_subscription_is_read() {
    let usage = r#"{"username":"alice","usages":[{"node_id":null,"node_name":"Master","used_traffic":123456789},
        {"node_id":1,"node_name":"DE node","used_traffic":0}]}"#;
    let wire = Wire::script([json(200, usage)]).await;
    let start = "2026-11-01T00:00:00Z".parse().unwrap();
    let client = wire.client();
    let usages = client
        .subscription(TOKEN)
        .usage(UsageRange::since(start))
        .await
        .unwrap();
    assert_eq!((usages[0].node_id, usages[0].used_traffic), (None, 123_456_789));
    assert_eq!(
        (usages[1].node_id, usages[1].node_name.as_str()),
        (Some(1), "DE node")
    );
    assert_eq!(
        wire.lines(),
        [format!("GET /sub/{TOKEN}/usage?start=2026-11-01T00%3A00%3A00Z")]
    );
}

#[tokio::test]
async fn the_path_of_subscriptions_is_that_of_the_panel() {
    let wire = Wire::script([json(200, "{}"), json(200, "{}")]).await;
    for (path, line) in [
        ("/my sub/deep/", "GET /my%20sub/deep/a%2Fb"),
        ("sub", "GET /sub/a%2Fb"),
    ] {
        let client = wire.builder().subscription_path(path).build().unwrap();
        client.subscription("a/b").content("x").await.unwrap();
        assert_eq!(wire.lines().pop().unwrap(), line);
    }
    let client = wire.builder().subscription_path("../api").build();
    let error = match client {
        Ok(client) => client.subscription("token").info().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error.kind(), ErrorKind::Request | ErrorKind::Build));
    assert_eq!(wire.lines().len(), 2);
}

#[tokio::test]
async fn an_unknown_token_is_not_found_and_a_page_is_no_subscription() {
    let wire = Wire::script([json(404, r#"{"detail":"Not Found"}"#), html(200), html(404)]).await;
    let client = wire.client();
    let kinds = [ErrorKind::NotFound, ErrorKind::NotPanel, ErrorKind::NotPanel];
    for kind in kinds {
        let error = client.subscription(TOKEN).content("x").await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(!error.is_user_not_found());
    }
    assert!(wire.logins().is_empty());
}

#[tokio::test]
async fn what_no_request_can_carry_is_refused_before_it_is_sent() {
    let wire = Wire::script([]).await;
    let client = wire.client();
    for token in ["", ".", ".."] {
        assert_eq!(
            client.subscription(token).info().await.unwrap_err().kind(),
            ErrorKind::Request
        );
    }
    let error = client.subscription(TOKEN).content("a\nb").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    assert!(wire.lines().is_empty());
}

#[tokio::test]
async fn the_token_of_a_subscription_is_shown_nowhere() {
    let clean = |text: String| assert!(!text.contains("s3cr3t"), "{text}");
    let wire = Wire::script([Reply::Keep(raw(200, HEADERS, LINKS))]).await;
    let client = wire.client();
    clean(format!("{:?}", client.subscription(TOKEN)));
    clean(format!(
        "{:?}",
        client.subscription(TOKEN).content("x").await.unwrap()
    ));
    let wire = Wire::script(vec![internal_error(); 3]).await;
    let nowhere = builder("http://127.0.0.1:1").build().unwrap();
    for client in [wire.client(), nowhere] {
        let error = client.subscription(TOKEN).info().await.unwrap_err();
        clean(format!("{error:?}"));
        let mut link: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = link {
            clean(error.to_string());
            link = error.source();
        }
        assert!(
            error
                .to_string()
                .contains("GET /{subscription_path}/{token}/info"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_link_of_a_subscription_is_completed_by_the_panels_address_and_its_prefix() {
    let of = |url: &str, reported: &str| {
        let client = marzban_api::Client::builder(url)
            .credentials("admin", "admin")
            .build()
            .unwrap();
        let user = serde_json::json!({
            "username": "alice", "status": "active", "used_traffic": 0, "subscription_url": reported,
        });
        client.subscription_link(&serde_json::from_value(user).unwrap())
    };
    for (url, reported, link) in [
        (
            "https://panel:8000",
            "/sub/s3cr3t",
            Some("https://panel:8000/sub/s3cr3t"),
        ),
        (
            "https://panel/prefix/",
            "/sub/s3cr3t",
            Some("https://panel/prefix/sub/s3cr3t"),
        ),
        (
            "https://panel",
            "https://vpn/sub/s3cr3t",
            Some("https://vpn/sub/s3cr3t"),
        ),
        ("https://panel", "", None),
    ] {
        assert_eq!(of(url, reported).as_deref(), link, "{url} {reported}");
    }
}
