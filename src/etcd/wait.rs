//! Waits that end: at a time limit, or soon after the user asks to stop.

use crate::error::Result;
use crate::interrupt::Interrupt;
use std::pin::pin;
use std::time::Duration;
use tokio::time::interval;

/// How often a wait checks for an interrupt: short for a human, negligible for a processor.
const INTERRUPT_POLL: Duration = Duration::from_millis(100);

/// Waits for `future`, but ends soon after an interrupt.
pub(super) async fn unless_interrupted<F: Future>(interrupt: &Interrupt, future: F) -> Result<F::Output> {
    interrupt.check()?;
    let mut future = pin!(future);
    let mut poll = interval(INTERRUPT_POLL);
    loop {
        tokio::select! {
            biased;
            output = &mut future => return Ok(output),
            _ = poll.tick() => interrupt.check()?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[tokio::test]
    async fn an_interrupt_ends_a_wait_for_what_never_comes() {
        let interrupt = Interrupt::new();
        let raiser = interrupt.clone();
        let waiting = unless_interrupted(&interrupt, std::future::pending::<()>());
        let raising = async move {
            tokio::task::yield_now().await;
            assert!(raiser.raise());
        };
        let (waited, ()) = tokio::join!(waiting, raising);
        assert_eq!(waited.unwrap_err().kind(), Kind::Interrupted);
    }

    #[tokio::test]
    async fn what_is_ready_is_returned() {
        assert_eq!(unless_interrupted(&Interrupt::new(), async { 7 }).await.unwrap(), 7);
    }
}
