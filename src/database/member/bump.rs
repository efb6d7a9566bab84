//! Raises the revision of a member, so that no watcher of the lost cluster sees a revision twice.

use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// Raises the revision, so that no watcher of the lost cluster sees a revision twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bump {
    /// Added to the newest revision.
    pub by: i64,
}

impl Bump {
    /// The revision it raises `newest` to, which is that of the last write or of a compaction above it
    /// ([`DatabaseContents::revision`](crate::database::contents::DatabaseContents::revision)). etcd continues from the larger of the two, so a number
    /// added to the last write alone may end below what clients have seen.
    ///
    /// # Errors
    /// [`Kind::Usage`] where no such revision above `newest` exists.
    pub fn target(self, newest: i64) -> Result<i64> {
        let raised = newest.checked_add(self.by);
        raised.filter(|raised| *raised > newest && *raised < i64::MAX).ok_or_else(|| {
            Error::new(Kind::Usage, format!("revision {newest} cannot be raised by {}", self.by))
                .with_hint("name a positive number that leaves room below 2^63")
        })
    }
}

/// The most writes per second of a busy etcd: the figure that etcd's own advice on disaster recovery uses.
const WRITES_PER_SECOND: u128 = 1500;
/// The assumed age of a snapshot that records no time, before the first time that is known of it.
pub const ASSUMED_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The most writes that a member's database may be behind its cluster: those that are only in its log yet (bbolt commits
/// every 100 ms, or every 10,000 writes), and those by which other members were ahead.
const BEHIND: i64 = 1_000_000;

/// By how much to raise a revision so that it surely lies above every revision that the lost cluster gave out: as many
/// writes as a busy etcd does in the time since the snapshot, plus as many as it ever did before.
///
/// A later restore of the same snapshot is raised further, by the time between the two. `given_out` is the newest known
/// revision of a cluster that continued from there, such as that of the replaced member; the result lies above it, too.
#[must_use]
pub fn bump_for_kubernetes(revision: i64, age: Duration, given_out: Option<i64>) -> i64 {
    // Milliseconds count: two restores within a second must differ, too.
    let writes = age.as_millis().saturating_mul(WRITES_PER_SECOND) / 1000;
    let lost = i64::try_from(writes).unwrap_or(i64::MAX).saturating_add(revision.max(1));
    let known = given_out.map_or(0, |newest| newest.saturating_add(BEHIND).saturating_sub(revision));
    // At most half of the remaining range: the new cluster needs revisions, too.
    lost.max(known).min((i64::MAX - revision.max(0)) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bump_is_above_all_that_can_have_been() {
        let day = Duration::from_secs(86_400);
        assert_eq!(bump_for_kubernetes(1, Duration::ZERO, None), 1);
        assert_eq!(bump_for_kubernetes(400_000, day, None), 130_000_000);
        assert_eq!(bump_for_kubernetes(i64::MAX, day, None), 0);
        assert!(bump_for_kubernetes(7, Duration::MAX, None) > i64::MAX / 4);
    }

    #[test]
    fn seconds_and_milliseconds_count() {
        let hour = Duration::from_secs(3600);
        let later = |by| {
            i128::from(bump_for_kubernetes(5, hour + by, None))
                - i128::from(bump_for_kubernetes(5, hour, None))
        };
        assert_eq!(later(Duration::from_secs(1)).cast_unsigned(), WRITES_PER_SECOND);
        assert_eq!(later(Duration::from_millis(10)).cast_unsigned(), WRITES_PER_SECOND / 100);
        assert!(later(Duration::from_millis(1)) > 0);
    }

    #[test]
    fn the_bump_is_above_what_was_given_out_since() {
        let given_out = 5_000_000_000;
        assert_eq!(100 + bump_for_kubernetes(100, Duration::ZERO, Some(given_out)), given_out + BEHIND);
        // The known revision may be less than what the time alone requires.
        assert_eq!(bump_for_kubernetes(100, Duration::from_secs(1000), Some(50)), 1_500_100);
        assert!(bump_for_kubernetes(7, Duration::ZERO, Some(i64::MAX)) < i64::MAX / 2);
    }
}
