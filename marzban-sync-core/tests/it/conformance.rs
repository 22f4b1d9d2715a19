//! The laws of every store, for the stores that need no server.

use std::sync::Arc;

use async_trait::async_trait;
use marzban_sync_core::history::History;
use marzban_sync_core::store::{MemoryStore, Store};
use marzban_sync_core::testing::conformance::store::{Bot, Fixture};

/// A store in memory, reached by way of one of the pointers that forward the trait.
struct Memory {
    rows: MemoryStore,
    handle: fn(MemoryStore) -> Arc<dyn Store>,
}

impl Memory {
    fn behind(handle: fn(MemoryStore) -> Arc<dyn Store>) -> Self {
        Self {
            rows: MemoryStore::new(),
            handle,
        }
    }
}

#[async_trait]
impl Fixture for Memory {
    fn store(&self) -> Arc<dyn Store> {
        (self.handle)(self.rows.clone())
    }

    async fn insert(&self, bot: &Bot) {
        self.rows.insert(bot).await;
    }

    async fn rows(&self) -> Bot {
        self.rows.rows().await
    }

    fn history(&self) -> Arc<dyn History> {
        Arc::new(self.rows.clone())
    }
}

mod memory {
    use super::*;
    marzban_sync_core::store_conformance!(Memory::behind(|store| Arc::new(store)));
}

mod memory_behind_an_arc {
    use super::*;
    marzban_sync_core::store_conformance!(Memory::behind(
        |store| Arc::new(Arc::new(store) as Arc<dyn Store>)
    ));
}

mod memory_behind_a_box {
    use super::*;
    marzban_sync_core::store_conformance!(Memory::behind(
        |store| Arc::new(Box::new(store) as Box<dyn Store>)
    ));
}
