//! How fast we read from etcd, where somebody set a limit.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The lowest limit, in bytes a second. Below it a TLS handshake alone would take longer than a connection may.
pub const LOWEST_RATE: u64 = 16 * 1024;

/// What may be made up for at once after a standstill, or after being woken late.
const BURST: Duration = Duration::from_millis(100);
/// Pieces a second.
const PIECES: u64 = 50;
/// The part of a second for which bytes may be on their way to us, beyond what we read. Less would not keep a long link
/// busy.
const AHEAD: u64 = 4;
/// HTTP/2 has no smaller window for a connection.
const SMALLEST_WINDOW: u32 = 65_535;

/// A limit that all connections keep together.
pub(super) struct Pace {
    rate: u64,
    state: Mutex<State>,
}

struct State {
    /// When all that was read so far will have taken the time it must.
    paid_until: Instant,
    held: Duration,
}

impl Pace {
    /// `rate` bytes a second, or [`LOWEST_RATE`] where that is more.
    pub(super) fn new(rate: u64) -> Self {
        let state = State { paid_until: Instant::now(), held: Duration::ZERO };
        Self { rate: rate.max(LOWEST_RATE), state: Mutex::new(state) }
    }

    /// The most that may be read at a time.
    pub(super) fn piece(&self) -> usize {
        usize::try_from(self.rate / PIECES).unwrap_or(usize::MAX)
    }

    /// The HTTP/2 window that goes with it, at most `widest`.
    pub(super) fn window(&self, widest: u32) -> u32 {
        u32::try_from(self.rate / AHEAD).unwrap_or(widest).clamp(SMALLEST_WINDOW, widest)
    }

    /// How long what is on its way keeps an answer behind it waiting.
    pub(super) fn lag(&self, window: u32) -> Duration {
        self.time_for(u64::from(window)) + BURST
    }

    /// The time before which nothing may be read; `None` where that is over.
    pub(super) fn not_before(&self, now: Instant) -> Option<Instant> {
        Some(self.state().paid_until).filter(|&paid_until| paid_until > now)
    }

    /// Bytes were read.
    pub(super) fn spent(&self, bytes: usize, now: Instant) {
        let time = self.time_for(bytes as u64);
        let mut state = self.state();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        state.paid_until = state.paid_until.max(earliest) + time;
    }

    /// A connection is about to hold back for that long.
    pub(super) fn holds(&self, time: Duration) {
        self.state().held += time;
    }

    /// For how long connections held back so far.
    pub(super) fn held(&self) -> Duration {
        self.state().held
    }

    fn time_for(&self, bytes: u64) -> Duration {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
