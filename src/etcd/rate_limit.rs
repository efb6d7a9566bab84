//! The rate limit for reading from etcd, where the user set one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The lowest limit, in bytes per second. Below it a TLS handshake alone would take longer than a connection may.
pub const LOWEST_RATE: u64 = 16 * 1024;

/// The burst that is allowed after a pause or a late wake-up, as a time at the limit.
const BURST: Duration = Duration::from_millis(100);
/// Pieces per second.
const PIECES: u64 = 50;
/// The window is this part of the bytes of one second. A smaller window would not keep a link with a long round trip busy.
const AHEAD: u64 = 4;
/// The smallest window that HTTP/2 allows for a connection.
const SMALLEST_WINDOW: u32 = 65_535;

/// A rate limit that all connections share: a token bucket, kept as the time at which it has no debt left.
pub(super) struct RateLimit {
    rate: u64,
    state: Mutex<TokenBucket>,
}

struct TokenBucket {
    /// When the bytes read so far will have taken the time that the limit demands.
    paid_until: Instant,
    held: Duration,
}

impl RateLimit {
    /// `rate` bytes per second, at least [`LOWEST_RATE`].
    pub(super) fn new(rate: u64) -> Self {
        let state = TokenBucket { paid_until: Instant::now(), held: Duration::ZERO };
        Self { rate: rate.max(LOWEST_RATE), state: Mutex::new(state) }
    }

    /// The most bytes of one read.
    pub(super) fn piece(&self) -> usize {
        usize::try_from(self.rate / PIECES).unwrap_or(usize::MAX)
    }

    /// The HTTP/2 window that suits the limit, at most `widest`.
    pub(super) fn window(&self, widest: u32) -> u32 {
        u32::try_from(self.rate / AHEAD).unwrap_or(widest).clamp(SMALLEST_WINDOW, widest)
    }

    /// How long a full window of bytes in flight delays an answer behind it.
    pub(super) fn lag(&self, window: u32) -> Duration {
        self.time_for(u64::from(window)) + BURST
    }

    /// The time before which nothing may be read; `None` where it has passed.
    pub(super) fn not_before(&self, now: Instant) -> Option<Instant> {
        Some(self.state().paid_until).filter(|&paid_until| paid_until > now)
    }

    /// Charges `bytes` that were read.
    pub(super) fn spent(&self, bytes: usize, now: Instant) {
        let time = self.time_for(bytes as u64);
        let mut state = self.state();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        state.paid_until = state.paid_until.max(earliest) + time;
    }

    /// Notes that a connection is about to wait for `time`.
    pub(super) fn holds(&self, time: Duration) {
        self.state().held += time;
    }

    /// How long the limit has made connections wait so far.
    pub(super) fn held(&self) -> Duration {
        self.state().held
    }

    fn time_for(&self, bytes: u64) -> Duration {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    fn state(&self) -> MutexGuard<'_, TokenBucket> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
