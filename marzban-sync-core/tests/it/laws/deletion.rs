//! Who may be deleted.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{Account, SubscriptionStatus};
use marzban_sync_core::deletion::{Verdict, judge, judge_again};
use marzban_sync_core::observation::{Observation, Observed, PanelStatus};
use proptest::prelude::*;

use super::cases::{case, case_with, observation, working_user};
use crate::given::day;

/// Whether the panel itself says that the user was over before the cutoff.
fn is_long_over(observation: &Observation, cutoff: DateTime<Utc>) -> bool {
    match observation {
        Observation::Found(user) => {
            matches!(
                user.status,
                PanelStatus::Expired | PanelStatus::Limited | PanelStatus::Disabled
            ) && user.expire.is_some_and(|expire| expire < cutoff)
        }
        _ => false,
    }
}

/// Whether every row that names the user promises nothing since the cutoff.
fn is_promised_nothing(account: &Account, cutoff: DateTime<Utc>) -> bool {
    let sharers = account
        .sharers
        .iter()
        .flat_map(|sharer| sharer.subscriptions.iter());
    account
        .subscriptions()
        .chain(sharers)
        .filter(|subscription| subscription.status != SubscriptionStatus::Pending)
        .all(|subscription| subscription.ended_before(cutoff))
}

proptest! {
    #![proptest_config(super::laws_config())]

    #[test]
    fn nobody_is_deleted_whom_rows_and_panel_do_not_call_long_over(case in case(), second in observation()) {
        let cutoff = case.now - TimeDelta::days(7);
        for observed in &case.customer {
            if judge(observed, &case.customer, cutoff, case.now) != Verdict::Delete {
                continue;
            }
            let Observed { account, observation } = observed;
            prop_assert!(is_long_over(observation, cutoff) || *observation == Observation::NotListed, "{observation:?}");
            prop_assert!(is_promised_nothing(account, cutoff), "{account:?}");
            prop_assert!(account.agreement.latest_end.is_none_or(|latest| latest < cutoff));
            if judge_again(account, observation, &second, cutoff, case.now) == Verdict::Delete {
                prop_assert!(is_long_over(&second, cutoff), "{second:?}");
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
