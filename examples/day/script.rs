//! Who the demo's customers are, and what happens to them in a day.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_api::testing::{FakePanel, FakeStatus, FakeUser, Fault};

const GIGABYTE: i64 = 1_000_000_000;

/// A customer: what the bot believes, and what the panel knows.
pub(super) struct Customer {
    pub(super) panel: &'static str,
    pub(super) name: &'static str,
    /// The subscription's status, as the bot has it.
    pub(super) status: &'static str,
    /// The hours from the demo's start to the subscription's end.
    pub(super) hours: i64,
    pub(super) state: FakeStatus,
}

const fn customer(
    panel: &'static str,
    name: &'static str,
    status: &'static str,
    hours: i64,
    state: FakeStatus,
) -> Customer {
    Customer {
        panel,
        name,
        status,
        hours,
        state,
    }
}

const DAY: i64 = 24;

/// Most are in step at first.
pub(super) const CUSTOMERS: [Customer; 22] = [
    customer("default", "anna", "active", 12 * DAY, FakeStatus::Active),
    customer("default", "boris", "active", 3 * DAY, FakeStatus::Active),
    customer("default", "clara", "active", 20 * DAY, FakeStatus::Active),
    customer("default", "dmitry", "trial", 6, FakeStatus::Active),
    customer("default", "elena", "active", -DAY, FakeStatus::Expired),
    customer("default", "farid", "expired", -2 * DAY, FakeStatus::Expired),
    customer("default", "galina", "active", 9 * DAY, FakeStatus::Active),
    customer("default", "hassan", "active", 14 * DAY, FakeStatus::OnHold),
    customer("default", "irina", "active", 30 * DAY, FakeStatus::Active),
    customer("default", "jamal", "active", 25 * DAY, FakeStatus::Active),
    customer("default", "karina", "trial", 2 * DAY, FakeStatus::Active),
    customer("default", "leonid", "active", 7 * DAY, FakeStatus::Active),
    customer("default", "maria", "expired", -30 * DAY, FakeStatus::Expired),
    customer("default", "nikita", "expired", -12 * DAY, FakeStatus::Expired),
    customer("default", "olga", "active", 40 * DAY, FakeStatus::Active),
    customer("default", "pavel", "active", 11 * DAY, FakeStatus::Active),
    customer("default", "rosa", "active", 5 * DAY, FakeStatus::Active),
    customer("de", "samira", "active", 14 * DAY, FakeStatus::Active),
    customer("de", "tarek", "active", 2 * DAY, FakeStatus::Active),
    customer("de", "viktor", "active", 8 * DAY, FakeStatus::Active),
    customer("de", "wanda", "expired", -20 * DAY, FakeStatus::Expired),
    customer("de", "yusuf", "active", 33 * DAY, FakeStatus::Active),
];

impl Customer {
    /// The panel's user at the demo's start.
    pub(super) fn panel_user(&self, start: DateTime<Utc>) -> FakeUser {
        let end = start + TimeDelta::hours(self.hours);
        let user = FakeUser::new(self.name)
            .created_at(start - TimeDelta::days(60))
            .data_limit(50 * GIGABYTE);
        if self.state == FakeStatus::OnHold {
            return user.on_hold(TimeDelta::days(30).num_seconds());
        }
        let user = user.status(self.state).expire(end.timestamp());
        if self.name == "irina" {
            return user.expire(None).data_limit(None);
        }
        user
    }
}

/// What happens in the panels besides traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The bot extended the user in the panel, and died before it wrote its own row.
    Pays { hours: i64 },
    /// An admin takes time away.
    LosesTime { days: i64 },
    /// A held user's first connection, with which its time begins.
    Connects,
    /// The data limit is reached.
    UsesUpData,
    /// An admin counts the traffic anew.
    TrafficReset,
    /// An admin switches the user off.
    Disabled,
    /// And on again.
    Enabled,
    /// An admin removes the user.
    Removed,
    /// A row of the panel's database breaks: the panel cannot show this user any more.
    Breaks,
    /// And is repaired.
    Repaired,
    /// The panel's proxy answers in its stead.
    PanelDown,
    /// The panel is there again.
    PanelUp,
}

/// One event: daily or on the first day only, at a minute of the day, in a panel, to a user.
pub(super) struct Entry {
    pub(super) daily: bool,
    pub(super) minute: i64,
    pub(super) panel: &'static str,
    pub(super) name: &'static str,
    pub(super) event: Event,
}

const fn entry(
    daily: bool,
    hour: i64,
    minute: i64,
    panel: &'static str,
    name: &'static str,
    event: Event,
) -> Entry {
    Entry {
        daily,
        minute: hour * 60 + minute,
        panel,
        name,
        event,
    }
}

/// A day in which every kind of change occurs.
pub(super) const SCRIPT: [Entry; 17] = [
    entry(true, 3, 10, "default", "anna", Event::Pays { hours: 30 * DAY }),
    entry(false, 4, 20, "default", "farid", Event::Pays { hours: 30 * DAY }),
    entry(false, 7, 40, "default", "hassan", Event::Connects),
    entry(true, 9, 15, "default", "clara", Event::UsesUpData),
    entry(true, 10, 5, "default", "galina", Event::Disabled),
    entry(false, 10, 40, "default", "olga", Event::LosesTime { days: 5 }),
    entry(false, 11, 30, "default", "pavel", Event::Removed),
    entry(true, 12, 10, "default", "clara", Event::TrafficReset),
    entry(true, 13, 20, "default", "galina", Event::Enabled),
    entry(true, 14, 50, "de", "viktor", Event::UsesUpData),
    entry(true, 16, 5, "de", "", Event::PanelDown),
    entry(true, 16, 50, "de", "", Event::PanelUp),
    entry(true, 17, 55, "default", "rosa", Event::Breaks),
    entry(true, 18, 35, "default", "dmitry", Event::Pays { hours: 11 }),
    entry(true, 19, 25, "de", "viktor", Event::TrafficReset),
    entry(true, 20, 10, "default", "rosa", Event::Repaired),
    entry(true, 21, 15, "de", "tarek", Event::Pays { hours: 7 * DAY }),
];

impl Event {
    /// Lets it happen and returns it as text; none when the panel has no such user.
    pub(super) fn happen(self, panel: &FakePanel, name: &str, now: DateTime<Utc>) -> Option<String> {
        match self {
            Self::PanelDown => panel.inject(Fault::HtmlBody(502).always()),
            Self::PanelUp => panel.clear_faults(),
            Self::Removed => {
                panel.remove_user(name)?;
            }
            _ => {
                panel.user(name)?;
                panel.update_user(name, |user| self.edit(user, now));
            }
        }
        Some(self.words(name))
    }

    fn edit(self, user: &mut FakeUser, now: DateTime<Utc>) {
        match self {
            Self::Pays { hours } => {
                let from = user.expire.unwrap_or(0).max(now.timestamp());
                user.expire = Some(from + TimeDelta::hours(hours).num_seconds());
                if user.status == FakeStatus::Expired {
                    user.status = FakeStatus::Active;
                }
            }
            Self::LosesTime { days } => {
                user.expire = user
                    .expire
                    .map(|expire| expire - TimeDelta::days(days).num_seconds());
            }
            Self::Connects => user.online_at = Some(now),
            Self::UsesUpData => user.used_traffic = user.data_limit.unwrap_or(user.used_traffic),
            Self::TrafficReset => {
                user.used_traffic = 0;
                user.status = FakeStatus::Active;
            }
            Self::Disabled => user.status = FakeStatus::Disabled,
            Self::Enabled => user.status = FakeStatus::Active,
            Self::Breaks => user.poisoned = true,
            Self::Repaired => user.poisoned = false,
            Self::Removed | Self::PanelDown | Self::PanelUp => {}
        }
    }

    fn words(self, name: &str) -> String {
        match self {
            Self::Pays { hours } if hours < DAY => format!("{name} buys {hours} more hours"),
            Self::Pays { hours } => format!("{name} pays for {} more days", hours / DAY),
            Self::LosesTime { days } => format!("an admin takes {days} days from {name}"),
            Self::Connects => format!("{name} connects for the first time"),
            Self::UsesUpData => format!("{name} has used up all data"),
            Self::TrafficReset => format!("an admin counts the traffic of {name} anew"),
            Self::Disabled => format!("an admin disables {name}"),
            Self::Enabled => format!("an admin enables {name} again"),
            Self::Removed => format!("an admin removes {name}"),
            Self::Breaks => format!("the panel's row of {name} breaks"),
            Self::Repaired => format!("the panel's row of {name} is repaired"),
            Self::PanelDown => "the panel goes down".to_owned(),
            Self::PanelUp => "the panel is up again".to_owned(),
        }
    }
}
