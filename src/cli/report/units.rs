//! Numbers for people.

use std::time::Duration;

/// Bytes for people, in units of 1024.
#[must_use]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: &[&str] = &["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded to 1024.0 belongs into the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Bytes for people, and exactly.
pub(super) fn exact_size(bytes: u64) -> String {
    if bytes < 1024 { format!("{bytes} bytes") } else { format!("{bytes} bytes ({})", size(bytes)) }
}

/// Bytes in a second.
#[must_use]
pub(crate) fn rate(bytes: u64, elapsed: Duration) -> String {
    let in_a_second = u128::from(bytes) * 1000 / elapsed.as_millis().max(1);
    format!("{}/s", size(u64::try_from(in_a_second).unwrap_or(u64::MAX)))
}

/// How many times smaller the archive is.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
pub(crate) fn ratio(snapshot: u64, archive: u64) -> f64 {
    if archive == 0 { 0.0 } else { snapshot as f64 / archive as f64 }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}

/// `1 key`, `2 keys`.
#[must_use]
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
