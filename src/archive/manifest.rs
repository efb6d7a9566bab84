//! The three JSON documents of an archive: description, manifest, trailer.
//!
//! Unknown fields are ignored and duplicate keys refused. 64-bit ids are 16 lower-case hex digits, digests lower-case
//! hex, times RFC 3339 whole seconds with `Z`. What is unknown is left out: never null, never 0.

use serde::{Deserialize, Serialize};

/// The value of `format` in every document.
pub const FORMAT: &str = "etcd-seal";
/// The format version written, and the newest one read.
pub const FORMAT_VERSION: u32 = 1;

/// Where the snapshot came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A live etcd.
    Etcd,
    /// `--from FILE`.
    File,
    /// `--from -`.
    Stdin,
}

/// What the public stanza of the header tells anybody, and the manifest repeats for those with a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Always [`FORMAT`].
    pub format: String,
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Program and version that sealed it, as `etcd-seal 0.1.0`.
    pub tool: String,
    /// When it was sealed, RFC 3339.
    pub sealed_at: String,
    /// `--cluster-name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Cluster id, 16 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Member id, 16 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_id: Option<String>,
    /// etcd's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_version: Option<String>,
    /// Storage version (3.6 and later).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_version: Option<String>,
    /// Status of the same member before the stream: a lower bound of the snapshot's revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Bytes of the snapshot with etcd's 32-byte digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_size: Option<u64>,
    /// Snapshot bytes in every frame but the last.
    pub frame_size: u32,
    /// Nominal zstd level.
    pub level: i32,
    /// Where the snapshot came from.
    pub source: Source,
    /// When etcd was asked for it, RFC 3339; only from etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_started_at: Option<String>,
}

/// Everything known when sealing began; the first frame inside the encryption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The same as in the public stanza.
    #[serde(flatten)]
    pub description: Description,
    /// The endpoint that served the snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The member's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_name: Option<String>,
    /// The host that sealed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `--tag`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `--note`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The public strings of the recipients, as given. Advisory.
    #[serde(default)]
    pub recipients: Vec<String>,
}

/// Whether etcd's own digest is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Digest {
    /// There and right.
    Verified,
    /// Not there, and that was allowed.
    Absent,
}

/// Status of the member after the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusAfter {
    /// Newest revision.
    pub revision: u64,
    /// Raft term.
    pub raft_term: u64,
    /// Raft index.
    pub raft_index: u64,
    /// Database file size in bytes.
    pub database_size: u64,
}

/// What only the end of the stream could tell; the last frame before the seek table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// Bytes of the snapshot, with etcd's digest where there is one.
    pub snapshot_size: u64,
    /// SHA-256 of the database: all bytes before etcd's digest, and equal to it.
    pub database_sha256: String,
    /// Whether etcd's digest is there.
    pub digest: Digest,
    /// Status after the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_after: Option<StatusAfter>,
    /// Milliseconds from the request to the end of the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_open_ms: Option<u64>,
}
