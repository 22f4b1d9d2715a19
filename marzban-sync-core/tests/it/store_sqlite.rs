//! What is SQLite's alone, and the laws of every store.

mod bot;
mod guards;
mod locks;
mod own;

mod laws {
    use super::bot::Sqlite;
    marzban_sync_core::store_conformance!(Sqlite::fresh().await);
}
