//! Webhooks: which are accepted, how they are decoded, and what an axum handler gets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use marzban_api::webhook::{self, Event, MAX_BODY_BYTES, Webhook, WebhookError, WebhookSecret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const USER: &str = r#"{"username":"alice","status":"active","used_traffic":7,"proxies":{"vless":{"id":"s3cr3t"}},
    "links":["vless://s3cr3t"],"subscription_url":"/sub/s3cr3t","admin":null}"#;

const BY: &str =
    r#"{"username":"admin","is_sudo":true,"telegram_id":null,"discord_webhook":null,"users_usage":null}"#;

fn note(action: &str, rest: &str) -> String {
    format!(
        r#"{{"enqueued_at":1795378673.323213,"send_at":1795378709.392242,"tries":1,"username":"alice","action":"{action}"{rest}}}"#
    )
}

fn of_user(action: &str) -> String {
    note(action, &format!(r#","user":{USER},"by":{BY},"reason":null"#))
}

fn read(body: &str) -> Vec<Result<webhook::Notification, webhook::UnreadableNotification>> {
    webhook::parse(body.as_bytes()).unwrap()
}

#[test]
fn all_twelve_actions_are_read_with_what_they_carry() {
    let batch = [
        of_user("user_created"),
        of_user("user_updated"),
        note("user_deleted", &format!(r#","by":{BY}"#)),
        of_user("user_limited"),
        of_user("user_expired"),
        note("user_enabled", &format!(r#","user":{USER},"by":null"#)),
        of_user("user_disabled"),
        of_user("data_usage_reset"),
        of_user("data_reset_by_next"),
        of_user("subscription_revoked"),
        note(
            "reached_usage_percent",
            &format!(r#","user":{USER},"used_percent":80.5"#),
        ),
        note("reached_days_left", &format!(r#","user":{USER},"days_left":3"#)),
    ];
    let notes: Vec<_> = read(&format!("[{}]", batch.join(",")))
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let actions: Vec<_> = notes.iter().map(|note| note.event.action()).collect();
    assert_eq!(
        actions,
        [
            "user_created",
            "user_updated",
            "user_deleted",
            "user_limited",
            "user_expired",
            "user_enabled",
            "user_disabled",
            "data_usage_reset",
            "data_reset_by_next",
            "subscription_revoked",
            "reached_usage_percent",
            "reached_days_left",
        ]
    );
    for note in &notes {
        assert!(!matches!(note.event, Event::Unknown { .. }), "{note:?}");
        assert_eq!((note.username.as_str(), note.tries), ("alice", 1));
        assert_eq!(
            note.enqueued_at.unwrap().timestamp_micros(),
            1_795_378_673_323_213
        );
        assert_eq!(note.send_at.unwrap().timestamp_micros(), 1_795_378_709_392_242);
        let used = note.event.user().map(|user| user.used_traffic);
        let expected = (note.event.action() != "user_deleted").then_some(7);
        assert_eq!(used, expected, "{note:?}");
    }
    let by = |event: &Event| match event {
        Event::UserCreated { by, .. } | Event::UserDeleted { by } | Event::UserEnabled { by, .. } => {
            by.as_ref().map(|admin| admin.username.clone())
        }
        _ => panic!("{event:?}"),
    };
    assert_eq!(by(&notes[0].event).as_deref(), Some("admin"));
    assert_eq!(by(&notes[2].event).as_deref(), Some("admin"));
    assert_eq!(by(&notes[5].event), None);
    assert!(matches!(
        notes[10].event,
        Event::ReachedUsagePercent {
            used_percent: 80.5,
            ..
        }
    ));
    assert!(matches!(
        notes[11].event,
        Event::ReachedDaysLeft { days_left: 3, .. }
    ));
}

#[test]
fn an_unknown_action_is_kept_whole_and_not_shown() {
    let notes = read(&format!("[{}]", note("user_moved", r#","to":"s3cr3t""#)));
    let note = notes[0].as_ref().unwrap();
    let Event::Unknown { action, payload } = &note.event else {
        panic!("{note:?}");
    };
    assert_eq!(
        (action.as_str(), payload["to"].as_str()),
        ("user_moved", Some("s3cr3t"))
    );
    assert_eq!(note.username, "alice");
    assert!(!format!("{note:?}").contains("s3cr3t"));
}

#[test]
fn one_broken_notification_does_not_lose_the_others() {
    let broken = note(
        "user_expired",
        r#","user":{"username":"s3cr3t","status":"active","used_traffic":"s3cr3t"}"#,
    );
    let batch = [
        of_user("user_limited"),
        broken,
        "7".to_owned(),
        of_user("user_expired"),
        note("user_created", ""),
    ];
    let notes = read(&format!("[{}]", batch.join(",")));
    let readable: Vec<_> = notes.iter().map(Result::is_ok).collect();
    assert_eq!(readable, [true, false, false, true, false]);
    let error = notes[1].as_ref().unwrap_err();
    assert_eq!(
        (error.action.as_deref(), error.username.as_deref()),
        (Some("user_expired"), Some("alice"))
    );
    let source = std::error::Error::source(error).unwrap().to_string();
    assert!(source.starts_with("at `user.used_traffic`:"), "{source}");
    assert!(!format!("{error:?} {source}").contains("s3cr3t"));
    let error = notes[2].as_ref().unwrap_err();
    assert_eq!((&error.action, &error.username), (&None, &None));
    assert!(std::error::Error::source(notes[4].as_ref().unwrap_err()).is_some());
}

#[test]
fn times_that_are_none_count_as_absent() {
    let odd = r#"[{"action":"user_deleted","username":"alice","enqueued_at":"soon","send_at":1e300}]"#;
    let note = read(odd).remove(0).unwrap();
    assert_eq!((note.enqueued_at, note.send_at, note.tries), (None, None, 0));
}

#[test]
fn what_is_no_array_is_no_batch() {
    for body in ["", "{}", "null", "[", "[1]x", "<html>"] {
        let refusal = webhook::parse(body.as_bytes()).unwrap_err();
        assert!(matches!(refusal, WebhookError::NotABatch(_)), "{body}");
    }
    assert!(read("[]").is_empty());
}

type Log = Arc<Mutex<Vec<String>>>;

#[derive(Clone)]
struct App {
    secret: WebhookSecret,
    log: Log,
}

impl axum::extract::FromRef<App> for WebhookSecret {
    fn from_ref(app: &App) -> Self {
        app.secret.clone()
    }
}

async fn receive(State(app): State<App>, Webhook(batch): Webhook) -> StatusCode {
    let words = batch.iter().map(|note| match note {
        Ok(note) => format!("{} {}", note.event.action(), note.username),
        Err(error) => error.to_string(),
    });
    app.log.lock().unwrap().extend(words);
    StatusCode::NO_CONTENT
}

async fn receiver(secret: WebhookSecret) -> (SocketAddr, Log) {
    let log = Log::default();
    let app = App {
        secret,
        log: Arc::clone(&log),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/hook", post(receive)).with_state(app);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, log)
}

/// Posts as the panel does and answers with the status line.
async fn deliver(address: SocketAddr, secret: &str, length: usize, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /hook HTTP/1.1\r\nHost: hook\r\nUser-Agent: python-requests/2.32.3\r\n{secret}Connection: close\r\n\
         Content-Length: {length}\r\nContent-Type: application/json\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    while !answer.contains(&b'\n') {
        let read = stream.read(&mut chunk).await.unwrap();
        assert_ne!(read, 0, "no answer");
        answer.extend_from_slice(&chunk[..read]);
    }
    let line = answer.split(|byte| *byte == b'\r').next().unwrap();
    String::from_utf8(line.to_vec()).unwrap()
}

const SECRET: &str = "x-webhook-secret: s3cr3t-hook\r\n";

#[tokio::test]
async fn an_axum_handler_is_given_the_whole_batch() {
    let (address, log) = receiver(WebhookSecret::new("s3cr3t-hook")).await;
    // A backlog that is larger than axum's own limit of 2 MB.
    let backlog = vec![of_user("user_updated"); 6000];
    let body = format!("[{},{},7]", of_user("user_expired"), backlog.join(","));
    assert!(body.len() > 2 * 1024 * 1024);
    let line = deliver(address, SECRET, body.len(), &body).await;
    assert_eq!(line, "HTTP/1.1 204 No Content");
    let log = log.lock().unwrap();
    assert_eq!((log.len(), log[0].as_str()), (6002, "user_expired alice"));
    assert_eq!(log[6001], "a notification cannot be decoded");
}

#[tokio::test]
async fn an_axum_handler_is_not_called_for_strangers_and_for_what_is_no_batch() {
    let (address, log) = receiver(WebhookSecret::new("s3cr3t-hook")).await;
    for (secret, length, body, status) in [
        ("", 2, "[]", "HTTP/1.1 401 Unauthorized"),
        (
            "x-webhook-secret: other\r\n",
            2,
            "[]",
            "HTTP/1.1 401 Unauthorized",
        ),
        // The secret is looked at first: a stranger's body is not waited for.
        ("", 99_999_999, "[", "HTTP/1.1 401 Unauthorized"),
        (SECRET, 2, "{}", "HTTP/1.1 400 Bad Request"),
        (SECRET, MAX_BODY_BYTES + 1, "[", "HTTP/1.1 413 Payload Too Large"),
    ] {
        assert_eq!(deliver(address, secret, length, body).await, status);
    }
    assert!(log.lock().unwrap().is_empty());
    let (address, _log) = receiver(WebhookSecret::danger_accept_anyone()).await;
    assert_eq!(deliver(address, "", 2, "[]").await, "HTTP/1.1 204 No Content");
}
