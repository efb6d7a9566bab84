//! Encrypted, verified etcd backups in one stream, and the restore that goes with them.
//!
//! The program `etcd-seal` is a thin layer over this library: it reads flags, asks for passphrases, shows
//! progress and turns errors into exit codes. The rest is in the library, which prints nothing, asks nothing itself, reads
//! no environment variables and never exits.
//!
//! # Features
//!
//! `cli`, on by default, builds the program; without it none of the crates that only the program needs is built.
//!
//! # The format
//!
//! An archive is a standard age file of a standard zstd stream. Its manual page, `etcd-seal-archive(5)`, specifies it for
//! authors of other readers and writers; [`low_level::archive`] implements it.

mod archive;
mod database;
mod error;
mod etcd;
mod interrupt;
mod keys;
mod pipeline;
mod progress;
mod store;
mod watch;

#[cfg(feature = "cli")]
pub mod cli;
pub mod low_level;

pub use error::{Error, Kind, Result};
pub use interrupt::Interrupt;
pub use pipeline::seal::{Input, Seal, Sealed};
pub use progress::Progress;
pub use watch::Watch;
