//! Human-readable numbers.

pub(crate) use crate::pipeline::units::size;
use std::time::Duration;

/// A size as an exact number of bytes, with the human-readable form.
pub(crate) fn exact_size(bytes: u64) -> String {
    if bytes < 1024 { format!("{bytes} bytes") } else { format!("{bytes} bytes ({})", size(bytes)) }
}

/// Bytes per second.
#[must_use]
pub(crate) fn rate(bytes: u64, elapsed: Duration) -> String {
    let in_a_second = u128::from(bytes) * 1000 / elapsed.as_millis().max(1);
    format!("{}/s", size(u64::try_from(in_a_second).unwrap_or(u64::MAX)))
}

pub(crate) fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}

/// `0:07`, `12:34`, `1:02:03`, as a clock shows a time that has passed.
#[must_use]
pub(crate) fn clock_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 { format!("{minutes}:{seconds:02}") } else { format!("{hours}:{minutes:02}:{seconds:02}") }
}

/// `1 key`, `2 keys`.
#[must_use]
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// An age in the largest unit that is precise enough.
pub(crate) fn age(age: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "days"), (3600, "h"), (60, "min")];
    let seconds = age.as_secs();
    let unit = UNITS.into_iter().find(|(unit, _)| seconds >= 2 * unit);
    let (unit, name) = unit.unwrap_or((1, "s"));
    format!("{} {name}", seconds / unit)
}
