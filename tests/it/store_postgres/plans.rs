//! How PostgreSQL goes about the statements of a run over 100,000 accounts: by the indexes, page after page.

use std::sync::{Arc, Mutex};

use marzban_sync_core::account::AccountId;
use marzban_sync_core::plan::Change;
use marzban_sync_core::store::{AccountStore, Cursor, DEFAULT_PANEL, PostgresStore};
use marzban_sync_tests::TestDatabase;

use super::{Bot, expiry, now};

const ACCOUNTS: i64 = 100_000;

/// A bot with so many customers, and the statements of its store as they are sent.
async fn watched() -> Option<(Bot, Arc<Mutex<Vec<String>>>)> {
    let database = TestDatabase::new().await?;
    database.create_bot_schema().await;
    let statements = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&statements);
    let pool = database.pool_with(2, move |sql| seen.lock().unwrap().push(sql.to_owned()));
    let store = PostgresStore::new(pool);
    store.migrate().await.unwrap();
    let bot = Bot {
        client: database.connect().await,
        store,
        database,
    };
    bot.sql(&format!(
        "INSERT INTO users SELECT n, 1000000 + n, 'fa', '2024-01-01' FROM generate_series(1, {ACCOUNTS}) AS n;
         INSERT INTO subscriptions SELECT n, n, 3, 4.99, 'active', '2024-12-01', '2030-01-01', NULL
             FROM generate_series(1, {ACCOUNTS}) AS n;
         INSERT INTO vpn_configs SELECT n, n, 'vless', 'user' || n, true, 1, NULL, NULL
             FROM generate_series(1, {ACCOUNTS}) AS n;
         INSERT INTO marzban_sync_agreements SELECT 'default', 'user' || n, 1, '{{}}', '2025-01-01'
             FROM generate_series(1, {ACCOUNTS}) AS n;
         ANALYZE"
    ))
    .await;
    statements.lock().unwrap().clear();
    Some((bot, statements))
}

/// The plan of the last statement, with these values in the place of its parameters.
async fn plan(bot: &Bot, statements: &Mutex<Vec<String>>, values: &[&str]) -> String {
    let mut sql = statements.lock().unwrap().pop().unwrap();
    sql.truncate(sql.find("-- binds").unwrap());
    for (number, value) in values
        .iter()
        .enumerate()
        .map(|(position, value)| (position + 1, value))
        .rev()
    {
        sql = sql.replace(&format!("${number}"), value);
    }
    let rows = bot.client.query(&format!("EXPLAIN {sql}"), &[]).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

#[tokio::test]
async fn a_page_in_the_middle_of_many_accounts_is_read_without_going_through_a_table() {
    let Some((bot, statements)) = watched().await else {
        return;
    };
    for (after, limit) in [(0, 5_000), (50_000, 5_000), (50_000, 100)] {
        let page = bot
            .store
            .page_accounts(DEFAULT_PANEL, Some(Cursor(AccountId(after))), limit, now())
            .await
            .unwrap();
        assert_eq!(page.accounts.len(), limit as usize);
        let (after, rows) = (format!("{after}::bigint"), format!("{}::bigint", limit + 1));
        let plan = plan(&bot, &statements, &["'default'::text", &after, &rows]).await;
        assert!(!plan.contains("Seq Scan"), "{limit} after {after}:\n{plan}");
    }
}

#[tokio::test]
async fn changes_are_read_again_and_written_without_going_through_a_table_for_each() {
    const CHANGES: u32 = 1_000;
    let Some((bot, statements)) = watched().await else {
        return;
    };
    let page = bot.store.page_accounts(DEFAULT_PANEL, None, CHANGES, now()).await;
    let changes: Vec<Change> = page.unwrap().accounts.iter().map(expiry).collect();
    statements.lock().unwrap().clear();
    assert_eq!(bot.apply(&changes).await.len(), changes.len());
    let written = std::mem::take(&mut *statements.lock().unwrap());

    let ids: Vec<String> = (1..=CHANGES).map(|id| id.to_string()).collect();
    let ids = format!("'{{{}}}'::bigint[]", ids.join(","));
    let each = |value: &str| format!("array_fill({value}, ARRAY[{CHANGES}])");
    let [text, flag, number, time] =
        ["'expired'::text", "true", "1::bigint", "'2030-01-01'::timestamp"].map(each);
    let no_names = "'{}'::text[]";
    let cases = [
        (
            "FOR UPDATE SKIP LOCKED",
            vec![ids.as_str(), &ids, &ids, "'default'::text", no_names],
        ),
        ("sharing AS", vec!["'default'::text", &ids]),
        (
            "UPDATE vpn_configs",
            vec!["'2025-09-15'::timestamp", &ids, &flag, &number, &time],
        ),
        (
            "UPDATE subscriptions",
            vec!["'2025-09-15'::timestamp", &ids, &text, &flag, &time],
        ),
    ];
    for (words, values) in cases {
        let statement = written.iter().find(|sql| sql.contains(words)).unwrap();
        statements.lock().unwrap().push(statement.clone());
        let plan = plan(&bot, &statements, &values).await;
        if words == "sharing AS" {
            assert!(!plan.contains("Seq Scan"), "{plan}");
        }
        let in_loop = plan.lines().skip_while(|line| !line.contains("Nested Loop"));
        assert!(!in_loop.clone().any(|line| line.contains("Seq Scan")), "{plan}");
    }
}
