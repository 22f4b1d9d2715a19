//! A run that finds nothing changed leaves the bot's tables alone.

use marzban_sync_core::{sync_subscriptions_from_marzban, sync_user_status_from_marzban};

use crate::bot::{Bot, assert_same};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_writes_no_row() {
    let Some(bot) = Bot::new().await else { return };
    bot.add_in_line(300).await;
    let context = bot.context().await;
    let first = sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!(first.run.changes.values().sum::<u64>(), 300);

    let places = bot.places().await;
    let second = sync_subscriptions_from_marzban(&context).await.unwrap();
    let status = sync_user_status_from_marzban(&context).await.unwrap();
    assert!(second.run.changes.is_empty() && status.run.changes.is_empty());
    assert_same(&bot.places().await, &places);
}
