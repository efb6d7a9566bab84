//! The lowest rate at which a member may send. Under a stall timeout alone, a member could send one byte per message, and so
//! keep its read transaction and this process busy for ever.

use std::time::Duration;

/// A single wait counts as at most this part of the window, so that one pause of the member or this process is not a drip.
const LONGEST_WAIT: u32 = 4;

/// Averages what a member sends over windows of time spent waiting for it. Time that this process spends otherwise, or in
/// holding the member back, does not count.
pub(super) struct MinRate {
    /// Bytes that a window must bring.
    wanted: u64,
    window: Duration,
    /// `None` until the first bytes arrive: they take as long as the member needs to begin.
    current: Option<(Duration, u64)>,
}

/// A window in which the member sent less than it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drip {
    /// The bytes received.
    pub(super) bytes: u64,
    /// The length of the window.
    pub(super) window: Duration,
}

impl MinRate {
    /// `rate` bytes per second, averaged over `window`; 0 means no bound. Where the member is held to `limit`, half of
    /// `limit` is enough, because the two sides may count differently.
    pub(super) fn new(rate: u64, window: Duration, limit: Option<u64>) -> Self {
        let rate = limit.map_or(rate, |limit| rate.min(limit / 2));
        let wanted = u128::from(rate) * window.as_millis() / 1000;
        Self { wanted: u64::try_from(wanted).unwrap_or(u64::MAX), window, current: None }
    }

    /// Notes that `bytes` arrived after a wait of `waited`.
    ///
    /// # Errors
    /// A [`Drip`] where the member sends too slowly.
    pub(super) fn received(&mut self, waited: Duration, bytes: usize) -> Result<(), Drip> {
        let Some((time, sum)) = &mut self.current else {
            self.current = Some((Duration::ZERO, 0));
            return Ok(());
        };
        *time += waited.min(self.window / LONGEST_WAIT);
        *sum += bytes as u64;
        if *time < self.window {
            return Ok(());
        }
        let drip = Drip { bytes: *sum, window: *time };
        self.current = Some((Duration::ZERO, 0));
        if drip.bytes < self.wanted { Err(drip) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 64 * 1024;
    const WINDOW: Duration = Duration::from_secs(30);

    /// How many messages of `bytes` each, one after each `wait`, pass before it is called a drip; at most 10,000.
    fn taken(mut rate: MinRate, bytes: usize, wait: Duration) -> usize {
        (0..10_000).take_while(|_| rate.received(wait, bytes).is_ok()).count()
    }

    #[test]
    fn a_drip_ends_after_one_window_and_an_honest_stream_never() {
        let rate = || MinRate::new(RATE, WINDOW, None);
        let drips = |bytes, wait| taken(rate(), bytes, wait) < 10_000;
        assert_eq!(taken(rate(), 1, Duration::from_millis(100)), 300);
        assert!(drips(1, Duration::from_secs(29)), "within the stall timeout each time");
        // 32 KiB per half second is exactly the rate; one byte less is too little.
        assert!(!drips(32 * 1024, Duration::from_millis(500)));
        assert!(drips(32 * 1024 - 1, Duration::from_millis(500)));
        // A member that is never waited for cannot be too slow.
        assert!(!drips(1, Duration::ZERO));
    }

    #[test]
    fn the_first_bytes_and_a_pause_are_not_counted_against_the_member() {
        let mut rate = MinRate::new(RATE, WINDOW, None);
        assert_eq!(rate.received(WINDOW, 1), Ok(()));
        assert_eq!(rate.received(WINDOW, 1), Ok(()), "one pause");
        assert_eq!(rate.received(Duration::from_secs(22), 1), Ok(()));
    }

    #[test]
    fn zero_is_no_bound_and_a_limit_lowers_it() {
        let drips = |rate, limit| {
            taken(MinRate::new(rate, WINDOW, limit), 16 * 1024, Duration::from_secs(1)) < 10_000
        };
        assert!(drips(RATE, None));
        assert!(!drips(0, None));
        assert!(!drips(RATE, Some(32 * 1024)));
        assert!(drips(RATE, Some(64 * 1024)));
    }
}
