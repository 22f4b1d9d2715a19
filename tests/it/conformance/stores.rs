//! One list of laws for every store.

use std::io::Write;

use marzban_sync_core::store::MemoryStore;
use marzban_sync_core::testing::conformance::store::all;

use super::custom_store::CustomStore;
use super::sqlite::Sqlite;
use crate::store_postgres::Bot;

/// Prints a list where a test runner does not keep it to itself.
fn print(store: &str, passed: &[&str]) {
    let mut list = format!("\n{store} passes {} laws:\n", passed.len());
    for law in passed {
        list.extend(["  ", law, "\n"]);
    }
    std::io::stderr().write_all(list.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_store_and_the_custom_one_pass_the_same_list_of_laws() {
    let memory = all(async || MemoryStore::new()).await;
    print("MemoryStore", &memory);
    let sqlite = all(async || Sqlite::fresh().await).await;
    print("SqliteStore", &sqlite);
    assert_eq!(sqlite, memory);
    let custom = all(async || CustomStore::fresh()).await;
    print("custom_store", &custom);
    assert_eq!(custom, memory);
    if Bot::for_laws().await.is_none() {
        return print("PostgresStore: skipped, there is no PostgreSQL, so it", &[]);
    }
    let postgres = all(async || Bot::for_laws().await.unwrap()).await;
    print("PostgresStore", &postgres);
    assert_eq!(postgres, memory);
}
