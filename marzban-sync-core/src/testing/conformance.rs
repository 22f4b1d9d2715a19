//! The laws that every [`Store`](crate::store::Store) obeys, each a documented function, to be run against any
//! implementation.
//!
//! [`store_conformance!`](crate::store_conformance) makes one test of each law; [`store::all`] runs them one after
//! another, on any runtime.

#![expect(
    clippy::missing_panics_doc,
    reason = "a law panics when it is broken: that is what it is for"
)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a law ends where its store fails"
)]

pub mod store;
