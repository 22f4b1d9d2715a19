//! What is written at once, and what waits.

use marzban_sync_core::account::{Account, SubscriptionStatus};
use marzban_sync_core::plan::{Change, split};
use proptest::prelude::*;

use super::cases::case;

/// Whether an account has lost something.
fn lost(before: &Account, after: &Account) -> bool {
    let (was, is) = (&before.subscription, &after.subscription);
    let access = after.is_active == Some(false) && before.is_active != Some(false);
    let status = was
        .as_ref()
        .zip(is.as_ref())
        .is_some_and(|(was, is)| was.status != is.status && is.status == SubscriptionStatus::Expired);
    let end = was
        .as_ref()
        .zip(is.as_ref())
        .is_some_and(|(was, is)| match (was.end_date, is.end_date) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(was), Some(is)) => is < was,
        });
    access || status || end
}

fn halves(changes: Vec<Change>) -> (Vec<Change>, Vec<Change>) {
    split(changes).into_iter().unzip()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_harmless_half_and_then_the_destructive_half_are_the_whole(case in case()) {
        for change in case.changes() {
            let whole = change.applied();
            let count = change.reasons.len();
            let (harmless, destructive) = change.clone().split();
            prop_assert_eq!(&harmless.account, &change.account);
            prop_assert_eq!(&destructive.account, &harmless.applied());
            prop_assert_eq!(destructive.applied(), whole);
            prop_assert_eq!(harmless.reasons.len() + destructive.reasons.len(), count);
            prop_assert!(harmless.is_empty() == harmless.reasons.is_empty());
            prop_assert!(destructive.is_empty() == destructive.reasons.is_empty());
        }
    }

    #[test]
    fn what_takes_away_expects_the_rows_as_the_harmless_halves_leave_them(case in case()) {
        let (harmless, destructive) = halves(case.changes());
        let between = case.after(&harmless).accounts();
        for change in destructive {
            prop_assert_eq!(&change.account, &between[&change.account.id]);
        }
    }

    #[test]
    fn the_harmless_half_never_takes_away(case in case()) {
        let (harmless, _) = halves(case.changes());
        let before = case.accounts();
        for (id, after) in case.after(&harmless).accounts() {
            prop_assert!(!lost(&before[&id], &after), "{:?} became {:?}", before[&id], after);
        }
    }

    #[test]
    fn the_destructive_half_is_empty_unless_it_takes_away(case in case()) {
        let (harmless, destructive) = halves(case.changes());
        let between = case.after(&harmless);
        let after = between.after(&destructive).accounts();
        for change in destructive.iter().filter(|change| !change.is_empty()) {
            let id = change.account.id;
            prop_assert!(lost(&between.accounts()[&id], &after[&id]), "{change}");
        }
    }

    #[test]
    fn a_run_that_ends_after_any_of_its_changes_is_made_good_by_the_next(case in case(), cut in 0_usize..7) {
        let whole = case.after(&case.changes()).accounts();
        let (harmless, destructive) = halves(case.changes());
        let steps: Vec<Change> = harmless.into_iter().chain(destructive).collect();
        let cut = &steps[..cut.min(steps.len())];
        // The steps of a customer share the subscription: applying them one by one is what a store does.
        let broken_off = cut.iter().fold(case.clone(), |case, step| case.after(std::slice::from_ref(step)));
        prop_assert_eq!(broken_off.after(&broken_off.changes()).accounts(), whole);
    }
}
