//! Warns of the expiry of a certificate before the backups fail: when cron runs them, no operator looks at certificates.

use jiff::{SignedDuration, Timestamp};

/// How long before its expiry a certificate is warned of.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The second half of a warning whose subject is a certificate that expires at `end`; `None` where that is more than two
/// weeks after `now`.
#[must_use]
pub fn expiry(end: Timestamp, now: Timestamp) -> Option<String> {
    let left = end.duration_since(now);
    let days = match left.abs().as_hours() / 24 {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    if left.is_negative() {
        Some(format!("has expired, {days} ago: renew it"))
    } else {
        (left <= EXPIRES_SOON).then(|| format!("expires in {days}: renew it before backups fail"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_expires_soon_is_told_in_time() {
        let told =
            |hours| expiry(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours), Timestamp::UNIX_EPOCH);
        assert_eq!(told(14 * 24 + 1), None);
        assert_eq!(told(14 * 24).unwrap(), "expires in 14 days: renew it before backups fail");
        assert_eq!(told(47).unwrap(), "expires in 1 day: renew it before backups fail");
        assert_eq!(told(0).unwrap(), "expires in 0 days: renew it before backups fail");
        assert_eq!(told(-73).unwrap(), "has expired, 3 days ago: renew it");
    }
}
