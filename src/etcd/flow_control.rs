//! Flow control between the socket and HTTP/2: a bound on the bytes that have arrived and that the reader has not taken.
//!
//! HTTP/2's windows limit how much a member may send ahead. On a link with a long round trip that must be much, but as much
//! could pile up in memory whenever this process is the slower side. So the windows are wide, and this gate stands between
//! the socket and HTTP/2: it closes when too many of the bytes that passed are not taken yet. Later bytes then wait in TCP's
//! buffers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::time::Instant;

/// Bytes that may have passed without being taken: few enough that they are still in the processor's cache when they are
/// taken. When the pipeline pauses, its own queue and TCP's hold the rest.
pub(super) const CLOSES_AT: usize = 512 * 1024;
/// Bytes not yet taken at which a closed gate opens again.
const OPENS_AT: usize = CLOSES_AT / 2;

/// A gate before one connection. Clones are the same gate.
#[derive(Clone)]
pub(super) struct FlowControl(Arc<Mutex<FlowState>>);

struct FlowState {
    /// Whether a reader takes the bytes; until then the gate stays open.
    guarded: bool,
    closed: bool,
    /// Bytes that passed since this was last 0. Headers and TLS records count too although the reader never takes them, so
    /// it is never too low; [`FlowControl::awaited`] resets it when the reader waits in vain.
    untaken: usize,
    last_taken: Instant,
    waiting: Option<Waker>,
}

impl FlowControl {
    /// A gate without a reader: everything passes.
    pub(super) fn open() -> Self {
        Self(Arc::new(Mutex::new(FlowState {
            guarded: false,
            closed: false,
            untaken: 0,
            last_taken: Instant::now(),
            waiting: None,
        })))
    }

    /// From now on a reader takes what passes, or waits for it.
    pub(super) fn guard(&self) {
        let mut state = self.state();
        state.guarded = true;
        state.last_taken = Instant::now();
    }

    /// From now on everything passes.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.guarded = false;
        state.open();
    }

    /// Notes that the reader took `bytes`.
    pub(super) fn taken(&self, bytes: usize) {
        let mut state = self.state();
        state.untaken = state.untaken.saturating_sub(bytes);
        state.last_taken = Instant::now();
        if state.untaken <= OPENS_AT {
            state.open();
        }
    }

    /// Notes that the reader waits and nothing is there: it has taken everything that passed.
    pub(super) fn awaited(&self) {
        let mut state = self.state();
        state.untaken = 0;
        state.open();
    }

    /// Notes that `bytes` passed.
    pub(super) fn passed(&self, bytes: usize) {
        let mut state = self.state();
        state.untaken += bytes;
        state.closed = state.guarded && state.untaken >= CLOSES_AT;
    }

    /// Waits while the gate is closed.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if !state.closed {
            return Poll::Ready(());
        }
        state.waiting = Some(context.waker().clone());
        Poll::Pending
    }

    /// When the reader last took something.
    pub(super) fn last_taken(&self) -> Instant {
        self.state().last_taken
    }

    fn state(&self) -> MutexGuard<'_, FlowState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FlowState {
    fn open(&mut self) {
        self.closed = false;
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the gate is open, and how often its waiter was woken.
    fn is_open(flow_control: &FlowControl, count: &Arc<Count>) -> (bool, usize) {
        let waker = Waker::from(Arc::clone(count));
        let open = flow_control.poll(&mut Context::from_waker(&waker)).is_ready();
        (open, count.0.load(Ordering::Relaxed))
    }

    #[test]
    fn it_closes_at_much_that_is_not_taken_and_opens_when_half_of_it_is() {
        let (flow_control, count) = (FlowControl::open(), Arc::default());
        flow_control.guard();
        flow_control.passed(CLOSES_AT - 1);
        assert_eq!(is_open(&flow_control, &count), (true, 0));
        flow_control.passed(1);
        assert_eq!(is_open(&flow_control, &count), (false, 0));
        flow_control.taken(CLOSES_AT - OPENS_AT - 1);
        assert_eq!(is_open(&flow_control, &count), (false, 0));
        flow_control.taken(1);
        assert_eq!(is_open(&flow_control, &count), (true, 1));
    }

    /// Without this, bytes that passed and are no payload would close the gate for ever.
    #[test]
    fn a_waiting_reader_opens_it() {
        let (flow_control, count) = (FlowControl::open(), Arc::default());
        flow_control.guard();
        flow_control.passed(CLOSES_AT);
        assert_eq!(is_open(&flow_control, &count), (false, 0));
        flow_control.awaited();
        assert_eq!(is_open(&flow_control, &count), (true, 1));
        flow_control.passed(CLOSES_AT - 1);
        assert_eq!(is_open(&flow_control, &count), (true, 1));
    }

    #[test]
    fn without_a_reader_it_is_open() {
        let (flow_control, count) = (FlowControl::open(), Arc::default());
        flow_control.passed(2 * CLOSES_AT);
        assert_eq!(is_open(&flow_control, &count), (true, 0));
        flow_control.guard();
        flow_control.passed(1);
        assert_eq!(is_open(&flow_control, &count), (false, 0));
        flow_control.leave();
        assert_eq!(is_open(&flow_control, &count), (true, 1));
    }
}
