//! Something becomes of the n-th call of a run: it is stopped there, or the call fails, or the world moves on meanwhile.

use std::future::pending;
use std::sync::{Arc, Mutex};

use marzban_sync_core::error::{PanelError, PanelErrorKind, StoreError, StoreErrorKind};

use super::dice::Dice;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process dies before it.
    StopBefore,
    /// The process dies after it.
    StopAfter,
    /// The process dies between the rows and what is remembered beside them.
    StopBetween,
    /// It fails, and nothing has happened.
    Fail,
    /// It fails, and has happened all the same.
    FailAfter,
    /// A customer pays while it is under way.
    Pays(usize),
    /// The panel user is made anew while it is under way.
    IsRecreated(usize),
}

impl Fault {
    /// One of each.
    pub(super) const ALL: [Self; 7] = [
        Self::StopBefore,
        Self::StopAfter,
        Self::StopBetween,
        Self::Fail,
        Self::FailAfter,
        Self::Pays(0),
        Self::IsRecreated(0),
    ];

    pub(super) fn of(dice: &mut Dice) -> Self {
        match dice.weigh(&[(3, 0), (3, 1), (3, 2), (2, 3), (2, 4), (5, 5), (1, 6)]) {
            0 => Self::StopBefore,
            1 => Self::StopAfter,
            2 => Self::StopBetween,
            3 => Self::Fail,
            4 => Self::FailAfter,
            5 => Self::Pays(dice.below(64)),
            _ => Self::IsRecreated(dice.below(64)),
        }
    }
}

type Happening = Box<dyn FnOnce() + Send>;

/// Counts the calls of one run, of the store and of the panel alike.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: usize,
    fault: Option<(usize, Fault)>,
    happening: Option<Happening>,
    is_stopped: bool,
}

impl Gate {
    pub(super) fn new(fault: Option<(usize, Fault)>, happening: impl FnOnce() + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(State {
            fault,
            happening: Some(Box::new(happening)),
            ..State::default()
        })))
    }

    /// What becomes of the call that is due.
    async fn turn(&self) -> Option<Fault> {
        let (fault, happening) = self.count();
        if let Some(happens) = happening {
            happens();
        }
        if self.is_stopped() || fault == Some(Fault::StopBefore) {
            return self.stop().await;
        }
        fault
    }

    fn count(&self) -> (Option<Fault>, Option<Happening>) {
        let mut state = self.0.lock().unwrap();
        let number = state.calls;
        state.calls += 1;
        let fault = state
            .fault
            .filter(|(at, _)| *at == number)
            .map(|(_, fault)| fault);
        let happens = matches!(fault, Some(Fault::Pays(_) | Fault::IsRecreated(_)));
        let happening = if happens { state.happening.take() } else { None };
        (fault, happening)
    }

    fn is_stopped(&self) -> bool {
        self.0.lock().unwrap().is_stopped
    }

    async fn stop<T>(&self) -> T {
        self.0.lock().unwrap().is_stopped = true;
        pending().await
    }

    /// A call, and what becomes of it.
    pub(super) async fn through<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>> + Send,
        half: impl Future<Output = ()> + Send,
        error: impl Fn(bool) -> E + Send,
    ) -> Result<T, E> {
        match self.turn().await {
            None | Some(Fault::Pays(_) | Fault::IsRecreated(_)) => call.await,
            Some(Fault::StopBefore | Fault::StopAfter) => {
                drop(call.await);
                self.stop().await
            }
            Some(Fault::StopBetween) => {
                half.await;
                self.stop().await
            }
            Some(Fault::Fail) => Err(error(false)),
            Some(Fault::FailAfter) => {
                drop(call.await);
                Err(error(true))
            }
        }
    }
}

pub(super) fn no_store(_: bool) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the database does not answer")
}

pub(super) fn no_panel(has_happened: bool) -> PanelError {
    let kind = if has_happened {
        PanelErrorKind::Unclear
    } else {
        PanelErrorKind::Unavailable
    };
    PanelError::new(kind, "the panel does not answer")
}

impl Gate {
    /// Whether the world has moved on in this very call, when nobody can look at it any more.
    pub(super) fn moves_on(&self) -> bool {
        let state = self.0.lock().unwrap();
        let moves = matches!(state.fault, Some((_, Fault::Pays(_) | Fault::IsRecreated(_))));
        moves && state.fault.is_some_and(|(at, _)| at + 1 == state.calls)
    }

    /// Whether the run has reached the call at which the fault happens.
    pub(super) fn has_happened(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.fault.is_some_and(|(at, _)| state.calls > at)
    }
}
