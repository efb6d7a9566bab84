//! Reads an archive, ours or foreign, back into the snapshot; `verify` and `restore` differ only in the output they pass.
//!
//! Every layer is checked on the way: each chunk's tag, the order and completeness of chunks, each frame's size and
//! checksum, the seek table against the frames, description against manifest, trailer against the content, and etcd's
//! own digest. The error reports the first damage found, with the byte range of the file that holds it.

use std::io::{Read, Write};
use std::sync::atomic::AtomicU64;

use sha2::{Digest as _, Sha256};

pub use super::engine::foreign::Foreign;
pub use super::engine::layers::{Admit, Options};
use super::engine::layers::{Layers, LayersRead};
use super::engine::plaintext::{cut, decrypted, empty, read_full};
use super::engine::stage::Work;
use crate::archive::header::{Header, armor_begin, read_prefix};
use crate::archive::manifest::{Description, Digest, Manifest, Trailer};
use crate::archive::payload::{Chunks, SEALED_CHUNK_SIZE};
use crate::database::stream_check::StreamFacts;
use crate::error::{Error, Kind, Result};
use crate::keys::Identities;
use crate::watch::Watch;

/// What is readable without a key. Nothing of it is authenticated until the archive has been opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Visible {
    /// The description in the public stanza, where there is one.
    pub description: Option<Description>,
    /// Types of the recipient stanzas in order (`X25519`, `ssh-ed25519`, `scrypt`, …), without grease and ours.
    pub stanzas: Vec<String>,
    /// Whether the file is ASCII-armoured; ours never are.
    pub armored: bool,
    /// Bytes of header and nonce, without armour.
    pub header_size: u64,
    /// Bytes of header, nonce and payload, without armour.
    pub archive_size: u64,
    /// SHA-256 of the file, where it was asked for and the whole file was read.
    pub archive_sha256: Option<[u8; 32]>,
}

impl Visible {
    /// Bytes of the encrypted payload.
    #[must_use]
    pub fn payload_size(&self) -> u64 {
        self.archive_size.saturating_sub(self.header_size)
    }

    pub(super) fn of(header: &Header, armored: bool) -> Self {
        Self {
            description: header.description().map(|document| document.content.clone()),
            stanzas: header.stanza_types().map(str::to_owned).collect(),
            armored,
            header_size: header.size(),
            archive_size: header.size(),
            archive_sha256: None,
        }
    }
}

/// An archive read to its end, every layer checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Opened {
    /// The part that is readable without a key, as it was sealed; the format does not tell who sealed it.
    pub visible: Visible,
    /// Set for a foreign archive, `None` for one of ours.
    pub foreign: Option<Foreign>,
    /// The manifest; `None` for a foreign archive.
    pub manifest: Option<Manifest>,
    /// The trailer; `None` for a foreign archive.
    pub trailer: Option<Trailer>,
    /// Bytes of the snapshot, with etcd's digest where there is one.
    pub snapshot_size: u64,
    /// SHA-256 of the database, which is everything before etcd's digest.
    pub database_sha256: [u8; 32],
    /// Whether the snapshot ends with etcd's own digest.
    pub digest: Digest,
    /// zstd frames of the snapshot; 0 for foreign archives.
    pub frames: u64,
    /// What the database says of itself, consistent with manifest and trailer; `None` where it could not be read.
    pub facts: Option<StreamFacts>,
}

impl Opened {
    /// Tells the log what was checked.
    fn tell(&self) {
        let (payload, frames, size) = (self.visible.payload_size(), self.frames, self.snapshot_size);
        tracing::debug!("checked: every chunk of the payload of {payload} bytes, and its end");
        if self.manifest.is_some() {
            tracing::debug!("checked: {frames} zstd frames, the seek table, the manifest and the trailer");
        }
        match self.digest {
            Digest::Verified => {
                tracing::debug!("checked: etcd's own SHA-256 of the snapshot of {size} bytes");
            }
            Digest::Absent => {
                tracing::debug!("not checked: the snapshot of {size} bytes has no digest of etcd's");
            }
        }
    }
}

/// Reads an archive to its end without a key: grammar of the header, description, length of the payload.
///
/// # Errors
/// Damage that shows without a key, and [`Kind::Io`].
pub fn look(input: &mut (dyn Read + Send), watch: &Watch) -> Result<Visible> {
    let _work = Work::new(watch);
    watch.progress.start(None);
    let mut input = Tee::new(input, true);
    let Begun { header, armored, mut payload } = Begun::new(&mut input)?;
    let mut visible = Visible::of(&header, armored);
    let mut buffer = vec![0; 16 * SEALED_CHUNK_SIZE];
    loop {
        watch.check()?;
        match read_full(&mut payload, &mut buffer)? {
            0 => break,
            read => visible.archive_size += read as u64,
        }
        watch.progress.advance(0, visible.archive_size);
    }
    drop(payload);
    hold_size(visible.header_size, visible.archive_size)?;
    visible.archive_sha256 = input.finish();
    Ok(visible)
}

/// Decrypts, decompresses and checks everything, and writes the snapshot to `output`.
///
/// On error the caller must throw away what was written to `output`.
///
/// # Errors
/// Any fault of the archive, the identities or the output.
pub fn open(
    input: &mut (dyn Read + Send),
    identities: &Identities,
    options: &Options,
    output: &mut (dyn Write + Send),
    watch: &Watch,
) -> Result<Opened> {
    Opening { identities, options, admit: &|_| Ok(()), watch }.open(input, output)
}

/// How to open one archive.
pub struct Opening<'a> {
    /// The keys that open it.
    pub identities: &'a Identities,
    /// How to read it.
    pub options: &'a Options,
    /// Asked about the size that the manifest promises before anything is written.
    pub admit: &'a Admit<'a>,
    /// Watches over the work.
    pub watch: &'a Watch,
}

impl Opening<'_> {
    /// As [`open`].
    ///
    /// # Errors
    /// The errors of [`open`], and those of `admit`.
    pub fn open(&self, input: &mut (dyn Read + Send), output: &mut (dyn Write + Send)) -> Result<Opened> {
        let Self { identities, options, admit, watch } = *self;
        let _work = Work::new(watch);
        let mut input = Tee::new(input, options.file_digest);
        let Begun { header, armored, payload } = Begun::new(&mut input)?;
        let key = header.unlock(identities)?;
        let mut visible = Visible::of(&header, armored);
        let description = header.description();
        let header_size = header.size();

        let archive_read = AtomicU64::new(header_size);
        let read = &archive_read;
        let layers = Layers { options, header_size, description, armored, read, watch, admit };
        let read = decrypted(payload, &key, &archive_read, options.jobs, watch, |plaintext| {
            layers.read(plaintext, output)
        })?;
        visible.archive_size = archive_read.into_inner();
        visible.archive_sha256 = input.finish();
        let LayersRead { foreign, manifest, trailer, frames, checked, facts } = read;
        let opened = Opened {
            visible,
            foreign,
            manifest,
            trailer,
            snapshot_size: checked.size,
            database_sha256: checked.database_sha256,
            digest: checked.digest.into(),
            frames,
            facts,
        };
        opened.tell();
        Ok(opened)
    }
}

/// Refuses an archive whose size shows that its payload is cut, or that there is nothing in it.
///
/// # Errors
/// [`Kind::PayloadDamaged`], [`Kind::NotASnapshot`].
pub(super) fn hold_size(header_size: u64, archive_size: u64) -> Result<()> {
    let chunks = archive_size.checked_sub(header_size).and_then(Chunks::of_payload);
    match chunks.ok_or_else(|| cut(archive_size))?.plaintext {
        0 => Err(empty()),
        _ => Ok(()),
    }
}

/// A header with our stanza must belong to our format in full, and our format is never armoured.
pub(super) fn refuse_armored_ours(header: &Header) -> Result<()> {
    if header.description().is_none() {
        return Ok(());
    }
    Err(Error::new(Kind::NotAnArchive, "it is ASCII-armoured, which an archive of etcd-seal never is")
        .with_hint("it was converted: turn it back with `age`'s binary format, or open it with stock age"))
}

/// Passes bytes on and hashes them with SHA-256 where that is wanted.
struct Tee<'a> {
    input: &'a mut (dyn Read + Send),
    sha256: Option<Sha256>,
}

impl<'a> Tee<'a> {
    fn new(input: &'a mut (dyn Read + Send), wanted: bool) -> Self {
        Self { input, sha256: wanted.then(Sha256::new) }
    }

    fn finish(self) -> Option<[u8; 32]> {
        self.sha256.map(|sha256| sha256.finalize().into())
    }
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer)?;
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(&buffer[..read]);
        }
        Ok(read)
    }
}

/// An archive whose header has been read.
pub(super) struct Begun<'a> {
    pub(super) header: Header,
    pub(super) armored: bool,
    /// The bytes after header and nonce, without armour.
    pub(super) payload: Box<dyn Read + Send + 'a>,
}

impl<'a> Begun<'a> {
    pub(super) fn new(input: &'a mut (dyn Read + Send)) -> Result<Self> {
        let prefix = read_prefix(input)?;
        let armor = armor_begin(&prefix);
        let mut prefix = std::io::Cursor::new(prefix);
        let Some(armor) = armor else { return Self::behind(prefix.chain(input), false) };
        prefix.set_position(armor as u64);
        let begun = Self::behind(age::armor::ArmoredReader::new(prefix.chain(input)), true)?;
        refuse_armored_ours(&begun.header)?;
        Ok(begun)
    }

    fn behind(mut file: impl Read + Send + 'a, armored: bool) -> Result<Self> {
        let prefix = read_prefix(&mut file)?;
        let header = Header::parse(&prefix)?;
        let mut rest = std::io::Cursor::new(prefix);
        rest.set_position(header.size());
        Ok(Self { header, armored, payload: Box::new(rest.chain(file)) })
    }
}
