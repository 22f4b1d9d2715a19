//! The laws that every [`AccountStore`] and [`Journal`] obeys, each a documented function, to be run against any implementation.
//!
//! A [`Fixture`] makes a fresh store and reaches around it, to put rows in and to look at them. With it,
//! [`store_conformance!`](crate::store_conformance) becomes one test for each law:
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use marzban_sync_core::store::{AccountStore, Journal, MemoryStore};
//! use marzban_sync_core::testing::conformance::store::{Bot, Fixture};
//!
//! struct Memory(MemoryStore);
//!
//! #[async_trait]
//! impl Fixture for Memory {
//!     fn store(&self) -> Arc<dyn AccountStore> {
//!         Arc::new(self.0.clone())
//!     }
//!
//!     async fn insert(&self, bot: &Bot) {
//!         bot.users.iter().cloned().for_each(|row| self.0.insert_user(row));
//!         bot.subscriptions.iter().cloned().for_each(|row| self.0.insert_subscription(row));
//!         bot.vpn_configs.iter().cloned().for_each(|row| self.0.insert_vpn_config(row));
//!     }
//!
//!     async fn rows(&self) -> Bot {
//!         Bot {
//!             users: self.0.users(),
//!             subscriptions: self.0.subscriptions(),
//!             vpn_configs: self.0.vpn_configs(),
//!         }
//!     }
//!
//!     fn journal(&self) -> Arc<dyn Journal> {
//!         Arc::new(self.0.clone())
//!     }
//! }
//!
//! marzban_sync_core::store_conformance!(Memory(MemoryStore::new()));
//! # fn main() {}
//! ```
//!
//! A law panics when it is broken. No law sleeps, needs a certain runtime, or asks a clock.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use crate::adapter::memory::{MemoryStore, MemorySubscription, MemoryUser, MemoryVpnConfig};
use crate::model::account::{Account, AccountId, SubscriptionId, UserId};
use crate::model::plan::Change;
use crate::model::run::RunId;
use crate::port::accounts::{AccountStore, Cursor, DEFAULT_PANEL};
use crate::port::journal::{Journal, PanelUserKey, Remembered};

mod accounts;
mod agreements;
mod conflicts;
mod governing;
mod history;
mod locks;
mod pages;
mod panels;
mod records;
mod sharing;
mod spelling;
mod trail;
mod undoing;
mod unlinking;
mod values;
mod writes;

pub use accounts::*;
pub use agreements::*;
pub use conflicts::*;
pub use governing::*;
pub use history::*;
pub use locks::*;
pub use pages::*;
pub use panels::*;
pub use records::*;
pub use sharing::*;
pub use spelling::*;
pub use trail::*;
pub use undoing::*;
pub use unlinking::*;
pub use values::*;
pub use writes::*;

/// A law by its name.
#[derive(Clone, Copy)]
pub struct Law {
    /// The name of its function.
    pub name: &'static str,
    check: Check,
}

type Check = for<'a> fn(&'a dyn Fixture) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Law {
    /// Checks it, over a fresh store.
    pub async fn check(&self, fixture: &dyn Fixture) {
        (self.check)(fixture).await;
    }
}

impl fmt::Debug for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Law").field(&self.name).finish()
    }
}

/// Every law.
pub const LAWS: &[Law] = crate::store_conformance!(@laws table);

/// Checks every law, each over a fixture of its own, and returns the names of those that were passed: all of them, for
/// a law that is broken panics.
pub async fn all<F: Fixture>(make: impl AsyncFn() -> F) -> Vec<&'static str> {
    let mut passed = Vec::new();
    for law in LAWS {
        law.check(&make().await).await;
        passed.push(law.name);
    }
    passed
}

/// A fresh, empty store of one test, and a way around it to its rows.
///
/// Its methods panic when they fail: the test is over then.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// A handle to the store; all handles of a fixture reach the same rows.
    fn store(&self) -> Arc<dyn AccountStore>;

    /// Puts rows in, or in the place of those with the same id, exactly as they are; users first, then
    /// subscriptions, then VPN configs. Some laws put in tens of thousands at once.
    async fn insert(&self, bot: &Bot);

    /// All rows of the three tables, each by id; statuses as [`MemorySubscription::spelled`] gives them.
    async fn rows(&self) -> Bot;

    /// What the store has recorded of its runs.
    fn journal(&self) -> Arc<dyn Journal>;

    /// Whether the column of a status can hold any spelling of it, as a text can; a bot with words of its own cannot, and
    /// the laws about spelling are not asked of it.
    fn keeps_spelling(&self) -> bool {
        true
    }
}

#[async_trait]
impl Fixture for MemoryStore {
    fn store(&self) -> Arc<dyn AccountStore> {
        Arc::new(self.clone())
    }

    async fn insert(&self, bot: &Bot) {
        bot.users.iter().cloned().for_each(|row| self.insert_user(row));
        bot.subscriptions
            .iter()
            .cloned()
            .for_each(|row| self.insert_subscription(row));
        bot.vpn_configs
            .iter()
            .cloned()
            .for_each(|row| self.insert_vpn_config(row));
    }

    async fn rows(&self) -> Bot {
        Bot {
            users: self.users(),
            subscriptions: self.subscriptions(),
            vpn_configs: self.vpn_configs(),
        }
    }

    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.clone())
    }
}

/// Rows of the bot's three tables.
///
/// Every column but `id`, `user_id` and `status` may be null. Telegram ids are unique; names are not, as rows of several
/// customers may name one panel user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bot {
    /// `users`.
    pub users: Vec<MemoryUser>,
    /// `subscriptions`.
    pub subscriptions: Vec<MemorySubscription>,
    /// `vpn_configs`.
    pub vpn_configs: Vec<MemoryVpnConfig>,
}

impl Bot {
    fn add_user(&mut self, id: i64) -> UserId {
        let id = UserId(id);
        self.users.push(MemoryUser {
            id,
            telegram_id: Some(7_000_000_000 + id.0),
        });
        id
    }

    fn add_subscription(
        &mut self,
        user_id: UserId,
        status: &str,
        end_date: Option<DateTime<Utc>>,
    ) -> SubscriptionId {
        let id = SubscriptionId(self.subscriptions.last().map_or(1, |row| row.id.0 + 1));
        self.subscriptions.push(MemorySubscription {
            id,
            user_id,
            status: MemorySubscription::spelled(status),
            start_date: Some(days(-90)),
            end_date,
            updated_at: Some(days(-30)),
        });
        id
    }

    fn add_vpn_config(&mut self, user_id: UserId, name: &str) -> AccountId {
        let id = AccountId(self.vpn_configs.last().map_or(1, |row| row.id.0 + 1));
        self.vpn_configs.push(MemoryVpnConfig {
            id,
            user_id,
            panel: None,
            subscription_id: None,
            marzban_user_id: Some(name.to_owned()),
            is_active: Some(true),
            traffic_used: Some(1_000),
            last_connected_at: Some(days(-2)),
            updated_at: Some(days(-1)),
        });
        id
    }

    /// One user with an active subscription and one account, all with the id 1.
    fn with_one_account() -> Self {
        let mut bot = Self::default();
        let user = bot.add_user(1);
        bot.add_subscription(user, "active", Some(days(10)));
        bot.add_vpn_config(user, "alice");
        bot
    }

    fn subscription(&mut self, id: SubscriptionId) -> &mut MemorySubscription {
        self.subscriptions
            .iter_mut()
            .find(|row| row.id == id)
            .expect("the subscription is there")
    }

    fn vpn_config(&mut self, id: AccountId) -> &mut MemoryVpnConfig {
        self.vpn_configs
            .iter_mut()
            .find(|row| row.id == id)
            .expect("the VPN config is there")
    }
}

/// The moment at which the laws play: 2025-09-15 00:00:00 UTC.
fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_757_894_400)
}

/// So many days after [`now`].
fn days(days: i64) -> DateTime<Utc> {
    now() + TimeDelta::days(days)
}

/// All accounts, page by page.
async fn accounts(store: &dyn AccountStore, limit: u32) -> Vec<Account> {
    pages(store, limit).await.concat()
}

/// All pages.
async fn pages(store: &dyn AccountStore, limit: u32) -> Vec<Vec<Account>> {
    let mut pages = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = store
            .page_accounts(DEFAULT_PANEL, after, limit, now())
            .await
            .expect("the page is read");
        let place = |cursor: Option<Cursor>| cursor.map(|Cursor(lowest)| lowest);
        assert!(
            page.next.is_none() || place(page.next) > place(after),
            "{:?} after {after:?}",
            page.next
        );
        pages.push(page.accounts);
        after = page.next;
        if after.is_none() {
            return pages;
        }
    }
}

/// One account of the default panel as it is now.
async fn account(store: &dyn AccountStore, id: AccountId) -> Account {
    account_in(store, DEFAULT_PANEL, id).await
}

/// One account of a panel as it is now.
async fn account_in(store: &dyn AccountStore, panel: &str, id: AccountId) -> Account {
    let accounts = store
        .reload_accounts(panel, &[id], now())
        .await
        .expect("the account is read");
    accounts
        .into_iter()
        .find(|account| account.id == id)
        .expect("the account is there")
}

/// Applies a change in the default panel, and tells whether it was written.
async fn is_applied(store: &dyn AccountStore, run: Option<RunId>, change: &Change) -> bool {
    let applied = store
        .apply(DEFAULT_PANEL, run, std::slice::from_ref(change), now())
        .await
        .expect("a change is applied, or a conflict");
    assert!(
        applied.is_empty() || applied == [change.account.id],
        "{applied:?}"
    );
    !applied.is_empty()
}

/// The account as it is to be once a change has been applied [`now`].
fn written(change: &Change) -> Account {
    let mut account = change.applied();
    if !change.vpn_config.is_empty() {
        account.updated_at = Some(now());
    }
    if let Some(subscription) = account
        .subscription
        .as_mut()
        .filter(|_| !change.subscription.is_empty())
    {
        subscription.updated_at = Some(now());
    }
    account
}

/// What is remembered of a user of the default panel.
async fn remembered(journal: &dyn Journal, username: &str) -> Option<Remembered> {
    let found = journal.agreements(&[key(DEFAULT_PANEL, username)]).await;
    let mut found = found.expect("what is remembered is read");
    assert!(found.len() <= 1, "{found:?}");
    found.pop()
}

fn key(panel: &str, username: &str) -> PanelUserKey {
    PanelUserKey {
        panel: panel.to_owned(),
        username: username.to_owned(),
    }
}

fn ids(accounts: &[Account]) -> Vec<i64> {
    accounts.iter().map(|account| account.id.0).collect()
}

/// One `#[tokio::test]` for each law of [`conformance::store`](crate::testing::conformance::store), so that one failure
/// hides nothing.
///
/// The argument is an expression that makes a fresh [`Fixture`](crate::testing::conformance::store::Fixture); it is
/// evaluated within each test, so it may `.await`, and may `return` to skip. The caller needs `tokio` with the
/// features `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! store_conformance {
    (@laws $($as:tt)*) => {
        $crate::store_conformance! { @each [$($as)*]
            only_rows_with_a_name_are_accounts
            an_account_carries_its_row_its_user_and_its_subscriptions
            every_account_is_read_whatever_its_subscription
            a_user_without_a_subscription_has_none
            an_open_subscription_governs_before_a_later_ended_one
            active_and_trial_are_one_class
            the_latest_end_governs_and_none_is_the_latest
            the_highest_id_breaks_a_tie
            what_has_not_begun_governs_only_alone
            what_is_pending_governs_only_alone
            an_account_has_the_subscription_that_it_names
            words_are_read_without_regard_to_case
            a_status_is_written_in_the_bots_spelling
            another_spelling_is_a_conflict
            accounts_of_others_that_name_the_user_are_sharers
            sharers_are_of_one_panel_and_one_spelling
            the_count_is_what_the_pages_hold
            nothing_is_one_empty_page
            a_page_of_no_users_is_refused
            pages_of_every_size_are_ordered_complete_and_without_repeats
            a_page_holds_whole_users
            the_cursor_is_the_lowest_account_of_the_last_user
            rows_inserted_meanwhile_repeat_and_hide_nothing
            a_reload_reads_whole_users_in_order
            a_reload_gives_current_values
            a_call_sees_the_accounts_of_its_panel_alone
            accounts_elsewhere_are_counted_by_panel
            what_a_customer_has_elsewhere_is_said
            what_was_written_from_elsewhere_is_said
            an_account_that_moved_to_another_panel_is_a_conflict
            any_name_survives
            times_survive_to_the_microsecond
            what_is_finer_than_a_microsecond_is_no_conflict
            any_traffic_survives
            nulls_are_none_and_can_be_filled
            a_change_writes_what_it_names_and_nothing_else
            a_change_writes_both_rows_together
            what_is_over_expires_with_it
            no_changes_write_nothing
            accounts_of_one_user_change_in_one_call
            ten_thousand_changes_are_applied_at_once
            a_dropped_call_leaves_no_half_change
            unlinking_clears_the_name_and_the_access
            unlinking_minds_the_name_alone
            unlinking_after_a_payment_is_refused
            rehearsing_an_unlink_writes_nothing
            rehearsing_an_unlink_says_whether_it_could_be_done
            unlinking_forgets_the_user_unless_another_row_names_it
            a_stale_vpn_config_is_a_conflict
            a_null_that_was_filled_is_a_conflict
            a_stale_subscription_is_a_conflict_for_what_depends_on_it
            a_new_governing_subscription_is_a_conflict_for_what_depends_on_it
            a_first_subscription_is_a_conflict_for_what_depends_on_none
            a_stale_subscription_that_expires_with_it_is_a_conflict
            a_change_without_a_subscription_is_written
            a_subscription_that_does_not_govern_is_no_conflict
            a_conflict_does_not_hinder_the_others
            a_change_is_applied_once
            of_two_at_once_one_wins
            a_row_that_is_gone_is_a_conflict
            a_change_of_no_subscription_is_a_conflict
            what_is_remembered_is_read_with_the_account
            an_agreement_is_written_with_its_change
            an_agreement_that_another_wrote_is_a_conflict
            an_agreement_that_is_there_already_is_no_conflict
            an_agreement_alone_touches_no_row
            recording_minds_the_revision
            the_trail_tells_what_was_written_and_why
            what_was_not_written_leaves_no_trail
            recorded_entries_are_kept_as_they_are
            entries_are_read_by_run_and_by_customer
            old_entries_are_forgotten
            undoing_puts_the_old_values_back
            undoing_leaves_what_has_changed_since
            undoing_goes_back_step_by_step
            undoing_again_changes_nothing
            undoing_forgets_the_previous_end
            a_second_run_is_already_running
            another_job_or_panel_is_not_locked
            a_released_or_dropped_lock_is_free
            a_held_lock_is_verified
            a_run_is_recorded_from_begin_to_end
            each_run_ends_as_itself
            a_run_that_never_began_cannot_end
            system_stats_are_recorded
            a_run_left_running_is_abandoned_by_the_next
            runs_are_read_the_latest_first_and_by_what_is_asked
            the_latest_run_of_each_panel_and_job_is_found
            a_clock_that_ran_ahead_hides_no_later_run
            old_history_is_forgotten_but_for_the_last_good_runs
        }
    };
    (@each [tests $fixture:expr] $($law:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $law() {
                let fixture = $fixture;
                $crate::testing::conformance::store::$law(&fixture).await;
            }
        )+
    };
    (@each [table] $($law:ident)+) => {
        &[$($crate::testing::conformance::store::Law {
            name: stringify!($law),
            check: |fixture| Box::pin($law(fixture)),
        }),+]
    };
    ($fixture:expr) => {
        $crate::store_conformance! { @laws tests $fixture }
    };
}
