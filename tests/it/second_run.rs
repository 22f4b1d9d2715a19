//! A run that finds nothing changed leaves the bot's tables alone, down to the log of the server.

use marzban_sync_core::{sync_subscriptions_from_marzban, sync_user_status_from_marzban};

use crate::bot::{Bot, assert_same};

/// How many records of the log since a position are about the bot's tables or their indexes.
async fn records_since(bot: &Bot, position: &str) -> String {
    // The server refuses a position behind which nothing is written yet.
    bot.sql("SELECT pg_logical_emit_message(true, 'marzban-sync', 'the end of what is looked at')")
        .await;
    bot.text(&format!(
        "SELECT count(*)::text
         FROM pg_get_wal_records_info('{position}', pg_current_wal_flush_lsn()) AS record
         JOIN pg_class AS relation
           ON record.block_ref LIKE '%/' || pg_relation_filenode(relation.oid) || ' %'
         WHERE coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = relation.oid), relation.oid)
               IN ('users'::regclass, 'subscriptions'::regclass, 'vpn_configs'::regclass)"
    ))
    .await
}

/// Whether the server can show its log; that needs PostgreSQL 15 and a superuser.
async fn shows_its_log(bot: &Bot) -> bool {
    bot.client
        .batch_execute("CREATE EXTENSION pg_walinspect")
        .await
        .is_ok()
}

/// Where the log is now, with all that was done before it written out, as only that can be shown.
async fn position(bot: &Bot) -> String {
    bot.sql("CHECKPOINT").await;
    bot.text("SELECT pg_current_wal_flush_lsn()::text").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_writes_no_row_and_no_record_of_the_log_about_the_bots_tables() {
    let Some(bot) = Bot::new().await else { return };
    bot.add_in_line(300).await;
    let shows_its_log = shows_its_log(&bot).await;
    let context = bot.context().await;
    let before = if shows_its_log {
        position(&bot).await
    } else {
        String::new()
    };
    let first = sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!(first.run.changes.values().sum::<u64>(), 300);
    if shows_its_log {
        assert_ne!(
            records_since(&bot, &before).await,
            "0",
            "writing is seen in the log"
        );
    }
    // What a reader tidies up after the writing of another is in the log too.
    for table in ["users", "subscriptions", "vpn_configs"] {
        bot.sql(&format!("VACUUM {table}")).await;
    }

    let places = bot.places().await;
    let before = if shows_its_log {
        position(&bot).await
    } else {
        String::new()
    };
    let second = sync_subscriptions_from_marzban(&context).await.unwrap();
    let status = sync_user_status_from_marzban(&context).await.unwrap();
    assert!(second.run.changes.is_empty() && status.run.changes.is_empty());
    assert_same(&bot.places().await, &places);
    if shows_its_log {
        assert_eq!(records_since(&bot, &before).await, "0");
    }
}
