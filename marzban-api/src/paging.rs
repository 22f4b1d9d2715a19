//! How to read many users without missing one: the decisions, without the requests.

mod batch;
mod paginate;

pub(crate) use batch::{Batching, Bisection, take_batch};
pub(crate) use paginate::{PageFailure, Paginator};
