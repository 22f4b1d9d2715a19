use std::collections::BTreeMap;
use std::num::NonZeroU64;

use chrono::{DateTime, Utc};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use super::input::{DataLimit, Expiry, Note, OnHold, Timestamp};
use super::new_user::{AtLeastOne, NewNextPlan, PlanBody, inbounds_agree};
use super::proxy::{Proxies, Proxy};
use super::user::{NextPlan, ResetStrategy, User, UserStatus};

/// What becomes of one field of what exists already.
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
/// let change = UserUpdate::for_user(&alice)
///     .expire(Patch::Clear)
///     .data_limit(Patch::Set(const { NonZeroU64::new(10 << 30).unwrap() }));
/// client.users().update(&change).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Patch<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is taken away.
    Clear,
    /// It becomes this.
    Set(T),
}

/// A change of a user, made from the user as it was read.
///
/// What is not mentioned stays as it is. For that the panel needs some of it sent back: it deletes a plan that is not
/// in the request, and gives new passwords and ids to a protocol that comes without them.
/// So read the user shortly before: a plan that begins in between is brought back by the change.
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
/// let change = UserUpdate::for_user(&alice)
///     .expire(Expiry::Never)
///     .data_limit(DataLimit::from_bytes(50 << 30))
///     .reset_strategy(ResetStrategy::Month)
///     .note(Note::new("paid in cash")?)
///     .next_plan(Patch::Set(NewNextPlan::new(DataLimit::from_bytes(10 << 30))))
///     .status(SetStatus::Disabled)
///     .proxy(Vless { id: None, flow: Some(Flow::Vision) })
///     .inbounds("vless", ["VLESS TCP REALITY"]);
/// assert_eq!(change.username(), "alice");
/// let changed = client.users().update(&change).await?;
/// assert_eq!((changed.expire, changed.data_limit), (None, Some(50 << 30)));
/// assert_eq!(changed.status, UserStatus::Disabled);
///
/// // Without VLESS, and without a note; the plan stays.
/// let change = UserUpdate::for_user(&changed).proxy(Trojan::default()).without_proxy("vless").note(Patch::Clear);
/// let changed = client.users().update(&change).await?;
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

/// What an administrator may make of a user's status; the panel finds out the others by itself.
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
    /// Switched on. The panel's next review ends it again when time or traffic are used up.
    Active,
    /// Switched off.
    Disabled,
    /// On hold: the time begins anew with the next connection, so the present end is taken away.
    OnHold(OnHold),
}

impl UserUpdate {
    /// No change of this user.
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

    /// The name of the user, which cannot be changed.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// When the access ends; [`Clear`](Patch::Clear) and [`Never`](Expiry::Never) are the same.
    ///
    /// The panel moves the user between active and expired at once, but does not end the limitation of a limited one.
    pub fn expire(self, expire: impl Into<Patch<Timestamp>>) -> Self {
        Self {
            expire: expire.into(),
            ..self
        }
    }

    /// How much traffic may be used; [`Clear`](Patch::Clear) and [`Unlimited`](DataLimit::Unlimited) are the same.
    ///
    /// The panel moves the user between active and limited at once, unless it is expired or disabled.
    pub fn data_limit(self, data_limit: impl Into<Patch<NonZeroU64>>) -> Self {
        Self {
            data_limit: data_limit.into(),
            ..self
        }
    }

    /// When the used traffic begins anew.
    pub fn reset_strategy(self, strategy: ResetStrategy) -> Self {
        Self {
            reset_strategy: Some(strategy),
            ..self
        }
    }

    /// Free text of the administrators.
    pub fn note(self, note: impl Into<Patch<Note>>) -> Self {
        Self {
            note: note.into(),
            ..self
        }
    }

    /// What follows when limit or time are used up.
    pub fn next_plan(self, plan: impl Into<Patch<NewNextPlan>>) -> Self {
        Self {
            next_plan: plan.into(),
            ..self
        }
    }

    /// Another status.
    pub fn status(self, status: SetStatus) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// Adds a protocol, or changes what `proxy` says of one that is there: what it leaves out stays as it is.
    pub fn proxy(mut self, proxy: impl Into<Proxy>) -> Self {
        let proxies = self.proxies.take().unwrap_or_else(|| self.present.clone());
        self.proxies = Some(proxies.with(proxy));
        self
    }

    /// Takes a protocol away, with its passwords and ids. One has to stay.
    pub fn without_proxy(mut self, protocol: &str) -> Self {
        let proxies = self.proxies.take().unwrap_or_else(|| self.present.clone());
        self.proxies = Some(proxies.without(protocol));
        self
    }

    /// Exactly these inbounds of `protocol`, or none at all; those of other protocols stay as they are.
    pub fn inbounds<S: Into<String>>(mut self, protocol: &str, tags: impl IntoIterator<Item = S>) -> Self {
        let tags = tags.into_iter().map(Into::into).collect();
        self.inbounds.insert(protocol.to_owned(), tags);
        self
    }

    /// What is written to the panel.
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

    /// Whether `user` is the one that was read and is now as this change wants it.
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

/// What the panel takes. It refuses or fails on null in most of these fields, so what stays is left out.
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
    /// Always there: the panel deletes a plan that is left out.
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

/// The end of the access. A user that is put on hold loses its end, which would otherwise stay beside the duration.
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
            (Patch::Set(_), Some(_)) => Err(S::Error::custom("a user on hold has no end yet")),
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
