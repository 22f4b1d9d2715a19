//! What is written at once, and what waits.

use marzban_sync_core::account::{Account, SubscriptionStatus};
use marzban_sync_core::plan::{Change, Reason, split};
use proptest::prelude::*;

use super::cases::{Case, case};

/// Whether an account has lost something.
fn lost(before: &Account, after: &Account) -> bool {
    let access = after.is_active == Some(false) && before.is_active != Some(false);
    let subscriptions = before.subscriptions().zip(after.subscriptions());
    access
        || subscriptions.into_iter().any(|(was, is)| {
            let status = was.status != is.status && is.status == SubscriptionStatus::Expired;
            status || is.end() < was.end()
        })
}

fn halves(changes: Vec<Change>) -> (Vec<Change>, Vec<Change>) {
    split(changes).into_iter().unzip()
}

/// An account without its revision: two writes count twice.
fn content(account: Account) -> Account {
    Account {
        revision: 0,
        ..account
    }
}

/// Whether a held user's time has begun, which sets an end where none was: a give by what it means, and earlier by what it
/// is.
fn begins(case: &Case) -> bool {
    let changes = case.changes();
    changes
        .iter()
        .any(|change| change.reasons.contains(&Reason::Begun))
}

proptest! {
    #![proptest_config(super::laws_config())]

    #[test]
    fn the_harmless_half_and_then_the_destructive_half_are_the_whole(case in case()) {
        for change in case.changes() {
            let whole = change.applied();
            let count = change.reasons.len();
            let (harmless, destructive) = change.clone().split();
            prop_assert_eq!(&harmless.account, &change.account);
            if destructive.is_empty() {
                prop_assert_eq!(content(harmless.applied()), content(whole));
            } else {
                prop_assert_eq!(&destructive.account, &harmless.applied());
                prop_assert_eq!(content(destructive.applied()), content(whole));
            }
            prop_assert_eq!(harmless.reasons.len() + destructive.reasons.len(), count);
            prop_assert!(harmless.touches_no_row() == harmless.reasons.is_empty());
            prop_assert!(destructive.is_empty() == destructive.reasons.is_empty());
        }
    }

    #[test]
    fn a_part_has_its_reasons_and_their_values_and_remembers_nothing(case in case(), mask in any::<u16>()) {
        for change in case.changes() {
            let wanted = |reason: Reason| mask & (1 << reason as u16) != 0;
            let (part, rest) = (change.part(wanted), change.part(|reason| !wanted(reason)));
            prop_assert_eq!(&part.account, &change.account);
            prop_assert!(part.agreement.is_none() && part.interim.is_none());
            prop_assert!(part.reasons.iter().all(|reason| wanted(*reason)));
            prop_assert_eq!(part.reasons.len() + rest.reasons.len(), change.reasons.len());
            prop_assert_eq!(part.touches_no_row(), part.reasons.is_empty());
            let whole = change.part(|_| true);
            prop_assert_eq!(&whole.reasons, &change.reasons);
            prop_assert_eq!(whole.vpn_config, change.vpn_config);
            prop_assert_eq!(&whole.subscription, &change.subscription);
            prop_assert_eq!(&whole.also_expired, &change.also_expired);
        }
    }

    #[test]
    fn what_takes_away_expects_the_rows_as_the_harmless_halves_leave_them(case in case()) {
        let (harmless, destructive) = halves(case.changes());
        let between = case.after(&harmless).accounts();
        for change in destructive.iter().filter(|change| !change.is_empty()) {
            prop_assert_eq!(&change.account, &between[&change.account.id]);
        }
    }

    #[test]
    fn the_harmless_half_never_takes_away(case in case()) {
        if begins(&case) {
            return Ok(());
        }
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
        let whole = case.run();
        let (harmless, destructive) = halves(case.changes());
        let mut steps: Vec<Change> = harmless.into_iter().chain(destructive).collect();
        steps.retain(|step| !step.is_empty());
        let cut = &steps[..cut.min(steps.len())];
        // The steps of a customer share the subscription: applying them one by one is what a store does.
        let broken_off = cut.iter().fold(case.clone(), |case, step| case.after(std::slice::from_ref(step)));
        let made_good = broken_off.run();
        prop_assert_eq!(made_good.rows(), whole.rows());
        prop_assert_eq!(made_good.writes(), vec![]);
    }
}
