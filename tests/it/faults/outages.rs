//! Panels that answer wrongly, clocks that are wrong, and addresses where nobody is.

use std::net::TcpListener;

use chrono::TimeDelta;
use marzban_api::testing::{FakePanel, FakeStatus, Fault, FaultRule};
use marzban_sync_core::Context;
use marzban_sync_core::jobs::run;
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::report::Job;
use marzban_sync_tests::client;
use tokio::time::timeout;

use super::ran::Ran;
use super::table::Row;
use super::town::{LIMIT, State, Town};
use super::work::Work;
use crate::bot::now;

/// What is wrong all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    EmptyList,
    HalfList,
    AnotherPanel,
    Html,
    Unauthorized,
    LoginRefused,
    Limited,
    LimitedWithRetryAfter,
    Forbidden,
    InternalError,
    BadGateway,
    NobodyListens,
    NoSuchHost,
    PanelAhead,
    PanelBehind,
    BotAhead,
    BotBehind,
}

pub(super) const ALL: [Outage; 17] = [
    Outage::EmptyList,
    Outage::HalfList,
    Outage::AnotherPanel,
    Outage::Html,
    Outage::Unauthorized,
    Outage::LoginRefused,
    Outage::Limited,
    Outage::LimitedWithRetryAfter,
    Outage::Forbidden,
    Outage::InternalError,
    Outage::BadGateway,
    Outage::NobodyListens,
    Outage::NoSuchHost,
    Outage::PanelAhead,
    Outage::PanelBehind,
    Outage::BotAhead,
    Outage::BotBehind,
];

/// As far as a clock is wrong on a host that takes Tehran's time for UTC.
const OFF: TimeDelta = TimeDelta::minutes(210);

impl Outage {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::EmptyList => ("an empty list", "the panel, always"),
            Self::HalfList => ("half a list", "the panel, always"),
            Self::AnotherPanel => ("another panel's list", "the URL of the panel"),
            Self::Html => ("HTML with 200", "the panel, always"),
            Self::Unauthorized => ("401 for ever", "the panel, but for the login"),
            Self::LoginRefused => ("401 for ever", "the login"),
            Self::Limited => ("429 for ever", "the panel, always"),
            Self::LimitedWithRetryAfter => ("429 for ever with Retry-After: 3600", "the panel, always"),
            Self::Forbidden => ("403 for ever", "the panel, always"),
            Self::InternalError => ("500 for ever", "the panel, always"),
            Self::BadGateway => ("502 with HTML for ever", "the panel, always"),
            Self::NobodyListens => ("connection refused", "the port of the panel"),
            Self::NoSuchHost => ("no such host", "the name of the panel"),
            Self::PanelAhead => ("a clock 3.5 h ahead", "the panel's host"),
            Self::PanelBehind => ("a clock 3.5 h behind", "the panel's host"),
            Self::BotAhead => ("a clock 3.5 h ahead", "the bot's host"),
            Self::BotBehind => ("a clock 3.5 h behind", "the bot's host"),
        }
    }

    fn rule(self) -> Option<FaultRule> {
        Some(match self {
            Self::EmptyList => Fault::EmptyList.always(),
            Self::HalfList => Fault::HalfList.always(),
            Self::Html => Fault::HtmlBody(200).always(),
            Self::Unauthorized => Fault::Unauthorized.always(),
            Self::LoginRefused => Fault::Unauthorized.always().path("/api/admin/token"),
            Self::Limited => Fault::Status(429).always(),
            Self::LimitedWithRetryAfter => Fault::TooManyRequests { retry_after: 3_600 }.always(),
            Self::Forbidden => Fault::Status(403).always(),
            Self::InternalError => Fault::Status(500).always(),
            Self::BadGateway => Fault::HtmlBody(502).always(),
            Self::AnotherPanel
            | Self::NobodyListens
            | Self::NoSuchHost
            | Self::PanelAhead
            | Self::PanelBehind
            | Self::BotAhead
            | Self::BotBehind => return None,
        })
    }

    /// Whether the panel says nothing about anybody.
    fn is_dead(self) -> bool {
        match self {
            Self::Html
            | Self::Unauthorized
            | Self::LoginRefused
            | Self::Limited
            | Self::LimitedWithRetryAfter
            | Self::Forbidden
            | Self::InternalError
            | Self::BadGateway
            | Self::NobodyListens
            | Self::NoSuchHost => true,
            Self::EmptyList
            | Self::HalfList
            | Self::AnotherPanel
            | Self::PanelAhead
            | Self::PanelBehind
            | Self::BotAhead
            | Self::BotBehind => false,
        }
    }

    /// Where the panel is thought to be.
    fn url(self, town: &Town, another: &FakePanel) -> String {
        match self {
            Self::AnotherPanel => another.url(),
            Self::NoSuchHost => "http://panel.invalid:8000".to_owned(),
            Self::NobodyListens => {
                // The port is free again when this is dropped.
                let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
                format!("http://{}", listener.local_addr().unwrap())
            }
            _ => town.bot.panel.url(),
        }
    }

    fn begin(self, town: &Town) {
        if let Some(rule) = self.rule() {
            town.bot.panel.inject(rule);
        }
        match self {
            Self::PanelAhead => town.bot.panel.set_now(now() + OFF),
            Self::PanelBehind => town.bot.panel.set_now(now() - OFF),
            Self::BotAhead => town.bot.clock.set(now() + OFF),
            Self::BotBehind => town.bot.clock.set(now() - OFF),
            _ => {}
        }
        if matches!(self, Self::PanelAhead | Self::PanelBehind) {
            town.bot.panel.review();
        }
    }

    fn end(self, town: &Town) {
        town.bot.panel.clear_faults();
        town.bot.panel.set_now(now());
        town.bot.clock.set(now());
        if self == Self::PanelAhead {
            // The panel itself gives nobody back whom it ended too early; an admin does.
            town.bot
                .panel
                .update_user("soon", |user| user.status = FakeStatus::Active);
        }
    }

    /// A dead panel changes nothing at all; by one that is not to be believed, or at a time that is not, facts are
    /// written and nothing else. Whom half a list lacks is asked for alone, and so known.
    fn check(self, job: Job, ran: &Ran, seen: &Seen) {
        let (fault, place) = self.names();
        let said = format!("{fault} {place} {job}: {}", ran.said);
        assert_eq!(seen.lost, 0, "{said}");
        if self == Self::HalfList {
            return;
        }
        assert_eq!((seen.traced, seen.deletions), (0, 0), "{said}");
        if self.is_dead() {
            assert_eq!(seen.written, 0, "{said}");
        } else if job != Job::GetMarzbanSystemStats {
            assert_eq!(
                ran.words.first().map(String::as_str),
                Some("stopped: safety"),
                "{said}"
            );
        }
    }

    pub(super) async fn play(self, job: Job, expected: &State, town: &mut Town) -> Row {
        let (fault, place) = self.names();
        let another = FakePanel::start().await;
        another.populate(20);
        self.begin(town);
        let panel = MarzbanPanel::new(client(&self.url(town, &another), "admin", "admin"));
        let context = Context::builder(panel, town.store.clone())
            .clock(town.bot.clock.clone())
            .build();
        let ran: Ran = timeout(LIMIT, run(job, &context))
            .await
            .expect("an outage ends the run")
            .into();
        let seen = Seen::of(town).await;
        self.check(job, &ran, &seen);
        let elsewhere = another
            .requests()
            .iter()
            .filter(|request| request.method == "DELETE")
            .count();

        self.end(town);
        let work = Work::Job(job);
        town.recovers(work, expected, &format!("{fault} {place}")).await;
        Row {
            fault: fault.to_owned(),
            place: place.to_owned(),
            work,
            lost: town.lost().await,
            wrong_deletions: town.wrong_deletions() + elsewhere,
            said: format!("{}; {seen}", ran.said),
            words: ran.words,
        }
    }
}

/// What a run under a fault had done to the bot and the panel when it ended.
pub(super) struct Seen {
    /// Rows, with those of agreements.
    pub(super) written: u32,
    /// Entries of the trail: changes of subscriptions and access, and what was to be done to panel users.
    pub(super) traced: u32,
    pub(super) deletions: usize,
    lost: u32,
}

impl Seen {
    pub(super) async fn of(town: &Town) -> Self {
        let written = "SELECT ((SELECT count(*) FROM subscriptions WHERE updated_at IS NOT NULL)
            + (SELECT count(*) FROM vpn_configs WHERE updated_at IS NOT NULL)
            + (SELECT count(*) FROM (TABLE marzban_sync_agreements EXCEPT TABLE saved.marzban_sync_agreements) AS new)
            )::text";
        let traced = "SELECT count(*)::text FROM marzban_sync_changes WHERE changed_at > '2025-06-01'";
        Self {
            written: town.bot.text(written).await.parse().unwrap(),
            traced: town.bot.text(traced).await.parse().unwrap(),
            deletions: town.demands(),
            lost: town.lost().await,
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            written,
            traced,
            deletions,
            lost,
        } = self;
        write!(
            f,
            "{written} rows written, {traced} changes, {deletions} deletions"
        )?;
        if *lost > 0 {
            write!(f, ", {lost} rows said less until the next run")?;
        }
        Ok(())
    }
}
