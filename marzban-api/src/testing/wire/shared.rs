//! What the handles of a panel and its connections have in common.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;

use super::clock::PanelClock;
use super::fault::FaultRule;
use super::logs::Logs;
use super::recorded::{RecordedRequest, RequestLog};
use crate::testing::api::{Api, Router};

/// What runs after a request was recorded and before it is answered.
pub(crate) type Hook = Arc<dyn Fn(RecordedRequest) -> BoxFuture<'static, ()> + Send + Sync>;

/// The state behind the lock.
pub(crate) struct State {
    pub(crate) api: Api,
    pub(crate) clock: PanelClock,
    pub(crate) faults: Vec<FaultRule>,
    pub(crate) requests: RequestLog,
    pub(crate) logs: Logs,
}

pub(crate) struct Shared {
    pub(crate) router: Router,
    state: Mutex<State>,
    hooks: Mutex<Vec<Hook>>,
}

impl Shared {
    pub(crate) fn new(router: Router, api: Api, clock: PanelClock) -> Self {
        Self {
            router,
            state: Mutex::new(State {
                api,
                clock,
                faults: Vec::new(),
                requests: RequestLog::default(),
                logs: Logs::default(),
            }),
            hooks: Mutex::default(),
        }
    }

    /// Locks the state and sets the panel's time. A panic in a test's closure does not poison it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.clock.now();
        state.api.panel.set_now(now);
        state
    }

    pub(crate) fn hooks(&self) -> MutexGuard<'_, Vec<Hook>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
