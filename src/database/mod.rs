//! The snapshot as a database.

pub mod snapshot;
