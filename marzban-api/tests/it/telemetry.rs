//! Metrics and spans of operations, without secrets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use marzban_api::ErrorKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::wire::{Wire, html, internal_error, json, one, refused, system};

#[test]
fn requests_repetitions_and_logins_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let wire = Wire::script([
                internal_error(),
                system(),
                system(),
                refused(),
                system(),
                html(404),
            ])
            .await;
            let client = wire.builder().panel_name("de-1").build().unwrap();
            for _ in 0..3 {
                client.system().stats().await.unwrap();
            }
            let error = client.users().get("s3cr3t").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedResponse);
        });
    });
    let mut counters = BTreeMap::new();
    let mut durations = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<_> = key.key().labels().map(metrics::Label::value).collect();
        let name = format!("{} {}", key.key().name(), labels.join(" "));
        match value {
            DebugValue::Counter(count) => drop(counters.insert(name, count)),
            DebugValue::Histogram(values) => drop(durations.insert(name, values.len())),
            DebugValue::Gauge(_) => panic!("{name} is a gauge"),
        }
    }
    let expected = [
        ("marzban_api_logins_total de-1 ok", 2),
        ("marzban_api_requests_total de-1 admins.token ok", 2),
        ("marzban_api_requests_total de-1 system.stats ok", 3),
        ("marzban_api_requests_total de-1 users.get unexpected_response", 1),
        ("marzban_api_retries_total de-1 admins.token", 0),
        ("marzban_api_retries_total de-1 system.stats", 2),
        ("marzban_api_retries_total de-1 users.get", 0),
    ];
    assert_eq!(
        counters,
        expected.map(|(name, count)| (name.to_owned(), count)).into()
    );
    let expected = [
        ("marzban_api_request_duration_seconds de-1 admins.token", 2),
        ("marzban_api_request_duration_seconds de-1 system.stats", 3),
        ("marzban_api_request_duration_seconds de-1 users.get", 1),
    ];
    assert_eq!(
        durations,
        expected.map(|(name, count)| (name.to_owned(), count)).into()
    );
}

/// Writes down the fields of all spans and events of this crate.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<String>>);

impl Visit for Journal {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0.lock().unwrap(), "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("marzban_api")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn the_span_of_an_operation_has_its_outcome_and_no_secret() {
    let journal = Journal::default();
    let text = Arc::clone(&journal.0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // While only one subscriber lives, a callsite is switched on or off for all by the thread that meets it first, and
    // the threads of other tests have none. With two, every subscriber is asked.
    let _second = tracing::Dispatch::new(Journal::default());
    tracing::subscriber::with_default(journal, || {
        runtime.block_on(async {
            let not_found = json(404, r#"{"detail":"User not found"}"#);
            let wire = Wire::with_logins(
                |_| crate::wire::granted("s3cr3t-token"),
                [
                    internal_error(),
                    one("s3cr3t-name"),
                    not_found,
                    json(404, r#"{"detail":"Not Found"}"#),
                ],
            )
            .await;
            let client = wire.client();
            client.users().get("s3cr3t-name").await.unwrap();
            text.lock().unwrap().push('\n');
            client.users().get("s3cr3t-name").await.unwrap_err();
            text.lock().unwrap().push('\n');
            client.subscription("s3cr3t-sub").info().await.unwrap_err();
        });
    });
    let text = text.lock().unwrap();
    assert!(!text.contains("s3cr3t") && !text.contains("pass-w0rd"), "{text}");
    let [first, second, third] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("{text}");
    };
    let begin = r#"panel.name="default" operation="users.get" method=GET path="/api/user/{username}" "#;
    assert!(first.starts_with(begin), "{first}");
    assert!(
        first.contains(
            r#"panel.name="default" operation="admins.token" method=POST path="/api/admin/token" "#
        ),
        "{first}"
    );
    assert!(
        first.ends_with(r#"status=200 attempts=2 outcome="ok" "#),
        "{first}"
    );
    assert!(
        second.ends_with(r#"status=404 attempts=1 outcome="not_found" "#),
        "{second}"
    );
    assert!(third.starts_with(
        r#"panel.name="default" operation="subscription.info" method=GET path="/{subscription_path}/{token}/info" "#
    ));
}
