//! A panel of which everything can be changed, and that asks whether a deletion is right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use marzban_sync_core::error::PanelError;
use marzban_sync_core::observation::{Observation, PanelUser};
use marzban_sync_core::panel::{ExpectedUser, Panel, UpdateOutcome};
use marzban_sync_core::report::SystemStats;

use crate::faulty::no_panel;
use crate::scripted::{disabled, extended, stats};

/// Something that a test does in the middle of a run.
type Hook = Box<dyn FnOnce() + Send>;

/// Says why a user must not be deleted, if so.
type Guard = Arc<dyn Fn(&str, &PanelUser) -> Option<String> + Send + Sync>;

#[derive(Clone, Default)]
pub(super) struct ModelPanel(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    pub(super) users: BTreeMap<String, PanelUser>,
    /// Users that the panel cannot render.
    pub(super) poisoned: BTreeSet<String>,
    /// Whether it does not answer.
    pub(super) is_down: bool,
    /// Whether another panel answers in its place, which knows nobody.
    pub(super) is_another: bool,
    guard: Option<Guard>,
    hook: Option<(usize, Hook)>,
}

impl ModelPanel {
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub(super) fn guard(&self, guard: impl Fn(&str, &PanelUser) -> Option<String> + Send + Sync + 'static) {
        self.with(|state| state.guard = Some(Arc::new(guard)));
    }

    /// Lets something happen when the panel is looked at so many times more, before it answers.
    pub(super) fn at_look(&self, number: usize, hook: impl FnOnce() + Send + 'static) {
        self.with(|state| state.hook = Some((number, Box::new(hook))));
    }

    pub(super) fn forget_hook(&self) {
        self.with(|state| state.hook = None);
    }

    fn called(&self) -> Result<(), PanelError> {
        let hook = self.with(|state| match &mut state.hook {
            Some((0, _)) => state.hook.take().map(|(_, hook)| hook),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        });
        if let Some(happens) = hook {
            happens();
        }
        self.with(|state| if state.is_down { Err(no_panel()) } else { Ok(()) })
    }

    fn look(&self, name: &str) -> Option<Observation> {
        self.with(|state| {
            if state.is_another {
                return None;
            }
            let user = state.users.get(name)?.clone();
            Some(if state.poisoned.contains(name) {
                Observation::Unreadable("poison".to_owned())
            } else {
                Observation::Found(user)
            })
        })
    }

    fn update(&self, name: &str, changed: Result<Option<PanelUser>, Observation>) -> UpdateOutcome {
        match changed {
            Ok(user) => {
                self.with(|state| state.users.extend(user.map(|user| (name.to_owned(), user))));
                UpdateOutcome::Done
            }
            Err(seen) => UpdateOutcome::Changed(seen),
        }
    }
}

#[async_trait]
impl Panel for ModelPanel {
    async fn users(&self, names: &[String]) -> Result<Vec<Observation>, PanelError> {
        self.called()?;
        let observe = |name: &String| self.look(name).unwrap_or(Observation::Absent);
        Ok(names.iter().map(observe).collect())
    }

    async fn user(&self, name: &str) -> Result<Observation, PanelError> {
        self.called()?;
        Ok(self.look(name).unwrap_or(Observation::Missing))
    }

    async fn delete_user(&self, name: &str) -> Result<(), PanelError> {
        let (user, guard) = self.with(|state| (state.users.get(name).cloned(), state.guard.clone()));
        if let Some((user, guard)) = user.zip(guard)
            && let Some(why) = guard(name, &user)
        {
            panic!("{name} was deleted: {why}; {user:?}");
        }
        self.with(|state| state.users.remove(name));
        Ok(())
    }

    async fn extend_user(
        &self,
        name: &str,
        expected: &ExpectedUser,
        end: DateTime<Utc>,
    ) -> Result<UpdateOutcome, PanelError> {
        self.called()?;
        let seen = self.look(name).unwrap_or(Observation::Missing);
        let changed = extended(seen, expected, end)?;
        Ok(self.update(name, changed))
    }

    async fn disable_user(&self, name: &str, expected: &ExpectedUser) -> Result<UpdateOutcome, PanelError> {
        self.called()?;
        let seen = self.look(name).unwrap_or(Observation::Missing);
        Ok(self.update(name, disabled(seen, expected)))
    }

    fn last_date(&self) -> Option<DateTime<Utc>> {
        None
    }

    async fn system_stats(&self) -> Result<SystemStats, PanelError> {
        self.with(|state| {
            if state.is_down {
                Err(no_panel())
            } else {
                Ok(stats())
            }
        })
    }
}
