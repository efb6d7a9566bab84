//! Seals a snapshot into an archive, in one pass.
//!
//! Nothing is written before the first pages of the snapshot are known to be a database. The trailer, the seek table and
//! with them the final chunk of the payload are sealed only after the source ended cleanly, the length was right and
//! etcd's digest matched: until then, every age implementation refuses the file.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::ScopedJoinHandle;

use sha2::{Digest as _, Sha256};

use super::batch::{Batch, Batcher};
use super::buffer::{Buffer, Pool};
use super::claims::{Claims, is_as_large};
use super::digest::{Digested, Piece, digest, queue};
use super::stage::{Feeder, Ordered, Stop, Work, announce, first_failure, join, no_reason, ordered, spawn};
use crate::archive::expansion::{Excess, Expansion, UNPROMISED_RATIO};
use crate::archive::frame::{FramePacker, MANIFEST_MAGIC, TRAILER_MAGIC, skippable};
use crate::archive::header::{self, SealedHeader};
use crate::archive::manifest::{
    Contents, DOCUMENT_SIZE_MAX, Description, Manifest, Source, Trailer, to_json,
};
use crate::archive::seek_table::{SNAPSHOT_FRAMES_MAX, SeekTable};
use crate::database::bolt::FirstPages;
use crate::database::snapshot::{Checked, DIGEST_SIZE, SnapshotCheck, judge_length};
use crate::error::{Error, Kind, Result};
use crate::keys::Recipients;
use crate::pipeline::seal::{AfterStream, SealOptions, Sealed, SnapshotSource};
use crate::watch::Watch;

/// Seals one snapshot.
pub(in crate::pipeline) struct Sealer<'a> {
    /// Who may open the archive.
    pub(in crate::pipeline) recipients: &'a Recipients,
    /// How to seal.
    pub(in crate::pipeline) options: &'a SealOptions,
    /// Watches over the work.
    pub(in crate::pipeline) watch: &'a Watch,
}

impl Sealer<'_> {
    /// Seals `source` into `output`. `manifest` says what is known beforehand; its `snapshot_size` is the size of a source
    /// that has one (a file). Otherwise the first page fills it in where etcd's digest is required.
    ///
    /// On error `output` holds nothing that could pass for an archive.
    ///
    /// # Errors
    /// Any fault of source, snapshot, recipients or output. Where etcd is the source, a fault of the snapshot gets a kind
    /// that blames etcd.
    pub(in crate::pipeline) fn seal(
        &self,
        source: impl SnapshotSource,
        manifest: Manifest,
        output: &mut (dyn Write + Send),
    ) -> Result<Sealed> {
        let kind_of_source = manifest.description.source;
        let _work = Work::new(self.watch);
        let sealed = Begun::new(source, manifest, self.options).and_then(|begun| {
            let description = Some(&begun.manifest.description).filter(|_| self.options.describe);
            let header = header::seal(self.recipients, description)?;
            begun.run(header, self.options, output, self.watch)
        });
        sealed.map_err(|error| if kind_of_source == Source::Etcd { blame_etcd(error) } else { error })
    }

    /// [`Self::seal`] under a ready-made header. The header brings key and nonce, so it must never be used twice.
    #[cfg(test)]
    pub(in crate::pipeline) fn seal_under(
        &self,
        header: SealedHeader,
        source: impl SnapshotSource,
        manifest: Manifest,
        output: &mut (dyn Write + Send),
    ) -> Result<Sealed> {
        Begun::new(source, manifest, self.options)?.run(header, self.options, output, self.watch)
    }
}

/// The hint where the answers of the three calls contradict the snapshot.
const SEVERAL_MEMBERS: &str = "a proxy or load balancer may have sent the calls to different members: name the members \
     themselves; otherwise look at this member's log and name another";

/// Blames the member that sent the stream if that is no snapshot, or not the one that the member described.
fn blame_etcd(error: Error) -> Error {
    match error.kind() {
        Kind::ContentsMismatch => error.into_kind(Kind::EtcdBadSnapshot).with_hint(SEVERAL_MEMBERS),
        Kind::NotASnapshot | Kind::SnapshotLength | Kind::DigestMismatch | Kind::DigestAbsent => {
            error.into_kind(Kind::EtcdBadSnapshot)
        }
        _ => error,
    }
}

/// A source whose first pages have been read.
struct Begun<S> {
    source: S,
    /// The pieces read so far.
    pieces: VecDeque<Vec<u8>>,
    manifest: Manifest,
}

impl<S: SnapshotSource> Begun<S> {
    fn new(mut source: S, mut manifest: Manifest, options: &SealOptions) -> Result<Self> {
        let mut pages = FirstPages::default();
        let mut pieces = VecDeque::new();
        let database = loop {
            if let Some(database) = pages.database_size() {
                break database;
            }
            let Some(piece) = source.next()? else { return Err(too_short(&pieces)) };
            pages.update(&piece)?;
            pieces.push_back(piece);
        };
        match manifest.description.snapshot_size {
            Some(size) => drop(judge_length(size, database, options.allow_missing_digest)?),
            None if options.allow_missing_digest => {}
            None => manifest.description.snapshot_size = Some(database + DIGEST_SIZE),
        }
        (manifest.description.level, manifest.description.frame_size) = (options.level, options.frame_size);
        check_frame_count(database, options.frame_size)?;
        Ok(Self { source, pieces, manifest })
    }

    fn run(
        self,
        header: SealedHeader,
        options: &SealOptions,
        output: &mut (dyn Write + Send),
        watch: &Watch,
    ) -> Result<Sealed> {
        let (Self { source, pieces, manifest }, SealedHeader { bytes: header, key }) = (self, header);
        let description = &manifest.description;
        watch.progress.start(description.snapshot_size);
        let document = skippable(MANIFEST_MAGIC, &to_json(&manifest, DOCUMENT_SIZE_MAX, "manifest")?)?;
        let (level, frame_size) = (options.level, options.frame_size);
        let (read, written) = (AtomicU64::new(0), AtomicU64::new(0));
        let pool = Pool::default();

        std::thread::scope(|scope| {
            let (frames, packed) = ordered(scope, "compress", options.jobs, || {
                let mut packer = FramePacker::new(level, frame_size)?;
                let pool = pool.clone();
                Ok(move |content: Piece| pack(&mut packer, &content, pool.take()))
            })?;
            let (batches, sealed) = ordered(scope, "seal", options.jobs, || {
                let cipher = key.cipher();
                Ok(move |batch: Batch| batch.seal(&cipher))
            })?;
            let (contents, digested) = queue();
            let check = SnapshotCheck::new(options.allow_missing_digest);
            let digest = spawn(scope, "digest", move || digest(check, digested))?;
            let (ended, end) = sync_channel(1);
            let frame_size = frame_size as usize;
            let mut cutter = Cutter { frames, contents, frame_size, read: &read, written: &written };
            let expected = description.snapshot_size;
            let reader = spawn(scope, "read", move || {
                let mut source = source;
                let cut = cutter.cut(&mut source, pieces, watch);
                drop(cutter);
                let end = end_of_stream(cut, &mut source, digest, description)?;
                ended.send(end).map_err(|_| Stop::Closed)
            })?;
            let sequencer = spawn(scope, "order", move || {
                announce(sequence(&document, expected, packed, &end, Batcher::new(batches)), watch)
            })?;

            let mut writer = ArchiveWriter::new(output, &written);
            let archived = announce(writer.write_all(&header, sealed, watch), watch);
            let (reader, sequencer) = (join(reader), join(sequencer));
            let (archive_size, archive_sha256) = writer.finish();
            watch.progress.advance(read.load(Ordering::Relaxed), archive_size);
            match (archived, reader, sequencer) {
                (Ok(()), Ok(()), Ok(trailer)) => {
                    Ok(Sealed { manifest: manifest.clone(), trailer, archive_size, archive_sha256 })
                }
                // The reader comes last: when another stage stops it, its digest reports a snapshot that is cut short.
                (archived, reader, sequencer) => {
                    Err(first_failure([archived.err(), sequencer.err(), reader.err()])
                        .unwrap_or_else(no_reason))
                }
            }
        })
    }
}

/// Refuses too many frames before the work begins, not when the last frame does not fit.
fn check_frame_count(database: u64, frame_size: u32) -> Result<()> {
    let frames = (database + DIGEST_SIZE).div_ceil(u64::from(frame_size));
    if frames > SNAPSHOT_FRAMES_MAX {
        return Err(Error::new(
            Kind::Usage,
            format!("with `frame_size` {frame_size} the snapshot would be {frames} frames, more than {SNAPSHOT_FRAMES_MAX}"),
        )
        .with_hint("raise `frame_size`, up to 16MiB"));
    }
    Ok(())
}

fn too_short(pieces: &VecDeque<Vec<u8>>) -> Error {
    let mut check = SnapshotCheck::new(true);
    let checked = pieces.iter().try_for_each(|piece| check.update(piece)).and_then(|()| check.finish());
    checked.err().unwrap_or_else(|| Error::new(Kind::NotASnapshot, "not an etcd snapshot: it ends too early"))
}

/// A packed frame, and how many snapshot bytes it holds.
type Packed = (Buffer, usize);

fn pack(packer: &mut FramePacker, content: &[u8], mut frame: Buffer) -> Result<Packed> {
    packer.pack(content, &mut frame)?;
    Ok((frame, content.len()))
}

/// Cuts the stream into frames of equal size, for the compressors and the digest.
struct Cutter<'a> {
    frames: Feeder<Piece, Result<Packed>>,
    contents: SyncSender<Piece>,
    frame_size: usize,
    /// Bytes of the snapshot so far.
    read: &'a AtomicU64,
    /// Bytes of the archive so far.
    written: &'a AtomicU64,
}

impl Cutter<'_> {
    fn cut(
        &mut self,
        source: &mut impl SnapshotSource,
        mut pieces: VecDeque<Vec<u8>>,
        watch: &Watch,
    ) -> Result<(), Stop> {
        let mut frame = Vec::with_capacity(self.frame_size);
        loop {
            watch.check()?;
            let piece = match pieces.pop_front() {
                Some(piece) => piece,
                None => match source.next()? {
                    Some(piece) => piece,
                    None => break,
                },
            };
            let read = self.read.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
            // With each piece, not with each frame: under a rate limit a frame takes a long time.
            watch.progress.advance(read, self.written.load(Ordering::Relaxed));
            if frame.is_empty() && piece.len() == self.frame_size {
                self.send(piece)?;
                continue;
            }
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let (taken, left) = rest.split_at(rest.len().min(self.frame_size - frame.len()));
                frame.extend_from_slice(taken);
                rest = left;
                if frame.len() == self.frame_size {
                    self.send(std::mem::replace(&mut frame, Vec::with_capacity(self.frame_size)))?;
                }
            }
        }
        if !frame.is_empty() {
            self.send(frame)?;
        }
        Ok(())
    }

    fn send(&self, frame: Vec<u8>) -> Result<(), Stop> {
        let frame = Arc::new(Buffer::from(frame));
        self.contents.send(Arc::clone(&frame)).map_err(|_| Stop::Closed)?;
        self.frames.send(frame)
    }
}

/// The verdict on a stream that ended cleanly and passed its checks.
struct End {
    checked: Checked,
    contents: Option<Contents>,
    after: AfterStream,
}

/// Confirms a clean end. If the cutter only found its queue closed, the digest may have the reason.
fn end_of_stream(
    cut: Result<(), Stop>,
    source: &mut impl SnapshotSource,
    digest: ScopedJoinHandle<'_, Result<Digested>>,
    description: &Description,
) -> Result<End, Stop> {
    let Digested { checked, facts } = match (cut, join(digest)) {
        (Err(Stop::Failed(error)), _) | (_, Err(error)) => return Err(error.into()),
        (Err(Stop::Closed), Ok(_)) => return Err(Stop::Closed),
        (Ok(()), Ok(digested)) => digested,
    };
    if let Some(expected) = description.snapshot_size.filter(|expected| *expected != checked.size) {
        return Err(Error::new(
            Kind::SnapshotLength,
            format!("the snapshot was {expected} bytes long at first and {} at the end", checked.size),
        )
        .with_hint("it changed while it was read: copy it first, or take it again")
        .into());
    }
    let mut after = source.finish()?;
    Claims { description, status_after: after.status_after.as_ref() }.hold(&facts)?;
    if let Some(status) = after.status_after.as_mut().filter(|status| !is_as_large(status, checked.size)) {
        tracing::warn!("the member's database became smaller while it was saved: it was defragmented");
        status.database_size = None;
    }
    let contents = facts.as_ref().ok().map(Contents::from);
    Ok(End { checked, contents, after })
}

/// Writes the layers of the plaintext in their order.
fn sequence(
    manifest: &[u8],
    promised: Option<u64>,
    packed: Ordered<Result<Packed>>,
    end: &Receiver<End>,
    mut batcher: Batcher,
) -> Result<Trailer, Stop> {
    let mut table = SeekTable::default();
    table.push(manifest.len(), 0)?;
    batcher.push(manifest)?;
    let mut expansion = Expansion::new(promised);
    for frame in packed {
        let (frame, content_size) = frame?;
        if expansion.add(frame.len() as u64, content_size as u64) == Err(Excess::Unpromised) {
            return Err(too_expansive().into());
        }
        let content_size = u32::try_from(content_size).map_err(|_| no_reason())?;
        table.push(frame.len(), content_size)?;
        batcher.push(&frame)?;
    }
    let End { checked, contents, after } = end.recv().map_err(|_| Stop::Closed)?;
    if expansion.content() != checked.size {
        // The digest saw other bytes than the compressors: whatever the cause, the archive must stay without an end.
        return Err(no_reason().into());
    }
    let trailer = Trailer {
        snapshot_size: checked.size,
        database_sha256: hex::encode(checked.database_sha256),
        digest: checked.digest.into(),
        contents,
        status_after: after.status_after,
        stream_open_ms: after.stream_open_ms,
    };
    let document = skippable(TRAILER_MAGIC, &to_json(&trailer, DOCUMENT_SIZE_MAX, "trailer")?)?;
    table.push(document.len(), 0)?;
    batcher.push(&document)?;
    batcher.push(&table.to_frame()?)?;
    batcher.finish()?;
    Ok(trailer)
}

/// The error for an archive that no reader would unpack.
fn too_expansive() -> Error {
    Error::new(
        Kind::Usage,
        format!(
            "the snapshot shrinks to less than 1/{UNPROMISED_RATIO}, and its size was not known beforehand"
        ),
    )
    .with_hint("seal it from a file, with `from` FILE, so that the archive can say how large it is")
}

/// Writes the archive and its digest.
struct ArchiveWriter<'a> {
    output: &'a mut (dyn Write + Send),
    sha256: Sha256,
    written: &'a AtomicU64,
}

impl<'a> ArchiveWriter<'a> {
    fn new(output: &'a mut (dyn Write + Send), written: &'a AtomicU64) -> Self {
        Self { output, sha256: Sha256::new(), written }
    }

    fn write_all(
        &mut self,
        header: &[u8],
        sealed: Ordered<Result<Buffer>>,
        watch: &Watch,
    ) -> Result<(), Stop> {
        self.write(header)?;
        for batch in sealed {
            watch.check()?;
            self.write(&batch?)?;
        }
        self.output.flush().map_err(cannot_write)?;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).map_err(cannot_write)?;
        self.sha256.update(bytes);
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn finish(self) -> (u64, [u8; 32]) {
        (self.written.load(Ordering::Relaxed), self.sha256.finalize().into())
    }
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::io("write", "the archive", error)
}
