//! The laws of every store and of every panel, for those that stand on more than one package.

mod changes;
mod custom_store;
pub(crate) mod fake;
mod live;
#[path = "../../examples/custom_store/store.rs"]
mod shop;
#[path = "../../marzban-sync-core/tests/it/store_sqlite/bot.rs"]
mod sqlite;
mod stores;
