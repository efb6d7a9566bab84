//! The names in the directories of a member, of etcd's and of this program's.

/// The entry that etcd looks for in a data directory.
pub const MEMBER: &str = "member";
/// The directory of the log in a `member` directory, unless it is separate.
pub const LOG_DIRECTORY: &str = "wal";
/// The directory of the database and the raft snapshots in a `member` directory.
pub const SNAPSHOT_DIRECTORY: &str = "snap";
/// The infix between the name of what is moved aside and the time.
pub(super) const ASIDE: &str = ".replaced-";
/// The marker of an unfinished restore in the directory of a log. It has the name of a log's last file, so that every etcd
/// reads it, and begins with a record that no etcd accepts, so that no etcd starts there before the restore is complete.
pub(super) const MARKER: &str = "ffffffffffffffff-ffffffffffffffff.wal";
/// The file that a tree holds from its creation until it is published or removed.
pub(super) const UNFINISHED: &str = ".etcd-seal-unfinished";

/// Whether `name` is that of a file of a log, finished or not, or of the marker.
pub(super) fn is_of_log(name: &[u8]) -> bool {
    name.ends_with(b".wal") || name.ends_with(b".tmp") || name.ends_with(b".wal.broken")
}
