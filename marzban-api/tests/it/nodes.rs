//! Nodes, on the bytes of the panel.

use marzban_api::ErrorKind;
use marzban_api::model::{NewNode, NodeStatus, NodeUpdate, UsageRange};
use marzban_api::resource::DeleteOutcome;

use crate::wire::{Reply, Wire, html, internal_error, json, raw};

const NODE: &str = r#"{"name":"DE node","address":"127.0.0.1","port":1,"api_port":2,"usage_coefficient":1.5,"id":1,
    "xray_version":null,"status":"error","message":"[Errno 111] Connection refused"}"#;

fn node() -> Reply {
    json(200, NODE)
}

fn node_not_found() -> Reply {
    json(404, r#"{"detail":"Node not found"}"#)
}

fn body(wire: &Wire) -> serde_json::Value {
    let request = wire.requests().pop().unwrap();
    assert_eq!(request.header("content-type"), Some("application/json"));
    serde_json::from_str(&request.body).unwrap()
}

#[tokio::test]
async fn nodes_are_listed_with_states_this_version_does_not_know() {
    let older = r#"{"name":"FI node","address":"fi.example","id":2,"status":"resting"}"#;
    let wire = Wire::script([json(200, &format!("[{NODE},{older}]"))]).await;
    let nodes = wire.client().nodes().list().await.unwrap();
    assert_eq!(wire.lines(), ["GET /api/nodes"]);
    assert_eq!(
        (nodes[0].id, nodes[0].port, nodes[0].api_port),
        (1, Some(1), Some(2))
    );
    assert_eq!(nodes[0].usage_coefficient, Some(1.5));
    assert_eq!(nodes[0].status, NodeStatus::Error);
    assert_eq!(
        nodes[0].message.as_deref(),
        Some("[Errno 111] Connection refused")
    );
    assert_eq!(nodes[1].status, NodeStatus::Unknown("resting".to_owned()));
    assert_eq!(nodes[1].port, None);
}

#[tokio::test]
async fn one_node_is_read_by_its_id() {
    let wire = Wire::script([node()]).await;
    assert_eq!(wire.client().nodes().get(1).await.unwrap().name, "DE node");
    assert_eq!(wire.lines(), ["GET /api/node/1"]);
}

#[tokio::test]
async fn the_settings_of_nodes_are_read_and_their_certificate_is_not_shown() {
    let settings = r#"{"min_node_version":"v0.2.0","certificate":"-----BEGIN CERTIFICATE-----"}"#;
    let wire = Wire::script([json(200, settings)]).await;
    let settings = wire.client().nodes().settings().await.unwrap();
    assert_eq!(wire.lines(), ["GET /api/node/settings"]);
    assert_eq!(settings.certificate, "-----BEGIN CERTIFICATE-----");
    assert_eq!(settings.min_node_version.as_deref(), Some("v0.2.0"));
    assert!(!format!("{settings:?}").contains("BEGIN"));
}

#[tokio::test]
async fn a_node_is_created_with_the_given_settings_and_without_a_host() {
    let wire = Wire::script([node(), node()]).await;
    let nodes = wire.client();
    nodes
        .nodes()
        .create(&NewNode::new("DE node", "127.0.0.1"))
        .await
        .unwrap();
    assert_eq!(
        body(&wire),
        serde_json::json!({"name": "DE node", "address": "127.0.0.1", "add_as_new_host": false})
    );
    let node = NewNode::new("DE node", "127.0.0.1")
        .port(1)
        .api_port(2)
        .add_as_new_host();
    let made = nodes.nodes().create(&node).await.unwrap();
    assert_eq!(made.id, 1);
    assert_eq!(
        body(&wire),
        serde_json::json!({"name": "DE node", "address": "127.0.0.1", "port": 1, "api_port": 2, "add_as_new_host": true})
    );
    assert_eq!(wire.lines(), ["POST /api/node", "POST /api/node"]);
}

#[tokio::test]
async fn a_node_of_a_name_that_is_taken_is_a_conflict() {
    let wire = Wire::script([json(409, r#"{"detail":"Node \"DE node\" already exists"}"#)]).await;
    let error = wire
        .client()
        .nodes()
        .create(&NewNode::new("DE node", "x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(
        error.detail().unwrap().to_string(),
        r#"Node \"DE node\" already exists"#
    );
}

#[tokio::test]
async fn an_update_of_a_node_sends_only_what_is_set() {
    let wire = Wire::script([node(), node(), node()]).await;
    let client = wire.client();
    let change = NodeUpdate::new().name("DE node").usage_coefficient(1.5);
    assert_eq!(
        client.nodes().update(1, &change).await.unwrap().usage_coefficient,
        Some(1.5)
    );
    assert_eq!(
        body(&wire),
        serde_json::json!({"name": "DE node", "usage_coefficient": 1.5})
    );
    client
        .nodes()
        .update(1, &NodeUpdate::new().disable())
        .await
        .unwrap();
    assert_eq!(body(&wire), serde_json::json!({"status": "disabled"}));
    let moved = NodeUpdate::new()
        .address("de.example")
        .port(3)
        .api_port(4)
        .enable();
    client.nodes().update(1, &moved).await.unwrap();
    assert_eq!(
        body(&wire),
        serde_json::json!({"address": "de.example", "port": 3, "api_port": 4, "status": "connecting"})
    );
    assert_eq!(wire.lines(), vec!["PUT /api/node/1"; 3]);
}

#[tokio::test]
async fn a_failed_update_of_a_node_is_indeterminate_and_not_retried() {
    for reply in [
        internal_error(),
        json(502, "{}"),
        Reply::Close(Vec::new()),
        Reply::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec()),
    ] {
        let wire = Wire::script([reply]).await;
        let change = NodeUpdate::new().name("FI node");
        let error = wire.client().nodes().update(1, &change).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate);
        assert!(!error.is_retryable());
        assert_eq!(wire.lines(), ["PUT /api/node/1"]);
    }
}

#[tokio::test]
async fn a_success_that_cannot_be_decoded_is_indeterminate() {
    let large = format!(r#"{{"detail":"{}"}}"#, "x".repeat(5000));
    for answer in ["[1]", large.as_str()] {
        let wire = Wire::script([json(200, answer), json(200, answer), json(422, &large)]).await;
        let client = wire.builder().max_body_bytes(4096).build().unwrap();
        let error = client
            .nodes()
            .update(1, &NodeUpdate::new().name("FI"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        let error = client.nodes().reconnect(1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        // A refusal is one, however long.
        let error = client.nodes().reconnect(1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert_eq!(wire.lines().len(), 3);
    }
}

#[tokio::test]
async fn a_page_is_no_confirmation_of_a_change() {
    let wire = Wire::script([html(200), html(200)]).await;
    let client = wire.client();
    assert_eq!(
        client.nodes().reconnect(1).await.unwrap_err().kind(),
        ErrorKind::UnexpectedResponse
    );
    assert_eq!(
        client.nodes().delete(1).await.unwrap_err().kind(),
        ErrorKind::UnexpectedResponse
    );
}

#[tokio::test]
async fn a_node_is_reconnected() {
    let wire = Wire::script([
        json(200, r#"{"detail":"Reconnection task scheduled"}"#),
        node_not_found(),
    ])
    .await;
    let client = wire.client();
    client.nodes().reconnect(1).await.unwrap();
    assert_eq!(
        client.nodes().reconnect(999).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        wire.lines(),
        ["POST /api/node/1/reconnect", "POST /api/node/999/reconnect"]
    );
}

#[tokio::test]
async fn the_deletion_of_a_node_is_confirmed_or_was_needless() {
    let empty = Reply::Keep(raw(204, "", ""));
    let wire = Wire::script([json(200, "{}"), empty, node_not_found()]).await;
    let client = wire.client();
    assert_eq!(client.nodes().delete(1).await.unwrap(), DeleteOutcome::Deleted);
    assert_eq!(client.nodes().delete(1).await.unwrap(), DeleteOutcome::Deleted);
    assert_eq!(client.nodes().delete(1).await.unwrap(), DeleteOutcome::NotFound);
    assert_eq!(wire.lines(), vec!["DELETE /api/node/1"; 3]);
}

#[tokio::test]
async fn an_unknown_route_does_not_prove_that_a_node_is_gone() {
    for reply in [json(404, r#"{"detail":"Not Found"}"#), html(404)] {
        let wire = Wire::script([reply.clone(), internal_error(), reply]).await;
        let client = wire.client();
        assert!(client.nodes().delete(1).await.is_err());
        assert_eq!(
            client.nodes().delete(1).await.unwrap_err().kind(),
            ErrorKind::Indeterminate
        );
    }
}

#[tokio::test]
async fn an_ambiguous_deletion_of_a_node_is_verified() {
    let wire = Wire::script([internal_error(), node_not_found(), internal_error(), node()]).await;
    let client = wire.client();
    assert_eq!(client.nodes().delete(1).await.unwrap(), DeleteOutcome::Deleted);
    assert_eq!(
        client.nodes().delete(1).await.unwrap_err().kind(),
        ErrorKind::Server
    );
    let both = ["DELETE /api/node/1", "GET /api/node/1"];
    assert_eq!(wire.lines(), [both, both].concat());
}

#[tokio::test]
async fn the_usage_of_nodes_names_its_zone() {
    let usages = r#"{"usages":[{"node_id":null,"node_name":"Master","uplink":30868917,"downlink":92606752},
        {"node_id":1,"node_name":"DE node","uplink":0,"downlink":5}]}"#;
    let wire = Wire::script([json(200, usages), json(200, usages), json(200, usages)]).await;
    let client = wire.client();
    let [start, end] = ["2026-11-01T00:00:00.5Z", "2026-11-02T03:30:00+03:30"]
        .map(|text| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap());
    let usages = client
        .nodes()
        .usage(UsageRange::between(start, end))
        .await
        .unwrap();
    assert_eq!(
        (usages[0].node_id, usages[0].uplink, usages[0].downlink),
        (None, 30_868_917, 92_606_752)
    );
    assert_eq!(
        (usages[1].node_id, usages[1].node_name.as_str()),
        (Some(1), "DE node")
    );
    client.nodes().usage(UsageRange::since(start)).await.unwrap();
    client.nodes().usage(UsageRange::last_30_days()).await.unwrap();
    assert_eq!(
        wire.lines(),
        [
            "GET /api/nodes/usage?start=2026-11-01T00%3A00%3A00Z&end=2026-11-02T00%3A00%3A00Z",
            "GET /api/nodes/usage?start=2026-11-01T00%3A00%3A00Z",
            "GET /api/nodes/usage",
        ]
    );
}

#[tokio::test]
async fn nodes_are_forbidden_without_sudo_rights() {
    let wire = Wire::script([json(403, r#"{"detail":"You're not allowed"}"#)]).await;
    let error = wire.client().nodes().list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert_eq!(error.operation(), "nodes.list");
}
