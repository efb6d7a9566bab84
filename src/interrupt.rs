//! Being asked to stop: by a signal, at any moment, without losing or half-publishing anything.
//!
//! The library knows no signals. Whoever does calls [`Interrupt::raise`]; every loop of the library
//! calls [`Interrupt::check`]; whoever publishes calls [`Interrupt::begin_commit`] first, after which
//! stopping is too late and the rest is finished instead.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Kind, Result};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    Committing,
    Stopped,
}

/// A shared request to stop. Clones speak of the same request.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<Mutex<State>>);

impl Interrupt {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything to stop. False when a commit has begun: then the caller waits for its end instead.
    #[must_use]
    pub fn raise(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::Running {
            *state = State::Stopped;
        }
        *state == State::Stopped
    }

    /// Fails with [`Kind::Interrupted`] once somebody asked to stop.
    ///
    /// # Errors
    /// [`Kind::Interrupted`].
    pub fn check(&self) -> Result<()> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Running | State::Committing => Ok(()),
            State::Stopped => Err(interrupted()),
        }
    }

    /// The point of no return, called just before the rename that publishes.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] when somebody asked to stop before.
    pub fn begin_commit(&self) -> Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::Stopped {
            return Err(interrupted());
        }
        *state = State::Committing;
        Ok(())
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
}
