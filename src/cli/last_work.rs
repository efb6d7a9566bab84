//! What is to be done at the end of a command, even if the command's own thread is stuck.

use super::exit::Exit;
use crate::error::Error;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

type Work = Box<dyn FnOnce(&Error, Exit) + Send>;

/// The last work of a command, which is done once: by the command at its end, or by the thread that gives the command up.
/// Clones share it.
#[derive(Clone, Default)]
pub(super) struct LastWork(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    Nothing,
    /// It waits for the end of the command.
    Open(Work),
    /// The command has reached its end and does it.
    TheCommands,
    /// Another thread does it: the process exits.
    Elsewhere,
}

impl LastWork {
    /// Leaves `work` to be done if the command does not reach its end.
    pub(super) fn leave(&self, work: impl FnOnce(&Error, Exit) + Send + 'static) {
        *self.lock() = State::Open(Box::new(work));
    }

    /// Takes the work back for the command, which has reached its end; false if another thread does it already.
    pub(super) fn take_back(&self) -> bool {
        let mut state = self.lock();
        if matches!(*state, State::Elsewhere) {
            return false;
        }
        *state = State::TheCommands;
        true
    }

    /// Whether the command has reached its end.
    pub(super) fn is_the_commands(&self) -> bool {
        matches!(*self.lock(), State::TheCommands)
    }

    /// Does the work of a command that failed like this, unless the command does it.
    pub(super) fn perform(&self, error: &Error, exit: Exit) {
        let work = {
            let mut state = self.lock();
            match mem::take(&mut *state) {
                State::Open(work) => {
                    *state = State::Elsewhere;
                    work
                }
                other => return *state = other,
            }
        };
        work(error, exit);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use std::sync::mpsc::channel;

    #[test]
    fn it_is_done_once() {
        let error = Error::new(Kind::Interrupted, "interrupted");
        let (done, told) = channel();
        let work = move |error: &Error, exit| done.send((error.kind(), exit)).unwrap();
        let last = LastWork::default();
        last.perform(&error, Exit::Interrupted);
        last.leave(work.clone());
        assert!(!last.is_the_commands());
        last.perform(&error, Exit::Interrupted);
        last.perform(&error, Exit::Interrupted);
        assert!(!last.take_back());
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(Kind::Interrupted, Exit::Interrupted)]);

        last.leave(work);
        assert!(last.take_back() && last.is_the_commands());
        last.perform(&error, Exit::Interrupted);
        assert!(told.try_recv().is_err());
    }
}
