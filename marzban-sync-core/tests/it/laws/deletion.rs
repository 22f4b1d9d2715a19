//! Who may be deleted.

use chrono::TimeDelta;
use marzban_sync_core::deletion::{Verdict, judge, judge_again};
use marzban_sync_core::observation::Observation;
use marzban_sync_core::reconcile::Observed;
use proptest::prelude::*;

use super::cases::{case, case_with, observation, working_user};
use crate::given::day;

/// Whether the panel says that the user was over before the cutoff.
fn is_long_over(observation: &Observation, now: chrono::DateTime<chrono::Utc>) -> bool {
    match observation {
        Observation::Found(user) => {
            !user.works(now)
                && user.has_expired(now)
                && user
                    .expire
                    .is_some_and(|expire| expire < now - TimeDelta::days(7))
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn nobody_is_deleted_whom_the_panel_does_not_say_to_be_long_over(case in case(), second in observation()) {
        let cutoff = case.now - TimeDelta::days(7);
        for observed in &case.customer {
            if judge(observed, &case.customer, cutoff, case.now) != Verdict::Delete {
                continue;
            }
            let first = &observed.observation;
            prop_assert!(is_long_over(first, case.now) || *first == Observation::Absent, "{first:?}");
            if judge_again(first, &second, cutoff, case.now) == Verdict::Delete {
                prop_assert!(is_long_over(&second, case.now), "{second:?}");
            }
        }
    }

    #[test]
    fn nobody_is_deleted_while_another_account_of_the_customer_works(case in case_with(working_user())) {
        for observed in &case.customer {
            let verdict = judge(observed, &case.customer, case.now - TimeDelta::days(7), case.now);
            prop_assert_ne!(verdict, Verdict::Delete);
        }
    }

    #[test]
    fn the_order_of_the_accounts_does_not_matter_to_a_verdict(
        (case, shuffled) in case().prop_flat_map(|case| {
            let customer = Just(case.customer.clone()).prop_shuffle();
            (Just(case), customer)
        })
    ) {
        for observed in &case.customer {
            let of = |customer: &[Observed]| judge(observed, customer, case.now - TimeDelta::days(7), case.now);
            prop_assert_eq!(of(&case.customer), of(&shuffled));
        }
    }

    #[test]
    fn a_later_cutoff_never_deletes_fewer(case in case(), sooner in 0_i64..40, later in 0_i64..40) {
        let (early, late) = (day(-sooner.max(later)), day(-sooner.min(later)));
        for observed in &case.customer {
            if judge(observed, &case.customer, early, case.now) == Verdict::Delete {
                prop_assert_eq!(judge(observed, &case.customer, late, case.now), Verdict::Delete);
            }
        }
    }
}
