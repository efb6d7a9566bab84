//! The files of a member besides its database: the log and the raft snapshot with which a new cluster begins.
//!
//! Both are, byte for byte, what `etcdutl snapshot restore` of etcd 3.5 writes; members from 3.4 to 3.7 start from them.

mod log;
mod raft_snapshot;

pub use log::{LOG_NAME, LOG_SIZE, cluster_of, first_log};
pub use raft_snapshot::{raft_snapshot, raft_snapshot_name};

use super::edit::FIRST_TERM;
use super::membership::Membership;
use super::protobuf::Message;

/// `raftpb.ConfState`: every member votes.
fn configuration_state(membership: &Membership) -> Vec<u8> {
    let voters =
        membership.members().iter().fold(Message::default(), |message, member| message.number(1, member.id));
    voters.number(5, 0).finish()
}

#[cfg(test)]
mod tests;
