//! Compares the bot's rows with the panels, without any of the code that keeps them in step.

use chrono::{DateTime, Utc};
use marzban_api::testing::{FakeStatus, FakeUser};
use marzban_sync_examples::bot::Row;

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    /// How many accounts were compared.
    pub(crate) accounts: usize,
    /// Where the two differ, in words.
    pub(crate) differences: Vec<String>,
}

impl Agreement {
    /// Compares one account with its panel user.
    pub(super) fn compare(&mut self, row: &Row, user: Option<&FakeUser>, now: DateTime<Utc>) {
        self.accounts += 1;
        let name = row.marzban_user_id.as_deref().unwrap_or("?");
        let found = user.map_or_else(
            || difference("access", row.is_active, false),
            |user| differences(row, user, now),
        );
        self.differences
            .extend(found.map(|difference| format!("{name}: {difference}")));
    }
}

/// The first difference.
fn differences(row: &Row, user: &FakeUser, now: DateTime<Utc>) -> Option<String> {
    let is_over = user.expire.is_some_and(|expire| expire <= now.timestamp());
    let is_held = user.status == FakeStatus::OnHold;
    let works = is_held || user.status == FakeStatus::Active && !is_over;
    let status = if is_over && !is_held {
        difference("status", row.status.as_str(), "expired")
    } else if works && user.expire.is_some() && row.status == "expired" {
        Some("status is expired, and the user works".to_owned())
    } else {
        None
    };
    let end_date = row.end_date.map(|end| end.and_utc().timestamp());
    difference("access", row.is_active, works)
        .or(status)
        .or_else(|| difference("traffic", row.traffic_used, user.used_traffic))
        .or_else(|| difference("end", end_date, user.expire).filter(|_| user.expire.is_some() && !is_held))
}

fn difference<T: Copy + PartialEq + std::fmt::Debug>(what: &str, bot: T, panel: T) -> Option<String> {
    (bot != panel).then(|| format!("{what} is {bot:?}, and the panel says {panel:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_757_894_400;

    fn row(status: &str, end: i64, is_active: bool, traffic_used: i64) -> Row {
        Row {
            telegram_id: 1,
            marzban_user_id: Some("anna".to_owned()),
            status: status.to_owned(),
            end_date: DateTime::from_timestamp(end, 0).map(|end| end.naive_utc()),
            is_active,
            traffic_used,
            last_connected_at: None,
        }
    }

    #[track_caller]
    fn check(row: &Row, user: Option<&FakeUser>, expected: &[&str]) {
        let mut agreement = Agreement::default();
        agreement.compare(row, user, DateTime::from_timestamp(NOW, 0).unwrap());
        assert_eq!(agreement.differences, expected);
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let user = |status, expire| {
            FakeUser::new("anna")
                .status(status)
                .expire(expire)
                .used_traffic(7)
        };
        let active = row("active", NOW + 9, true, 7);
        check(&active, Some(&user(FakeStatus::Active, NOW + 9)), &[]);
        check(
            &active,
            Some(&user(FakeStatus::Active, NOW + 10)),
            &["anna: end is Some(1757894409), and the panel says Some(1757894410)"],
        );
        check(
            &active,
            Some(&user(FakeStatus::Limited, NOW + 9)),
            &["anna: access is true, and the panel says false"],
        );
        check(&active, None, &["anna: access is true, and the panel says false"]);
        check(
            &row("active", NOW, false, 7),
            Some(&user(FakeStatus::Expired, NOW)),
            &["anna: status is \"active\", and the panel says \"expired\""],
        );
        check(
            &row("expired", NOW + 9, true, 7),
            Some(&user(FakeStatus::Active, NOW + 9)),
            &["anna: status is expired, and the user works"],
        );
        check(
            &row("active", NOW + 9, true, 6),
            Some(&user(FakeStatus::Active, NOW + 9)),
            &["anna: traffic is 6, and the panel says 7"],
        );
        check(
            &active,
            Some(&FakeUser::new("anna").on_hold(9).used_traffic(7)),
            &[],
        );
    }
}
