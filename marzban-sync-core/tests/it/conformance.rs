//! The laws of every store, for the one that needs no database.

marzban_sync_core::store_conformance!(marzban_sync_core::store::MemoryStore::new());
