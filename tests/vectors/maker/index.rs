//! The index: what is in `index.json`, and what README.md explains.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// All of `index.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    pub vectors: Vec<Entry>,
}

/// One archive, how to open it, and what must come of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub file: String,
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_missing_digest: bool,
    pub open: Open,
    pub inspect: Inspect,
    pub look: Look,
}

/// Reading all of it with the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Open {
    Success {
        snapshot_size: u64,
        snapshot_sha256: String,
        digest: String,
        frames: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest: Option<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        foreign: Option<Foreign>,
    },
    Failure {
        kind: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        damaged: Option<(u64, u64)>,
    },
}

/// What an archive that is not of the format is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Foreign {
    pub armored: bool,
    pub zstd: bool,
}

/// Reading manifest, trailer and seek table with the key, but none of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Inspect {
    Success { foreign: bool },
    Failure { kind: String },
}

/// Reading all of it without a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Look {
    Success {
        stanzas: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cluster_name: Option<String>,
    },
    Failure {
        kind: String,
    },
}
