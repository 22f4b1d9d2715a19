//! What must be true of the time between two moments in which a run did something.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use marzban_sync_core::account::{SubscriptionStatus, UserId};
use marzban_sync_core::store::{MemorySubscription, MemoryVpnConfig};

use super::steps::Happening;
use super::world::{Model, PANELS, Rows, user_id};

/// All that there is at one moment, as the run of one panel finds it.
pub(super) struct Moment {
    rows: Rows,
    panel: usize,
    /// The names of the users that work.
    works: BTreeSet<String>,
    /// The names of the users that there are.
    names: BTreeSet<String>,
    is_silent: bool,
    /// Whether another panel answers, which knows nobody.
    is_another: bool,
}

impl Moment {
    pub(super) fn of(model: &Model, panel: usize) -> Self {
        let now = model.now();
        model.panels[panel].with(|state| Self {
            rows: model.rows(),
            panel,
            works: state
                .users
                .iter()
                .filter(|(_, user)| user.works(now))
                .map(|(name, _)| name.clone())
                .collect(),
            names: state.users.keys().cloned().collect(),
            is_silent: state.is_down,
            is_another: state.is_another,
        })
    }

    fn is_of_panel(&self, row: &MemoryVpnConfig) -> bool {
        row.panel.as_deref() == Some(PANELS[self.panel])
    }

    fn row(&self, like: &MemoryVpnConfig) -> &MemoryVpnConfig {
        self.rows
            .1
            .iter()
            .find(|row| row.id == like.id)
            .expect("rows stay")
    }

    /// Whether the user works, in this panel and, if given, at this earlier moment too.
    fn works(&self, row: &MemoryVpnConfig, before: Option<&Self>) -> bool {
        let Some(name) = &row.marzban_user_id else {
            return false;
        };
        self.is_of_panel(row)
            && self.works.contains(name)
            && before.is_none_or(|before| before.works.contains(name))
    }
}

/// Checks what a run did from one moment to another; `after` is what happened right before, in its middle, and how all
/// was before that.
pub(super) fn check(from: &Moment, to: &Moment, after: Option<(&Happening, &Moment)>) {
    let paid = match after {
        Some((Happening::Pays(person, _) | Happening::BuysAnother(person, _), _)) => Some(user_id(*person)),
        _ => None,
    };
    let before = after.map(|(_, before)| before);
    if from.is_silent && to.is_silent && after.is_none() {
        assert_eq!(from.rows, to.rows, "a panel that says nothing changes nothing");
    }
    for was in &from.rows.1 {
        check_login(from, to, was, before, paid);
    }
    for was in &from.rows.0 {
        let is = to.rows.0.iter().find(|row| row.id == was.id).expect("rows stay");
        check_subscription(from, was, is, before, paid);
    }
}

fn check_login(
    from: &Moment,
    to: &Moment,
    was: &MemoryVpnConfig,
    before: Option<&Moment>,
    paid: Option<UserId>,
) {
    let is = to.row(was);
    if !from.is_of_panel(was) {
        assert_eq!(was, is, "the row of another panel");
        return;
    }
    let is_unlinked = was.marzban_user_id.is_some() && is.marzban_user_id.is_none();
    // A bot all of whose accounts ended long ago has nobody to ask for, and cannot tell the wrong panel.
    if is_unlinked && (from.is_another || to.is_another) {
        return;
    }
    let switched_off = was.is_active != Some(false) && is.is_active == Some(false);
    assert!(
        !(switched_off && from.works(was, before)),
        "access that works was switched off: {was:?}"
    );
    assert!(
        !(switched_off && paid == Some(was.user_id)),
        "access that was paid for meanwhile was switched off: {was:?}"
    );
    if let Some(name) = &was.marzban_user_id
        && is.marzban_user_id.is_none()
    {
        assert!(
            !to.names.contains(name),
            "the row of a user that is there was unlinked: {was:?}"
        );
    }
}

fn check_subscription(
    from: &Moment,
    was: &MemorySubscription,
    is: &MemorySubscription,
    before: Option<&Moment>,
    paid: Option<UserId>,
) {
    if !was.status.is_synced() {
        assert_eq!(was, is, "a subscription that is not ours to change");
    }
    let ended = was.status.is_open() && is.status == SubscriptionStatus::Expired;
    let shortened = end(is.end_date) < end(was.end_date);
    if !(ended || shortened) {
        return;
    }
    let mut logins = from.rows.1.iter().filter(|row| row.user_id == was.user_id);
    let keeps = logins.find(|row| {
        let is_elsewhere =
            !from.is_of_panel(row) && row.is_active == Some(true) && row.marzban_user_id.is_some();
        is_elsewhere || (ended && from.works(row, before))
    });
    assert_eq!(keeps, None, "{was:?} became {is:?}");
    assert_ne!(
        paid,
        Some(was.user_id),
        "it was paid for meanwhile: {was:?} became {is:?}"
    );
}

fn end(end_date: Option<DateTime<Utc>>) -> DateTime<Utc> {
    end_date.unwrap_or(DateTime::<Utc>::MAX_UTC)
}
