//! Encrypted, verified etcd backups in one stream, and the restore that goes with them.
//!
//! The program `etcd-seal` is a thin layer over this library: it reads flags, asks for passphrases, shows
//! progress and turns errors into exit codes. The rest is in the library, which prints nothing, asks nothing itself, reads
//! no environment variables and never exits.
//!
//! # Which API for which case
//!
//! | You want to | Call |
//! |---|---|
//! | seal a snapshot of a live etcd | [`low_level::etcd::open`], [`low_level::etcd::Snapshot::flow`], then [`low_level::pipeline::save::save`] with a [`SnapshotSource`] over that |
//! | seal a snapshot that exists | [`low_level::pipeline::save::save`] with a [`SnapshotSource`] over your reader |
//! | read what an archive says of itself | [`low_level::pipeline::inspect::inspect`]: both ends of a seekable file, with or without a key |
//! | check that an archive is what was written | [`low_level::pipeline::open::look`] and [`low_level::store::sidecar`]: no key needed |
//! | verify an archive | [`low_level::pipeline::open::open`] into [`std::io::sink`] |
//! | get the snapshot back | [`low_level::pipeline::open::open`] into a [`low_level::store::local::UnpublishedFile`], then publish it |
//! | make members of a cluster that etcd starts from | [`low_level::pipeline::member::restore_member`] with a [`low_level::store::member::MemberPlace`], or [`low_level::pipeline::member::restore_cluster`] for all of them |
//! | read the database of a snapshot | [`low_level::database::file::Database`], [`low_level::database::contents::Contents`] |
//! | prove an archive under a real etcd | [`low_level::pipeline::drill::drill`] |
//! | choose the keys that open it, and open it | [`low_level::keys::Recipients`], [`low_level::keys::Identities`], [`low_level::keys::generate_identity`] |
//! | write a file that appears whole or not at all | [`low_level::store::local::UnpublishedFile`] |
//! | name archives as the program does | [`low_level::store::name::ArchiveName`] |
//! | show progress | implement [`low_level::progress::Progress`]; [`low_level::progress::Silent`] shows nothing |
//! | stop it from another thread | [`low_level::interrupt::Interrupt`] |
//!
//! [`SnapshotSource`]: low_level::pipeline::save::SnapshotSource
//!
//! # Two rules for callers
//!
//! The output of [`low_level::pipeline::open::open`] counts only when it returns `Ok`: the digests are at the end of an archive, so
//! bytes come out before they are verified. Write to something that can be thrown away.
//!
//! The output of [`low_level::pipeline::save::save`] is an archive only when it returns `Ok`. After any error the last chunk is
//! missing, and every age implementation refuses the file.
//!
//! # Example
//!
//! Seal a snapshot in memory for one recipient:
//!
//! ```no_run
//! use etcd_seal::low_level::archive::manifest::{Description, FORMAT, FORMAT_VERSION, Manifest, Source};
//! use etcd_seal::low_level::interrupt::Interrupt;
//! use etcd_seal::low_level::keys::{Recipients, SharedPrompt};
//! use etcd_seal::low_level::pipeline::save::{Options, SnapshotSource, save};
//! use etcd_seal::low_level::progress::Silent;
//!
//! struct Once(Option<Vec<u8>>);
//!
//! impl SnapshotSource for Once {
//!     fn next(&mut self) -> etcd_seal::Result<Option<Vec<u8>>> {
//!         Ok(self.0.take())
//!     }
//! }
//!
//! fn seal(snapshot: Vec<u8>, recipient: &str, prompt: &SharedPrompt) -> etcd_seal::Result<Vec<u8>> {
//!     let recipients = Recipients::parse(&[recipient.to_owned()], &[], prompt)?;
//!     let manifest = Manifest {
//!         description: Description {
//!             format: FORMAT.to_owned(),
//!             format_version: FORMAT_VERSION,
//!             tool: "my tool 1.0".to_owned(),
//!             sealed_at: "2026-01-02T03:04:05Z".to_owned(),
//!             cluster_name: None,
//!             cluster_id: None,
//!             member_id: None,
//!             etcd_version: None,
//!             storage_version: None,
//!             revision: None,
//!             snapshot_size: None,
//!             frame_size: 4 << 20,
//!             level: 1,
//!             source: Source::File,
//!             snapshot_started_at: None,
//!         },
//!         endpoint: None,
//!         member_name: None,
//!         tls: None,
//!         conditions: Vec::new(),
//!         host: None,
//!         tags: Vec::new(),
//!         note: None,
//!         recipients: recipients.names().to_vec(),
//!     };
//!     let options = Options { jobs: 2, describe: true, allow_missing_digest: false };
//!     let mut archive = Vec::new();
//!     let source = Once(Some(snapshot));
//!     save(source, manifest, &recipients, &options, &mut archive, &Silent, &Interrupt::new())?;
//!     Ok(archive)
//! }
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

mod archive;
mod database;
mod error;
mod etcd;
mod interrupt;
mod keys;
mod pipeline;
mod progress;
mod store;

#[cfg(feature = "cli")]
pub mod cli;
pub mod low_level;

pub use error::{Error, Kind, Result};
