//! The state of raft with which a new cluster begins, in each of a member's files.

use super::membership::Membership;
use crate::database::protobuf::Message;

/// The term of the new write-ahead log, as in `etcdutl`.
pub(super) const FIRST_TERM: u64 = 1;

/// `raftpb.ConfState`: every member votes.
pub(super) fn configuration_state(membership: &Membership) -> Vec<u8> {
    let voters =
        membership.members().iter().fold(Message::default(), |message, member| message.number(1, member.id));
    voters.number(5, 0).finish()
}
