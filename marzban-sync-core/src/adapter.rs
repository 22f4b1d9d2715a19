//! Adapters: ports over Marzban, PostgreSQL, SQLite, memory, and a bot's own tables.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod entries;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod figures;
pub(crate) mod listed;
#[cfg(feature = "marzban")]
pub(crate) mod marzban;
#[cfg(feature = "memory")]
pub(crate) mod memory;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
