//! Adapters: ports over Marzban, PostgreSQL, SQLite, memory, and a bot's own tables.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod entries;
#[cfg(feature = "marzban")]
pub(crate) mod marzban;
#[cfg(feature = "memory")]
pub(crate) mod memory;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod rows;
mod semantics;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod system_stats;
pub(crate) mod tables;
