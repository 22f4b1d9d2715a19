//! Admins: logging in, accounts, and what is done to all users of one.

use chrono::{DateTime, TimeDelta};

use super::admin::FakeAdmin;
use super::input::AdminInput;
use super::refusal::Refusal;
use super::state::Panel;
use super::user::FakeStatus;

/// What a token stands for: which admin logged in, when, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) admin: String,
    is_from_environment: bool,
    pub(crate) is_sudo: bool,
    /// Whole seconds of Unix time, rounded down.
    pub(crate) issued_at: i64,
    pub(crate) expires_at: Option<i64>,
}

impl Panel {
    /// Logs an admin in; without a lifetime the grant never expires.
    pub(crate) fn log_in(
        &self,
        username: &str,
        password: &str,
        lifetime: Option<TimeDelta>,
    ) -> Option<Grant> {
        let admin = self
            .admins
            .iter()
            .find(|admin| admin.username == username && admin.password.as_deref() == Some(password))?;
        let issued_at = self.now().timestamp();
        Some(Grant {
            admin: admin.username.clone(),
            is_from_environment: admin.is_from_environment,
            is_sudo: admin.is_sudo,
            issued_at,
            expires_at: lifetime.map(|lifetime| issued_at + lifetime.num_seconds()),
        })
    }

    /// Finds the admin of a grant. Its rights are its current ones, not those at the login.
    pub(crate) fn admin_of(&self, grant: &Grant) -> Option<&FakeAdmin> {
        if grant.expires_at.is_some_and(|end| end <= self.now().timestamp()) {
            return None;
        }
        let admin = self.admins.iter().find(|admin| {
            admin.username == grant.admin && admin.is_from_environment == grant.is_from_environment
        })?;
        // The issue time has no fraction, so a login in the second of a password change is dead at once.
        let issued_at = DateTime::from_timestamp(grant.issued_at, 0)?;
        let is_outdated =
            !admin.is_from_environment && admin.password_reset_at.is_some_and(|at| at > issued_at);
        (!is_outdated).then_some(admin)
    }

    /// Creates an admin.
    pub(crate) fn create_admin(&mut self, username: &str, input: AdminInput) -> Result<&FakeAdmin, Refusal> {
        if self.admin(username).is_some() {
            return Err(Refusal::AdminExists);
        }
        let mut admin = FakeAdmin::new(username, input.password.unwrap_or_default());
        admin.is_sudo = input.is_sudo;
        admin.telegram_id = input.telegram_id;
        admin.discord_webhook = input.discord_webhook;
        self.admins.push(admin);
        self.admin(username).ok_or(Refusal::AdminNotFound)
    }

    /// Edits an admin: no value that is empty or zero changes anything, and sudo is never taken away.
    pub(crate) fn modify_admin(
        &mut self,
        by: &FakeAdmin,
        username: &str,
        input: AdminInput,
    ) -> Result<(), Refusal> {
        let now = self.now();
        let admin = self.admin_mut(username).ok_or(Refusal::AdminNotFound)?;
        if admin.is_sudo && admin.username != by.username {
            return Err(Refusal::EditsOtherSudo);
        }
        admin.is_sudo |= input.is_sudo;
        if let Some(password) = input.password.filter(|password| !password.is_empty()) {
            admin.set_password(&password, now);
        }
        admin.telegram_id = input.telegram_id.filter(|id| *id != 0).or(admin.telegram_id);
        let webhook = input.discord_webhook.filter(|url| !url.is_empty());
        if webhook.is_some() {
            admin.discord_webhook = webhook;
        }
        Ok(())
    }

    /// Deletes an admin that is not sudo.
    pub(crate) fn delete_admin(&mut self, username: &str) -> Result<(), Refusal> {
        if self.admin(username).is_some_and(|admin| admin.is_sudo) {
            return Err(Refusal::DeletesSudo);
        }
        self.remove_admin(username);
        Ok(())
    }

    /// Removes an admin, whose tokens die and whose users stay behind ownerless.
    pub(crate) fn remove_admin(&mut self, username: &str) {
        self.admins
            .retain(|admin| admin.is_from_environment || admin.username != username);
        let users = self.users.values_mut();
        for user in users.filter(|user| user.is_owned_by(username)) {
            user.owner = None;
        }
    }

    /// Disables the active and the on-hold users of an admin.
    pub(crate) fn disable_users(&mut self, owner: &str) {
        self.switch_users(owner, |user_is, _| match user_is {
            FakeStatus::Active | FakeStatus::OnHold => Some(FakeStatus::Disabled),
            _ => None,
        });
    }

    /// Activates the disabled users of an admin; those that never connected go back on hold.
    pub(crate) fn activate_users(&mut self, owner: &str) {
        self.switch_users(owner, |user_is, never_started| match (user_is, never_started) {
            (FakeStatus::Disabled, true) => Some(FakeStatus::OnHold),
            (FakeStatus::Disabled, false) => Some(FakeStatus::Active),
            _ => None,
        });
    }

    fn switch_users(&mut self, owner: &str, next: impl Fn(FakeStatus, bool) -> Option<FakeStatus>) {
        let now = self.now();
        let users = self.users.values_mut();
        for user in users.filter(|user| user.is_owned_by(owner)) {
            let never_started =
                user.expire.is_none() && user.on_hold_expire_duration.is_some() && user.online_at.is_none();
            if let Some(status) = next(user.status, never_started) {
                user.switch(status, now);
            }
        }
    }
}
