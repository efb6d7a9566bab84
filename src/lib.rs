//! Encrypted, verified etcd backups in one stream, and the restore that goes with them.
//!
//! The program `etcd-seal` is a thin layer over this library: it reads flags, asks for passphrases, shows
//! progress and turns errors into exit codes. The rest is in the library, which prints nothing, asks nothing itself, reads
//! no environment variables and never exits.
//!
//! # Which name for which case
//!
//! | You want to | Use |
//! |---|---|
//! | seal a snapshot of a live etcd, or one that exists | [`Seal`], with an [`Input`] |
//! | verify an archive, or get its snapshot back | [`Unseal`] |
//! | make members of a new cluster from an archive | [`Restore`] |
//! | prove an archive under a real etcd | [`Drill`] |
//! | read what an archive says of itself, with or without a key | [`inspect`] |
//! | choose the keys that open it, and open it | [`Recipients`], [`Identities`], [`generate_identity`] |
//! | reach an etcd | [`Connection`] |
//! | show progress, or stop the work from another thread | [`Watch`], with a [`Progress`] |
//!
//! # Examples
//!
//! Seal a snapshot from any reader, and verify the archive:
//!
//! ```
//! use etcd_seal::{Identities, Input, Recipients, Seal, Unseal, generate_identity};
//! use secrecy::ExposeSecret;
//! use std::time::SystemTime;
//!
//! # fn main() -> etcd_seal::Result<()> {
//! # let archive = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/one-frame.age"));
//! # let key = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/key.txt"));
//! # let mut snapshot = Vec::new();
//! # Unseal::new(&Identities::of(key)?).to_writer(&archive[..], &mut snapshot)?;
//! let (identity, recipient) = generate_identity("2026-01-02T03:04:05Z");
//! let recipients = Recipients::of([recipient])?;
//! let mut archive = Vec::new();
//! Seal::new(&recipients, SystemTime::now()).to_writer(Input::reader(&snapshot[..]), &mut archive)?;
//!
//! let identities = Identities::of(identity.expose_secret())?;
//! let opened = Unseal::new(&identities).verify(&archive[..])?;
//! assert_eq!(opened.snapshot_size, snapshot.len() as u64);
//! # Ok(())
//! # }
//! ```
//!
//! Back up a live etcd into a directory:
//!
//! ```no_run
//! use etcd_seal::{Connection, Input, Recipients, Seal};
//! use std::{path::Path, time::SystemTime};
//!
//! # fn main() -> etcd_seal::Result<()> {
//! let etcd = Connection::new(["127.0.0.1:2379"]);
//! let recipients = Recipients::of(["age1zh99s6tmf6dkdussg4ctnatewfxahsg3q80hapxsq8ycwf20tdpqqvy9at"])?;
//! let seal = Seal::new(&recipients, SystemTime::now()).cluster_name("prod");
//! let (sealed, published) = seal.to_directory(Input::etcd(&etcd), Path::new("/backups"))?;
//! println!("{}: {} bytes", published.path.display(), sealed.archive_size);
//! # Ok(())
//! # }
//! ```
//!
//! Restore a snapshot into a file that appears whole or not at all:
//!
//! ```
//! use etcd_seal::{Identities, Unseal};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let archive = &include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/one-frame.age"))[..];
//! # let key = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/key.txt"));
//! # let directory = tempfile::tempdir()?;
//! let path = directory.path().join("snapshot.db");
//! let (opened, _) = Unseal::new(&Identities::of(key)?).to_file(archive, &path)?;
//! assert_eq!(std::fs::metadata(&path)?.len(), opened.snapshot_size);
//! # Ok(())
//! # }
//! ```
//!
//! Read one fact out of an archive without a key, and so without proof that it is true:
//!
//! ```
//! # fn main() -> etcd_seal::Result<()> {
//! # let archive = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/one-frame.age"));
//! let inspected = etcd_seal::inspect(&mut std::io::Cursor::new(archive), None)?;
//! let description = inspected.visible.description.expect("a public description");
//! assert!(description.revision.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `cli`, on by default, builds the program; without it none of the crates that only the program needs is built.
//!
//! # The format
//!
//! An archive is a standard age file of a standard zstd stream. Its manual page, `etcd-seal-archive(5)`, specifies it for
//! authors of other readers and writers; [`low_level::archive`] implements it.

mod address;
mod archive;
mod database;
mod error;
mod etcd;
mod interrupt;
mod keys;
mod magic;
mod pipeline;
mod progress;
mod store;
mod watch;

#[cfg(feature = "cli")]
pub mod cli;
pub mod low_level;

pub use archive::manifest::{Description, Manifest};
pub use error::{Blame, Error, Kind, Result, Subject};
pub use etcd::Connection;
pub use keys::{Identities, Recipients, generate_identity};
pub use pipeline::drill::{Drill, Drilled};
pub use pipeline::inspect::{Inspected, inspect};
pub use pipeline::member::Restored;
pub use pipeline::open::Opened;
pub use pipeline::restore::Restore;
pub use pipeline::seal::{Input, Seal, Sealed};
pub use pipeline::unseal::Unseal;
pub use progress::Progress;
pub use store::Published;
pub use watch::Watch;
