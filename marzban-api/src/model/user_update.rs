use std::collections::BTreeMap;
use std::num::NonZeroU64;

use chrono::{DateTime, Utc};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use super::input::{DataLimit, Expiry, Note, OnHold, Timestamp};
use super::new_user::{AtLeastOne, NewNextPlan, PlanBody, inbounds_agree};
use super::proxy::{Proxies, Proxy};
use super::user::{NextPlan, ResetStrategy, User, UserStatus};

/// How an update treats one optional field: keep it, clear it, or set it.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// use std::num::NonZeroU64;
///
/// use marzban_api::model::{Patch, UserUpdate};
///
/// let alice = client.users().get("alice").await?;
/// let update = UserUpdate::for_user(&alice)
///     .expire(Patch::Clear)
///     .data_limit(Patch::Set(const { NonZeroU64::new(10 << 30).unwrap() }));
/// client.users().update(&update).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Patch<T> {
    /// Keeps the value.
    #[default]
    Keep,
    /// Removes the value.
    Clear,
    /// Sets a new value.
    Set(T),
}

/// An update of a user, based on the user as it was read.
///
/// Fields that are not set keep their values. For this the panel needs some of them sent back: it deletes a next plan
/// that is not in the request, and generates new credentials for a protocol that comes without them. So read the user
/// shortly before: if its next plan starts in between, the update brings the plan back.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use marzban_api::model::{
///     Patch, DataLimit, Expiry, Flow, NewNextPlan, Note, ResetStrategy, Trojan, UserUpdate, UserStatus,
///     SetStatus, Vless,
/// };
/// # panel.insert_user(marzban_api::testing::FakeUser::new("alice").expire(1_893_456_000));
///
/// let alice = client.users().get("alice").await?;
/// let update = UserUpdate::for_user(&alice)
///     .expire(Expiry::Never)
///     .data_limit(DataLimit::from_bytes(50 << 30))
///     .reset_strategy(ResetStrategy::Month)
///     .note(Note::new("paid in cash")?)
///     .next_plan(Patch::Set(NewNextPlan::new(DataLimit::from_bytes(10 << 30))))
///     .status(SetStatus::Disabled)
///     .proxy(Vless { id: None, flow: Some(Flow::Vision) })
///     .inbounds("vless", ["VLESS TCP REALITY"]);
/// assert_eq!(update.username(), "alice");
/// let changed = client.users().update(&update).await?;
/// assert_eq!((changed.expire, changed.data_limit), (None, Some(50 << 30)));
/// assert_eq!(changed.status, UserStatus::Disabled);
///
/// // Without VLESS, and without a note; the plan stays.
/// let update = UserUpdate::for_user(&changed).proxy(Trojan::default()).without_proxy("vless").note(Patch::Clear);
/// let changed = client.users().update(&update).await?;
/// assert_eq!(changed.proxies.protocols().collect::<Vec<_>>(), ["trojan"]);
/// assert!(changed.note.is_none() && changed.next_plan.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct UserUpdate {
    username: String,
    created_at: Option<DateTime<Utc>>,
    planned: Option<NextPlan>,
    present: Proxies,
    expire: Patch<Timestamp>,
    data_limit: Patch<NonZeroU64>,
    reset_strategy: Option<ResetStrategy>,
    note: Patch<Note>,
    next_plan: Patch<NewNextPlan>,
    status: Option<SetStatus>,
    proxies: Option<Proxies>,
    inbounds: BTreeMap<String, Vec<String>>,
}

/// The statuses that can be set through the API. `limited` and `expired` are assigned by the panel.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// use marzban_api::model::{UserUpdate, SetStatus};
///
/// let alice = client.users().get("alice").await?;
/// client.users().update(&UserUpdate::for_user(&alice).status(SetStatus::Disabled)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetStatus {
    /// Activates the user. The panel's next review ends this if the time or the traffic is used up.
    Active,
    /// Disables the user.
    Disabled,
    /// Puts the user on hold: its time starts again with the next connection, and the current expiry is removed.
    OnHold(OnHold),
}

impl UserUpdate {
    /// Starts an update that changes nothing yet.
    pub fn for_user(user: &User) -> Self {
        Self {
            username: user.username.clone(),
            created_at: user.created_at,
            planned: user.next_plan.clone(),
            present: user.proxies.clone(),
            expire: Patch::Keep,
            data_limit: Patch::Keep,
            reset_strategy: None,
            note: Patch::Keep,
            next_plan: Patch::Keep,
            status: None,
            proxies: None,
            inbounds: BTreeMap::new(),
        }
    }

    /// Returns the user's username, which cannot be changed.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Sets when the access ends. [`Clear`](Patch::Clear) and [`Never`](Expiry::Never) are equivalent.
    ///
    /// The panel moves the user between active and expired immediately, but a limited user stays limited.
    pub fn expire(self, expire: impl Into<Patch<Timestamp>>) -> Self {
        Self {
            expire: expire.into(),
            ..self
        }
    }

    /// Sets the data limit. [`Clear`](Patch::Clear) and [`Unlimited`](DataLimit::Unlimited) are equivalent.
    ///
    /// The panel moves the user between active and limited immediately, unless it is expired or disabled.
    pub fn data_limit(self, data_limit: impl Into<Patch<NonZeroU64>>) -> Self {
        Self {
            data_limit: data_limit.into(),
            ..self
        }
    }

    /// Sets when the used traffic is reset.
    pub fn reset_strategy(self, strategy: ResetStrategy) -> Self {
        Self {
            reset_strategy: Some(strategy),
            ..self
        }
    }

    /// Sets the note.
    pub fn note(self, note: impl Into<Patch<Note>>) -> Self {
        Self {
            note: note.into(),
            ..self
        }
    }

    /// Sets the plan that follows when data limit or time are used up.
    pub fn next_plan(self, plan: impl Into<Patch<NewNextPlan>>) -> Self {
        Self {
            next_plan: plan.into(),
            ..self
        }
    }

    /// Sets the status.
    pub fn status(self, status: SetStatus) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// Adds a protocol, or updates the fields of an existing one that `proxy` sets.
    pub fn proxy(mut self, proxy: impl Into<Proxy>) -> Self {
        let proxies = self.proxies.take().unwrap_or_else(|| self.present.clone());
        self.proxies = Some(proxies.with(proxy));
        self
    }

    /// Removes a protocol and its credentials. At least one protocol must remain.
    pub fn without_proxy(mut self, protocol: &str) -> Self {
        let proxies = self.proxies.take().unwrap_or_else(|| self.present.clone());
        self.proxies = Some(proxies.without(protocol));
        self
    }

    /// Sets the inbounds of `protocol` to exactly these, or to none. Other protocols keep theirs.
    pub fn inbounds<S: Into<String>>(mut self, protocol: &str, tags: impl IntoIterator<Item = S>) -> Self {
        let tags = tags.into_iter().map(Into::into).collect();
        self.inbounds.insert(protocol.to_owned(), tags);
        self
    }

    /// The body of the request.
    pub(crate) fn body(&self) -> impl Serialize {
        let hold = match self.status {
            Some(SetStatus::OnHold(hold)) => Some(hold),
            Some(SetStatus::Active | SetStatus::Disabled) | None => None,
        };
        Body {
            expire: End {
                expire: self.expire,
                hold,
            },
            data_limit: match self.data_limit {
                Patch::Keep => None,
                Patch::Clear => Some(DataLimit::Unlimited),
                Patch::Set(bytes) => Some(DataLimit::Bytes(bytes)),
            },
            data_limit_reset_strategy: self.reset_strategy.as_ref(),
            note: match &self.note {
                Patch::Keep => None,
                Patch::Clear => Some(""),
                Patch::Set(note) => Some(note.as_str()),
            },
            next_plan: self.wanted_plan().as_ref().map(PlanBody::of),
            status: self.status.map(|status| match status {
                SetStatus::Active => UserStatus::Active,
                SetStatus::Disabled => UserStatus::Disabled,
                SetStatus::OnHold(_) => UserStatus::OnHold,
            }),
            on_hold_expire_duration: hold.map(OnHold::seconds),
            on_hold_timeout: hold.and_then(|hold| Some(hold.timeout()?.naive())),
            proxies: self.proxies.as_ref().map(AtLeastOne),
            inbounds: &self.inbounds,
        }
    }

    /// Returns whether `user` is the one that was read and now has the values of this update.
    pub(crate) fn is_done_in(&self, user: &User) -> bool {
        let expire = match (self.status, self.expire) {
            (Some(SetStatus::OnHold(_)), _) | (_, Patch::Clear) => user.expire.is_none(),
            (_, Patch::Set(time)) => user.expire == Some(time.to_utc()),
            (_, Patch::Keep) => true,
        };
        let data_limit = match self.data_limit {
            Patch::Keep => true,
            Patch::Clear => user.data_limit.is_none(),
            Patch::Set(bytes) => user.data_limit == Some(bytes.get()),
        };
        let note = match &self.note {
            Patch::Keep => true,
            Patch::Clear => user.note.as_deref().is_none_or(str::is_empty),
            Patch::Set(note) => user.note.as_deref() == Some(note.as_str()),
        };
        let status = match self.status {
            None => true,
            Some(SetStatus::Active) => !matches!(user.status, UserStatus::Disabled | UserStatus::OnHold),
            Some(SetStatus::Disabled) => user.status == UserStatus::Disabled,
            Some(SetStatus::OnHold(hold)) => hold.is_that_of(user),
        };
        let strategy = self.reset_strategy.as_ref();
        user.username == self.username
            && user.created_at == self.created_at
            && expire
            && data_limit
            && note
            && status
            && strategy.is_none_or(|strategy| user.data_limit_reset_strategy.as_ref() == Some(strategy))
            && user.next_plan == self.wanted_plan()
            && self
                .proxies
                .as_ref()
                .is_none_or(|proxies| proxies.agree_with(&user.proxies))
            && inbounds_agree(&self.inbounds, user)
    }

    fn wanted_plan(&self) -> Option<NextPlan> {
        match self.next_plan {
            Patch::Keep => self.planned.clone(),
            Patch::Clear => None,
            Patch::Set(plan) => Some(plan.into()),
        }
    }
}

/// The body of the request. The panel rejects or fails on null in most of these fields, so unchanged ones are
/// omitted.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "End::stays")]
    expire: End,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_limit: Option<DataLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_limit_reset_strategy: Option<&'a ResetStrategy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    /// Always present: the panel deletes a plan that is omitted.
    next_plan: Option<PlanBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<UserStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_hold_expire_duration: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_hold_timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxies: Option<AtLeastOne<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    inbounds: &'a BTreeMap<String, Vec<String>>,
}

/// The expiry. It is removed for a user that is put on hold, since it would otherwise stay beside the duration.
struct End {
    expire: Patch<Timestamp>,
    hold: Option<OnHold>,
}

impl End {
    fn stays(&self) -> bool {
        self.expire == Patch::Keep && self.hold.is_none()
    }
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.expire, self.hold) {
            (Patch::Set(_), Some(_)) => Err(S::Error::custom("an on-hold user has no expiry yet")),
            (Patch::Set(time), None) => Expiry::At(time).serialize(serializer),
            (Patch::Keep | Patch::Clear, _) => Expiry::Never.serialize(serializer),
        }
    }
}

impl From<Expiry> for Patch<Timestamp> {
    fn from(expire: Expiry) -> Self {
        match expire {
            Expiry::Never => Self::Clear,
            Expiry::At(time) => Self::Set(time),
        }
    }
}

impl From<DataLimit> for Patch<NonZeroU64> {
    fn from(limit: DataLimit) -> Self {
        match limit {
            DataLimit::Unlimited => Self::Clear,
            DataLimit::Bytes(bytes) => Self::Set(bytes),
        }
    }
}

impl From<Note> for Patch<Note> {
    fn from(note: Note) -> Self {
        Self::Set(note)
    }
}

impl From<NewNextPlan> for Patch<NewNextPlan> {
    fn from(plan: NewNextPlan) -> Self {
        Self::Set(plan)
    }
}
