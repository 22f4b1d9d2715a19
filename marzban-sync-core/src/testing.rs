//! For tests: a clock that is set by hand, and the laws that every [`AccountStore`](crate::store::AccountStore) obeys.
//!
//! The mocks of the traits stand beside them, as `MockStore`, `MockRunLock`, `MockPanel` and `MockClock`. What is in
//! here may grow in any release.

mod clock;
pub mod conformance;

pub use clock::ManualClock;
