//! The core, its inbounds and their hosts, on the bytes of the panel.

use std::collections::BTreeMap;

use marzban_api::ErrorKind;
use marzban_api::model::{Host, HostAlpn, HostFingerprint, HostSecurity, InboundPort};
use serde_json::{Value, json};

use crate::wire::{Reply, Wire, html, internal_error, json as answer};

fn body(wire: &Wire) -> Value {
    serde_json::from_str(&wire.requests().pop().unwrap().body).unwrap()
}

#[tokio::test]
async fn the_state_of_the_core_is_read() {
    let stats = r#"{"version":"1.8.24","started":true,"logs_websocket":"/api/core/logs"}"#;
    let wire = Wire::script([answer(200, stats)]).await;
    let stats = wire.client().core().stats().await.unwrap();
    assert_eq!((stats.version.as_str(), stats.started), ("1.8.24", true));
    assert_eq!(stats.logs_websocket.as_deref(), Some("/api/core/logs"));
    assert_eq!(wire.lines(), ["GET /api/core"]);
}

#[tokio::test]
async fn the_core_is_restarted_once() {
    let wire = Wire::script([answer(200, "{}"), internal_error(), html(200)]).await;
    let client = wire.client();
    client.core().restart().await.unwrap();
    assert_eq!(
        client.core().restart().await.unwrap_err().kind(),
        ErrorKind::Indeterminate
    );
    assert_eq!(
        client.core().restart().await.unwrap_err().kind(),
        ErrorKind::UnexpectedResponse
    );
    assert_eq!(wire.lines(), vec!["POST /api/core/restart"; 3]);
}

#[tokio::test]
async fn the_configuration_of_the_core_is_read_and_replaced_whole() {
    let config =
        r#"{"log":{"loglevel":"warning"},"inbounds":[{"tag":"A","port":443,"x":1.5}],"outbounds":[]}"#;
    let wire = Wire::script([answer(200, config), answer(200, config)]).await;
    let client = wire.client();
    let read = client.core().config().await.unwrap();
    assert_eq!(read["inbounds"][0], json!({"tag": "A", "port": 443, "x": 1.5}));
    assert_eq!(client.core().replace_config(&read).await.unwrap(), read);
    assert_eq!(body(&wire), serde_json::from_str::<Value>(config).unwrap());
    assert_eq!(wire.lines(), ["GET /api/core/config", "PUT /api/core/config"]);
}

#[tokio::test]
async fn a_configuration_that_the_panel_does_not_accept_is_rejected() {
    let wire = Wire::script([answer(400, r#"{"detail":"all inbounds must have a unique tag"}"#)]).await;
    let error = wire
        .client()
        .core()
        .replace_config(&serde_json::Map::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(
        error.detail().unwrap().to_string(),
        "all inbounds must have a unique tag"
    );
}

#[tokio::test]
async fn the_port_of_an_inbound_is_a_number_or_a_text() {
    let inbounds = r#"{"vless":[{"tag":"V","protocol":"vless","network":"tcp","tls":"reality","port":8443},
        {"tag":"W","protocol":"vless","network":"ws","tls":"none","port":"1000-2000"}],"newproto":[]}"#;
    let wire = Wire::script([answer(200, inbounds)]).await;
    let inbounds = wire.client().system().inbounds().await.unwrap();
    assert_eq!(wire.lines(), ["GET /api/inbounds"]);
    let vless = &inbounds["vless"];
    assert_eq!(vless[0].port, InboundPort::Number(8443));
    assert_eq!(
        (vless[0].network.as_str(), vless[0].tls.as_str()),
        ("tcp", "reality")
    );
    assert_eq!(vless[1].port, InboundPort::Text("1000-2000".to_owned()));
    assert!(inbounds["newproto"].is_empty());
}

const HOSTS: &str = r#"{"VMess TCP":[{"remark":"r {USERNAME}","address":"{SERVER_IP}","port":null,"sni":null,"host":null,
    "path":null,"security":"inbound_default","alpn":"","fingerprint":"","allowinsecure":null,"is_disabled":null,
    "mux_enable":false,"fragment_setting":null,"noise_setting":null,"random_user_agent":false,"use_sni_as_host":false}],
    "Old":[{"remark":"x","address":"y","security":"quantum","alpn":"h9","fingerprint":"netscape"}]}"#;

#[tokio::test]
async fn hosts_are_read_with_words_this_version_does_not_know() {
    let wire = Wire::script([answer(200, HOSTS)]).await;
    let hosts = wire.client().system().hosts().await.unwrap();
    assert_eq!(wire.lines(), ["GET /api/hosts"]);
    let host = &hosts["VMess TCP"][0];
    assert_eq!(host.security, HostSecurity::InboundDefault);
    assert_eq!(
        (&host.alpn, &host.fingerprint),
        (&HostAlpn::None, &HostFingerprint::None)
    );
    assert!(!host.is_disabled);
    let host = &hosts["Old"][0];
    assert_eq!(host.security, HostSecurity::Unknown("quantum".to_owned()));
    assert_eq!(host.alpn, HostAlpn::Unknown("h9".to_owned()));
    assert_eq!(host.fingerprint, HostFingerprint::Unknown("netscape".to_owned()));
}

#[tokio::test]
async fn hosts_are_replaced_tag_by_tag_and_none_is_an_empty_word() {
    let wire = Wire::script([answer(200, HOSTS)]).await;
    let mut host = Host::new("r", "a.example,b.example");
    host.port = Some(443);
    host.security = HostSecurity::Tls;
    host.fingerprint = HostFingerprint::Browser360;
    host.fragment_setting = Some("10-100,100-200,tlshello".to_owned());
    let hosts = BTreeMap::from([("VMess TCP".to_owned(), vec![host]), ("Old".to_owned(), vec![])]);
    let all = wire.client().system().replace_hosts(&hosts).await.unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(wire.lines(), ["PUT /api/hosts"]);
    assert_eq!(
        body(&wire),
        json!({"Old": [], "VMess TCP": [{
            "remark": "r", "address": "a.example,b.example", "port": 443, "sni": null, "host": null, "path": null,
            "security": "tls", "alpn": "", "fingerprint": "360", "allowinsecure": null, "is_disabled": false,
            "mux_enable": false, "fragment_setting": "10-100,100-200,tlshello", "random_user_agent": false,
            "use_sni_as_host": false,
        }]})
    );
}

#[tokio::test]
async fn hosts_that_the_panel_does_not_accept_are_rejected() {
    let wire = Wire::script([
        answer(400, r#"{"detail":"Inbound Nope doesn't exist"}"#),
        answer(
            422,
            r#"{"detail":{"remark":"Value error, Invalid formatting variables"}}"#,
        ),
        Reply::Close(Vec::new()),
    ])
    .await;
    let client = wire.client();
    let kinds = [ErrorKind::Rejected, ErrorKind::Rejected, ErrorKind::Indeterminate];
    for kind in kinds {
        let error = client.system().replace_hosts(&BTreeMap::new()).await.unwrap_err();
        assert_eq!(error.kind(), kind);
    }
}

#[tokio::test]
async fn the_home_page_is_fetched_without_login() {
    let wire = Wire::script([html(200)]).await;
    let page = wire.client().system().home_page().await.unwrap();
    assert!(page.contains("<h1>"), "{page}");
    assert_eq!(wire.lines(), ["GET /"]);
    assert_eq!(wire.requests()[0].header("authorization"), None);
    assert!(wire.logins().is_empty());
}
