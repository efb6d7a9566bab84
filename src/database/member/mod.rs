//! A member of a new cluster, made of the database of a snapshot: the database itself, a write-ahead log, a raft snapshot.
//!
//! The files are, byte for byte, what `etcdutl snapshot restore` of etcd 3.5 writes; etcd from 3.4 on starts from them, as far as
//! the [versions](super::versions) of the data let it.
//!
//! - [`Membership`]: the members of the cluster, and the ids that follow from them.
//! - [`become_member`]: turns the database of a snapshot into that of a member.
//! - [`Bump`], [`bump_for_kubernetes`]: by how much to raise its revision.
//! - [`first_wal`], [`raft_snapshot`]: the files beside it.
//! - [`read_log`], [`has_v2_keys`]: what those files say of a member that has run.

mod bump;
mod edit;
mod log;
mod membership;
mod raft;
mod raft_snapshot;
mod wal;

pub use bump::{ASSUMED_AGE, Bump, bump_for_kubernetes};
pub use edit::{become_member, turn_authentication_off_in_a_scratch_copy};
pub use log::{LogFile, LogSummary, read_log};
pub use membership::{DEFAULT_NAME, DEFAULT_PEER_URL, DEFAULT_TOKEN, Member, Membership};
pub use raft_snapshot::{has_v2_keys, raft_snapshot, raft_snapshot_name};
pub use wal::{WAL_NAME, WAL_SIZE, cluster_id_in_wal, first_wal};

#[cfg(test)]
mod tests;
