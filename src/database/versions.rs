//! Which releases of etcd start on which data.
//!
//! | data of | 3.4 | 3.5 | 3.6 | 3.7 | 3.8 |
//! |---|---|---|---|---|---|
//! | 3.4 | starts | starts | starts | starts | starts |
//! | 3.5 | unchecked | starts | starts | starts | starts |
//! | 3.6 | unchecked | unchecked | starts | starts | starts |
//! | 3.7 | unchecked | unchecked | refuses | starts | starts |
//! | 3.8 | unchecked | unchecked | refuses | refuses | starts |
//!
//! Since 3.6, etcd refuses data whose storage version is of a later release (`Validate` in `storage/schema/schema.go`), or whose
//! cluster version is (`MustDetectDowngrade` in `etcdserver/version/downgrade.go`). 3.4 and 3.5 look for a cluster version only
//! where a restored member has none, in the tree of v2 keys; 3.5 refuses data with a pending downgrade to any release but its
//! own (`mustDetectDowngrade` in `membership/downgrade.go`). All of them start on older data.

use std::fmt;

/// The first release that looks at the versions in a database before it starts.
pub const FIRST_CHECKING: Release = Release { major: 3, minor: 6 };
/// The most bytes of a version. etcd's have about ten.
pub(super) const VERSION_SIZE_MAX: usize = 128;
/// The release that starts on data with a pending downgrade only as the target of that.
const DOWNGRADING: Release = Release { major: 3, minor: 5 };

/// A release of etcd: what its patches have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// The major number.
    pub major: u64,
    /// The minor number.
    pub minor: u64,
}

impl Release {
    /// The release of a version such as `3.5.30`, as `coreos/go-semver` parses it: three numbers, then the parts behind `-` and
    /// `+`.
    #[must_use]
    pub fn of(version: &str) -> Option<Self> {
        if version.len() > VERSION_SIZE_MAX {
            return None;
        }
        let (version, metadata) = version.split_once('+').unwrap_or((version, ""));
        let (version, prerelease) = version.split_once('-').unwrap_or((version, ""));
        let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if !metadata.bytes().chain(prerelease.bytes()).all(usual) {
            return None;
        }
        let number = |part: &str| {
            let number = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i64>().ok());
            number.flatten().and_then(|number| u64::try_from(number).ok())
        };
        let mut parts = version.split('.').map(number);
        let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()?);
        (patch.is_some() && parts.next().is_none()).then_some(Self { major, minor })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// The versions in a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataVersions {
    /// The release of the data themselves, which etcd stores since 3.6.
    pub storage: Option<Release>,
    /// The release that the members had agreed on.
    pub cluster: Option<Release>,
    /// The target of a pending downgrade.
    pub downgrade: Option<Release>,
}

/// What a release of etcd does with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It starts.
    Starts,
    /// It starts, although the data are of this later release: it does not look.
    Unchecked(Release),
    /// It refuses the data, as they are of this later release.
    Refuses(Release),
    /// It refuses the data, as a downgrade to this other release is pending in them.
    RefusesDowngrade(Release),
}

impl DataVersions {
    /// The release that the data are of.
    #[must_use]
    pub fn release(&self) -> Option<Release> {
        self.storage.max(self.cluster)
    }

    /// What `etcd` does with the data.
    #[must_use]
    pub fn start(&self, etcd: Release) -> Start {
        if let Some(target) = self.downgrade.filter(|target| etcd == DOWNGRADING && *target != etcd) {
            return Start::RefusesDowngrade(target);
        }
        match self.release().filter(|release| *release > etcd) {
            Some(release) if etcd >= FIRST_CHECKING => Start::Refuses(release),
            Some(release) => Start::Unchecked(release),
            None => Start::Starts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_parsed_as_etcd_does() {
        for (version, release) in [
            ("3.5.30", Some("3.5")),
            ("3.8.0-alpha.0", Some("3.8")),
            ("3.5.21-0", Some("3.5")),
            ("3.6.0+git", Some("3.6")),
            ("3.5", None),
            ("3.5.x", None),
            ("3.5.0.1", None),
            ("+3.5.0", None),
            ("3.5.0-ä", None),
            ("99999999999999999999.0.0", None),
            ("", None),
        ] {
            assert_eq!(
                Release::of(version).map(|release| release.to_string()).as_deref(),
                release,
                "{version}"
            );
        }
        assert_eq!(Release::of(&format!("3.5.0-{}", "a".repeat(200))), None);
    }

    fn release(minor: u64) -> Release {
        Release { major: 3, minor }
    }

    #[test]
    fn the_table_is_what_it_says() {
        let table = include_str!("versions.rs").lines().take_while(|line| line.starts_with("//!"));
        let rows: Vec<Vec<&str>> = table
            .filter_map(|line| line.strip_prefix("//! |")?.strip_suffix('|'))
            .map(|row| row.split('|').map(str::trim).collect())
            .collect();
        let etcds = rows[0][1..].iter().map(|etcd| Release::of(&format!("{etcd}.0")).unwrap());
        let etcds: Vec<Release> = etcds.collect();
        let mut compared = 0;
        for row in &rows[2..] {
            let cluster = Release::of(&format!("{}.0", row[0]));
            let versions = DataVersions { cluster, ..DataVersions::default() };
            for (etcd, told) in etcds.iter().zip(&row[1..]) {
                let start = match versions.start(*etcd) {
                    Start::Starts => "starts",
                    Start::Unchecked(_) => "unchecked",
                    Start::Refuses(_) | Start::RefusesDowngrade(_) => "refuses",
                };
                assert_eq!(start, *told, "{} on {etcd}", row[0]);
                compared += 1;
            }
        }
        assert_eq!(compared, 25);
    }

    #[test]
    fn the_later_of_both_versions_counts() {
        for (storage, cluster) in [(Some(7), Some(6)), (Some(6), Some(7)), (None, Some(7)), (Some(7), None)] {
            let versions = DataVersions {
                storage: storage.map(release),
                cluster: cluster.map(release),
                downgrade: None,
            };
            assert_eq!(versions.start(release(6)), Start::Refuses(release(7)));
            assert_eq!(versions.release(), Some(release(7)));
        }
        assert_eq!(DataVersions::default().start(release(4)), Start::Starts);
    }

    #[test]
    fn a_pending_downgrade_keeps_3_5_from_starting_unless_it_is_the_target() {
        for (target, etcd, start) in [
            (5, 5, Start::Unchecked(release(6))),
            (6, 5, Start::RefusesDowngrade(release(6))),
            (4, 5, Start::RefusesDowngrade(release(4))),
            (6, 4, Start::Unchecked(release(6))),
            (5, 6, Start::Starts),
            (6, 7, Start::Starts),
        ] {
            let downgrade = Some(release(target));
            let versions = DataVersions { storage: None, cluster: Some(release(6)), downgrade };
            assert_eq!(versions.start(release(etcd)), start, "to {target}, on {etcd}");
        }
    }
}
