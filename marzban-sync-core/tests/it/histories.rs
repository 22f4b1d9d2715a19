//! Random histories of a bot and its panels, with runs in between: whatever happens, nobody who paid loses anything, and
//! when all stands still, all ends in one state.

mod check;
mod happen;
mod panel;
mod steps;
mod world;

use marzban_sync_core::report::Job;
use proptest::prelude::*;

use steps::steps;
use world::{Model, PANELS};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nobody_who_paid_is_cut_off_or_deleted_whatever_happens(
        steps in steps(),
        reads_cheaply in any::<bool>(),
    ) {
        let model = Model::new(reads_cheaply);
        for step in &steps {
            model.take(step);
        }
    }

    #[test]
    fn when_all_stands_still_the_order_of_the_jobs_does_not_matter(
        steps in steps(),
        one in order(),
        other in order(),
    ) {
        let (first, second) = (Model::new(false), Model::new(false));
        for (model, order) in [(&first, &one), (&second, &other)] {
            for step in &steps {
                model.take(step);
            }
            model.stand_still();
            for _ in 0..model.rounds_to_go() {
                model.round(order);
            }
        }
        prop_assert_eq!(first.end_state(), second.end_state());
        let before = first.end_state();
        first.round(&one);
        prop_assert_eq!(first.end_state(), before, "a further round writes nothing");
    }
}

/// The jobs of all panels in some order.
fn order() -> impl Strategy<Value = Vec<(Job, usize)>> {
    let jobs: Vec<(Job, usize)> = (0..PANELS.len())
        .flat_map(|panel| Job::ALL.map(|job| (job, panel)))
        .collect();
    Just(jobs).prop_shuffle()
}
