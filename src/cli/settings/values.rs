//! Parses values of the command line: etcdctl's as Go writes them, ours in plain bytes or KiB and MiB.

use crate::archive::frame;
use crate::database::versions::Release;
use crate::etcd::LOWEST_RATE;
use std::time::Duration;

/// Parses a boolean like Go's `strconv.ParseBool`.
///
/// # Errors
/// The reason, for a message that names the flag or variable.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// Parses a duration like Go's `time.ParseDuration`, such as `5s`, `1m30s`, `1.5h` or a bare `0`; not negative.
///
/// # Errors
/// The reason, for a message that names the flag or variable.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration such as 5s, 1m30s or 500ms");
    if text.starts_with('-') {
        return Err(format!("`{text}` is negative"));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanoseconds: u64 = 0;
    while !rest.is_empty() {
        let (part, after) = parse_duration_part(rest).ok_or_else(wrong)?;
        nanoseconds = nanoseconds.checked_add(part).ok_or_else(|| format!("`{text}` is too long"))?;
        rest = after;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Parses one number with its unit at the start of `text`; returns nanoseconds and the rest.
fn parse_duration_part(text: &str) -> Option<(u64, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let unit = unit_nanoseconds(unit)?;
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let nanoseconds = whole.checked_mul(unit)?.checked_add(fraction_of(fraction, unit)?)?;
    Some((nanoseconds, rest))
}

/// The decimal `fraction` of `unit` nanoseconds, rounded down.
fn fraction_of(fraction: &str, unit: u64) -> Option<u64> {
    // An hour is less than 10^13 ns: digits beyond the 18th are far below a nanosecond.
    let digits = &fraction[..fraction.len().min(18)];
    if digits.is_empty() {
        return Some(0);
    }
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    u64::try_from(digits.parse::<u128>().ok()? * u128::from(unit) / scale).ok()
}

fn unit_nanoseconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // MICRO SIGN and GREEK SMALL LETTER MU, both of which Go accepts.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// [`frame::FRAME_SIZE_DEFAULT`] in the form of the help text.
pub(crate) const DEFAULT_FRAME_SIZE: &str = "4MiB";
const KIBIBYTE: u32 = 1024;
const MEBIBYTE: u32 = 1024 * KIBIBYTE;

/// Parses a size in bytes, KiB or MiB.
fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = if let Some(number) = text.strip_suffix("KiB") {
        (number, KIBIBYTE)
    } else if let Some(number) = text.strip_suffix("MiB") {
        (number, MEBIBYTE)
    } else {
        (text, 1)
    };
    number.parse::<u64>().ok()?.checked_mul(unit.into())
}

/// Parses a version of etcd, such as `3.5.30` or `v3.5`, of which only major and minor count.
///
/// # Errors
/// The reason, for a message that names the flag or variable.
pub(crate) fn parse_etcd_version(text: &str) -> Result<Release, String> {
    let version = text.strip_prefix('v').unwrap_or(text);
    Release::of(version)
        .or_else(|| Release::of(&format!("{version}.0")))
        .ok_or_else(|| format!("`{text}` is no version such as 3.5.30"))
}

/// Parses a frame size in bytes, KiB or MiB; the format defines which sizes are valid.
///
/// # Errors
/// The reason, for a message that names the flag or variable.
pub(crate) fn parse_frame_size(text: &str) -> Result<u32, String> {
    let size = parse_size(text).and_then(|size| u32::try_from(size).ok());
    size.filter(|&size| frame::is_frame_size(size)).ok_or_else(|| {
        let (step, most) = (frame::FRAME_SIZE_MIN / KIBIBYTE, frame::FRAME_SIZE_MAX / MEBIBYTE);
        format!("`{text}` is no multiple of {step}KiB from {step}KiB to {most}MiB")
    })
}

/// Parses a number of bytes per second.
///
/// # Errors
/// The reason, for a message that names the flag or variable.
pub(crate) fn parse_rate(text: &str) -> Result<u64, String> {
    let rate = parse_size(text)
        .ok_or_else(|| format!("`{text}` is no number of bytes a second such as 512KiB or 20MiB"))?;
    if rate < LOWEST_RATE {
        let lowest = LOWEST_RATE / u64::from(KIBIBYTE);
        return Err(format!("`{text}` is less than {lowest}KiB, the lowest limit"));
    }
    Ok(rate)
}

/// Parses a number of bytes per second, or 0.
///
/// # Errors
/// The reason, for a message that names the flag or variable.
pub(crate) fn parse_min_rate(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| format!("`{text}` is no number of bytes a second such as 64KiB, nor 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_go_s() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(parse_bool(text), Ok(true));
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(parse_bool(text), Ok(false));
        }
        for text in ["", "yes", "tRUE", " true", "2"] {
            assert!(parse_bool(text).is_err(), "{text}");
        }
    }

    /// Valid durations from Go's own `time_test.go`, and their nanoseconds.
    #[test]
    fn durations_are_go_s() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("+0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("30s", 30_000_000_000),
            ("1478s", 1_478_000_000_000),
            ("5.0s", 5_000_000_000),
            ("5.6s", 5_600_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.004s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("13ms", 13_000_000),
            ("1m30s", 90_000_000_000),
            ("3h30m", 12_600_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("0.3333333333333333333h", 1_199_999_999_999),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn bad_durations_are_refused() {
        for text in [
            "", "3", "s", ".", ".s", "+", "+.s", "1e9s", "5 s", "5S", "5d", "1..5s", "-1s", "1s2", "9999999h",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn frame_sizes_are_multiples_of_64_kib() {
        assert_eq!(parse_frame_size(DEFAULT_FRAME_SIZE), Ok(frame::FRAME_SIZE_DEFAULT));
        for (text, size) in
            [("65536", 65536), ("64KiB", 65536), ("512KiB", 524_288), ("4MiB", 4 << 20), ("16MiB", 16 << 20)]
        {
            assert_eq!(parse_frame_size(text), Ok(size));
        }
        for text in
            ["", "0", "63KiB", "65KiB", "65537", "17MiB", "4MB", "4 MiB", "-1", "4294967296MiB", "1.5MiB"]
        {
            assert!(parse_frame_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_bytes_a_second_and_not_too_few() {
        for (text, rate) in
            [("16384", 16384), ("16KiB", 16384), ("20MiB", 20 << 20), ("5000000000", 5_000_000_000)]
        {
            assert_eq!(parse_rate(text), Ok(rate));
        }
        for text in ["0", "1", "15KiB", "16383", "0MiB"] {
            assert_eq!(parse_rate(text), Err(format!("`{text}` is less than 16KiB, the lowest limit")));
        }
        for text in ["", "fast", "-1", "1MB", "1.5MiB", "20 MiB", "20MiB/s", "18446744073709551615KiB"] {
            assert!(parse_rate(text).unwrap_err().contains("is no number of bytes a second"), "{text}");
        }
    }
}
