//! The status that a member reports of itself.

use etcd_client::StatusResponse;

/// Status of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Cluster id.
    pub cluster_id: u64,
    /// Member id.
    pub member_id: u64,
    /// etcd version, as `3.5.30`.
    pub version: String,
    /// Storage version, 3.6 and later.
    pub storage_version: Option<String>,
    /// Newest revision.
    pub revision: i64,
    /// Raft index.
    pub raft_index: u64,
    /// Raft applied index.
    pub raft_applied_index: u64,
    /// Raft term.
    pub raft_term: u64,
    /// Database file size in bytes.
    pub database_size: i64,
    /// Database bytes in use.
    pub database_size_in_use: i64,
    /// Whether this member knows a leader.
    pub has_leader: bool,
    /// Whether this member leads.
    pub is_leader: bool,
    /// Whether it is a learner.
    pub is_learner: bool,
    /// Errors that the member reports, such as alarms; [`MemberCondition`](super::MemberCondition) classifies them.
    pub errors: Vec<String>,
}

impl MemberStatus {
    /// Reads etcd's answer; `None` when it lacks the header that says which member answered.
    pub(super) fn from_response(response: &StatusResponse) -> Option<Self> {
        let header = response.header()?;
        Some(Self {
            cluster_id: header.cluster_id(),
            member_id: header.member_id(),
            version: response.version().to_owned(),
            storage_version: present(response.storage_version()),
            revision: header.revision(),
            raft_index: response.raft_index(),
            raft_applied_index: response.raft_applied_index(),
            raft_term: response.raft_term(),
            database_size: response.db_size(),
            database_size_in_use: response.raft_used_db_size(),
            has_leader: response.leader() != 0,
            is_leader: response.leader() != 0 && response.leader() == header.member_id(),
            is_learner: response.is_learner(),
            errors: response.errors().to_vec(),
        })
    }
}

/// Protobuf has no absent string: etcd sends an empty one instead.
pub(crate) fn present(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
