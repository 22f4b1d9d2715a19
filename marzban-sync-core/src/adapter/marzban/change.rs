//! Changes of panel users: each is read, compared with what is expected, changed, and read again.

use chrono::{DateTime, Utc};
use marzban_api::model::{Expiry, SetStatus, Timestamp, UserUpdate};
use marzban_api::{Error, ErrorKind};

use super::{Look, MarzbanPanel, failed, not_ours};
use crate::model::end_date::EndDate;
use crate::model::observation::{Observation, PanelStatus, PanelUser};
use crate::port::error::{PanelError, PanelErrorKind};
use crate::port::panel::{ExpectedUser, Panel, UpdateOutcome};

/// What the client calls the request of a change, as opposed to a login before it.
const OPERATION: &str = "users.update";

impl MarzbanPanel {
    pub(super) async fn extend(
        &self,
        name: &str,
        expected: &ExpectedUser,
        end: DateTime<Utc>,
    ) -> Result<UpdateOutcome, PanelError> {
        let time = later_end(expected, end)?;
        let wanted = ExpectedUser {
            expire: Some(time.to_utc()),
            ..*expected
        };
        let (user, found) = match self.look(name).await? {
            Look::Found(user, found) => (user, found),
            Look::Other(observation) => return Ok(UpdateOutcome::Changed(observation)),
        };
        if !has_begun(&found) {
            return Ok(UpdateOutcome::Changed(Observation::Found(found)));
        }
        if fits(&wanted, &found) {
            return Ok(UpdateOutcome::Done);
        }
        if !fits(expected, &found) {
            return Ok(UpdateOutcome::Changed(Observation::Found(found)));
        }
        let change = UserUpdate::for_user(&user).expire(Expiry::At(time));
        let is_done = |now: &Observation| matches!(now, Observation::Found(user) if fits(&wanted, user));
        self.change(&change, is_done).await
    }

    pub(super) async fn disable(
        &self,
        name: &str,
        expected: &ExpectedUser,
    ) -> Result<UpdateOutcome, PanelError> {
        let (user, found) = match self.look(name).await? {
            Look::Found(user, found) => (user, found),
            Look::Other(Observation::NotFound) => return Ok(UpdateOutcome::Done),
            Look::Other(observation) => return Ok(UpdateOutcome::Changed(observation)),
        };
        if !fits(expected, &found) {
            return Ok(UpdateOutcome::Changed(Observation::Found(found)));
        }
        let is_done = |now: &Observation| match now {
            Observation::NotFound => true,
            Observation::Found(user) => is_disabled(user) && user.created_at == expected.created_at,
            _ => false,
        };
        if is_disabled(&found) {
            return Ok(UpdateOutcome::Done);
        }
        let change = UserUpdate::for_user(&user).status(SetStatus::Disabled);
        self.change(&change, is_done).await
    }

    /// Sends a change and makes sure of it by reading, whatever the panel says of it.
    async fn change(
        &self,
        change: &UserUpdate,
        is_done: impl Fn(&Observation) -> bool + Send,
    ) -> Result<UpdateOutcome, PanelError> {
        let failure = match self.client.users().update(change).await {
            Ok(_) => None,
            Err(error) if error.is_user_not_found() => {
                return Ok(if is_done(&Observation::NotFound) {
                    UpdateOutcome::Done
                } else {
                    UpdateOutcome::Changed(Observation::NotFound)
                });
            }
            Err(error) if error.kind() == ErrorKind::Forbidden => {
                return Err(not_ours("not permitted to change a user", error));
            }
            Err(error) if may_have_happened(&error) => Some(error),
            Err(error) => return Err(failed("cannot change a user", error)),
        };
        match (self.user(change.username()).await, failure) {
            (Ok(now), _) if is_done(&now) => Ok(UpdateOutcome::Done),
            // The panel is done with the request, and has not done it; it answers, so this user alone is at fault.
            (Ok(_), Some(error)) if error.kind() == ErrorKind::Server => {
                Err(not_ours("the panel does not change this user", error))
            }
            (Ok(_), None) => Err(PanelError::new(
                PanelErrorKind::Unclear,
                "a user was changed, and is not as it was to be",
            )),
            (_, Some(error)) => Err(unclear().with_source(error)),
            (Err(error), None) => Err(unclear().with_source(error)),
        }
    }
}

/// The end that is to be sent: one that the panel can hold, and not earlier than the present one.
fn later_end(expected: &ExpectedUser, end: DateTime<Utc>) -> Result<Timestamp, PanelError> {
    let time = Timestamp::new(end).map_err(|error| {
        PanelError::new(PanelErrorKind::Invalid, "this is no end that a user can have").with_source(error)
    })?;
    if EndDate::At(time.to_utc()) < EndDate::from(expected.expire) {
        return Err(PanelError::new(
            PanelErrorKind::Invalid,
            "an extension never moves an end earlier",
        ));
    }
    Ok(time)
}

/// Whether the user's time runs or has run out. One that is disabled or on hold, or of whose status nothing is known,
/// is not extended.
fn has_begun(user: &PanelUser) -> bool {
    match user.status {
        PanelStatus::Active | PanelStatus::Limited | PanelStatus::Expired => true,
        PanelStatus::OnHold | PanelStatus::Disabled | PanelStatus::Unknown(_) => false,
    }
}

fn fits(expected: &ExpectedUser, user: &PanelUser) -> bool {
    expected.fits(user.expire, user.created_at)
}

fn is_disabled(user: &PanelUser) -> bool {
    user.status == PanelStatus::Disabled
}

/// Whether the panel may have made the change although it failed, also where something else answered in its place.
fn may_have_happened(error: &Error) -> bool {
    let is_open = matches!(
        error.kind(),
        ErrorKind::Indeterminate | ErrorKind::Server | ErrorKind::UnexpectedResponse
    );
    is_open && error.operation() == OPERATION
}

fn unclear() -> PanelError {
    PanelError::new(
        PanelErrorKind::Unclear,
        "the change of a user may have happened or not",
    )
}
