//! Encrypted, verified etcd backups in one stream, and the restore that goes with them.

pub mod archive;
pub mod database;
pub mod error;
pub mod etcd;
pub mod interrupt;
pub mod keys;
pub mod pipeline;
pub mod progress;
pub mod store;

#[cfg(feature = "cli")]
pub mod cli;

pub use error::{Error, Kind, Result};
