//! The operator's page, over HTTP and in headless Chromium.

use marzban_sync_core::run::RunId;
use reqwest::{RequestBuilder, Response};

use crate::stage::{Process, Stage};

mod access;
mod browser;
mod jobs;
mod reading;

pub(crate) const LOGIN: (&str, &str) = ("operator", "correct-horse");

/// A database and a panel, whose boards want a login; none where there is no PostgreSQL.
async fn site() -> Option<Stage> {
    let mut stage = Stage::new(&["default"]).await?;
    stage.set("MARZBAN_BOARD_USERNAME", LOGIN.0);
    stage.set("MARZBAN_BOARD_PASSWORD", LOGIN.1);
    Some(stage)
}

/// A board, and where it is.
pub(crate) struct Board {
    _process: Process,
    address: String,
}

impl Board {
    async fn start(stage: &Stage, arguments: &[&str]) -> Self {
        Self::of(stage.start_board(arguments)).await
    }

    /// The board of a process.
    pub(crate) async fn of(process: Process) -> Self {
        let address = process.address().await;
        Self {
            _process: process,
            address,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// The address with the login in it, as it would be typed.
    fn url_with_login(&self, (username, password): (&str, &str), path: &str) -> String {
        let host = self.address.trim_start_matches("http://");
        format!("http://{username}:{password}@{host}{path}")
    }

    fn port(&self) -> &str {
        self.address.rsplit_once(':').unwrap().1
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        send(reqwest::Client::new().get(self.url(path))).await
    }

    /// Sends a form of the page, as a browser does that is on a page of this site.
    pub(crate) async fn post(&self, site: &str, fields: &[(&str, &str)]) -> Response {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let request = client.unwrap().post(self.url("/marzban/run"));
        send(request.header("sec-fetch-site", site).form(fields)).await
    }
}

async fn send(request: RequestBuilder) -> Response {
    let request = request.basic_auth(LOGIN.0, Some(LOGIN.1));
    request.send().await.unwrap()
}

/// Where a response leads to, without the page's own address; empty where it leads nowhere.
pub(crate) fn place(response: &Response) -> String {
    let place = response.headers().get(reqwest::header::LOCATION);
    let place = place.map_or("", |place| place.to_str().unwrap());
    place
        .trim_end_matches("#notice")
        .trim_start_matches("/marzban?range=24h&")
        .to_owned()
}

/// A run of the past, by the words of SQL.
async fn past_run(
    stage: &Stage,
    job: &str,
    panel: &str,
    minutes_ago: u32,
    outcome: &str,
    report: &str,
) -> RunId {
    let sql = format!(
        "INSERT INTO marzban_sync_runs (job, panel, started_at, finished_at, outcome, report)
         VALUES ('{job}', '{panel}', now() - interval '{minutes_ago} minutes',
             CASE WHEN '{outcome}' IN ('running', 'abandoned') THEN NULL
                 ELSE now() - interval '{minutes_ago} minutes' + interval '12 seconds' END,
             '{outcome}', $${report}$$::jsonb)
         RETURNING id"
    );
    RunId(stage.client.query_one(&sql, &[]).await.unwrap().get(0))
}

/// Figures of a panel, every quarter of an hour, that rise and fall.
async fn past_stats(stage: &Stage, panel: &str, days: u32) {
    let sql = format!(
        "INSERT INTO marzban_system_stats (panel, collected_at, version, mem_total, mem_used, cpu_cores, cpu_usage,
             total_user, online_users, users_active, users_on_hold, users_disabled, users_expired, users_limited,
             incoming_bandwidth, outgoing_bandwidth, incoming_bandwidth_speed, outgoing_bandwidth_speed)
         SELECT '{panel}', now() - n * interval '15 minutes', '0.8.4', 4294967296,
             (1.6e9 + 4e8 * sin(n / 30.0))::bigint, 2, 30 + 22 * sin(n / 15.0), 1000, 200,
             800 - n / 20, 40, 25, 90 + n / 40, 30, n, n,
             (2.5e6 + 2e6 * sin(n / 15.0))::bigint, (6e6 + 5e6 * sin(n / 15.0 + 0.4))::bigint
         FROM generate_series(0, {days} * 96) AS n WHERE n NOT BETWEEN 30 AND 42"
    );
    stage.sql(&sql).await;
}
