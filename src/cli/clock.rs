//! The clock of this host.

use crate::error::{Error, Kind, Result};
use crate::store::name::whole_seconds;

/// The current time in whole seconds, as in every document of an archive.
///
/// # Errors
/// [`Kind::Io`] where the clock of this host shows a year that RFC 3339 cannot write: before 0 or after 9999.
pub(crate) fn now() -> Result<jiff::Timestamp> {
    time_of(std::time::SystemTime::now()).ok_or_else(|| {
        Error::new(Kind::Io, "the clock of this host shows a time outside the years 0 to 9999").with_hint(
            "set the clock of this host: the time is part of every archive, and of the age of each",
        )
    })
}

/// A system time in whole seconds; `None` where RFC 3339 cannot write it.
pub(crate) fn time_of(time: std::time::SystemTime) -> Option<jiff::Timestamp> {
    let time = whole_seconds(jiff::Timestamp::try_from(time).ok()?);
    (jiff::tz::Offset::UTC.to_datetime(time).year() >= 0).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_time_that_rfc_3339_cannot_write_is_none() {
        const YEAR: u64 = 31_556_952;
        let after = |seconds| time_of(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let before = |seconds| time_of(SystemTime::UNIX_EPOCH - Duration::from_secs(seconds));
        assert_eq!(before(5).unwrap().to_string(), "1969-12-31T23:59:55Z");
        assert_eq!(after(946_684_800).unwrap().to_string(), "2000-01-01T00:00:00Z");
        assert_eq!(after(99_999_999_999).unwrap().to_string(), "5138-11-16T09:46:39Z");
        assert!(before(1969 * YEAR).is_some() && before(1971 * YEAR).is_none());
        assert!(after(400_000_000_000).is_none() && before(400_000_000_000).is_none());
    }
}
