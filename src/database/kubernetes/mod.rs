//! What a database holds of a Kubernetes cluster: how many Secrets there are, and the encryption that its values need.
//!
//! - `value`: what a stored value shows of itself in its first bytes.
//! - `census`: the records of a database, counted by what lives at its newest revision.

mod census;
mod value;

use std::collections::BTreeSet;

pub(in crate::database) use census::{Census, Record};
pub(in crate::database) use value::{KEY_SIZE_MAX, VALUE_BEGINNING};

/// What a database holds of a Kubernetes cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kubernetes {
    /// All of it was counted.
    Counted(Counts),
    /// There is more than is counted: more records, or more keys of encryption, than any cluster has.
    Uncounted,
}

/// The Secrets of a Kubernetes cluster, and the encryption of its values at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Secrets at the newest revision.
    pub secrets: u64,
    /// Those of them that are stored in plain, not encrypted.
    pub plain_secrets: u64,
    /// The encryption of the values at the newest revision: what kube-apiserver needs to read them.
    pub encryption: BTreeSet<Encryption>,
    /// The encryption of which only older revisions have values.
    pub older_encryption: BTreeSet<Encryption>,
}

/// An encryption of values of one resource, as the values themselves name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Encryption {
    /// The provider in kube-apiserver's `EncryptionConfiguration`: `aescbc`, `aesgcm`, `secretbox` or `kms`.
    pub provider: String,
    /// The version of its protocol, such as `v2`, which only matters with `kms`.
    pub version: Option<String>,
    /// The name of the key; with `kms`, of the plugin.
    pub name: String,
    /// The resource, such as `secrets` or `things.example.com`.
    pub resource: String,
}
