//! What was observed of Marzban 0.8.4, request by request, against the fake panel.
//!
//! A fixture is one long session. Each line is one thing:
//!
//! - `name: METHOD target [as ADMIN] [how body]` is a request, `how` being `json`, `form`, `raw` or a header `k=v`;
//!   `{sub:NAME}` in the target is the token of a user's subscription at that moment.
//! - `= STATUS keys…` is the answer to it: the keys of its object, or of the entries of its list. Behind a `/` are
//!   the keys of what is below a key. A request without an answer prepares another.
//! - `@word keys…` names keys that occur together, for the lines below.
//! - `* word arguments…` does what no request does: time passes, traffic comes, a job runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use marzban_api::testing::FakePanel;
use serde_json::Value;

use super::{Reply, Wire, at};

/// How many objects deep keys are compared: further down they are those of the configuration and of links.
const DEPTH: usize = 2;

/// A request of a fixture, and what the panel answered to it.
struct Exchange<'a> {
    name: &'a str,
    method: &'a str,
    target: &'a str,
    admin: Option<&'a str>,
    /// How the rest is meant, and the rest.
    body: Option<(&'a str, &'a str)>,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Exchange<'a> {
    fn read(line: &'a str) -> Self {
        let (name, rest) = line.split_once(": ").expect("a name and a request");
        let mut words = rest.splitn(3, ' ');
        let method = words.next().expect("a method");
        let target = words.next().expect("a target");
        let mut exchange = Self {
            name,
            method,
            target,
            admin: None,
            body: None,
            headers: Vec::new(),
        };
        let mut rest = words.next().unwrap_or_default();
        while !rest.is_empty() {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            match word {
                "json" | "form" | "raw" => {
                    exchange.body = Some((word, after));
                    break;
                }
                "as" => {
                    let (admin, after) = after.split_once(' ').unwrap_or((after, ""));
                    exchange.admin = Some(admin);
                    rest = after;
                }
                header => {
                    exchange
                        .headers
                        .push(header.split_once('=').expect("a header and its value"));
                    rest = after;
                }
            }
        }
        exchange
    }
}

/// The panel, the tokens of its admins, and how many answers agreed.
struct Session {
    panel: FakePanel,
    tokens: BTreeMap<String, String>,
    /// The token of a subscription that was kept for later.
    kept: String,
    differences: String,
    statuses: usize,
    shapes: usize,
    all: usize,
}

impl Session {
    async fn new() -> Self {
        let panel = FakePanel::builder()
            .now(at("2026-11-22T20:59:42.250Z"))
            .start()
            .await
            .expect("a free port");
        Self {
            panel,
            tokens: BTreeMap::new(),
            kept: String::new(),
            differences: String::new(),
            statuses: 0,
            shapes: 0,
            all: 0,
        }
    }

    async fn walk(&mut self, fixture: &str) {
        let mut pending: Option<(Exchange<'_>, Reply)> = None;
        let mut named: BTreeMap<&str, &str> = BTreeMap::new();
        for line in fixture
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            if let Some(control) = line.strip_prefix("* ") {
                self.control(control);
            } else if line.starts_with('@') {
                let (name, keys) = line.split_once(' ').expect("a name and its keys");
                named.insert(name, keys);
            } else if let Some(expected) = line.strip_prefix("= ") {
                let (exchange, reply) = pending.take().expect("a request before its answer");
                self.compare(&exchange, &reply, expected, &named);
            } else {
                let exchange = Exchange::read(line);
                let reply = self.send(&exchange).await;
                pending = Some((exchange, reply));
            }
        }
    }

    fn control(&mut self, control: &str) {
        let words: Vec<&str> = control.split(' ').collect();
        match words.as_slice() {
            ["wait", seconds] => {
                let seconds = Duration::from_secs(seconds.parse().expect("seconds"));
                self.panel.advance(seconds);
            }
            ["review"] => self.panel.review(),
            ["traffic", user, bytes] => self.panel.add_traffic(user, bytes.parse().expect("bytes")),
            ["keep", user] => self.kept = self.panel.subscription_token(user),
            _ => unreachable!("no such control: {control}"),
        }
    }

    fn fill(&self, target: &str) -> String {
        let Some((before, rest)) = target.split_once("{sub:") else {
            return target.replace("{kept}", &self.kept);
        };
        let (user, after) = rest.split_once('}').expect("a closed brace");
        let token = match user.strip_prefix("legacy:") {
            Some(user) => self.panel.legacy_subscription_token(user),
            None => self.panel.subscription_token(user),
        };
        format!("{before}{token}{after}")
    }

    async fn send(&mut self, exchange: &Exchange<'_>) -> Reply {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nhost: panel.example\r\n",
            exchange.method,
            self.fill(exchange.target)
        );
        if let Some(admin) = exchange.admin {
            let token = self.tokens.get(admin).map_or("unknown", String::as_str);
            let _ = write!(text, "authorization: Bearer {token}\r\n");
        }
        for (name, value) in &exchange.headers {
            let admin = self.tokens.get("admin").map_or("", String::as_str);
            let value = value.replace('+', " ").replace("{token:admin}", admin);
            let _ = write!(text, "{name}: {value}\r\n");
        }
        match exchange.body {
            None => text.push_str("\r\n"),
            Some((how, body)) => {
                let kind = if how == "form" {
                    "x-www-form-urlencoded"
                } else {
                    "json"
                };
                let _ = write!(
                    text,
                    "content-type: application/{kind}\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        }
        let mut wire = Wire::open(&self.panel).await;
        wire.send(&text).await;
        let reply = wire
            .read(exchange.method != "HEAD")
            .await
            .expect("a whole answer");
        if let Some((_, form)) = exchange.body
            && exchange.target == "/api/admin/token"
            && reply.status == 200
        {
            let name = form.split(['=', '&']).nth(1).expect("the name comes first");
            let token = reply.json()["access_token"].as_str().expect("a token").to_owned();
            self.tokens.insert(name.to_owned(), token);
        }
        reply
    }

    fn compare(
        &mut self,
        exchange: &Exchange<'_>,
        reply: &Reply,
        expected: &str,
        named: &BTreeMap<&str, &str>,
    ) {
        let (status, keys) = expected.split_once(' ').unwrap_or((expected, ""));
        let status: u16 = status.parse().expect("a status");
        let wanted: BTreeSet<&str> = keys
            .split_whitespace()
            .flat_map(|key| named.get(key).copied().unwrap_or(key).split(' '))
            .collect();
        let found = shape_of(reply);
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        self.all += 1;
        self.statuses += usize::from(reply.status == status);
        self.shapes += usize::from(wanted == found);
        if reply.status != status || wanted != found {
            let missing: Vec<_> = wanted.difference(&found).collect();
            let extra: Vec<_> = found.difference(&wanted).collect();
            let _ = writeln!(
                self.differences,
                "{}: {} instead of {status}, without {missing:?}, with {extra:?}",
                exchange.name, reply.status
            );
        }
    }
}

/// The keys of a JSON body with those of the objects below, each path once; what is keyed by data has no shape.
fn shape_of(reply: &Reply) -> BTreeSet<String> {
    let mut shape = BTreeSet::new();
    if let Ok(body) = serde_json::from_slice::<Value>(&reply.body) {
        collect(&body, "", DEPTH, &mut shape);
    }
    shape
}

fn collect(value: &Value, path: &str, depth: usize, shape: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, below) in object {
                let path = format!("{path}{}", key.replace(' ', "_"));
                if depth > 1 {
                    collect(below, &format!("{path}/"), depth - 1, shape);
                }
                shape.insert(path);
            }
        }
        Value::Array(list) => list.iter().for_each(|entry| collect(entry, path, depth, shape)),
        _ => {}
    }
}

#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "the share that agrees is of interest where it is not all of them, too"
)]
async fn the_fake_answers_a_recorded_session_as_the_panel_did() {
    let mut session = Session::new().await;
    session.walk(include_str!("recorded.txt")).await;
    let Session {
        all,
        statuses,
        shapes,
        differences,
        ..
    } = session;
    println!("of {all} answers {statuses} agree in status, {shapes} in their keys\n{differences}");
    assert!(all > 100, "{all} is no session");
    assert_eq!((statuses, shapes), (all, all), "{differences}");
}
