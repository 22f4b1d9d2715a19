//! Operations that change users.
//!
//! The panel often fails after it has made a change, and some of its rejections are false. So the user is read again
//! whenever a response does not settle the outcome.

use std::ops::RangeInclusive;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tokio::time::Instant;

use super::verify::{CreatedBy, created_by, next_plan_applied};
use super::{USER, Users};
use crate::client::wall_clock;
use crate::error::{Error, ErrorKind};
use crate::model::{NewUser, User, UserUpdate};
use crate::request::Request;
use crate::resource::{execute_ack, is_settled, path_name};

const SECOND: TimeDelta = TimeDelta::seconds(1);

const EXPIRED: &str = "/api/users/expired";

/// The panel's message with status 404 when there are no users to delete.
const NOBODY_EXPIRED: &str = "No expired users found in the specified date range";

/// The panel's message with status 404 when a user has no next plan. Marzban 0.8 also sends it after it has applied
/// the plan.
const NO_NEXT_PLAN: &str = "User doesn't have next plan";

impl Users<'_> {
    /// Creates a user.
    ///
    /// If the response does not settle whether the user was created, the user is read. A user with this username and
    /// these settings that is no older than this call counts as created by it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::{NewUser, Proxies, Username, Vless};
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let name = Username::new("alice").expect("a name that the panel accepts");
    /// let alice = NewUser::new(name, Proxies::new(Vless::default()));
    /// let alice = client.users().create(&alice).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Conflict`](ErrorKind::Conflict): the username was already taken.
    /// - [`Rejected`](ErrorKind::Rejected): the panel does not accept the settings. This is also the kind when it
    ///   reports a conflict with a user that does not exist, which is how it answers if its database rejects the
    ///   data.
    /// - [`Server`](ErrorKind::Server): the panel failed and there is no such user.
    /// - [`Indeterminate`](ErrorKind::Indeterminate): the user may have been created or may still be. Read it before
    ///   acting.
    /// - [`InvalidInput`](ErrorKind::InvalidInput): there is no protocol, an empty list of inbounds, or a limit that
    ///   the panel cannot store.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the user may or may not have been created. Calling again is safe: it then fails with
    /// [`Conflict`](ErrorKind::Conflict).
    pub async fn create(&self, user: &NewUser) -> Result<User, Error> {
        let request = Request::post("users.create", "/api/user").json(&user.body())?;
        let started = Instant::now();
        let error = match self.client.fetch(&request).await {
            Ok(made) => return Ok(made),
            Err(error) => error,
        };
        if error.kind() == ErrorKind::Conflict {
            Err(self.refine_conflict(user, error).await)
        } else if error.is_ambiguous(&request) {
            self.verify_create(user, started, error).await
        } else {
            Err(error)
        }
    }

    /// Updates a user.
    ///
    /// If the response does not settle whether the update was made, the user is read and compared with it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::{Patch, UserUpdate};
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let alice = client.users().get("alice").await?;
    /// client.users().update(&UserUpdate::for_user(&alice).expire(Patch::Clear)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](ErrorKind::NotFound): there is no such user. Check [`Error::is_user_not_found`] before drawing
    ///   conclusions.
    /// - [`Forbidden`](ErrorKind::Forbidden): the user belongs to another admin.
    /// - [`Rejected`](ErrorKind::Rejected): the panel does not accept the settings.
    /// - [`Server`](ErrorKind::Server): the panel failed and the user does not match the update.
    /// - [`Indeterminate`](ErrorKind::Indeterminate): the update may have been made or may still be. Read the user
    ///   before acting.
    /// - [`InvalidInput`](ErrorKind::InvalidInput): the update removes the last protocol, sets an expiry for a user
    ///   that is put on hold, or has a limit that the panel cannot store.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the user may or may not have been updated. Read it again before another update.
    pub async fn update(&self, update: &UserUpdate) -> Result<User, Error> {
        let username = update.username();
        let request = path_name(Request::put("users.update", USER), username)?.json(&update.body())?;
        match self.client.fetch(&request).await {
            Err(error) if error.is_ambiguous(&request) => {
                self.verify_update(username, error, |user| update.is_done_in(user))
                    .await
            }
            outcome => outcome,
        }
    }

    /// Resets the user's used traffic to zero. **Also activates a disabled, limited or on-hold user and removes the
    /// next plan.**
    ///
    /// An expired user stays expired.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let alice = client.users().reset_usage("alice").await?;
    /// assert_eq!(alice.used_traffic, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](ErrorKind::NotFound): there is no such user. Check [`Error::is_user_not_found`] before drawing
    ///   conclusions.
    /// - [`Forbidden`](ErrorKind::Forbidden): the user belongs to another admin.
    /// - [`Indeterminate`](ErrorKind::Indeterminate): the traffic may have been reset.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the traffic may or may not have been reset. Calling again also resets the traffic used in between.
    pub async fn reset_usage(&self, username: &str) -> Result<User, Error> {
        let request = path_name(
            Request::post("users.reset_usage", "/api/user/{username}/reset"),
            username,
        )?;
        self.client.changed(&request).await
    }

    /// Gives the user new credentials and a new subscription URL. The old ones stop working at once.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let alice = client.users().revoke_subscription("alice").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](ErrorKind::NotFound): there is no such user. Check [`Error::is_user_not_found`] before drawing
    ///   conclusions.
    /// - [`Forbidden`](ErrorKind::Forbidden): the user belongs to another admin.
    /// - [`Indeterminate`](ErrorKind::Indeterminate): the subscription may have been revoked. Read the user for the
    ///   current URL.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the subscription may or may not have been revoked. Calling again is safe, and revokes what was
    /// issued in between.
    pub async fn revoke_subscription(&self, username: &str) -> Result<User, Error> {
        let request = path_name(
            Request::post("users.revoke_subscription", "/api/user/{username}/revoke_sub"),
            username,
        )?;
        self.client.changed(&request).await
    }

    /// Applies the user's next plan now.
    ///
    /// This takes three requests: Marzban 0.8 may report that there is no next plan just after it has applied it, so
    /// the user is read before and after.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let alice = client.users().activate_next_plan("alice").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](ErrorKind::NotFound): there is no such user, or it has no next plan. Nothing was changed.
    /// - [`Forbidden`](ErrorKind::Forbidden): the user belongs to another admin.
    /// - [`Server`](ErrorKind::Server): the panel failed and the plan has not been applied. This happens to a user
    ///   without a data limit whose plan does not set
    ///   [`add_remaining_traffic`](crate::model::NextPlan::add_remaining_traffic).
    /// - [`Indeterminate`](ErrorKind::Indeterminate): the plan may have been applied or may still be. Read the user
    ///   before acting.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the plan may or may not have been applied. Calling again is safe, unless there is another plan by
    /// then.
    pub async fn activate_next_plan(&self, username: &str) -> Result<User, Error> {
        let template = "/api/user/{username}/active-next";
        let request = path_name(Request::post("users.activate_next_plan", template), username)?;
        let before = self.get(username).await?;
        if before.next_plan.is_none() {
            return Err(Error::new(ErrorKind::NotFound)
                .with_operation(&request)
                .with_message("the user has no next plan"));
        }
        match self.client.fetch(&request).await {
            Err(error) if error.is_not_found_with(NO_NEXT_PLAN) || error.is_ambiguous(&request) => {
                self.verify_update(username, error, |after| next_plan_applied(&before, after))
                    .await
            }
            outcome => outcome,
        }
    }

    /// Transfers a user to another admin. The env sudo admin cannot own users.
    ///
    /// If the response does not settle the outcome, the user is read again.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let alice = client.users().set_owner("alice", "seller").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](ErrorKind::NotFound): there is no such user, for which see [`Error::is_user_not_found`], or no
    ///   such admin.
    /// - [`Forbidden`](ErrorKind::Forbidden): the client's admin has no sudo rights.
    /// - [`Server`](ErrorKind::Server): the panel failed and the user still has another owner.
    /// - [`Indeterminate`](ErrorKind::Indeterminate): the owner may have changed or may still change. Read the user
    ///   before acting.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the owner may or may not have changed. Calling again is safe.
    pub async fn set_owner(&self, username: &str, admin: &str) -> Result<User, Error> {
        let template = "/api/user/{username}/set-owner";
        let request =
            path_name(Request::put("users.set_owner", template), username)?.query("admin_username", admin);
        match self.client.fetch(&request).await {
            Err(error) if error.is_ambiguous(&request) => {
                let owned = |user: &User| user.admin.as_ref().is_some_and(|owner| owner.username == admin);
                self.verify_update(username, error, owned).await
            }
            outcome => outcome,
        }
    }

    /// Fetches the usernames of users that expired within this range, both ends included. The panel works in whole
    /// seconds: a fraction is rounded up at the start and down at the end.
    ///
    /// Limited users whose time is over are included. Without sudo rights, only the admin's own users are.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let start = "2025-09-01T00:00:00Z".parse().expect("a time");
    /// let end = "2025-09-30T00:00:00Z".parse().expect("a time");
    /// let names = client.users().expired(start..=end).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors), [`Rejected`](ErrorKind::Rejected) for a range
    /// that ends, in whole seconds, before it starts.
    pub async fn expired(&self, range: RangeInclusive<DateTime<Utc>>) -> Result<Vec<String>, Error> {
        let request = within(Request::get("users.expired", EXPIRED), &range);
        self.client.fetch(&request).await
    }

    /// Deletes the users that expired within this range, both ends included, and returns their usernames. The panel
    /// works in whole seconds: a fraction is rounded up at the start and down at the end.
    ///
    /// Limited users whose time is over are deleted too. Without sudo rights, only the admin's own users are. Call
    /// [`expired`](Self::expired) first to see whom it affects; there is no other dry run.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let start = "2025-09-01T00:00:00Z".parse().expect("a time");
    /// let end = "2025-09-30T00:00:00Z".parse().expect("a time");
    /// let deleted = client.users().delete_expired(start..=end).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Rejected`](ErrorKind::Rejected): the range ends, in whole seconds, before it starts.
    /// - [`Indeterminate`](ErrorKind::Indeterminate): some or all of the users may be deleted.
    ///
    /// # Cancel safety
    ///
    /// If dropped, some or all of the users may be deleted. Calling again is safe.
    pub async fn delete_expired(&self, range: RangeInclusive<DateTime<Utc>>) -> Result<Vec<String>, Error> {
        let request = within(Request::delete("users.delete_expired", EXPIRED), &range);
        match self.client.changed(&request).await {
            Err(error) if error.is_not_found_with(NOBODY_EXPIRED) => Ok(Vec::new()),
            outcome => outcome,
        }
    }

    /// Resets the used traffic of all users to zero and restarts the core, which breaks every user's connections.
    ///
    /// The lifetime traffic is lost too. For the env sudo admin this affects all users, for any other sudo admin only
    /// its own.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.users().reset_usage_of_all().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Forbidden`](ErrorKind::Forbidden): the client's admin has no sudo rights.
    /// - [`Indeterminate`](ErrorKind::Indeterminate): the traffic may have been reset.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the traffic may or may not have been reset.
    pub async fn reset_usage_of_all(&self) -> Result<(), Error> {
        let request = Request::post("users.reset_usage_of_all", "/api/users/reset");
        execute_ack(self.client, &request).await
    }

    /// Checks a reported conflict: the panel answers 409 whenever its database rejects a new user.
    async fn refine_conflict(&self, user: &NewUser, error: Error) -> Error {
        match self.get(user.username().as_str()).await {
            Err(absent) if absent.is_user_not_found() => error.with_kind(
                ErrorKind::Rejected,
                "the panel reports that the user exists, but it does not: its database rejected the data",
            ),
            _ => error,
        }
    }

    /// Finds out what became of a creation that ended with `error`.
    async fn verify_create(&self, user: &NewUser, started: Instant, error: Error) -> Result<User, Error> {
        match self.get_dated(user.username().as_str()).await {
            Ok((read, now)) => match created_by(user, &read, now, started.elapsed()) {
                CreatedBy::ThisCall => Ok(read),
                CreatedBy::EarlierCall => Err(error.with_kind(
                    ErrorKind::Conflict,
                    "the creation failed, and the username was already taken",
                )),
                CreatedBy::Unknown => Err(error.with_kind(
                    ErrorKind::Indeterminate,
                    "a user with this name exists now, but may be another one",
                )),
            },
            Err(absent) if absent.is_user_not_found() && is_settled(&error) => {
                Err(error.with_kind(ErrorKind::Server, "the creation failed and there is no such user"))
            }
            Err(unknown) => Err(unclear(error, &unknown)),
        }
    }

    /// Fetches a user and the time at which the Panel responded, by the panel's clock if it sends a date.
    async fn get_dated(&self, username: &str) -> Result<(User, DateTime<Utc>), Error> {
        let request = path_name(Request::get("users.get", USER), username)?;
        let response = self.client.execute(&request).await?;
        Ok((
            response.decode(&request)?,
            response.date().unwrap_or_else(wall_clock),
        ))
    }

    /// Finds out what became of an update that ended with `error`, by what the user is now.
    async fn verify_update(
        &self,
        username: &str,
        error: Error,
        done: impl Fn(&User) -> bool + Send,
    ) -> Result<User, Error> {
        match self.get(username).await {
            Ok(user) if done(&user) => Ok(user),
            Ok(_) if is_settled(&error) => Err(error.with_kind(
                ErrorKind::Server,
                "the panel failed and the user does not match the change",
            )),
            Ok(_) => Err(error.with_kind(
                ErrorKind::Indeterminate,
                "the user does not match the change so far",
            )),
            Err(unknown) => Err(unclear(error, &unknown)),
        }
    }
}

fn unclear(error: Error, unknown: &Error) -> Error {
    tracing::debug!(error = %unknown, "Cannot verify a change");
    error.with_kind(
        ErrorKind::Indeterminate,
        "the change may or may not have happened",
    )
}

/// Adds both ends of the range to the query, with their offset: the panel fills in an omitted end and fails on one
/// without an offset. The whole seconds that are sent lie within the range.
fn within(request: Request, range: &RangeInclusive<DateTime<Utc>>) -> Request {
    let text = |instant: &DateTime<Utc>| instant.to_rfc3339_opts(SecondsFormat::Secs, true);
    let start = match range.start().timestamp_subsec_nanos() {
        0 => *range.start(),
        _ => range.start().checked_add_signed(SECOND).unwrap_or(*range.start()),
    };
    request
        .query("expired_after", &text(&start))
        .query("expired_before", &text(range.end()))
}
