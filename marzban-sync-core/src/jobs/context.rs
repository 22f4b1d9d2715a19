use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::run_options::RunOptions;
use crate::decide::limits::SafetyLimits;
use crate::model::outcome::Stopped;
use crate::model::policy::{Answers, Policy};
use crate::port::accounts::{AccountStore, DEFAULT_PANEL};
use crate::port::clock::{Clock, SystemClock};
use crate::port::event::{Event, Observer};
use crate::port::journal::{Journal, Store};
use crate::port::panel::Panel;

/// What every job needs: one panel, the bot's database, and the rules; made once and used for every run.
///
/// # Examples
/// A bot with one panel, over a store in memory:
///
/// ```
/// use chrono::TimeDelta;
/// use marzban_sync_core::Context;
/// use marzban_sync_core::limits::SafetyLimits;
/// use marzban_sync_core::panel::MockPanel;
/// use marzban_sync_core::store::MemoryStore;
///
/// let context = Context::builder(MockPanel::new(), MemoryStore::new())
///     .panel_name("germany")
///     .limits(SafetyLimits::default())
///     .cleanup_after(TimeDelta::days(14))
///     .build();
/// assert_eq!(context.panel_name(), "germany");
/// ```
#[derive(Clone)]
pub struct Context {
    pub(super) panel: Arc<dyn Panel>,
    pub(super) accounts: Arc<dyn AccountStore>,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) panel_name: String,
    pub(super) policy: Policy,
    pub(super) limits: SafetyLimits,
    pub(super) cleanup_after: TimeDelta,
    pub(super) history_retention: Option<TimeDelta>,
    pub(super) exempt: BTreeSet<String>,
    pub(super) options: RunOptions,
}

/// Sets up a [`Context`]; everything but the panel and the store has a default.
#[derive(Clone, Debug)]
#[must_use]
pub struct ContextBuilder(Context);

impl Context {
    /// A context with the defaults.
    pub fn new(panel: impl Panel + 'static, store: impl Store + 'static) -> Self {
        Self::builder(panel, store).build()
    }

    /// Begins a context of which something differs from the defaults, over a store that is its own journal.
    pub fn builder(panel: impl Panel + 'static, store: impl Store + 'static) -> ContextBuilder {
        let accounts = Arc::new(store);
        let journal = Arc::clone(&accounts);
        Self::shared(Arc::new(panel), accounts, journal)
    }

    /// Begins a context over ports that others use as well, or whose journal is in another database than the accounts.
    ///
    /// The journal must be the one that `accounts` reads agreements from: of a [`Store`] the store itself, of a
    /// [`TableStore`](crate::store::TableStore) the one that it was made with.
    pub fn shared(
        panel: Arc<dyn Panel>,
        accounts: Arc<dyn AccountStore>,
        journal: Arc<dyn Journal>,
    ) -> ContextBuilder {
        ContextBuilder(Self {
            panel,
            accounts,
            journal,
            clock: Arc::new(SystemClock),
            observer: None,
            panel_name: DEFAULT_PANEL.to_owned(),
            policy: Policy::default(),
            limits: SafetyLimits::default(),
            cleanup_after: TimeDelta::days(7),
            history_retention: Some(TimeDelta::days(90)),
            exempt: BTreeSet::new(),
            options: RunOptions::default(),
        })
    }

    /// The panel's name.
    #[must_use]
    pub fn panel_name(&self) -> &str {
        &self.panel_name
    }

    #[cfg(feature = "scheduler")]
    pub(crate) fn journal(&self) -> &dyn Journal {
        &*self.journal
    }

    #[cfg(feature = "scheduler")]
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    #[cfg(feature = "scheduler")]
    pub(crate) fn cancellation(&self) -> &CancellationToken {
        &self.options.cancellation
    }

    /// Returns the options of runs that are given none, to derive others from.
    pub fn options(&self) -> RunOptions {
        self.options.clone()
    }

    /// The same context for runs with these options; one of dry runs stays that.
    #[must_use]
    pub(crate) fn with(&self, mut options: RunOptions) -> Self {
        options.dry_run |= self.options.dry_run;
        Self {
            options,
            ..self.clone()
        }
    }

    #[cfg(feature = "scheduler")]
    pub(crate) fn with_deadline(self, deadline: TimeDelta) -> Self {
        self.with(self.options.clone().deadline(deadline))
    }

    /// The same by the time of a scheduler, which may cancel its runs alone.
    #[cfg(feature = "scheduler")]
    pub(crate) fn on_schedule(self, clock: Arc<dyn Clock>) -> Self {
        let cancellation = self.options.cancellation.child_token();
        Self {
            clock,
            ..self.with(self.options.clone().cancellation(cancellation))
        }
    }

    /// Why a run that began then must stop now, if it must.
    pub(super) fn stop(&self, started_at: DateTime<Utc>) -> Option<Stopped> {
        if self.options.cancellation.is_cancelled() {
            return Some(Stopped::Cancelled);
        }
        (self.clock.now() - started_at >= self.options.deadline).then_some(Stopped::Deadline)
    }

    /// Whether a run that began then has used the part of its time that looking at accounts may take; the last third is
    /// kept for what is to be taken away.
    pub(super) fn is_time_to_write(&self, started_at: DateTime<Utc>) -> bool {
        self.clock.now() - started_at >= self.options.deadline / 3 * 2
    }

    pub(super) fn emit(&self, event: Event<'_>) {
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("panel_name", &self.panel_name)
            .field("policy", &self.policy)
            .field("limits", &self.limits)
            .field("cleanup_after", &self.cleanup_after)
            .field("history_retention", &self.history_retention)
            .field("exempt", &self.exempt)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl ContextBuilder {
    /// The clock; by default the host's.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.0.clock = Arc::new(clock);
        self
    }

    /// Somebody to be told of events as they happen.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.0.observer = Some(Arc::new(observer));
        self
    }

    /// The panel's name, by which accounts (`vpn_configs.panel`), locks, history and statistics are kept apart; by
    /// default [`DEFAULT_PANEL`].
    pub fn panel_name(mut self, name: impl Into<String>) -> Self {
        self.0.panel_name = name.into();
        self
    }

    /// How observations become changes.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.0.policy = policy;
        self
    }

    /// How much one run may take away.
    pub fn limits(mut self, limits: SafetyLimits) -> Self {
        self.0.limits = limits;
        self
    }

    /// How long ago all subscriptions of a user must have ended before cleanup looks at it; by default 7 days.
    pub fn cleanup_after(mut self, cleanup_after: TimeDelta) -> Self {
        self.0.cleanup_after = cleanup_after;
        self
    }

    /// How long the rows of `marzban_sync_runs` and `marzban_system_stats` are kept; by default 90 days, and with none
    /// for ever. The last good run of each job is always kept. Old rows are deleted by the job that adds the most,
    /// [`get_marzban_system_stats`](super::get_marzban_system_stats).
    pub fn history_retention(mut self, history_retention: Option<TimeDelta>) -> Self {
        self.0.history_retention = history_retention;
        self
    }

    /// The options of runs that are given none: of the four functions, of a scheduler, of [`undo`](super::undo).
    pub fn options(mut self, options: RunOptions) -> Self {
        self.0.options = options;
        self
    }

    /// The deadline of these [`options`](Self::options).
    pub fn deadline(mut self, deadline: TimeDelta) -> Self {
        self.0.options.deadline = deadline;
        self
    }

    /// The cancellation of these [`options`](Self::options).
    pub fn cancellation(mut self, cancellation: CancellationToken) -> Self {
        self.0.options.cancellation = cancellation;
        self
    }

    /// Whether the [`options`](Self::options) are those of a dry run.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.0.options.dry_run = dry_run;
        self
    }

    /// The answers of these [`options`](Self::options).
    pub fn answers(mut self, answers: Answers) -> Self {
        self.0.options.answers = answers;
        self
    }

    /// The usernames of panel users that a cleanup never touches.
    pub fn exempt(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.0.exempt = names.into_iter().collect();
        self
    }

    /// The context.
    #[must_use]
    pub fn build(self) -> Context {
        self.0
    }
}
