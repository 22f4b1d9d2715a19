//! What the faulty store writes wrongly.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use marzban_sync_core::account::{Account, AccountId};
use marzban_sync_core::error::StoreError;
use marzban_sync_core::plan::{Change, SubscriptionPatch};
use marzban_sync_core::store::{DEFAULT_PANEL, Scope, Store};

use super::{Fault, Faulty};

impl Faulty {
    pub(super) async fn write(
        &self,
        panel: &str,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        match self.fault {
            Fault::IgnoresMoves => self.inner.apply(&self.panel_of(changes), changes, now).await,
            Fault::LosesWrites => Ok(changes.iter().map(|change| change.account.id).collect()),
            Fault::IgnoresTheTime => self.inner.apply(panel, changes, now + TimeDelta::hours(1)).await,
            Fault::OneByOne => {
                let mut applied = Vec::new();
                for change in changes {
                    applied.extend(self.inner.apply(panel, std::slice::from_ref(change), now).await?);
                }
                Ok(applied)
            }
            Fault::HalfAtATime => self.write_half_at_a_time(panel, changes, now).await,
            Fault::ChecksThenWrites => {
                let mut unchanged = Vec::new();
                for change in changes {
                    if self.current(change).await.as_ref() == Some(&change.account) {
                        unchanged.push(change.clone());
                    }
                }
                tokio::task::yield_now().await;
                self.inner
                    .apply(panel, &self.forgive(&unchanged).await, now)
                    .await
            }
            Fault::AllOrNothing => {
                for change in changes {
                    if self.current(change).await.as_ref() != Some(&change.account) {
                        return Ok(Vec::new());
                    }
                }
                self.inner.apply(panel, changes, now).await
            }
            Fault::IgnoresExpected | Fault::IgnoresPayments => {
                self.inner.apply(panel, &self.forgive(changes).await, now).await
            }
            _ => {
                let distorted: Vec<Change> = changes
                    .iter()
                    .filter_map(|change| self.distorted(change))
                    .collect();
                let applied = self.inner.apply(panel, &distorted, now).await?;
                self.touch(changes, now);
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

    async fn write_half_at_a_time(
        &self,
        panel: &str,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        let mut half = changes.to_vec();
        for change in &mut half {
            change.subscription = SubscriptionPatch::default();
        }
        self.inner.apply(panel, &half, now).await?;
        tokio::task::yield_now().await;
        for (half, change) in half.iter_mut().zip(changes) {
            half.account = half.applied();
            half.vpn_config = marzban_sync_core::plan::VpnConfigPatch::default();
            half.subscription = change.subscription.clone();
        }
        self.inner.apply(panel, &half, now).await
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
    async fn current(&self, change: &Change) -> Option<Account> {
        let id = change.account.id;
        let accounts = self
            .inner
            .reload_accounts(DEFAULT_PANEL, Scope::All, &[id])
            .await
            .unwrap();
        accounts.into_iter().find(|account| account.id == id)
    }

    /// The changes as if the rows of now were what they were decided from.
    async fn forgive(&self, changes: &[Change]) -> Vec<Change> {
        let mut forgiven = changes.to_vec();
        for change in &mut forgiven {
            let Some(current) = self.current(change).await else {
                continue;
            };
            if self.is(Fault::IgnoresPayments) {
                change.account.subscription = current.subscription;
            } else {
                change.account = current;
            }
        }
        forgiven
    }
}
