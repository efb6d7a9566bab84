//! The exit codes, in one table for the program, every `--help`, the manual pages and the tests.

use crate::error::Kind;
use serde::{Serialize, Serializer};
use std::fmt::Write as _;

/// The exit status of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, and everything that was asked for was proved.
    Done = 0,
    /// Any other failure.
    Failure = 1,
    /// Invalid command line; nothing was tried.
    Usage = 2,
    /// Done, but less was proved than usual.
    Partly = 3,
    /// There is no such archive.
    NotFound = 10,
    /// Reserved for a store that another process has locked.
    Locked = 11,
    /// No identity opened the archive.
    NoIdentity = 12,
    /// The archive is damaged, or not what it claims to be.
    Damaged = 13,
    /// etcd is unreachable or at fault.
    Etcd = 14,
    /// The archive has a newer format.
    Newer = 15,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

/// Every code with its meaning, in the order of the documentation.
pub const TABLE: &[(Exit, &str)] = &[
    (Exit::Done, "done, and what was asked for was proved"),
    (Exit::Failure, "other failure; local input or output; no etcd to start"),
    (
        Exit::Usage,
        "usage: unparsable flag, recipient or identity; no recipient; existing or impossible destination; \
         no terminal for a prompt",
    ),
    (
        Exit::Partly,
        "partly: saved from a member without leader, one that a CORRUPT alarm names, or a lone learner; sidecar or \
         directory not synced after the commit; a data directory whose log is cut short; verify without identity and sidecar (structure only); no digest of \
         etcd's and --allow-missing-digest or --skip-hash-check",
    ),
    (Exit::NotFound, "archive not found"),
    (Exit::Locked, "reserved: locked"),
    (Exit::NoIdentity, "no identity or passphrase opened the archive"),
    (
        Exit::Damaged,
        "damaged, or not what it claims: an archive, also a file that is none, its sidecar, or the data of --from, \
         --from-snapshot or --from-data-dir; a drill that failed on it",
    ),
    (Exit::Etcd, "etcd unreachable or at fault: TLS, authentication, stall, incomplete, wrong digest"),
    (Exit::Newer, "archive format newer than this program"),
    (Exit::Interrupted, "interrupted (SIGINT)"),
    (Exit::Terminated, "terminated (SIGTERM)"),
];

/// The manual's text on ends that the program does not choose.
pub(crate) const WITHOUT_CODE: &str = "A process that the system kills has none of these codes. A shell then tells 128 and the number of the signal: 137 after SIGKILL, 134 \
     (SIGABRT) where memory was refused. In that case, too, what lies under the final name is complete, or nothing lies \
     there; but on a filesystem that knows neither links nor RENAME_NOREPLACE, as some of FUSE, an empty file may. A temporary \
     of the name .etcd-seal-*.tmp may be left. The next run in the same directory removes it once it is a minute old; where \
     another user could have put it there, it stays and a warning names it.";

/// Serializes as the number.
impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code())
    }
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The code of an error of `kind`.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Usage
            | Kind::NoRecipient
            | Kind::Recipient
            | Kind::Identity
            | Kind::DestinationExists
            | Kind::Destination
            | Kind::NoTerminal => Self::Usage,
            Kind::Io | Kind::NoSpace | Kind::Plugin | Kind::NoEtcd | Kind::EtcdNotRunning => Self::Failure,
            Kind::PartlyPublished => Self::Partly,
            Kind::NotFound => Self::NotFound,
            Kind::NoMatchingIdentity => Self::NoIdentity,
            Kind::NotAnArchive
            | Kind::HeaderDamaged
            | Kind::PayloadDamaged
            | Kind::StructureDamaged
            | Kind::SidecarMismatch
            | Kind::SidecarMalformed
            | Kind::NotASnapshot
            | Kind::SnapshotLength
            | Kind::DigestMismatch
            | Kind::DatabaseDamaged
            | Kind::ContentsMismatch
            | Kind::DrillFailed
            | Kind::DigestAbsent => Self::Damaged,
            Kind::FormatNewer => Self::Newer,
            Kind::EtcdUnreachable
            | Kind::EtcdTls
            | Kind::EtcdAuthentication
            | Kind::EtcdTimeout
            | Kind::EtcdStalled
            | Kind::EtcdIncomplete
            | Kind::EtcdBadSnapshot
            | Kind::EtcdFault => Self::Etcd,
            Kind::Interrupted => Self::Interrupted,
        }
    }

    /// The worse of the results of two archives.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if other.badness() > self.badness() { other } else { self }
    }

    /// The rank as the result of one of several archives: the documented order is 13, 15, 12, 10, 1, 3, 0.
    fn badness(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Partly => 1,
            Self::Failure => 2,
            // A question without a terminal, asked while one of the archives was opened: worse than a failing disk, as
            // another run cannot succeed either, but it says nothing against the archive.
            Self::Usage => 3,
            Self::NotFound => 4,
            Self::NoIdentity => 5,
            Self::Newer => 6,
            Self::Damaged => 7,
            // These end the whole command, or do not come from an archive.
            Self::Locked | Self::Etcd | Self::Interrupted | Self::Terminated => 8,
        }
    }
}

/// The table for the end of every `--help`.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("Exit status:");
    for (exit, meaning) in TABLE {
        let _ = write!(text, "\n  {:>3}  {}", exit.code(), hanging(meaning));
    }
    text
}

/// Columns before the meaning.
const INDENT: usize = 7;
/// Columns of a narrow terminal.
const WIDTH: usize = 79;

/// Breaks `text` into lines that fit beside the codes.
fn hanging(text: &str) -> String {
    let mut lines = String::new();
    let mut column = INDENT;
    for word in text.split(' ') {
        if column + 1 + word.len() > WIDTH {
            let _ = write!(lines, "\n{:INDENT$}", "");
            column = INDENT;
        } else if column > INDENT {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += word.len();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_of_the_table() {
        for &kind in Kind::ALL {
            let exit = Exit::of(kind);
            assert!(TABLE.iter().any(|(known, _)| *known == exit), "{}", kind.name());
            assert_ne!(exit, Exit::Done, "{}", kind.name());
        }
    }

    #[test]
    fn the_table_is_the_documented_one() {
        let codes: Vec<u8> = TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 10, 11, 12, 13, 14, 15, 130, 143]);
    }

    #[test]
    fn every_code_but_reserved_and_signals_comes_from_some_kind() {
        for &(exit, _) in TABLE {
            let produced = Kind::ALL.iter().any(|&kind| Exit::of(kind) == exit);
            let by_other_means = matches!(exit, Exit::Done | Exit::Locked | Exit::Terminated);
            assert_eq!(produced, !by_other_means, "{exit:?}");
        }
    }

    #[test]
    fn the_worst_of_several_archives_counts() {
        let order = [13, 15, 12, 10, 2, 1, 3, 0];
        let of_code = |code| TABLE.iter().map(|(exit, _)| *exit).find(|exit| exit.code() == code).unwrap();
        let worst_first = order.map(of_code);
        for (rank, &worse) in worst_first.iter().enumerate() {
            for &better in &worst_first[rank..] {
                assert_eq!(worse.worse(better), worse);
                assert_eq!(better.worse(worse), worse);
            }
        }
    }

    #[test]
    fn help_names_every_code() {
        insta::assert_snapshot!(help());
    }
}
