//! Numbers as JSON has them.

use std::time::Duration;

/// The factor by which the archive is smaller.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
pub(crate) fn ratio(snapshot: u64, archive: u64) -> f64 {
    if archive == 0 { 0.0 } else { snapshot as f64 / archive as f64 }
}

/// Whole milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
