//! The jobs when the panel or the database fails.

mod panel;
mod store;
