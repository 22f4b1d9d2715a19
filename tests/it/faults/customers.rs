//! A customer of every kind: what a sync saw of each a day ago, and what row and panel say now.

use chrono::{DateTime, Utc};
use marzban_api::testing::{FakeStatus, FakeUser};

use crate::bot::{Bot, at, epoch};

/// name | the end that row and panel had when a sync last saw them, `hold` for a user on hold, `-` where none did
///      | the row's status, end and access | the panel's status and end
const CUSTOMERS: &str = "
    extended  | 2025-09-30 00:00:00 | active  | 2025-09-30 00:00:00 | true  | active   | 2025-10-31 00:00:00
    over      | 2025-09-10 08:00:00 | active  | 2025-09-10 08:00:00 | true  | expired  | 2025-09-10 08:00:00
    vanished  | 2025-09-30 00:00:00 | active  | 2025-09-30 00:00:00 | true  | -        | -
    held      | hold                | active  | 2025-09-30 00:00:00 | true  | on_hold  | -
    limited   | 2025-09-30 00:00:00 | active  | 2025-09-30 00:00:00 | true  | limited  | 2025-09-30 00:00:00
    revived   | 2025-09-05 00:00:00 | expired | 2025-09-05 00:00:00 | false | active   | 2025-10-15 00:00:00
    steady    | 2025-09-30 00:00:00 | active  | 2025-09-30 00:00:00 | true  | active   | 2025-09-30 00:00:00
    paying    | 2025-09-12 00:00:00 | active  | 2025-09-12 00:00:00 | false | active   | 2025-09-20 00:00:00
    ended     | 2025-08-01 00:00:00 | expired | 2025-08-01 00:00:00 | false | expired  | 2025-08-01 00:00:00
    ownerless | 2025-08-01 00:00:00 | expired | 2025-08-01 00:00:00 | true  | expired  | 2025-08-01 00:00:00
    gone      | -                   | expired | 2025-08-01 00:00:00 | false | -        | -
    renewed   | 2025-08-01 00:00:00 | expired | 2025-08-01 00:00:00 | false | expired  | 2025-08-01 00:00:00
    soon      | 2025-09-10 14:00:00 | active  | 2025-09-10 14:00:00 | true  | active   | 2025-09-10 14:00:00
    disabled  | 2025-09-30 00:00:00 | active  | 2025-09-30 00:00:00 | true  | disabled | 2025-09-30 00:00:00
    later     | 2025-09-30 00:00:00 | active  | 2025-09-30 00:00:00 | true  | active   | 2025-09-30 00:00:00
    behind    | 2025-09-20 00:00:00 | active  | 2025-10-20 00:00:00 | true  | active   | 2025-09-20 00:00:00
    shortened | 2025-09-30 00:00:00 | active  | 2025-09-30 00:00:00 | true  | active   | 2025-09-20 00:00:00
    refunded  | 2025-09-30 00:00:00 | active  | 2025-09-20 00:00:00 | true  | active   | 2025-09-30 00:00:00
    begun     | hold                | active  | -                   | true  | active   | 2025-10-10 00:00:00
    new       | -                   | active  | 2025-09-30 00:00:00 | true  | active   | 2025-10-31 00:00:00
";

/// The only panel users that any job may delete or disable.
pub(super) const DELETABLE: [&str; 2] = ["ended", "ownerless"];

/// The only panel user that any job may extend.
pub(super) const EXTENDABLE: &str = "behind";

/// The ids of rows that payments write.
pub(super) const OVER: i32 = 2;
pub(super) const PAYING: i32 = 8;
pub(super) const ENDED: i32 = 9;
pub(super) const LATER: i32 = 15;

/// When a sync last saw everybody.
pub(super) fn seen_at() -> DateTime<Utc> {
    at("2025-09-09 18:00:00")
}

/// A line of the table.
#[derive(Clone, Copy)]
struct Customer {
    id: i64,
    name: &'static str,
    seen: &'static str,
    status: &'static str,
    end: &'static str,
    is_active: bool,
    panel_status: Option<FakeStatus>,
    panel_end: &'static str,
}

fn customers() -> impl Iterator<Item = Customer> {
    let lines = CUSTOMERS.lines().filter(|line| !line.trim().is_empty());
    (1..).zip(lines).map(|(id, line)| {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, seen, status, end, access, panel_status, panel_end] = columns[..] else {
            panic!("{line}");
        };
        Customer {
            id,
            name,
            seen,
            status,
            end,
            is_active: access == "true",
            panel_status: FakeStatus::ALL
                .into_iter()
                .find(|status| status.as_str() == panel_status),
            panel_end,
        }
    })
}

/// The names of all of them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    customers().map(|customer| customer.name)
}

impl Customer {
    fn user(self, status: FakeStatus, end: &str) -> FakeUser {
        FakeUser::new(self.name)
            .status(status)
            .expire((end != "-").then(|| epoch(end)))
            .used_traffic(1_000 + self.id)
            .created_at(at("2025-01-01 00:00:00"))
            .owner((self.name != "ownerless").then_some("seller"))
    }
}

/// Puts in whom a sync saw, as they were then.
pub(super) async fn insert_as_seen(bot: &Bot) {
    for customer in customers().filter(|customer| customer.seen != "-") {
        let Customer { id, name, seen, .. } = customer;
        let (end, user) = if seen == "hold" {
            (customer.end, customer.user(FakeStatus::OnHold, "-"))
        } else if at(seen) > seen_at() {
            (seen, customer.user(FakeStatus::Active, seen))
        } else {
            (seen, customer.user(FakeStatus::Expired, seen))
        };
        let is_over = user.status == FakeStatus::Expired;
        let status = if is_over { "expired" } else { "active" };
        bot.add(id, name, status, end, !is_over).await;
        bot.panel.insert_user(user);
    }
}

/// Puts in all rows as they are now.
pub(super) async fn insert_rows(bot: &Bot) {
    for customer in customers() {
        let Customer {
            id,
            name,
            status,
            end,
            is_active,
            ..
        } = customer;
        bot.add(id, name, status, end, is_active).await;
    }
}

/// Puts in all panel users as they are now.
pub(super) fn insert_users(bot: &Bot) {
    for customer in customers() {
        if let Some(status) = customer.panel_status {
            bot.panel.insert_user(customer.user(status, customer.panel_end));
        }
    }
}
