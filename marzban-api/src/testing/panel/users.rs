//! Creating, editing, resetting and deleting one user, with the side effects that the panel has.

use std::collections::{BTreeMap, BTreeSet};

use super::admin::FakeAdmin;
use super::input::{NextPlanInput, UserInput};
use super::notification::Event;
use super::protocol::{FakeProtocol, ProxiesInput, Proxy};
use super::refusal::Refusal;
use super::state::Panel;
use super::user::{FakeStatus, FakeUser};

impl Panel {
    /// Finds a user for an admin: a missing one is not found by anyone, and only then does it matter whose it is.
    ///
    /// # Errors
    /// [`UserNotFound`](Refusal::UserNotFound) and [`Forbidden`](Refusal::Forbidden).
    pub fn visible_user(&self, by: &FakeAdmin, username: &str) -> Result<&FakeUser, Refusal> {
        let user = self.user(username).ok_or(Refusal::UserNotFound)?;
        if by.may_manage(user) {
            Ok(user)
        } else {
            Err(Refusal::Forbidden)
        }
    }

    /// Finds a user that is to be shown, which fails for one that the panel cannot render.
    pub(crate) fn shown_user(&self, username: &str) -> Result<&FakeUser, Refusal> {
        let user = self.user(username).ok_or(Refusal::UserNotFound)?;
        if user.is_presentable() {
            Ok(user)
        } else {
            Err(Refusal::InternalError)
        }
    }

    /// Creates a user, as `POST /api/user` does with fields that are valid one by one.
    ///
    /// # Errors
    /// [`ProtocolDisabled`](Refusal::ProtocolDisabled), and [`UserExists`](Refusal::UserExists) for a taken name as
    /// well as for a plan without a limit.
    pub fn create_user(&mut self, by: &FakeAdmin, username: &str, input: UserInput) -> Result<(), Refusal> {
        self.inbounds
            .check(input.proxies.given().map(|(protocol, _)| protocol))?;
        // The panel takes any failed constraint for a taken name, also that of a plan without a limit.
        let next_plan = match input.next_plan.map(NextPlanInput::complete) {
            Some(None) => return Err(Refusal::UserExists),
            plan => plan.flatten(),
        };
        if self.user(username).is_some() {
            return Err(Refusal::UserExists);
        }
        let proxies = self.new_proxies(&input.proxies);
        let excluded = proxies.keys().map(|protocol| {
            let wanted = input.inbounds.as_ref().map(|inbounds| inbounds.get(protocol));
            let excluded = match wanted {
                // Without the field the user gets no inbounds, with an empty one it gets all.
                None => self.inbounds.all_but(*protocol, &BTreeSet::new()),
                Some(Some(wanted)) if !wanted.is_empty() => self.inbounds.all_but(*protocol, wanted),
                Some(_) => BTreeSet::new(),
            };
            (*protocol, excluded)
        });
        let user = FakeUser {
            status: input.status.unwrap_or(FakeStatus::Active),
            expire: input.expire.filter(|expire| *expire != 0),
            data_limit: input.data_limit.filter(|limit| *limit != 0),
            data_limit_reset_strategy: input
                .data_limit_reset_strategy
                .unwrap_or_else(|| "no_reset".to_owned()),
            note: input.note,
            on_hold_expire_duration: input.on_hold_expire_duration,
            on_hold_timeout: input.on_hold_timeout,
            auto_delete_in_days: input.auto_delete_in_days,
            next_plan,
            // The environment's admin has no row that could own a user.
            owner: (!by.is_from_environment).then(|| by.username.clone()),
            excluded: excluded.collect(),
            proxies,
            wanted: Vec::new(),
            ..FakeUser::new(username)
        };
        self.insert_user(user);
        self.notify_by(Event::Created, username, by);
        Ok(())
    }

    /// Edits a user, as `PUT /api/user/{username}` does with fields that are valid one by one.
    ///
    /// # Errors
    /// [`UserNotFound`](Refusal::UserNotFound), [`ProtocolDisabled`](Refusal::ProtocolDisabled), and
    /// [`InternalError`](Refusal::InternalError) for proxies of null and for a plan without a limit.
    pub fn modify_user(&mut self, by: &FakeAdmin, username: &str, input: UserInput) -> Result<(), Refusal> {
        self.inbounds
            .check(input.proxies.given().map(|(protocol, _)| protocol))?;
        let is_refused_by_database = input.proxies == ProxiesInput::Null
            || input.next_plan.is_some_and(|plan| plan.complete().is_none());
        if is_refused_by_database {
            return Err(Refusal::InternalError);
        }
        self.modify_proxies(username, &input);
        let now = self.now();
        let user = self.user_mut(username).ok_or(Refusal::UserNotFound)?;
        let before = user.status;
        apply(user, input, now.timestamp());
        user.edit_at = Some(now);
        let after = user.status;
        let is_presentable = user.is_presentable();
        if before != after {
            user.last_status_change = Some(now);
        }
        // The panel renders the user before it reports.
        if is_presentable {
            self.notify_by(Event::Updated, username, by);
            if before != after {
                self.notify_status(username, after, Some(by));
            }
        }
        Ok(())
    }

    /// Replaces the protocols, and with them all credentials that the input does not repeat.
    fn modify_proxies(&mut self, username: &str, input: &UserInput) {
        let proxies = self.new_proxies(&input.proxies);
        let Some(id) = self.id_of(username) else {
            return;
        };
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        if !proxies.is_empty() {
            user.proxies = proxies;
        }
        for (protocol, wanted) in input.inbounds.iter().flatten() {
            if user.proxies.contains_key(protocol) {
                let excluded = self.inbounds.all_but(*protocol, wanted);
                user.excluded.insert(*protocol, excluded);
            }
        }
        user.excluded
            .retain(|protocol, _| user.proxies.contains_key(protocol));
    }

    /// Moves a user's traffic into its lifetime's and activates it unless it is expired; its next plan is lost.
    ///
    /// # Errors
    /// [`UserNotFound`](Refusal::UserNotFound).
    pub fn reset_usage(&mut self, by: &FakeAdmin, username: &str) -> Result<(), Refusal> {
        let now = self.now();
        let user = self.user_mut(username).ok_or(Refusal::UserNotFound)?;
        user.reset_traffic(now);
        if user.status != FakeStatus::Expired {
            user.switch(FakeStatus::Active, now);
        }
        self.notify_by(Event::UsageReset, username, by);
        Ok(())
    }

    /// Clears the traffic of all users, their lifetime's too; a sudo admin of the database clears its own users'.
    pub fn reset_usage_of_all(&mut self, by: &FakeAdmin) {
        let now = self.now();
        let users = self.users.values_mut();
        for user in users.filter(|user| by.is_from_environment || user.is_owned_by(&by.username)) {
            user.used_traffic = 0;
            user.earlier_traffic = 0;
            user.next_plan = None;
            user.usage.clear();
            if user.status == FakeStatus::Limited {
                user.switch(FakeStatus::Active, now);
            }
        }
    }

    /// Gives a user new credentials; the subscription URLs issued so far die.
    ///
    /// # Errors
    /// [`UserNotFound`](Refusal::UserNotFound).
    pub fn revoke_subscription(&mut self, by: &FakeAdmin, username: &str) -> Result<(), Refusal> {
        let user = self.user(username).ok_or(Refusal::UserNotFound)?;
        let kept = user.proxies.iter();
        let kept = kept.map(|(protocol, proxy)| (*protocol, proxy.without_credentials()));
        let kept = ProxiesInput::Given(kept.collect());
        let proxies = self.new_proxies(&kept);
        let now = self.now();
        if let Some(user) = self.user_mut(username) {
            user.proxies = proxies;
            user.sub_revoked_at = Some(now);
        }
        self.notify_by(Event::SubscriptionRevoked, username, by);
        Ok(())
    }

    /// Applies the plan that follows, and claims that there is none.
    ///
    /// # Errors
    /// [`NoNextPlan`](Refusal::NoNextPlan), even after the plan was applied, and
    /// [`InternalError`](Refusal::InternalError) for an unlimited user whose plan adds the remainder.
    pub fn activate_next_plan(&mut self, username: &str) -> Result<(), Refusal> {
        let now = self.now();
        let misleading_404 = Err(Refusal::NoNextPlan);
        let Some(user) = self.user_mut(username) else {
            return misleading_404;
        };
        let Some(plan) = user.next_plan else {
            return misleading_404;
        };
        if user.data_limit.is_none() && !plan.add_remaining_traffic {
            return Err(Refusal::InternalError);
        }
        user.apply_next_plan();
        user.switch(FakeStatus::Active, now);
        misleading_404
    }

    /// Gives a user to another admin; the panel sends no notification.
    ///
    /// # Errors
    /// [`AdminNotFound`](Refusal::AdminNotFound) and [`UserNotFound`](Refusal::UserNotFound).
    pub fn set_owner(&mut self, username: &str, owner: &str) -> Result<(), Refusal> {
        if self.admin(owner).is_none() {
            return Err(Refusal::AdminNotFound);
        }
        let user = self.user_mut(username).ok_or(Refusal::UserNotFound)?;
        user.owner = Some(owner.to_owned());
        Ok(())
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// [`UserNotFound`](Refusal::UserNotFound), and [`InternalError`](Refusal::InternalError) after the deletion of an
    /// ownerless user.
    pub fn delete_user(&mut self, by: &FakeAdmin, username: &str) -> Result<(), Refusal> {
        let user = self.remove_user(username).ok_or(Refusal::UserNotFound)?;
        if user.owner.is_none() {
            return Err(Refusal::InternalError);
        }
        self.notify_by(Event::Deleted, username, by);
        Ok(())
    }

    fn new_proxies(&mut self, input: &ProxiesInput) -> BTreeMap<FakeProtocol, Proxy> {
        input
            .given()
            .map(|(protocol, input)| (protocol, self.new_proxy(protocol, input)))
            .collect()
    }
}

/// Applies the plain fields in the panel's order, which decides what a status becomes.
fn apply(user: &mut FakeUser, input: UserInput, now: i64) {
    use FakeStatus::{Active, Disabled, Expired, Limited, OnHold};
    if let Some(status) = input.status {
        user.status = status;
    }
    if let Some(limit) = input.data_limit {
        user.data_limit = Some(limit).filter(|limit| *limit != 0);
        let is_used_up = user.data_limit.is_some_and(|limit| user.used_traffic >= limit);
        user.status = match (user.status, is_used_up) {
            (Expired | Disabled, _) | (OnHold, false) => user.status,
            (Active | Limited, false) => Active,
            (Active | Limited | OnHold, true) => Limited,
        };
    }
    if let Some(expire) = input.expire {
        user.expire = Some(expire).filter(|expire| *expire != 0);
        let is_over = user.expire.is_some_and(|expire| expire <= now);
        user.status = match user.status {
            Active | Expired if is_over => Expired,
            Active | Expired => Active,
            Disabled | Limited | OnHold => user.status,
        };
    }
    if let Some(note) = input.note {
        user.note = Some(note).filter(|note| !note.is_empty());
    }
    if let Some(strategy) = input.data_limit_reset_strategy {
        user.data_limit_reset_strategy = strategy;
    }
    user.on_hold_timeout = input.on_hold_timeout.or(user.on_hold_timeout);
    user.on_hold_expire_duration = input
        .on_hold_expire_duration
        .filter(|seconds| *seconds != 0)
        .or(user.on_hold_expire_duration);
    // The one field where omitted does not mean unchanged.
    user.next_plan = input.next_plan.and_then(NextPlanInput::complete);
}
