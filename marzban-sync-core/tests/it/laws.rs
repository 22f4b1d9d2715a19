//! What holds for any customer, any answer of the panel, any policy and any moment.

mod cases;
mod deletion;
mod plan;
mod reconcile;
mod safety;

use proptest::prelude::ProptestConfig;

/// How many cases each law is tried with: 500, or `LAW_CASES`.
#[expect(clippy::disallowed_methods, reason = "a long run is asked for from outside")]
fn laws_config() -> ProptestConfig {
    let cases = std::env::var("LAW_CASES").map_or(500, |cases| cases.parse().expect("LAW_CASES is a number"));
    ProptestConfig::with_cases(cases)
}
