//! A live etcd as a source of a snapshot: endpoints, TLS, authentication, member choice, the stream.

use crate::error::Result;
use crate::interrupt::Interrupt;
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How to reach a cluster: etcdctl's connection flags, already resolved.
pub struct Connection {
    /// As etcdctl takes them: `host:port`, `http://…`, `https://…`, `unix://…`, `unixs://…`.
    pub endpoints: Vec<String>,
    /// `--cacert`.
    pub cacert: Option<PathBuf>,
    /// `--cert`.
    pub cert: Option<PathBuf>,
    /// `--key`.
    pub key: Option<PathBuf>,
    /// `--insecure-skip-tls-verify`.
    pub insecure_skip_tls_verify: bool,
    /// `--insecure-transport`, true by default as in etcdctl.
    pub insecure_transport: bool,
    /// User name and password.
    pub user: Option<(String, SecretString)>,
    /// Bounds the connection attempt.
    pub dial_timeout: Duration,
    /// Bounds each unary call.
    pub command_timeout: Duration,
    /// Bounds the whole stream, only where the user asked for it.
    pub stream_timeout: Option<Duration>,
    /// Longest time without a byte of progress on the stream.
    pub stall_timeout: Duration,
    /// HTTP/2 keepalive interval; values under 10 s become 10 s.
    pub keepalive_time: Duration,
    /// HTTP/2 keepalive timeout.
    pub keepalive_timeout: Duration,
}

/// Status of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
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
    /// Whether this member leads.
    pub is_leader: bool,
    /// Whether it is a learner.
    pub is_learner: bool,
    /// Errors the member reports, such as alarms.
    pub errors: Vec<String>,
}

/// One open snapshot stream, its first bytes already here.
pub struct Snapshot {
    /// The endpoint that serves it, as given.
    pub endpoint: String,
    /// The member's name, where the member list could be read.
    pub member_name: Option<String>,
    /// Status of the same member before the stream.
    pub status: Status,
    /// Storage version as told on the stream (3.6+).
    pub storage_version: Option<String>,
    /// When the snapshot was requested.
    pub requested: Instant,
    /// Announced size in bytes; give or take etcd's 32-byte digest.
    pub announced: u64,
}

/// Probes the endpoints, chooses a member and opens its snapshot stream. Warnings (skipped endpoints) go to tracing.
pub async fn open(_connection: &Connection, _interrupt: &Interrupt) -> Result<Snapshot> {
    todo!()
}

impl Snapshot {
    /// The next bytes; `None` at the clean end of the stream.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        todo!()
    }
    /// Status of the same member after the stream; `None` if it no longer answers.
    pub async fn status_after(&mut self) -> Option<Status> {
        todo!()
    }
}
