//! Unlinking an account from a panel user that is gone, and trying that beforehand.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::sql_query;
use diesel::sql_types::{BigInt, Timestamp};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use super::accounts::column;
use super::catalogue::Catalogue;
use super::connection::{Pool, Transaction};
use super::errors::failed;
use super::page_of_accounts::{Choice, Snapshot};
use super::rows::{Held, Wanted};
use super::trail::{forget_agreements, insert_entries};
use crate::model::account::Account;
use crate::model::run::RunId;
use crate::model::trail::unlinked;
use crate::port::error::{StoreError, StoreErrorKind};
use crate::port::journal::PanelUserKey;

/// How often rows that somebody else holds are tried for, as the panel user may be gone already.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Unlinked,
    /// The account is no longer as it was read.
    Changed,
    /// Somebody else holds a row of it.
    Busy,
}

/// An account that is to be unlinked.
pub(super) struct Unlinking<'a> {
    pub(super) panel: &'a str,
    pub(super) run: Option<RunId>,
    pub(super) account: &'a Account,
    pub(super) now: DateTime<Utc>,
}

impl Unlinking<'_> {
    pub(super) async fn unlink(&self, pool: &Pool) -> Result<bool, StoreError> {
        self.try_often(pool, false).await
    }

    /// The same, taken back.
    pub(super) async fn rehearse(&self, pool: &Pool) -> Result<bool, StoreError> {
        self.try_often(pool, true).await
    }

    /// Never waits for a lock, so that a payment never waits for it: rows that somebody else holds are tried for again,
    /// and are a conflict in the end.
    async fn try_often(&self, pool: &Pool, is_rehearsal: bool) -> Result<bool, StoreError> {
        let catalogue = pool.catalogue().await?;
        for _ in 1..TRIES {
            match self.try_once(pool, &catalogue, is_rehearsal).await? {
                Found::Busy => tokio::time::sleep(BETWEEN_TRIES).await,
                found => return Ok(found == Found::Unlinked),
            }
        }
        Ok(self.try_once(pool, &catalogue, is_rehearsal).await? == Found::Unlinked)
    }

    async fn try_once(
        &self,
        pool: &Pool,
        catalogue: &Catalogue,
        is_rehearsal: bool,
    ) -> Result<Found, StoreError> {
        let mut transaction = Transaction::begin(pool).await?;
        let connection = transaction.connection()?;
        let mut found = self.lock_and_write(connection, catalogue).await;
        if is_rehearsal && matches!(found, Ok(Found::Unlinked)) {
            // What a commit would refuse is refused now.
            let checked = connection.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await;
            if let Err(error) = checked {
                found = Err(failed("an account cannot be unlinked")(error));
            }
        }
        match found {
            Ok(Found::Unlinked) if !is_rehearsal => transaction.end(found).await,
            _ => transaction.take_back(found).await,
        }
    }

    async fn lock_and_write(
        &self,
        connection: &mut AsyncPgConnection,
        catalogue: &Catalogue,
    ) -> Result<Found, StoreError> {
        let account = self.account;
        let id = account.id.0;
        let subscription = account.subscription.as_ref();
        let wanted = Wanted {
            accounts: vec![id],
            subscriptions: subscription
                .map(|subscription| (Some(id), subscription.id.0))
                .into_iter()
                .collect(),
            usernames: vec![&account.name],
        };
        let held = wanted.lock(connection, self.panel).await?;
        let rows = Snapshot::read(connection, catalogue, self.panel, Choice::Accounts(&[id]))
            .await
            .map_err(failed("cannot read an account again"))?;
        let view = rows.view(self.panel, self.now);
        if !view.may_unlink(account) {
            return Ok(Found::Changed);
        }
        let is_remembered = rows.remembers(&PanelUserKey {
            panel: self.panel.to_owned(),
            username: account.name.clone(),
        });
        let forgets = is_remembered && !view.is_named_elsewhere(account);
        if !self.holds_all(&held, forgets) {
            return Ok(Found::Busy);
        }
        self.write(connection, forgets).await.map(|()| Found::Unlinked)
    }

    fn holds_all(&self, held: &Held, forgets: bool) -> bool {
        held.accounts.contains(&self.account.id.0)
            && (!forgets || held.usernames.contains(&self.account.name))
    }

    async fn write(&self, connection: &mut AsyncPgConnection, forgets: bool) -> Result<(), StoreError> {
        let account = self.account;
        let written = sql_query(
            "UPDATE vpn_configs SET marzban_user_id = NULL, is_active = false, updated_at = $2 WHERE id = $1",
        )
        .bind::<BigInt, _>(account.id.0)
        .bind::<Timestamp, _>(column(self.now))
        .execute(connection)
        .await
        .map_err(failed("an account cannot be unlinked"))?;
        if written != 1 {
            return Err(StoreError::new(
                StoreErrorKind::Invalid,
                "the database does not unlink an account: is there a trigger that keeps it?",
            ));
        }
        if forgets {
            forget_agreements(connection, self.panel, vec![&account.name]).await?;
        }
        insert_entries(connection, self.panel, self.run, &unlinked(account), self.now).await
    }
}
