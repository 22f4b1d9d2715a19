//! The page of our own: what the panels, the runs and the figures look like.
//!
//! It lies behind the board's authentication, as everything that [`router`] holds.

use axum::Router;

use crate::board::BoardState;

/// The routes of the page.
pub(crate) fn router(state: BoardState) -> Router {
    Router::new().with_state(state)
}
