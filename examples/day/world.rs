//! The demo's world: the panels with their users, and the bot's database.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use marzban_api::testing::{FakePanel, FakeStatus};
use marzban_api::{Client, RetryPolicy, SecretString, Throttle};
use marzban_sync_examples::bot::{self, Bot};

use super::agreement::Agreement;
use super::clock::DemoClock;
use super::screen::Screen;
use super::script::{CUSTOMERS, SCRIPT};

/// The panels.
pub(super) const PANELS: [&str; 2] = ["default", "de"];

/// The world's name as a participant of the clock.
pub(super) const NAME: &str = "world";

/// How often something may happen.
const STEP: TimeDelta = TimeDelta::minutes(5);

/// Between two steps, so that nothing happens at the very moment of a run.
const FIRST_STEP: TimeDelta = TimeDelta::seconds(150);

const USERNAME: &str = "demo-admin";
const PASSWORD: &str = "demo-password";

pub(super) struct World {
    bot: Bot,
    panels: Vec<(&'static str, FakePanel)>,
    start: DateTime<Utc>,
}

impl World {
    /// A world as it is at `start`.
    pub(super) async fn new(folder: &Path, start: DateTime<Utc>) -> anyhow::Result<Self> {
        let customers = CUSTOMERS.map(|customer| bot::Customer {
            name: customer.name.to_owned(),
            status: customer.status.to_owned(),
            end_date: start + TimeDelta::hours(customer.hours),
            is_active: customer.status != "expired",
        });
        let bot = Bot::create(&folder.join("bot.sqlite3"), &customers)?;
        let mut panels = Vec::new();
        for name in PANELS {
            let here = CUSTOMERS.iter().filter(|customer| customer.panel == name);
            let panel = FakePanel::builder()
                .now(start)
                .environment_admin(USERNAME, PASSWORD)
                // The client goes by the host's clock, on which the demo's token would be over at any time.
                .token_lifetime(None)
                .users(here.map(|customer| customer.panel_user(start)))
                .start()
                .await?;
            panels.push((name, panel));
        }
        Ok(Self { bot, panels, start })
    }

    pub(super) fn database_url(&self) -> String {
        self.bot.url()
    }

    /// Tells the bot's database which customers are in which panel, once it has a column for that.
    pub(super) fn assign_panels(&self) -> anyhow::Result<()> {
        for customer in &CUSTOMERS {
            self.bot.assign_panel(customer.name, customer.panel)?;
        }
        Ok(())
    }

    /// Builds a client of a panel with hardly any pauses: they would be of the host's time.
    pub(super) fn client(&self, panel: &str) -> anyhow::Result<Client> {
        let (name, panel) = self
            .panels
            .iter()
            .find(|(name, _)| *name == panel)
            .context("no such panel")?;
        let retry = RetryPolicy {
            max_tries: 3,
            initial_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(5),
            max_retry_after: Duration::ZERO,
        };
        let client = Client::builder(&panel.url())
            .panel_name(*name)
            .credentials(USERNAME, SecretString::from(PASSWORD))
            .throttle(Throttle::none())
            .retry(retry)
            .build()?;
        Ok(client)
    }

    /// Lets things happen, step by step.
    pub(super) async fn run(&self, clock: &DemoClock, until: Option<DateTime<Utc>>, screen: Screen) {
        let steps = std::iter::successors(Some(self.start + FIRST_STEP), |step| Some(*step + STEP));
        for step in steps.take_while(|step| until.is_none_or(|until| *step <= until)) {
            clock.allow_until(NAME, step);
            clock.wait_until(step).await;
            self.step(step, screen);
            // A clock that has much to make up for never sleeps, and the loops must be heard all the same.
            tokio::task::yield_now().await;
        }
        clock.leave(NAME);
    }

    fn step(&self, now: DateTime<Utc>, screen: Screen) {
        for (name, panel) in &self.panels {
            panel.set_now(now);
            for entry in &SCRIPT {
                let is_here =
                    entry.panel == *name && is_within_step(self.start, entry.daily, entry.minute, now);
                if is_here && let Some(words) = entry.event.happen(panel, entry.name, now) {
                    screen.happened(name, now, &words);
                }
            }
            use_data(panel, now);
            // What a panel does every few seconds, every hour and every six hours.
            panel.review();
            panel.reset_by_strategy();
            panel.auto_delete();
            panel.clear_requests();
        }
    }

    /// Compares every customer's row with the panel.
    pub(super) fn agreement(&self, now: DateTime<Utc>) -> anyhow::Result<Agreement> {
        let mut agreement = Agreement::default();
        for row in self.bot.rows()? {
            let Some(name) = row.marzban_user_id.as_deref() else {
                continue;
            };
            let user = self.panels.iter().find_map(|(_, panel)| panel.user(name));
            agreement.compare(&row, user.as_ref(), now);
        }
        Ok(agreement)
    }
}

/// Returns whether an event at a minute of the first or of every day falls into the step that ends now.
fn is_within_step(start: DateTime<Utc>, daily: bool, minute: i64, now: DateTime<Utc>) -> bool {
    let passed = now - start;
    let in_day = if daily {
        passed - TimeDelta::days(passed.num_days())
    } else {
        passed
    };
    let at = TimeDelta::minutes(minute);
    at <= in_day && in_day < at + STEP
}

/// Lets some of the active users connect, more of them in the evening; the same ones in every run.
fn use_data(panel: &FakePanel, now: DateTime<Utc>) {
    let busy = if (17..23).contains(&now.hour()) { 60 } else { 25 };
    let mut sent = 0;
    for user in panel.state().users {
        let dice = dice(&user.username, now);
        if user.status == FakeStatus::Active && user.username != "jamal" && dice % 100 < busy {
            let bytes = i64::from(dice >> 8) * 4;
            panel.add_traffic(&user.username, bytes);
            sent += bytes;
        }
    }
    let load = f64::from(dice("load", now) % 40);
    panel.update_system(|system| {
        system.incoming_bandwidth += sent / 20;
        system.incoming_bandwidth_speed = sent / 20 / STEP.num_seconds();
        system.outgoing_bandwidth_speed = sent / STEP.num_seconds();
        system.cpu_usage = 5.0 + load;
        system.mem_used = system.mem_total / 100 * (30 + i64::from(dice("memory", now) % 20));
    });
}

fn dice(name: &str, now: DateTime<Utc>) -> u32 {
    let mut hasher = DefaultHasher::new();
    (name, now.timestamp()).hash(&mut hasher);
    // The lower half is as random as the whole.
    u32::try_from(hasher.finish() & u64::from(u32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_the_script_happens_in_exactly_one_step_of_its_days() {
        let start: DateTime<Utc> = "2025-09-15T00:00:00Z".parse().unwrap();
        for entry in &SCRIPT {
            assert!(
                CUSTOMERS
                    .iter()
                    .any(|customer| customer.panel == entry.panel && customer.name == entry.name)
                    || entry.name.is_empty(),
                "{} is no customer of {}",
                entry.name,
                entry.panel
            );
            for (day, expected) in [(0, 1), (1, usize::from(entry.daily))] {
                let first = start + TimeDelta::days(day) + FIRST_STEP;
                let steps = (0..288).map(|step| first + STEP * step);
                let times = steps.filter(|now| is_within_step(start, entry.daily, entry.minute, *now));
                assert_eq!(times.count(), expected, "{:?} on day {day}", entry.event);
            }
        }
    }
}
