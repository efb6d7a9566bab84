//! The lowest rate at which a member may send. A stall timeout alone lets a member send a byte for each of its messages, and
//! keep its read transaction, and us, for ever.

use std::time::Duration;

/// A single wait counts as this part of the window at most, so that one pause, of the member or of this process, is no drip.
const LONGEST_WAIT: u32 = 4;

/// Averages what a member sends over windows of time spent in waiting for it: time that we spend otherwise, or in holding it
/// back, is not the member's.
pub(super) struct MinRate {
    /// Bytes that a window must bring.
    wanted: u64,
    window: Duration,
    /// `None` until the first bytes have come, which take as long as the member needs to begin.
    current: Option<(Duration, u64)>,
}

/// Less came in a window than must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drip {
    /// So many bytes.
    pub(super) bytes: u64,
    /// In so much time.
    pub(super) window: Duration,
}

impl MinRate {
    /// `rate` bytes a second, averaged over `window`; 0 is no bound. Where the member is held to `limit`, half of that is
    /// enough: what one side counts may not be exact to the other.
    pub(super) fn new(rate: u64, window: Duration, limit: Option<u64>) -> Self {
        let rate = limit.map_or(rate, |limit| rate.min(limit / 2));
        let wanted = u128::from(rate) * window.as_millis() / 1000;
        Self { wanted: u64::try_from(wanted).unwrap_or(u64::MAX), window, current: None }
    }

    /// Takes note of bytes that were waited for so long.
    ///
    /// # Errors
    /// The member sends too slowly.
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

    /// Messages of `bytes` each, one after each `wait`: how many are taken, 10,000 at most, before it is called a drip.
    fn taken(mut rate: MinRate, bytes: usize, wait: Duration) -> usize {
        (0..10_000).take_while(|_| rate.received(wait, bytes).is_ok()).count()
    }

    #[test]
    fn a_drip_ends_after_one_window_and_an_honest_stream_never() {
        let rate = || MinRate::new(RATE, WINDOW, None);
        let drips = |bytes, wait| taken(rate(), bytes, wait) < 10_000;
        assert_eq!(taken(rate(), 1, Duration::from_millis(100)), 300);
        assert!(drips(1, Duration::from_secs(29)), "within the stall timeout each time");
        // 32 KiB each half of a second is the rate, and a little less is less.
        assert!(!drips(32 * 1024, Duration::from_millis(500)));
        assert!(drips(32 * 1024 - 1, Duration::from_millis(500)));
        // As fast as anything, and not waited for at all.
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
