//! What the faulty store unlinks, remembers, tells and undoes wrongly.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use marzban_sync_core::account::{Account, SubscriptionId};
use marzban_sync_core::error::StoreError;
use marzban_sync_core::run::RunId;
use marzban_sync_core::store::{AccountStore, Journal, MemorySubscription, PanelUserKey, Trail};
use marzban_sync_core::trail::{EntryQuery, EntryRecord, EntryState, Target, parse_moment};

use super::{Fault, Faulty};

impl Faulty {
    pub(super) async fn cut_off(
        &self,
        panel: &str,
        run: Option<RunId>,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut account = account.clone();
        match self.fault {
            Fault::UnlinksAnybody => {
                let row = self.inner.vpn_config(account.id);
                account.name = row.and_then(|row| row.marzban_user_id).unwrap_or(account.name);
            }
            Fault::UnlinksPayers => {
                let current = self.inner.reload_accounts(panel, &[account.id], now).await?;
                let current = current.into_iter().find(|current| current.id == account.id);
                account.subscription = current.and_then(|current| current.subscription);
            }
            _ => {}
        }
        let unlinked = self.inner.unlink(panel, run, &account, now).await?;
        if unlinked && self.is(Fault::ForgetsSharedUsers) {
            let trail = Trail {
                agreements: vec![(account.name.clone(), account.revision, None)],
                entries: Vec::new(),
            };
            self.inner.record(panel, None, &trail, now).await?;
        }
        if unlinked
            && self.is(Fault::UnlinksTheNameAlone)
            && let Some(mut row) = self.inner.vpn_config(account.id)
        {
            row.is_active = Some(true);
            self.inner.insert_vpn_config(row);
        }
        Ok(unlinked)
    }

    pub(super) async fn keep(
        &self,
        panel: &str,
        run: Option<RunId>,
        trail: &Trail,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut trail = trail.clone();
        if self.is(Fault::OverwritesAgreements) {
            for (username, revision, _) in &mut trail.agreements {
                *revision = self.revision(panel, username);
            }
        }
        self.inner.record(panel, run, &trail, now).await
    }

    pub(super) fn revision(&self, panel: &str, username: &str) -> i64 {
        let key = PanelUserKey {
            panel: panel.to_owned(),
            username: username.to_owned(),
        };
        self.inner
            .recorded_agreements()
            .get(&key)
            .map_or(0, |(revision, _)| *revision)
    }

    pub(super) fn retold(&self, query: &EntryQuery, mut entries: Vec<EntryRecord>) -> Vec<EntryRecord> {
        match self.fault {
            Fault::LeavesNoTrail => entries.clear(),
            Fault::EverythingIsDone => {
                for record in &mut entries {
                    record.entry.state = EntryState::Done;
                }
            }
            Fault::EarliestEntriesFirst if matches!(query, EntryQuery::Customer { .. }) => entries.reverse(),
            _ => {}
        }
        entries
    }

    pub(super) async fn put_back(
        &self,
        panel: &str,
        run: RunId,
        entries: &[EntryRecord],
        now: DateTime<Utc>,
    ) -> Result<Vec<i64>, StoreError> {
        let mut entries = entries.to_vec();
        let before = self.inner.recorded_agreements();
        match self.fault {
            Fault::UndoesAnyway => entries.iter().for_each(|record| self.overwrite(record)),
            Fault::UndoesTheLatestAlone => {
                let mut seen = HashSet::new();
                entries.retain(|record| seen.insert(record.entry.target));
            }
            _ => {}
        }
        let undone = self.inner.undo(panel, run, &entries, now).await?;
        if self.is(Fault::WritesSmallLetters) {
            self.lower_words();
        }
        if self.is(Fault::RemembersWhatWasUndone) {
            let agreements = before.into_iter().map(|(key, (_, agreement))| {
                (
                    key.username.clone(),
                    self.revision(&key.panel, &key.username),
                    Some(agreement),
                )
            });
            let trail = Trail {
                agreements: agreements.collect(),
                entries: Vec::new(),
            };
            self.inner.record(panel, None, &trail, now).await?;
        }
        Ok(undone)
    }

    /// Gives a row the value that a run wrote.
    fn overwrite(&self, record: &EntryRecord) {
        let new = record.entry.new.clone();
        let subscription = |id: SubscriptionId| self.inner.subscription(id);
        match record.entry.target {
            Target::Status(id) => {
                if let (Some(mut row), Some(word)) = (subscription(id), new) {
                    row.status = MemorySubscription::spelled(&word);
                    self.inner.insert_subscription(row);
                }
            }
            Target::EndDate(id) => {
                if let Some(mut row) = subscription(id) {
                    row.end_date = new.as_deref().and_then(parse_moment);
                    self.inner.insert_subscription(row);
                }
            }
            Target::IsActive => {
                if let Some(mut row) = self.inner.vpn_config(record.entry.account) {
                    row.is_active = new.map(|is_active| is_active == "true");
                    self.inner.insert_vpn_config(row);
                }
            }
            Target::Username | Target::PanelExpire | Target::PanelUser => {}
        }
    }

    /// Puts every status in small letters.
    pub(super) fn lower_words(&self) {
        for mut row in self.inner.subscriptions() {
            row.status = row.status.as_str().into();
            self.inner.insert_subscription(row);
        }
    }
}
