//! The laws that every [`AccountStore`](crate::store::AccountStore) and every [`Panel`](crate::panel::Panel) obeys, each a documented
//! function, to be run against any implementation.
//!
//! [`store_conformance!`](crate::store_conformance) and [`panel_conformance!`](crate::panel_conformance) make one test
//! of each law; [`store::all`] and [`panel::all`] run them one after another, on any runtime.

#![expect(
    clippy::missing_panics_doc,
    reason = "a law panics when it is broken: that is what it is for"
)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a law ends where its store or panel fails"
)]

pub mod panel;
pub mod store;
