//! What holds for any customer, any answer of the panel, any policy and any moment.

mod cases;
mod deletion;
mod plan;
mod reconcile;
mod safety;
