//! What happens to a customer while a run looks, and to a panel user between two looks and between two runs.

use marzban_api::testing::{FakeStatus, FakeUser};
use marzban_sync_core::report::Job;

use super::table::Row;
use super::town::Town;
use super::work::Work;
use crate::bot::{at, epoch};

const CLEANUP: Job = Job::CleanupExpiredMarzbanUsers;

/// What happens to a customer who pays, or to a user that both sides say ended long ago.
#[derive(Clone, Copy)]
pub(super) enum Look {
    PaidBetweenReadAndWrite(Job),
    RenewedBetweenLooks,
    MadeAnewBetweenLooks,
    MadeAnewBetweenRuns,
}

pub(super) const ALL: [Look; 5] = [
    Look::PaidBetweenReadAndWrite(Job::SyncSubscriptionsFromMarzban),
    Look::PaidBetweenReadAndWrite(Job::SyncUserStatusFromMarzban),
    Look::RenewedBetweenLooks,
    Look::MadeAnewBetweenLooks,
    Look::MadeAnewBetweenRuns,
];

impl Look {
    pub(super) fn job(self) -> Job {
        match self {
            Self::PaidBetweenReadAndWrite(job) => job,
            Self::RenewedBetweenLooks | Self::MadeAnewBetweenLooks | Self::MadeAnewBetweenRuns => CLEANUP,
        }
    }

    pub(super) async fn play(self, town: &mut Town) -> Row {
        let (fault, place) = match self {
            Self::PaidBetweenReadAndWrite(_) => (
                "a payment commits on another connection",
                "between read and write",
            ),
            Self::RenewedBetweenLooks => ("a user is renewed in the panel", "between the two looks"),
            Self::MadeAnewBetweenLooks => ("a user is made anew under its name", "between the two looks"),
            Self::MadeAnewBetweenRuns => (
                "a user is made anew under its name, and works",
                "between two runs",
            ),
        };
        let panel = &town.bot.panel;
        match self {
            // In every town somebody pays while the panel is asked for the first list.
            Self::PaidBetweenReadAndWrite(_) => {}
            Self::RenewedBetweenLooks => panel.on_request(|panel, request| async move {
                if request.path == "/api/user/ended" {
                    panel.update_user("ended", |user| {
                        (user.status, user.expire) = (FakeStatus::Active, Some(epoch("2025-12-01 00:00:00")));
                    });
                }
            }),
            Self::MadeAnewBetweenLooks => panel.on_request(|panel, request| async move {
                if request.path == "/api/user/ended" {
                    panel.update_user("ended", |user| user.created_at = Some(at("2025-09-10 11:00:00")));
                }
            }),
            Self::MadeAnewBetweenRuns => {
                let seen = town.run(Work::Job(Job::SyncUserStatusFromMarzban)).await;
                assert!(seen.is_ok(), "{fault} {place}: {}", seen.said);
                let panel = &town.bot.panel;
                panel.remove_user("ended");
                panel.insert_user(FakeUser::new("ended").expire(epoch("2025-12-01 00:00:00")));
            }
        }
        let work = Work::Job(self.job());
        let ran = town.run(work).await;
        assert!(ran.is_ok(), "{fault} {place}, {work}: {}", ran.said);
        town.assert_traced(&format!("{fault} {place}, {work}")).await;
        let panel = &town.bot.panel;
        assert!(panel.user("ended").is_some(), "{fault} {place}");
        let is_linked = "SELECT (marzban_user_id = 'ended')::text FROM vpn_configs WHERE id = 9";
        assert_eq!(town.bot.text(is_linked).await, "true", "{fault} {place}");
        let is_paid = "SELECT (status = 'active' AND end_date = '2025-12-01' AND is_active)::text
            FROM subscriptions JOIN vpn_configs USING (id) WHERE id = 8";
        assert_eq!(town.bot.text(is_paid).await, "true", "{fault} {place}");
        Row {
            fault: fault.to_owned(),
            place: place.to_owned(),
            work,
            lost: town.lost().await,
            wrong_deletions: town.wrong_deletions() + panel.count("DELETE", "/api/user/ended"),
            said: ran.said,
            words: ran.words,
        }
    }
}
