//! What the faulty store writes wrongly.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use marzban_sync_core::account::{Account, AccountId, Subscription};
use marzban_sync_core::error::StoreError;
use marzban_sync_core::plan::{Change, SubscriptionPatch};
use marzban_sync_core::run::RunId;
use marzban_sync_core::store::{AccountStore, DEFAULT_PANEL, Journal, Trail};
use marzban_sync_core::trail;

use super::{Fault, Faulty};

impl Faulty {
    pub(super) async fn write(
        &self,
        panel: &str,
        run: Option<RunId>,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        match self.fault {
            Fault::IgnoresMoves => self.inner.apply(&self.panel_of(changes), run, changes, now).await,
            Fault::LosesWrites => Ok(changes.iter().map(|change| change.account.id).collect()),
            Fault::IgnoresTheTime => {
                self.inner
                    .apply(panel, run, changes, now + TimeDelta::hours(1))
                    .await
            }
            Fault::OneByOne => {
                let mut applied = Vec::new();
                for change in changes {
                    applied.extend(
                        self.inner
                            .apply(panel, run, std::slice::from_ref(change), now)
                            .await?,
                    );
                }
                Ok(applied)
            }
            Fault::HalfAtATime => self.write_half_at_a_time(panel, run, changes, now).await,
            Fault::ChecksThenWrites => {
                let mut unchanged = Vec::new();
                for change in changes {
                    if self.current(change, now).await.as_ref() == Some(&change.account) {
                        unchanged.push(change.clone());
                    }
                }
                tokio::task::yield_now().await;
                self.inner
                    .apply(panel, run, &self.forgive(&unchanged, now).await, now)
                    .await
            }
            Fault::AllOrNothing => {
                for change in changes {
                    if self.current(change, now).await.as_ref() != Some(&change.account) {
                        return Ok(Vec::new());
                    }
                }
                self.inner.apply(panel, run, changes, now).await
            }
            Fault::MindsTheRevisionAlone => {
                let mut unchanged = Vec::new();
                for change in changes {
                    let revision = self.revision(panel, &change.account.name);
                    if change.agreement.is_none() || revision == change.account.revision {
                        unchanged.push(change.clone());
                    }
                }
                self.inner.apply(panel, run, &unchanged, now).await
            }
            Fault::IgnoresExpected
            | Fault::IgnoresPayments
            | Fault::IgnoresSpelling
            | Fault::IgnoresOtherPayments
            | Fault::OverwritesAgreements => {
                self.inner
                    .apply(panel, run, &self.forgive(changes, now).await, now)
                    .await
            }
            _ => {
                let distorted: Vec<Change> = changes
                    .iter()
                    .filter_map(|change| self.distorted(change))
                    .collect();
                let applied = self.inner.apply(panel, run, &distorted, now).await?;
                self.touch(changes, now);
                self.tell(panel, run, changes, &applied, now).await?;
                Ok(applied)
            }
        }
    }

    /// The change as this store understands it; none for a conflict.
    fn distorted(&self, change: &Change) -> Option<Change> {
        let mut changed = change.clone();
        let Account {
            user_id,
            last_connected_at,
            subscription,
            ..
        } = &change.account;
        match self.fault {
            Fault::LosesFractions => {
                let connected = changed.vpn_config.last_connected_at;
                changed.vpn_config.last_connected_at = connected.map(|time| time.trunc_subsecs(0));
            }
            Fault::CutsTraffic => {
                let traffic = changed.vpn_config.traffic_used;
                changed.vpn_config.traffic_used = traffic.map(|traffic| traffic.min(i64::from(i32::MAX)));
            }
            Fault::LeavesTheOthersOpen => changed.also_expired.clear(),
            Fault::LosesAgreements => changed.agreement = None,
            Fault::WritesHalf if subscription.is_none() => {
                changed.subscription = SubscriptionPatch::default();
            }
            Fault::NeedsASubscription if subscription.is_none() => return None,
            Fault::NeedsOneSubscription => {
                let rows = self.inner.subscriptions();
                if rows.iter().filter(|row| row.user_id == *user_id).count() > 1 {
                    return None;
                }
            }
            Fault::ComparesNanoseconds => {
                let is_finer = |time: DateTime<Utc>| time.trunc_subsecs(6) != time;
                if last_connected_at.is_some_and(is_finer) {
                    return None;
                }
            }
            _ => {}
        }
        Some(changed)
    }

    fn touch(&self, changes: &[Change], now: DateTime<Utc>) {
        if self.fault != Fault::TouchesAnyway {
            return;
        }
        for change in changes {
            if let Some(mut row) = self.inner.vpn_config(change.account.id) {
                row.updated_at = Some(now);
                self.inner.insert_vpn_config(row);
            }
        }
    }

    /// Tells of changes that were not written, and puts words in small letters that were.
    async fn tell(
        &self,
        panel: &str,
        run: Option<RunId>,
        changes: &[Change],
        applied: &[AccountId],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if self.is(Fault::WritesSmallLetters) {
            self.lower_words();
        }
        if !self.is(Fault::TellsOfConflicts) {
            return Ok(());
        }
        let conflicts = changes
            .iter()
            .filter(|change| !applied.contains(&change.account.id));
        let trail = Trail {
            agreements: Vec::new(),
            entries: conflicts.flat_map(trail::entries).collect(),
        };
        self.inner.record(panel, run, &trail, now).await
    }

    async fn write_half_at_a_time(
        &self,
        panel: &str,
        run: Option<RunId>,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        let mut half = changes.to_vec();
        for change in &mut half {
            change.subscription = SubscriptionPatch::default();
        }
        self.inner.apply(panel, run, &half, now).await?;
        tokio::task::yield_now().await;
        for (half, change) in half.iter_mut().zip(changes) {
            half.account = half.applied();
            half.vpn_config = marzban_sync_core::plan::VpnConfigPatch::default();
            half.subscription = change.subscription.clone();
        }
        self.inner.apply(panel, run, &half, now).await
    }

    /// The panel that the first row belongs to by now.
    fn panel_of(&self, changes: &[Change]) -> String {
        let row = changes
            .first()
            .and_then(|change| self.inner.vpn_config(change.account.id));
        row.and_then(|row| row.panel)
            .unwrap_or_else(|| DEFAULT_PANEL.to_owned())
    }

    /// The account of a change as it is now.
    async fn current(&self, change: &Change, now: DateTime<Utc>) -> Option<Account> {
        let id = change.account.id;
        let accounts = self
            .inner
            .reload_accounts(DEFAULT_PANEL, &[id], now)
            .await
            .unwrap();
        accounts.into_iter().find(|account| account.id == id)
    }

    /// The changes as if the rows of now were what they were decided from.
    async fn forgive(&self, changes: &[Change], now: DateTime<Utc>) -> Vec<Change> {
        let mut forgiven = changes.to_vec();
        for change in &mut forgiven {
            let Some(current) = self.current(change, now).await else {
                continue;
            };
            match self.fault {
                Fault::IgnoresPayments => change.account.subscription = current.subscription,
                Fault::IgnoresSpelling => {
                    let word = current.subscription.map(|one| one.word);
                    if let (Some(subscription), Some(word)) = (&mut change.account.subscription, word) {
                        subscription.word = word;
                    }
                }
                Fault::IgnoresOtherPayments => {
                    let others = current.other_subscriptions.iter();
                    let expected = &change.also_expired;
                    let is_meant = |one: &&Subscription| expected.iter().any(|other| other.id == one.id);
                    change.also_expired = others.filter(is_meant).cloned().collect();
                }
                Fault::OverwritesAgreements => change.account.revision = current.revision,
                _ => change.account = current,
            }
        }
        forgiven
    }
}
