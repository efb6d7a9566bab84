//! The snapshot as a database: what its bytes say about it, and the member it becomes.
//!
//! - [`meta`], [`page`]: the layout of a bbolt file.
//! - [`snapshot`]: all checks of a snapshot while it streams by: first page, length, digest.
//! - [`stream_check`]: the newest revision, the compaction and the members of a database, learned while it streams by.
//! - [`file`](mod@file), [`value`]: a database in a file, with a check of every page.
//! - [`mvcc`], [`contents`], [`newest`], [`leases`], [`kubernetes`], [`hash_kv`]: what etcd, and Kubernetes, store in it.
//! - [`membership`], [`edit`], [`member`]: the same data as a member of a new cluster.

pub mod contents;
pub mod edit;
pub mod file;
pub mod hash_kv;
pub mod kubernetes;
pub mod leases;
pub mod member;
pub mod membership;
pub mod meta;
pub mod mvcc;
pub mod newest;
mod node;
pub mod page;
mod page_set;
mod protobuf;
pub mod snapshot;
mod startup;
pub mod stream_check;
pub mod value;

pub use snapshot::{Checked, SnapshotCheck};
