//! The operations that change users.
//!
//! The panel often fails after it has made a change, and some of its refusals are none. So whatever an answer leaves
//! open is read again, and what was read decides.

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

/// The panel's text of a 404 when there is nobody to delete.
const NOBODY_EXPIRED: &str = "No expired users found in the specified date range";

/// The panel's text of a 404 about the next plan, which its 0.8 also gives when it has begun the plan.
const NO_NEXT_PLAN: &str = "User doesn't have next plan";

impl Users<'_> {
    /// Makes a user.
    ///
    /// When the answer leaves open whether the user was made, it is read again. A user of this name that was made
    /// during this call, with this data, is the one that this call made.
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
    /// [`Conflict`](ErrorKind::Conflict) when a user of this name was there before.
    /// [`Rejected`](ErrorKind::Rejected) for what the panel does not accept, also when it says that the user exists and
    /// it does not: that is how it answers to data that its database refuses.
    /// [`Server`](ErrorKind::Server) when the panel failed and there is no such user.
    /// [`Indeterminate`](ErrorKind::Indeterminate) when it may have been made or may yet be: read before acting.
    /// [`InvalidInput`](ErrorKind::InvalidInput) for no protocol at all, an empty list of inbounds, or a limit that the panel
    /// cannot store. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the user may have been made or not. Doing it again is safe: it is then a conflict.
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

    /// Changes a user.
    ///
    /// When the answer leaves open whether the change was made, the user is read again and compared with it.
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
    /// [`NotFound`](ErrorKind::NotFound) when there is no such user; ask [`Error::is_user_not_found`] before drawing
    /// a conclusion. [`Forbidden`](ErrorKind::Forbidden) for another administrator's user.
    /// [`Rejected`](ErrorKind::Rejected) for what the panel does not accept.
    /// [`Server`](ErrorKind::Server) when the panel failed and the user is not as it was wanted.
    /// [`Indeterminate`](ErrorKind::Indeterminate) when the change may have been made or may yet be: read before acting.
    /// [`InvalidInput`](ErrorKind::InvalidInput) for taking away the last protocol, an end for a user that is put on hold, or
    /// a limit that the panel cannot store. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the user may have been changed or not. Read the user again before another change.
    pub async fn update(&self, change: &UserUpdate) -> Result<User, Error> {
        let username = change.username();
        let request = path_name(Request::put("users.update", USER), username)?.json(&change.body())?;
        match self.client.fetch(&request).await {
            Err(error) if error.is_ambiguous(&request) => {
                self.verify_update(username, error, |user| change.is_done_in(user))
                    .await
            }
            outcome => outcome,
        }
    }

    /// Begins the used traffic of a user anew.
    ///
    /// The panel does more than that: the next plan is dropped, and a limited, disabled or held user becomes active.
    /// An expired one stays expired.
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
    /// [`NotFound`](ErrorKind::NotFound) when there is no such user; ask [`Error::is_user_not_found`] before drawing
    /// a conclusion. [`Forbidden`](ErrorKind::Forbidden) for another administrator's user.
    /// [`Indeterminate`](ErrorKind::Indeterminate) when it may have happened. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, it may have happened or not. Doing it again takes the traffic used in between.
    pub async fn reset_usage(&self, username: &str) -> Result<User, Error> {
        let request = path_name(
            Request::post("users.reset_usage", "/api/user/{username}/reset"),
            username,
        )?;
        self.client.changed(&request).await
    }

    /// Gives a user new passwords and ids and a new address of the subscription. The old ones end at once.
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
    /// [`NotFound`](ErrorKind::NotFound) when there is no such user; ask [`Error::is_user_not_found`] before drawing
    /// a conclusion. [`Forbidden`](ErrorKind::Forbidden) for another administrator's user.
    /// [`Indeterminate`](ErrorKind::Indeterminate) when it may have happened: read the user for what is valid now.
    /// And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, it may have happened or not. Doing it again is safe, and ends what was given out before.
    pub async fn revoke_subscription(&self, username: &str) -> Result<User, Error> {
        let request = path_name(
            Request::post("users.revoke_subscription", "/api/user/{username}/revoke_sub"),
            username,
        )?;
        self.client.changed(&request).await
    }

    /// Begins the next plan of a user now. It needs three requests, because the panel's 0.8 answers that there is no
    /// next plan also when it has just begun it: the user is read before and after.
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
    /// [`NotFound`](ErrorKind::NotFound) when there is no such user, or when it has no next plan; then nothing was
    /// sent. [`Forbidden`](ErrorKind::Forbidden) for another administrator's user.
    /// [`Server`](ErrorKind::Server) when the panel failed and the plan has not begun, as it does for a user without
    /// limit whose plan does not set [`add_remaining_traffic`](crate::model::NextPlan::add_remaining_traffic).
    /// [`Indeterminate`](ErrorKind::Indeterminate) when it may have begun or may yet: read before acting.
    /// And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the plan may have begun or not. Doing it again is safe, unless there is another plan.
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

    /// Gives a user to another administrator. The administrator of the panel's environment cannot own users.
    ///
    /// When the answer leaves open whether it was done, the user is read again.
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
    /// [`NotFound`](ErrorKind::NotFound) when there is no such user, or no such administrator; ask
    /// [`Error::is_user_not_found`]. [`Forbidden`](ErrorKind::Forbidden) without sudo rights.
    /// [`Server`](ErrorKind::Server) when the panel failed and the owner is another one.
    /// [`Indeterminate`](ErrorKind::Indeterminate) when it may have happened or may yet: read before acting.
    /// And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, it may have happened or not. Doing it again is safe.
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

    /// Reads the names of the users whose access ended within these instants, both included. The panel
    /// counts in whole seconds: a fraction is rounded up at the beginning and down at the end.
    ///
    /// Limited users are among them when their time is over too. Without sudo rights it is the own users only.
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
    /// [`Rejected`](ErrorKind::Rejected) for a range whose end, in whole seconds, is before its beginning, and the failures of every
    /// operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn expired(&self, range: RangeInclusive<DateTime<Utc>>) -> Result<Vec<String>, Error> {
        let request = within(Request::get("users.expired", EXPIRED), &range);
        self.client.fetch(&request).await
    }

    /// Deletes the users whose access ended within these instants, both included, and answers with their names. The
    /// panel counts in whole seconds: a fraction is rounded up at the beginning and down at the end.
    ///
    /// Limited users are deleted too when their time is over. Without sudo rights it is the own users only.
    /// Ask [`expired`](Self::expired) first: there is no other rehearsal.
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
    /// [`Rejected`](ErrorKind::Rejected) for a range whose end, in whole seconds, is before its beginning.
    /// [`Indeterminate`](ErrorKind::Indeterminate) when some or all of them may be deleted.
    /// And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, some or all of them may be deleted. Doing it again is safe.
    pub async fn delete_expired(&self, range: RangeInclusive<DateTime<Utc>>) -> Result<Vec<String>, Error> {
        let request = within(Request::delete("users.delete_expired", EXPIRED), &range);
        match self.client.changed(&request).await {
            Err(error) if error.is_not_found_with(NOBODY_EXPIRED) => Ok(Vec::new()),
            outcome => outcome,
        }
    }

    /// Begins the used traffic of all users anew and restarts the core: every user's connections break.
    ///
    /// The traffic used ever is lost too. For the administrator of the panel's environment it is everybody's, for
    /// another one with sudo rights that of the own users.
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
    /// [`Forbidden`](ErrorKind::Forbidden) without sudo rights. [`Indeterminate`](ErrorKind::Indeterminate) when it may have
    /// happened. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, it may have happened or not.
    pub async fn reset_usage_of_all(&self) -> Result<(), Error> {
        let request = Request::post("users.reset_usage_of_all", "/api/users/reset");
        execute_ack(self.client, &request).await
    }

    /// Finds out whether the panel means what it says: it answers 409 whenever its database refuses a new user.
    async fn refine_conflict(&self, user: &NewUser, error: Error) -> Error {
        match self.get(user.username().as_str()).await {
            Err(absent) if absent.is_user_not_found() => error.with_kind(
                ErrorKind::Rejected,
                "the panel says that the user exists, but it does not: its database refused the data",
            ),
            _ => error,
        }
    }

    /// Finds out what a creation did that ended with `error`.
    async fn verify_create(&self, user: &NewUser, started: Instant, error: Error) -> Result<User, Error> {
        match self.get_dated(user.username().as_str()).await {
            Ok((read, now)) => match created_by(user, &read, now, started.elapsed()) {
                CreatedBy::ThisCall => Ok(read),
                CreatedBy::EarlierCall => Err(error.with_kind(
                    ErrorKind::Conflict,
                    "the creation failed, and a user of this name was there before",
                )),
                CreatedBy::Unknown => Err(error.with_kind(
                    ErrorKind::Indeterminate,
                    "there is a user of this name now, who may be another one",
                )),
            },
            Err(absent) if absent.is_user_not_found() && is_settled(&error) => {
                Err(error.with_kind(ErrorKind::Server, "the creation failed and there is no such user"))
            }
            Err(unknown) => Err(unclear(error, &unknown)),
        }
    }

    /// Reads a user and when that was, by the panel's clock as far as it tells.
    async fn get_dated(&self, username: &str) -> Result<(User, DateTime<Utc>), Error> {
        let request = path_name(Request::get("users.get", USER), username)?;
        let answer = self.client.execute(&request).await?;
        Ok((answer.decode(&request)?, answer.date().unwrap_or_else(wall_clock)))
    }

    /// Finds out what a change did that ended with `error`, by what the user is now.
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
                "the panel failed and the user is not as it was wanted",
            )),
            Ok(_) => Err(error.with_kind(
                ErrorKind::Indeterminate,
                "the user is not as it was wanted, but may yet become so",
            )),
            Err(unknown) => Err(unclear(error, &unknown)),
        }
    }
}

fn unclear(error: Error, unknown: &Error) -> Error {
    tracing::debug!(error = %unknown, "a change cannot be confirmed");
    error.with_kind(ErrorKind::Indeterminate, "the change may have happened or not")
}

/// Puts both bounds into a query, and their zone: the panel has its own idea of a bound that is left out, and fails
/// on one without a zone. Nobody outside of the range is in the whole seconds that are sent.
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
