//! Stops work, either because of a signal or because one thread of the work failed and the others need not go on.
//!
//! The library knows no signals. The caller that handles them calls [`Interrupt::raise`]; every loop of the library calls
//! [`Interrupt::check`]; every function that publishes calls [`Interrupt::begin_commit`] first. After that, a request to
//! stop comes too late and the work is finished instead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind, Result};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    Committing,
    Stopped,
}

#[derive(Debug, Default)]
struct Shared {
    state: State,
    failure: Option<Error>,
}

/// A shared request to stop, for one piece of work at a time. Clones share the request.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<Mutex<Shared>>);

impl Interrupt {
    /// A request that has not been raised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work to stop. False when a commit has begun: then the caller waits for its end instead.
    #[must_use]
    pub fn raise(&self) -> bool {
        let mut shared = self.shared();
        if shared.state == State::Running {
            shared.state = State::Stopped;
        }
        shared.state == State::Stopped
    }

    /// Reports a failure to the other threads of the same work; the first failure counts.
    ///
    /// A thread that is blocked on a pipe does not notice. A caller that can end the process may poll
    /// [`failure`](Self::failure).
    pub(crate) fn fail(&self, error: &Error) {
        self.shared().failure.get_or_insert_with(|| error.repeat());
    }

    /// The failure of the current work.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.shared().failure.as_ref().map(Error::repeat)
    }

    /// Clears the failure at the end of the work.
    pub(crate) fn end_work(&self) {
        self.shared().failure = None;
    }

    /// Fails once a stop was requested or the work failed.
    ///
    /// # Errors
    /// [`Kind::Interrupted`], or the failure.
    pub fn check(&self) -> Result<()> {
        let shared = self.shared();
        match (shared.state, &shared.failure) {
            (State::Stopped, _) => Err(interrupted()),
            (State::Running | State::Committing, Some(failure)) => Err(failure.repeat()),
            (State::Running | State::Committing, None) => Ok(()),
        }
    }

    /// Passes the point of no return, just before the rename that publishes.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] when a stop was requested before.
    pub fn begin_commit(&self) -> Result<()> {
        let mut shared = self.shared();
        if shared.state == State::Stopped {
            return Err(interrupted());
        }
        shared.state = State::Committing;
        Ok(())
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_before_the_commit_prevents_it() {
        let interrupt = Interrupt::new();
        interrupt.check().unwrap();
        assert!(interrupt.raise());
        assert_eq!(interrupt.check().unwrap_err().kind(), Kind::Interrupted);
        assert_eq!(interrupt.begin_commit().unwrap_err().kind(), Kind::Interrupted);
    }

    #[test]
    fn a_stop_after_the_commit_comes_too_late() {
        let interrupt = Interrupt::new();
        interrupt.begin_commit().unwrap();
        assert!(!interrupt.clone().raise());
        interrupt.check().unwrap();
    }

    #[test]
    fn a_failure_is_told_until_its_work_has_ended() {
        let interrupt = Interrupt::new();
        interrupt.clone().fail(&Error::new(Kind::NoSpace, "full"));
        interrupt.fail(&Error::new(Kind::Io, "a consequence"));
        assert_eq!(interrupt.check().unwrap_err().kind(), Kind::NoSpace);
        assert_eq!(interrupt.failure().unwrap().to_string(), "full");
        interrupt.end_work();
        interrupt.check().unwrap();
        assert!(interrupt.failure().is_none());
    }
}
