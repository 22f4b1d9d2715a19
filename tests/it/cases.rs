//! Cases from life: what real bots and panels have had, and what must come of it. Each is a named test, over PostgreSQL
//! and SQLite, with a panel over HTTP.
//!
//! Ends are days from the beginning of the case; `asked` is what the panel was asked, `sent` what it was told to change.

mod tables;
mod world;

mod brakes;
mod cleanup;
mod paid;
mod plumbing;
mod restored;
mod siblings;
mod statuses;

/// One test of each case for each store.
macro_rules! over_both_stores {
    ($($case:ident)+) => {
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    let Some(mut world) = crate::cases::world::World::postgres().await else { return };
                    super::$case(&mut world).await;
                }
            )+
        }
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    let mut world = crate::cases::world::World::sqlite().await;
                    super::$case(&mut world).await;
                }
            )+
        }
    };
}
pub(crate) use over_both_stores;
