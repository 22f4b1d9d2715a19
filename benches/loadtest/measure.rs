//! One number of accounts: the sync, the sync again, and the original's way.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use marzban_api::{Client, Throttle};
use marzban_sync_benches::canned::{Figures, figures_of};
use marzban_sync_benches::database::{Postgres, Sqlite};
use marzban_sync_benches::{client, original};
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::store::Store;
use marzban_sync_core::{Context, sync_subscriptions_from_marzban};

use crate::Arguments;

/// What the picture needs of one number of accounts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) accounts: u32,
    pub(crate) seconds: f64,
    pub(crate) panel_seconds: f64,
    pub(crate) peak_mib: f64,
}

impl Measured {
    pub(crate) fn parse(figures: &str) -> Result<Self> {
        let mut numbers = figures.split(' ');
        let mut next = || numbers.next().context("four figures");
        Ok(Self {
            accounts: next()?.parse()?,
            seconds: next()?.parse()?,
            panel_seconds: next()?.parse()?,
            peak_mib: next()?.parse()?,
        })
    }
}

impl Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            accounts,
            seconds,
            panel_seconds,
            peak_mib,
        } = self;
        write!(f, "measured {accounts} {seconds} {panel_seconds} {peak_mib}")
    }
}

/// The bot's database.
enum Bot {
    Postgres(Box<Postgres>),
    Sqlite(Sqlite),
}

/// Measures in this process, whose memory is then the sync's alone.
pub(crate) fn run(arguments: &Arguments, url: &str) -> Result<()> {
    let accounts = *arguments.accounts.first().context("a number of accounts")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let bot = if arguments.postgres {
            Bot::Postgres(Box::new(postgres(arguments, accounts).await?))
        } else {
            Bot::Sqlite(Sqlite::with(accounts).await)
        };
        let client = client(url, pause(&arguments.pause_ms)?);
        let took = match &bot {
            Bot::Postgres(bot) => sync(accounts, url, &client, bot.store.clone()).await?,
            Bot::Sqlite(bot) => sync(accounts, url, &client, bot.store.clone()).await?,
        };
        if let Some(sample) = arguments.compare {
            compare(accounts, sample.min(accounts), took, &client, &bot).await?;
        }
        Ok(())
    })
}

/// A database of its own, whatever else the server has.
async fn postgres(arguments: &Arguments, accounts: u64) -> Result<Postgres> {
    match arguments.database_url.as_deref() {
        None | Some("") => Postgres::with(accounts)
            .await
            .context("there is no PostgreSQL server"),
        Some(server) => Postgres::on(server, accounts)
            .await
            .context("no database can be created on the server of DATABASE_URL"),
    }
}

/// Syncs twice; the second time there is nothing to write.
async fn sync(
    accounts: u64,
    url: &str,
    client: &Client,
    store: impl Store + Clone + 'static,
) -> Result<Duration> {
    let context = Context::new(MarzbanPanel::new(client.clone()), store);
    let mut first = None;
    for which in ["first run", "second run"] {
        let before = figures_of(url)?;
        let began = Instant::now();
        let report = sync_subscriptions_from_marzban(&context).await?;
        let took = began.elapsed();
        let panel = since(before, figures_of(url)?);
        let changed: u64 = report.run.changes.values().sum();
        let (seconds, panel_seconds) = (took.as_secs_f64(), panel.busy.as_secs_f64());
        println!(
            "{accounts} accounts, {which}: {seconds:.2} s, {:.0} accounts/s; {} requests, {:.1} MB; the panel's own time \
             {panel_seconds:.2} s, {:.1} % of it; {changed} rows changed, {} errors; peak memory {:.1} MiB",
            number(accounts) / seconds,
            panel.requests,
            number(panel.bytes) / 1e6,
            100.0 * panel_seconds / seconds,
            report.errors,
            peak_mib()?,
        );
        if first.is_none() {
            let measured = Measured {
                accounts: u32::try_from(accounts)?,
                seconds,
                panel_seconds,
                peak_mib: peak_mib()?,
            };
            println!("{measured}");
            first = Some(took);
        }
    }
    first.context("it ran")
}

/// Goes the original's way for some accounts, and says what it would take for all.
async fn compare(accounts: u64, sample: u64, took: Duration, client: &Client, bot: &Bot) -> Result<()> {
    let began = Instant::now();
    match bot {
        Bot::Postgres(bot) => original::into_postgres(client, &bot.client, sample).await,
        Bot::Sqlite(bot) => original::into_sqlite(client, &mut bot.bot(), sample).await,
    }
    let each = began.elapsed().as_secs_f64() / number(sample);
    let all = each * number(accounts);
    println!(
        "{accounts} accounts, the original's way: {all:.1} s, extrapolated from {sample}, {:.2} ms an account; the sync is \
         {:.1} times as fast",
        1e3 * each,
        all / took.as_secs_f64(),
    );
    Ok(())
}

fn since(before: Figures, now: Figures) -> Figures {
    Figures {
        requests: now.requests - before.requests,
        bytes: now.bytes - before.bytes,
        busy: now.busy.saturating_sub(before.busy),
    }
}

fn pause(text: &str) -> Result<Throttle> {
    let (shortest, longest) = text.split_once("..").context("a pause is written 50..100")?;
    let milliseconds = |text: &str| text.parse().map(Duration::from_millis);
    Ok(Throttle::between(milliseconds(shortest)?, milliseconds(longest)?))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure that is rounded when it is shown"
)]
fn number(count: u64) -> f64 {
    count as f64
}

/// The most memory that this process has had, as Linux counts it.
fn peak_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("memory is only measured on Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("the peak of memory is not shown")?
        .trim()
        .parse()?;
    Ok(number(kib) / 1_024.0)
}
