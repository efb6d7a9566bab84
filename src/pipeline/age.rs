//! Computes the age of a snapshot from the times that are known of it.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::archive::manifest::Description;
use crate::database::member::ASSUMED_AGE;
use crate::error::{Error, Kind, Result};

/// The hint of errors about an unknown age.
const NAME_IT: &str = "pass `snapshot_age` DURATION in addition, or `bump_revision` NUMBER `mark_compacted` in place of `kubernetes`";

/// The times that the age of a snapshot is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The current time.
    pub now: Timestamp,
    /// When the file with the archive or the snapshot was last written; `None` where the input is not a file.
    pub modified: Option<Timestamp>,
}

impl Clock {
    /// The age of the snapshot in an archive with this description, or of a file without a description.
    ///
    /// Only a snapshot that was requested from an etcd carries a time of its own. One sealed from a file, or a plain file,
    /// may be older than its first known time: its age counts from that time plus [`ASSUMED_AGE`].
    ///
    /// # Errors
    /// [`Kind::Usage`] where no time is known, or where the clock is behind it: an age of zero would be wrong.
    pub fn age(&self, description: Option<&Description>) -> Result<Duration> {
        let (time, assumed) = match description {
            Some(description) => match &description.snapshot_started_at {
                Some(started) => (started.parse().ok(), Duration::ZERO),
                None => (description.sealed_at.parse().ok(), ASSUMED_AGE),
            },
            None => (self.modified, ASSUMED_AGE),
        };
        let time = time.ok_or_else(unknown_age)?;
        let age = Duration::try_from(self.now.duration_since(time)).map_err(|_| self.behind(time))?;
        Ok(age.saturating_add(assumed))
    }

    fn behind(&self, time: Timestamp) -> Error {
        let message = format!(
            "the clock of this host says {}, but the snapshot is of {time}: its age cannot be told",
            self.now
        );
        Error::new(Kind::Usage, message).with_hint(format!("set the clock; or {NAME_IT}"))
    }
}

/// The time of the caller's clock.
///
/// # Errors
/// [`Kind::Usage`] for a time outside the years 0 to 9999.
pub(super) fn timestamp(time: SystemTime) -> Result<Timestamp> {
    Timestamp::try_from(time).map_err(|_| out_of_range())
}

/// The error for a time that no archive can record.
pub(super) fn out_of_range() -> Error {
    Error::new(Kind::Usage, "the current time lies outside the years 0 to 9999")
}

/// The error where no time is known.
pub(super) fn unknown_age() -> Error {
    let message =
        "nothing tells how old the snapshot is: it has no time of its own that can be read, and no file's";
    Error::new(Kind::Usage, message).with_hint(NAME_IT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::{FORMAT, FORMAT_VERSION, Source};

    fn description(started: Option<&str>) -> Description {
        Description {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            tool: String::new(),
            sealed_at: "2026-01-02T00:00:10Z".to_owned(),
            cluster_name: None,
            cluster_id: None,
            member_id: None,
            etcd_version: None,
            storage_version: None,
            revision: None,
            snapshot_size: None,
            frame_size: 65536,
            level: 1,
            source: Source::Etcd,
            snapshot_started_at: started.map(str::to_owned),
        }
    }

    fn age(now: &str, description: Option<&Description>, modified: Option<&str>) -> Result<Duration> {
        let time = |text: &str| text.parse().unwrap();
        Clock { now: time(now), modified: modified.map(time) }.age(description)
    }

    #[test]
    fn the_age_counts_from_the_first_time_that_is_known() {
        let asked = description(Some("2026-01-02T00:00:00Z"));
        let now = "2026-01-02T00:01:00Z";
        assert_eq!(age(now, Some(&asked), None).unwrap(), Duration::from_secs(60));
        assert_eq!(age(now, Some(&description(None)), None).unwrap(), ASSUMED_AGE + Duration::from_secs(50));
        let modified = Some("2026-01-02T00:00:59Z");
        assert_eq!(age(now, None, modified).unwrap(), ASSUMED_AGE + Duration::from_secs(1));
    }

    #[test]
    fn an_age_that_cannot_be_told_is_no_age_of_nothing() {
        let asked = description(Some("2026-01-02T00:00:00Z"));
        for now in ["2026-01-01T23:59:59Z", "2000-01-01T00:00:00Z", "1969-12-31T23:59:55Z"] {
            let behind = age(now, Some(&asked), None).unwrap_err();
            assert!(behind.to_string().contains(now) && behind.hint().contains("`snapshot_age`"), "{behind}");
        }
        assert!(age("9999-01-01T00:00:00Z", Some(&asked), None).is_ok());
        let unknown = age("2026-01-01T00:00:00Z", None, None).unwrap_err();
        assert!(unknown.hint().contains("`bump_revision`"), "{unknown}");
        let no_time = description(Some("soon"));
        assert!(age("2026-01-03T00:00:00Z", Some(&no_time), None).is_err());
    }
}
