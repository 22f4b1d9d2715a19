//! A run that finds nothing changed leaves the bot's tables alone, down to the server's log.

use std::io::{self, Write};

use marzban_sync_core::{Context, sync_subscriptions_from_marzban, sync_user_status_from_marzban};
use tokio_postgres::error::SqlState;

use crate::bot::{Bot, TABLES, assert_same};

/// A bot whose first run wrote every account.
async fn after_the_first_run() -> Option<(Bot, Context)> {
    let bot = Bot::new().await?;
    bot.add_in_line(300).await;
    let context = bot.context().await;
    let first = sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!(first.run.changes.values().sum::<u64>(), 300);
    Some((bot, context))
}

async fn run_again(context: &Context) {
    let second = sync_subscriptions_from_marzban(context).await.unwrap();
    let status = sync_user_status_from_marzban(context).await.unwrap();
    assert!(second.run.changes.is_empty() && status.run.changes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_writes_no_row() {
    let Some((bot, context)) = after_the_first_run().await else {
        return;
    };
    let places = bot.places().await;
    run_again(&context).await;
    assert_same(&bot.places().await, &places);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_leaves_no_record_of_the_bots_tables_in_the_servers_log() {
    let Some((bot, context)) = after_the_first_run().await else {
        return;
    };
    if !shows_its_log(&bot).await {
        return;
    }
    settle(&bot).await;
    let before = mark(&bot).await;
    run_again(&context).await;
    let after = mark(&bot).await;
    assert_eq!(records(&bot, &before, &after).await, [""; 0]);

    bot.sql("UPDATE vpn_configs SET traffic_used = traffic_used WHERE id = 7")
        .await;
    let records = records(&bot, &after, &mark(&bot).await).await;
    let is_of_the_row = |record: &String| record.starts_with("vpn_configs Heap");
    assert!(records.iter().any(is_of_the_row), "{records:?}");
}

/// Whether the server shows its log, for which it must be PostgreSQL 15 with its contributed modules, and the user a
/// superuser; where not, that is said past the capture of the test harness.
async fn shows_its_log(bot: &Bot) -> bool {
    // The slot keeps the log from being removed: each database that another test drops is a checkpoint.
    let extension_and_slot = "CREATE EXTENSION pg_walinspect;
        SELECT pg_create_physical_replication_slot(current_database(), true, true)";
    let Err(error) = bot.client.batch_execute(extension_and_slot).await else {
        return true;
    };
    let absent = [
        SqlState::FEATURE_NOT_SUPPORTED,
        SqlState::UNDEFINED_FILE,
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
    ];
    let refusal = error.as_db_error().unwrap();
    assert!(absent.contains(refusal.code()), "{refusal}");
    let said = format!("\nThe test of the server's log SKIPPED: {refusal}\n");
    writeln!(io::stderr(), "{said}").expect("standard error can be written to");
    false
}

/// Does now what a server otherwise does to the tables when it finds the time, or when somebody reads them.
async fn settle(bot: &Bot) {
    for table in TABLES {
        bot.sql(&format!("ALTER TABLE {table} SET (autovacuum_enabled = off)"))
            .await;
        bot.sql(&format!("VACUUM (FREEZE, ANALYZE) {table}")).await;
    }
}

/// A place in the server's log, with all that was done before it written out, as only that can be shown.
async fn mark(bot: &Bot) -> String {
    bot.sql("SET synchronous_commit = on").await;
    bot.text("SELECT pg_logical_emit_message(true, 'marzban-sync', 'a mark')::text")
        .await
}

/// The records between two marks that are about the bot's tables, their indexes, or what they have stored out of line.
async fn records(bot: &Bot, from: &str, to: &str) -> Vec<String> {
    let sql = format!(
        "WITH stored AS (
             SELECT unnest(ARRAY[oid, reltoastrelid]) AS oid FROM pg_class WHERE oid = ANY ($1::text[]::regclass[])
         ),
         relation AS (
             SELECT oid FROM stored UNION ALL SELECT indexrelid FROM pg_index JOIN stored ON stored.oid = indrelid
         )
         SELECT concat_ws(' ', oid::regclass, resource_manager, record_type)
         FROM pg_get_wal_records_info('{from}', '{to}')
         JOIN relation ON block_ref LIKE format('%%/%s/%s %%',
             (SELECT oid FROM pg_database WHERE datname = current_database()), pg_relation_filenode(oid))"
    );
    let tables = TABLES.map(str::to_owned).to_vec();
    let rows = bot.client.query(&sql, &[&tables]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
