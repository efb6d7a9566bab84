//! From an archive, ours or foreign, back to the snapshot.
use crate::archive::manifest::{Description, Digest, Manifest, Trailer};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::keys::Identities;
use crate::progress::Progress;
use std::io::{Read, Write};

/// How to open.
#[derive(Clone, Debug)]
pub struct Options {
    /// Worker threads.
    pub jobs: usize,
    /// Whether a snapshot without etcd's digest is accepted in an archive that is not ours.
    pub allow_missing_digest: bool,
}

/// What anybody can see without a key. Nothing of it is authenticated.
#[derive(Clone, Debug)]
pub struct Visible {
    /// The description in the public stanza, where there is one.
    pub description: Option<Description>,
    /// Types of the recipient stanzas in order (`X25519`, `ssh-ed25519`, `scrypt`, …); no grease, not our stanza.
    pub stanzas: Vec<String>,
    /// Whether the file is ASCII-armoured (never ours).
    pub armored: bool,
    /// Bytes of header and nonce.
    pub header_size: u64,
    /// Bytes of the encrypted payload.
    pub payload_size: u64,
    /// Bytes of the file.
    pub archive_size: u64,
    /// SHA-256 of the file.
    pub archive_sha256: [u8; 32],
}

/// An archive that is not ours: what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// ASCII-armoured.
    pub armored: bool,
    /// zstd inside.
    pub zstd: bool,
}

/// An archive read to its end, every layer checked.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What anybody sees; after this it is authenticated.
    pub visible: Visible,
    /// `None` for ours.
    pub foreign: Option<Foreign>,
    /// Of ours.
    pub manifest: Option<Manifest>,
    /// Of ours.
    pub trailer: Option<Trailer>,
    /// Bytes of the snapshot.
    pub snapshot_size: u64,
    /// Bytes of the bbolt database before etcd's digest.
    pub database_sha256: [u8; 32],
    /// Whether etcd's own digest is there.
    pub digest: Digest,
    /// Frames of the snapshot (0 for foreign archives).
    pub frames: u64,
}

/// Reads an archive to its end without a key: header grammar, description, length rule of the payload, digest of the file.
///
/// # Errors
/// Damage that can be seen without a key.
pub fn look(
    _input: &mut (dyn Read + Send),
    _progress: &dyn Progress,
    _interrupt: &Interrupt,
) -> Result<Visible> {
    todo!()
}

/// Decrypts, decompresses and checks everything, and writes the snapshot to `output`.
/// On error what was written to `output` must be thrown away.
///
/// # Errors
/// Whatever is wrong with the archive, the identities or the output.
pub fn open(
    _input: &mut (dyn Read + Send),
    _identities: &Identities,
    _options: &Options,
    _output: &mut (dyn Write + Send),
    _progress: &dyn Progress,
    _interrupt: &Interrupt,
) -> Result<Opened> {
    todo!()
}

/// What a key shows without reading the whole archive: manifest and trailer, through the seek table.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// Public part; `archive_sha256` is all zeros: the body was not read.
    pub visible: Visible,
    /// `None` for foreign archives.
    pub manifest: Option<Manifest>,
    /// `None` for foreign archives.
    pub trailer: Option<Trailer>,
    /// Frames of the snapshot.
    pub frames: u64,
}

/// Opens only both ends of a seekable archive. Without identities only what is visible.
///
/// # Errors
/// Whatever is wrong with the parts that were read.
pub fn inspect(
    _input: &mut (impl Read + std::io::Seek),
    _identities: Option<&Identities>,
) -> Result<Inspected> {
    todo!()
}
