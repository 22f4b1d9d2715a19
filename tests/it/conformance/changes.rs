//! What `MarzbanPanel` sends to change a user, and what it makes of answers that hide what came of it.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use marzban_api::testing::{FakeNextPlan, FakePanel, FakeStatus, FakeUser, Fault};
use marzban_api::{Client, Throttle};
use marzban_sync_core::error::PanelErrorKind;
use marzban_sync_core::observation::{Observation, PanelStatus};
use marzban_sync_core::panel::{ExpectedUser, MarzbanPanel, Panel, UpdateOutcome};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::fake::Fake;

fn end() -> DateTime<Utc> {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn later() -> DateTime<Utc> {
    end() + TimeDelta::days(30)
}

fn born() -> DateTime<Utc> {
    "2025-01-01T10:00:00.123456Z".parse().unwrap()
}

fn expected() -> ExpectedUser {
    ExpectedUser {
        expire: Some(end()),
        created_at: Some(born()),
    }
}

/// One user in front of whom everything that is sent is kept: the bodies of all changes.
#[derive(Clone)]
struct Wire {
    user: Arc<Mutex<Value>>,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Wire {
    /// Serves the user, and does to it what changes say.
    async fn serve(user: Value) -> (Self, MarzbanPanel) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let wire = Self {
            user: Arc::new(Mutex::new(user)),
            bodies: Arc::default(),
        };
        let served = wire.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().answer(stream));
            }
        });
        let client = Client::builder(&url).credentials("admin", "admin");
        let client = client.throttle(Throttle::none()).build().unwrap();
        (wire, MarzbanPanel::new(client))
    }

    async fn answer(self, mut stream: TcpStream) {
        while let Some((method, body)) = request(&mut stream).await {
            let answer = match method.as_str() {
                "POST" => json!({"access_token": "token"}),
                "PUT" => self.change(&serde_json::from_str(&body).unwrap()),
                _ => self.user.lock().unwrap().clone(),
            };
            let answer = answer.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            stream.write_all((head + &answer).as_bytes()).await.unwrap();
        }
    }

    fn change(&self, body: &Value) -> Value {
        self.bodies.lock().unwrap().push(body.clone());
        let mut user = self.user.lock().unwrap();
        for key in ["expire", "status"] {
            if let Some(value) = body.get(key) {
                user[key] = value.clone();
            }
        }
        user["next_plan"] = body.get("next_plan").cloned().unwrap_or_default();
        user.clone()
    }
}

/// The next request of a connection: its method and its body.
async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase().lines().find_map(|line| {
                let length = line.strip_prefix("content-length: ")?;
                length.parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or_default() {
                let method = head.split_once(' ')?.0;
                return Some((method.to_owned(), body.to_owned()));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn user(next_plan: &Value) -> Value {
    json!({
        "username": "alice", "status": "limited", "expire": end().timestamp(), "used_traffic": 5,
        "created_at": "2025-01-01T10:00:00.123456", "online_at": null, "data_limit": 5, "note": "paid",
        "data_limit_reset_strategy": "month", "auto_delete_in_days": 14, "next_plan": next_plan,
        "proxies": {"vless": {"id": "11111111-1111-4111-8111-111111111111", "flow": ""}},
        "inbounds": {"vless": ["VLESS TCP"]}, "excluded_inbounds": {"vless": []}, "admin": null,
        "on_hold_expire_duration": null, "on_hold_timeout": null,
    })
}

#[tokio::test]
async fn a_change_sends_what_changes_and_the_present_plan_and_nothing_else() {
    let plan = json!({
        "data_limit": 2_147_483_648_u64, "expire": 1_798_837_182, "add_remaining_traffic": true,
        "fire_on_either": false,
    });
    for next_plan in [plan, Value::Null] {
        let (wire, panel) = Wire::serve(user(&next_plan)).await;
        let extended = panel.extend_user("alice", &expected(), later()).await;
        assert_eq!(extended.unwrap(), UpdateOutcome::Done);
        let expected = ExpectedUser {
            expire: Some(later()),
            ..expected()
        };
        let disabled = panel.disable_user("alice", &expected).await;
        assert_eq!(disabled.unwrap(), UpdateOutcome::Done);
        assert_eq!(
            *wire.bodies.lock().unwrap(),
            [
                json!({"expire": later().timestamp(), "next_plan": next_plan}),
                json!({"status": "disabled", "next_plan": next_plan}),
            ]
        );
    }
}

/// The fake panel with `alice`, who is as [`expected`].
async fn fake() -> (FakePanel, MarzbanPanel) {
    let fake = Fake::start().await;
    let plan = FakeNextPlan {
        data_limit: 5,
        expire: None,
        add_remaining_traffic: true,
        fire_on_either: true,
    };
    let alice = FakeUser::new("alice")
        .expire(end().timestamp())
        .created_at(born());
    fake.panel.insert_user(alice.next_plan(plan));
    let panel = MarzbanPanel::new(fake.client());
    (fake.panel, panel)
}

#[tokio::test]
async fn what_is_refused_or_done_already_is_not_sent() {
    let (fake, panel) = fake().await;
    let another = ExpectedUser {
        created_at: Some(born() + TimeDelta::microseconds(1)),
        ..expected()
    };
    let sooner = ExpectedUser {
        expire: Some(end() - TimeDelta::seconds(1)),
        ..expected()
    };
    for expected in [another, sooner] {
        for outcome in [
            panel.extend_user("alice", &expected, later()).await.unwrap(),
            panel.disable_user("alice", &expected).await.unwrap(),
        ] {
            assert!(
                matches!(outcome, UpdateOutcome::Changed(Observation::Found(_))),
                "{outcome:?}"
            );
        }
    }
    for status in [FakeStatus::OnHold, FakeStatus::Disabled] {
        fake.update_user("alice", |alice| alice.status = status);
        let outcome = panel.extend_user("alice", &expected(), later()).await;
        let is_told = matches!(outcome, Ok(UpdateOutcome::Changed(Observation::Found(_))));
        assert!(is_told, "{status}");
    }
    let disabled = panel.disable_user("alice", &expected()).await;
    assert_eq!(disabled.unwrap(), UpdateOutcome::Done);
    fake.update_user("alice", |alice| {
        alice.status = FakeStatus::Active;
        alice.expire = Some(later().timestamp());
    });
    let extended = panel.extend_user("alice", &expected(), later()).await;
    assert_eq!(extended.unwrap(), UpdateOutcome::Done);
    for end in [DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC] {
        let error = panel.extend_user("alice", &expected(), end).await.unwrap_err();
        assert_eq!(error.kind(), PanelErrorKind::Invalid);
    }
    assert_eq!(fake.count("PUT", "/api/user/alice"), 0);
}

#[tokio::test]
async fn whatever_hides_the_answer_to_a_change_the_user_tells_what_came_of_it() {
    use PanelErrorKind::{Invalid, Refused, Unavailable, Unclear};
    for (fault, outcome) in [
        (Fault::DropAfterCommit, Ok(UpdateOutcome::Done)),
        (Fault::TruncatedBody, Ok(UpdateOutcome::Done)),
        (Fault::DropConnection, Err(Unclear)),
        (Fault::HtmlBody(200), Err(Unclear)),
        (Fault::HtmlBody(403), Err(Unclear)),
        (Fault::NotFoundHtml, Err(Unclear)),
        (Fault::HtmlBody(504), Err(Unclear)),
        (Fault::Status(500), Err(Invalid)),
        (Fault::Status(404), Err(Unavailable)),
        (Fault::TooManyRequests { retry_after: 0 }, Err(Unavailable)),
        (Fault::Status(403), Err(Invalid)),
        (Fault::Status(422), Err(Invalid)),
        (Fault::Unauthorized, Err(Refused)),
    ] {
        let (fake, panel) = fake().await;
        let before = fake.user("alice");
        fake.inject(fault.clone().always().method("PUT"));
        let extended = panel.extend_user("alice", &expected(), later()).await;
        assert_eq!(extended.map_err(|error| error.kind()), outcome, "{fault:?}");
        assert_eq!(fake.user("alice") == before, outcome.is_err(), "{fault:?}");

        fake.insert_user(before.clone().unwrap());
        let disabled = panel.disable_user("alice", &expected()).await;
        assert_eq!(disabled.map_err(|error| error.kind()), outcome, "{fault:?}");
        assert_eq!(fake.user("alice") == before, outcome.is_err(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_user_that_goes_or_changes_in_between_is_not_taken_for_done() {
    let (fake, panel) = fake().await;
    fake.on_request(|panel, request| async move {
        if request.method == "PUT" {
            panel.remove_user("alice");
        }
    });
    let extended = panel.extend_user("alice", &expected(), later()).await;
    assert_eq!(extended.unwrap(), UpdateOutcome::Changed(Observation::NotFound));
    let alice = FakeUser::new("alice")
        .expire(end().timestamp())
        .created_at(born());
    fake.insert_user(alice.clone());
    let disabled = panel.disable_user("alice", &expected()).await;
    assert_eq!(disabled.unwrap(), UpdateOutcome::Done);

    // Somebody else changes the user right after this change.
    fake.clear_hooks();
    fake.insert_user(alice);
    let reads = fake.count("GET", "/api/user/alice");
    fake.on_request(move |panel, request| async move {
        if request.method == "GET" && panel.count("GET", "/api/user/alice") == reads + 2 {
            panel.update_user("alice", |alice| alice.expire = Some(end().timestamp()));
        }
    });
    let extended = panel.extend_user("alice", &expected(), later()).await;
    assert_eq!(extended.unwrap_err().kind(), PanelErrorKind::Unclear);
}

#[tokio::test]
async fn a_proxy_or_an_outage_after_a_change_leaves_it_unclear() {
    let (fake, panel) = fake().await;
    fake.on_request(|panel, request| async move {
        if request.method == "PUT" {
            panel.inject(Fault::HtmlBody(502).always().method("GET"));
        }
    });
    let extended = panel.extend_user("alice", &expected(), later()).await;
    assert_eq!(extended.unwrap_err().kind(), PanelErrorKind::Unclear);
    fake.clear_faults();
    let seen = panel.user("alice").await.unwrap();
    let is_extended = matches!(&seen, Observation::Found(user) if user.expire == Some(later()) && user.status == PanelStatus::Active);
    assert!(is_extended, "{seen:?}");
}
