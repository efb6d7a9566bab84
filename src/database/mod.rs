//! The snapshot as a database: what its bytes say about themselves.
//!
//! - [`meta`]: the two meta pages every bbolt file begins with.
//! - [`snapshot`]: everything that can be checked of a snapshot while it streams by: first page, length, digest.

pub mod meta;
pub mod snapshot;

pub use snapshot::{Checked, SnapshotCheck};
