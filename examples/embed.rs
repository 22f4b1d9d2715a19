//! A bot that keeps its own rows in step with its panel: its pool, its runtime, its end.
//!
//! `DATABASE_URL=postgres://… MARZBAN_URL=… MARZBAN_USERNAME=… MARZBAN_PASSWORD=… cargo run --example embed`

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program reads its environment, and shows what it does"
)]

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use marzban_sync_core::Context;
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::report::Report;
use marzban_sync_core::scheduler::{FinishedRun, Scheduler};
use marzban_sync_core::store::PostgresStore;
use marzban_sync_examples::environment::PanelName;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // What a bot has anyway.
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(std::env::var("DATABASE_URL")?);
    let pool = Pool::builder(manager).max_size(10).build()?;

    // The library beside it, on the same pool: two connections are enough for it.
    let store = PostgresStore::new(pool.clone());
    store.migrate().await?;
    let panel: MarzbanPanel = PanelName::default()
        .panel_from_environment()
        .map_err(anyhow::Error::msg)?;
    let jobs = Scheduler::new(Context::new(panel, store)).on_finished(tell_customers);

    // The bot ends in order: a run under way finishes its batch and frees its lock.
    let sync = tokio::spawn(jobs.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }));
    serve(pool).await;
    Ok(sync.await??)
}

/// Prints whom a run changed, by Telegram id; a bot sends messages here.
fn tell_customers(run: &FinishedRun) {
    for changed in run
        .report
        .as_ref()
        .and_then(Report::run)
        .iter()
        .flat_map(|run| &run.changed)
    {
        println!(
            "{:?}: {} {:?} -> {:?}",
            changed.telegram_id, changed.what, changed.from, changed.to
        );
    }
}

/// Stands for the bot, until it is asked to stop.
async fn serve(_pool: Pool<AsyncPgConnection>) {
    tokio::signal::ctrl_c().await.unwrap_or_default();
}
