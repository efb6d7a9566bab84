//! Watches over a piece of work: shows its progress and stops it.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::progress::{Progress, Silent};

/// Progress and interrupt of one piece of work. Clones share both.
///
/// The default shows nothing, and nothing stops it.
#[derive(Clone)]
pub struct Watch {
    /// Receives the progress.
    pub progress: Arc<dyn Progress>,
    /// Stops the work.
    pub interrupt: Interrupt,
}

impl Watch {
    /// Shows the work on `progress`, and lets `interrupt` stop it.
    #[must_use]
    pub fn new(progress: Arc<dyn Progress>, interrupt: &Interrupt) -> Self {
        Self { progress, interrupt: interrupt.clone() }
    }

    /// Shows the work on `progress`; [`Self::stop`] of a clone stops it.
    #[must_use]
    pub fn showing(progress: impl Progress + 'static) -> Self {
        Self::new(Arc::new(progress), &Interrupt::new())
    }

    /// Asks the work to stop, from any thread. False where the result is being published: then the work is finished first.
    #[must_use]
    pub fn stop(&self) -> bool {
        self.interrupt.raise()
    }

    /// Shows nothing, and lets `interrupt` stop the work.
    #[must_use]
    pub fn silent(interrupt: &Interrupt) -> Self {
        Self::new(Arc::new(Silent), interrupt)
    }

    /// Fails once a stop was requested or the work failed.
    ///
    /// # Errors
    /// [`Kind::Interrupted`](crate::Kind::Interrupted), or the failure.
    pub fn check(&self) -> Result<()> {
        self.interrupt.check()
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::silent(&Interrupt::new())
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watch").field("interrupt", &self.interrupt).finish_non_exhaustive()
    }
}
