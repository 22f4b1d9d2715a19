use std::collections::{BTreeMap, BTreeSet};

use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use super::input::{DataLimit, Expiry, Note, OnHold};
use super::proxy::Proxies;
use super::user::{NextPlan, ResetStrategy, User, UserStatus};
use super::username::Username;

/// The settings of a new user.
///
/// By default the user is active immediately, never expires, has no data limit, and gets every inbound of its
/// protocols.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use std::time::Duration;
///
/// use marzban_api::model::{
///     DataLimit, NewNextPlan, NewUser, InitialStatus, Note, OnHold, Timestamp, Proxies, ResetStrategy, UserStatus,
///     Username, Vless,
/// };
///
/// let user = NewUser::new(Username::new("alice")?, Proxies::new(Vless::default()))
///     .expire(Timestamp::from_timestamp(1_893_456_000)?)
///     .data_limit(DataLimit::from_bytes(50 << 30))
///     .reset_strategy(ResetStrategy::Month)
///     .inbounds("vless", ["VLESS TCP REALITY"])
///     .note(Note::new("paid in cash")?)
///     .next_plan(NewNextPlan::new(DataLimit::from_bytes(10 << 30)))
///     .auto_delete_in_days(7);
/// assert_eq!(user.username().as_str(), "alice");
/// let alice = client.users().create(&user).await?;
/// assert_eq!((alice.status, alice.data_limit), (UserStatus::Active, Some(50 << 30)));
/// assert_eq!(alice.inbounds["vless"], ["VLESS TCP REALITY"]);
///
/// // The time starts with the first connection. `status(InitialStatus::OnHold(day))` is equivalent.
/// let day = OnHold::new(Duration::from_secs(86_400))?;
/// let user = NewUser::new(Username::new("boris")?, Proxies::new(Vless::default())).on_hold(day);
/// assert_eq!(user, user.clone().status(InitialStatus::OnHold(day)));
/// assert_eq!(client.users().create(&user).await?.status, UserStatus::OnHold);
///
/// // Milliseconds instead of seconds would make a user that the panel can never show again.
/// assert!(Timestamp::from_timestamp(1_893_456_000_000).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct NewUser {
    username: Username,
    proxies: Proxies,
    inbounds: BTreeMap<String, Vec<String>>,
    status: InitialStatus,
    data_limit: DataLimit,
    reset_strategy: Option<ResetStrategy>,
    note: Option<Note>,
    next_plan: Option<NewNextPlan>,
    auto_delete_in_days: Option<u32>,
}

/// How the time of a new user runs. An on-hold user has no expiry yet, so status and expiry are one choice.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use marzban_api::model::{Expiry, InitialStatus, OnHold};
///
/// let for_ever = InitialStatus::Active(Expiry::Never);
/// let day_from_the_first_connection = InitialStatus::OnHold(OnHold::new(Duration::from_secs(86_400))?);
/// assert_ne!(for_ever, day_from_the_first_connection);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialStatus {
    /// The user may connect immediately, until this expiry.
    Active(Expiry),
    /// The user's time starts with its first connection.
    OnHold(OnHold),
}

/// A plan that follows the current one.
///
/// # Examples
///
/// ```
/// use marzban_api::model::{DataLimit, Expiry, NewNextPlan};
///
/// let plan = NewNextPlan { fire_on_either: false, ..NewNextPlan::new(DataLimit::from_bytes(50 << 30)) };
/// assert_eq!((plan.data_limit.bytes(), plan.expire), (Some(50 << 30), Expiry::Never));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct NewNextPlan {
    /// The data limit of the plan.
    pub data_limit: DataLimit,
    /// When the plan expires. The panel copies it as it is: it is an instant, not a duration.
    pub expire: Expiry,
    /// The panel's setting of this name. Marzban 0.8 inverts it: it adds the remaining traffic if this is `false`.
    pub add_remaining_traffic: bool,
    /// Whether the plan starts when either the data limit or the time is used up, rather than both.
    pub fire_on_either: bool,
}

impl NewUser {
    /// Creates a user with this username and these protocols.
    ///
    /// At least one protocol is needed: the panel would create a user without any, but could then render neither it
    /// nor a list that contains it.
    pub fn new(username: Username, proxies: Proxies) -> Self {
        Self {
            username,
            proxies,
            inbounds: BTreeMap::new(),
            status: InitialStatus::Active(Expiry::Never),
            data_limit: DataLimit::Unlimited,
            reset_strategy: None,
            note: None,
            next_plan: None,
            auto_delete_in_days: None,
        }
    }

    /// Returns the username.
    #[must_use]
    pub fn username(&self) -> &Username {
        &self.username
    }

    /// Makes the user active until this expiry, replacing an earlier status.
    pub fn expire(self, expire: impl Into<Expiry>) -> Self {
        self.status(InitialStatus::Active(expire.into()))
    }

    /// Puts the user on hold, replacing an earlier status.
    pub fn on_hold(self, hold: OnHold) -> Self {
        self.status(InitialStatus::OnHold(hold))
    }

    /// Sets the initial status.
    pub fn status(self, status: InitialStatus) -> Self {
        Self { status, ..self }
    }

    /// Sets the data limit.
    pub fn data_limit(self, data_limit: impl Into<DataLimit>) -> Self {
        Self {
            data_limit: data_limit.into(),
            ..self
        }
    }

    /// Sets when the used traffic is reset; by default never.
    pub fn reset_strategy(self, strategy: ResetStrategy) -> Self {
        Self {
            reset_strategy: Some(strategy),
            ..self
        }
    }

    /// Restricts `protocol` to these inbounds. Other protocols keep all of theirs, and the user also gets inbounds
    /// that are added to the core later.
    ///
    /// At least one tag is needed, because the panel takes an empty list for all of them.
    pub fn inbounds<S: Into<String>>(mut self, protocol: &str, tags: impl IntoIterator<Item = S>) -> Self {
        let tags = tags.into_iter().map(Into::into).collect();
        self.inbounds.insert(protocol.to_owned(), tags);
        self
    }

    /// Sets the note.
    pub fn note(self, note: Note) -> Self {
        Self {
            note: Some(note),
            ..self
        }
    }

    /// Sets the plan that follows when data limit or time are used up.
    pub fn next_plan(self, plan: NewNextPlan) -> Self {
        Self {
            next_plan: Some(plan),
            ..self
        }
    }

    /// Sets how many days after the end of access the panel deletes the user; by default the panel's own setting
    /// applies. It cannot be changed later.
    pub fn auto_delete_in_days(self, days: u32) -> Self {
        Self {
            auto_delete_in_days: Some(days),
            ..self
        }
    }

    /// The body of the request.
    pub(crate) fn body(&self) -> impl Serialize {
        let (status, expire, hold) = match self.status {
            InitialStatus::Active(expire) => (UserStatus::Active, Some(expire), None),
            InitialStatus::OnHold(hold) => (UserStatus::OnHold, None, Some(hold)),
        };
        Body {
            username: &self.username,
            proxies: AtLeastOne(&self.proxies),
            inbounds: Chosen(&self.inbounds),
            status,
            expire: expire.filter(|expire| *expire != Expiry::Never),
            on_hold_expire_duration: hold.map(OnHold::seconds),
            on_hold_timeout: hold.and_then(|hold| Some(hold.timeout()?.naive())),
            data_limit: self.data_limit,
            data_limit_reset_strategy: self.reset_strategy.as_ref(),
            note: self.note.as_ref().map(Note::as_str),
            next_plan: self.next_plan.map(|plan| PlanBody::of(&plan.into())),
            auto_delete_in_days: self.auto_delete_in_days,
        }
    }

    /// Returns whether `user` can be what the panel created from these settings.
    pub(crate) fn agrees_with(&self, user: &User) -> bool {
        let strategy = self.reset_strategy.as_ref().unwrap_or(&ResetStrategy::NoReset);
        let status = match self.status {
            // A user created already expired, or one that used its traffic at once, soon has another status.
            InitialStatus::Active(expire) => {
                !matches!(user.status, UserStatus::OnHold | UserStatus::Disabled)
                    && user.expire == expire.instant()
            }
            InitialStatus::OnHold(hold) => hold.is_that_of(user),
        };
        status
            && user.username == self.username.as_str()
            && user.data_limit == self.data_limit.bytes()
            && user
                .data_limit_reset_strategy
                .as_ref()
                .is_none_or(|read| read == strategy)
            && user.note.as_deref() == self.note.as_ref().map(Note::as_str)
            && user.next_plan == self.next_plan.map(NextPlan::from)
            && user.auto_delete_in_days == self.auto_delete_in_days.map(i64::from)
            && self.proxies.agree_with(&user.proxies)
            && inbounds_agree(&self.inbounds, user)
    }
}

impl NewNextPlan {
    /// Creates a plan with this data limit and no expiry that starts when either data limit or time are used up.
    pub fn new(data_limit: impl Into<DataLimit>) -> Self {
        Self {
            data_limit: data_limit.into(),
            expire: Expiry::Never,
            add_remaining_traffic: false,
            fire_on_either: true,
        }
    }
}

impl From<NewNextPlan> for NextPlan {
    fn from(plan: NewNextPlan) -> Self {
        Self {
            data_limit: plan.data_limit.bytes(),
            expire: plan.expire.instant(),
            add_remaining_traffic: plan.add_remaining_traffic,
            fire_on_either: plan.fire_on_either,
        }
    }
}

impl OnHold {
    pub(super) fn is_that_of(self, user: &User) -> bool {
        user.status == UserStatus::OnHold
            && user.on_hold_expire_duration == Some(self.seconds().into())
            && self
                .timeout()
                .is_none_or(|timeout| user.on_hold_timeout == Some(timeout.to_utc()))
    }
}

/// Returns whether the user has exactly these inbounds for these protocols.
pub(super) fn inbounds_agree(wanted: &BTreeMap<String, Vec<String>>, user: &User) -> bool {
    wanted.iter().all(|(protocol, tags)| {
        let wanted: BTreeSet<_> = tags.iter().collect();
        let actual = user.inbounds.get(protocol).into_iter().flatten().collect();
        wanted == actual
    })
}

#[derive(Serialize)]
struct Body<'a> {
    username: &'a Username,
    proxies: AtLeastOne<'a>,
    /// Always present: without this field the panel gives the user no inbounds.
    inbounds: Chosen<'a>,
    status: UserStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire: Option<Expiry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_hold_expire_duration: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_hold_timeout: Option<String>,
    data_limit: DataLimit,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_limit_reset_strategy: Option<&'a ResetStrategy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_plan: Option<PlanBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_delete_in_days: Option<u32>,
}

/// A plan in a request.
#[derive(Serialize)]
pub(super) struct PlanBody {
    /// Always present: the panel answers "User already exists" to a plan without one.
    data_limit: DataLimit,
    expire: Option<i64>,
    add_remaining_traffic: bool,
    fire_on_either: bool,
}

impl PlanBody {
    pub(super) fn of(plan: &NextPlan) -> Self {
        Self {
            data_limit: DataLimit::from_bytes(plan.data_limit.unwrap_or_default()),
            expire: plan.expire.map(|expire| expire.timestamp()),
            add_remaining_traffic: plan.add_remaining_traffic,
            fire_on_either: plan.fire_on_either,
        }
    }
}

/// The settings of a user's protocols. A user needs at least one.
pub(super) struct AtLeastOne<'a>(pub(super) &'a Proxies);

impl Serialize for AtLeastOne<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            return Err(S::Error::custom("a user needs at least one protocol"));
        }
        self.0.settings().serialize(serializer)
    }
}

/// The inbounds per protocol. An empty list is refused.
struct Chosen<'a>(&'a BTreeMap<String, Vec<String>>);

impl Serialize for Chosen<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.values().any(Vec::is_empty) {
            return Err(S::Error::custom(
                "a new user needs at least one inbound of each protocol: the panel takes none for all",
            ));
        }
        self.0.serialize(serializer)
    }
}
