//! The snapshot as a database: what its bytes say about it, and the member it becomes.
//!
//! - [`snapshot`]: all checks of a snapshot while it streams by: first page, length, digest.
//! - [`stream_check`]: the newest revision, the compaction and the members of a database, learned while it streams by.
//! - [`bolt`]: a bbolt database, read with a check of every page.
//! - [`mvcc`], [`contents`], [`leases`], [`kubernetes`], [`hash_kv`]: what etcd, and Kubernetes, store in it.
//! - [`query`]: questions that need not read all of it.
//! - [`member`]: the same data as a member of a new cluster.

mod alarm;
pub mod bolt;
pub mod contents;
pub mod hash_kv;
pub mod kubernetes;
pub mod leases;
pub mod member;
pub mod mvcc;
mod protobuf;
pub mod query;
mod refusal;
mod schema;
pub mod snapshot;
mod startup;
pub mod stream_check;
pub mod versions;

pub use alarm::{Alarm, AlarmKind};
pub use snapshot::{Checked, SnapshotCheck};
