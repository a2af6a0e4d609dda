//! Whether vectors can be had.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::super::install::Stage;

/// The state of an embedder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not wanted, or stopped.
    Off,
    /// The model is on its way to this machine.
    Installing(Stage),
    /// The model is being read, or soon will be.
    Loading,
    /// Vectors can be had.
    Ready,
    /// The model could not be had; it is tried again by and by.
    Failed(Arc<str>),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("it is turned off"),
            Self::Installing(stage) => write!(f, "it is being installed, {stage}"),
            Self::Loading => f.write_str("it is being loaded"),
            Self::Ready => f.write_str("it is ready"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

/// A state that is read on every request and changes a few times in the life of a process: the
/// common case is one load, the others take a lock that nobody holds for long.
pub(super) struct StateCell {
    ready: AtomicBool,
    state: Mutex<State>,
}

impl StateCell {
    pub(super) fn new(state: State) -> Self {
        Self {
            ready: AtomicBool::new(state == State::Ready),
            state: Mutex::new(state),
        }
    }

    pub(super) fn get(&self) -> State {
        if self.ready.load(Ordering::Acquire) {
            return State::Ready;
        }
        self.state.lock().clone()
    }

    pub(super) fn set(&self, state: State) {
        let mut held = self.state.lock();
        // Inside the lock, so that the two never tell different stories for long.
        self.ready.store(state == State::Ready, Ordering::Release);
        *held = state;
    }
}
