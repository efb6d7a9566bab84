//! Reads what is inside the encryption: the layers of version 1, or the content of a foreign archive.

use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::buffer::{Buffer, Pool};
use super::claims::{Claims, hold_trailer};
use super::decoder::FrameDecoder;
use super::delivery::Delivery;
use super::digest::{Digested, digest, queue};
use super::foreign::{Foreign, begins_as_zstd, copy_foreign, decode_foreign, taken_apart};
use super::plaintext::{Plaintext, empty};
use super::stage::{Stop, first_failure, join, no_reason, ordered, spawn};
use crate::archive::expansion::Expansion;
use crate::archive::frame::{
    FRAME_SIZE_DEFAULT, FRAME_SIZE_MAX, FrameHeader, FrameUnpacker, ReadExactly, SEEK_TABLE_MAGIC,
    SKIPPABLE_HEADER_SIZE, TRAILER_MAGIC, ZSTD_MAGIC, begins_as_manifest, damaged, parse_skippable_header,
    walk_frame,
};
use crate::archive::manifest::{
    DOCUMENT_SIZE_MAX, Description, Digest, Document, Manifest, Trailer, parse, parse_manifest,
};
use crate::archive::payload::sealed_range;
use crate::archive::seek_table::SeekTable;
use crate::database::snapshot::{Checked, SnapshotCheck};
use crate::database::stream_check::StreamFacts;
use crate::error::{Error, Kind, Result};
use crate::watch::Watch;

/// How to open an archive.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that decrypt, and threads that decompress.
    pub jobs: usize,
    /// Whether a foreign archive may hold a snapshot without etcd's digest. In our archives the trailer decides.
    pub allow_missing_digest: bool,
    /// Whether the SHA-256 of the file is computed on the way, to compare it with a sidecar.
    pub file_digest: bool,
}

/// Called once, before the first byte of a snapshot is written, with the size that its manifest promises; an error stops
/// the open. The output is never larger than the promise.
pub type Admit<'a> = dyn Fn(u64) -> Result<()> + Sync + 'a;

/// What is known when the plaintext begins.
pub(in crate::pipeline) struct Layers<'a> {
    pub(in crate::pipeline) options: &'a Options,
    pub(in crate::pipeline) header_size: u64,
    pub(in crate::pipeline) description: Option<&'a Document<Description>>,
    pub(in crate::pipeline) armored: bool,
    /// Bytes of the archive read so far.
    pub(in crate::pipeline) read: &'a AtomicU64,
    pub(in crate::pipeline) watch: &'a Watch,
    pub(in crate::pipeline) admit: &'a Admit<'a>,
}

/// What is known when the plaintext has ended.
pub(in crate::pipeline) struct LayersRead {
    pub(in crate::pipeline) foreign: Option<Foreign>,
    pub(in crate::pipeline) manifest: Option<Manifest>,
    pub(in crate::pipeline) trailer: Option<Trailer>,
    pub(in crate::pipeline) frames: u64,
    pub(in crate::pipeline) checked: Checked,
    pub(in crate::pipeline) facts: Option<StreamFacts>,
}

/// The format that the first bytes of the plaintext show.
enum Beginning {
    Ours,
    ForeignZstd,
    ForeignPlain,
}

impl Layers<'_> {
    /// Reads the plaintext to its end and writes the snapshot to `output`.
    pub(in crate::pipeline) fn read(
        &self,
        mut plaintext: Plaintext,
        output: &mut (dyn Write + Send),
    ) -> Result<LayersRead> {
        match self.beginning(&mut plaintext)? {
            Beginning::Ours => self.read_ours(plaintext, output),
            Beginning::ForeignZstd => self.read_foreign(plaintext, output, true),
            Beginning::ForeignPlain => self.read_foreign(plaintext, output, false),
        }
    }

    fn beginning(&self, plaintext: &mut Plaintext) -> Result<Beginning> {
        let first = plaintext.peek()?;
        if first.is_empty() {
            return Err(empty());
        }
        let manifest = begins_as_manifest(&first);
        if manifest && !self.armored {
            return Ok(Beginning::Ours);
        }
        if manifest {
            // No later version need keep to a rule about armour.
            return Err(self
                .read_manifest(plaintext)
                .err()
                .filter(is_not_of_version_1)
                .unwrap_or_else(taken_apart));
        }
        if self.description.is_some() {
            return Err(taken_apart());
        }
        Ok(if begins_as_zstd(&first) { Beginning::ForeignZstd } else { Beginning::ForeignPlain })
    }

    fn read_ours(&self, mut plaintext: Plaintext, output: &mut (dyn Write + Send)) -> Result<LayersRead> {
        let manifest = self.read_manifest(&mut plaintext)?;
        let description = &manifest.content.description;
        description.snapshot_size.map_or(Ok(()), self.admit)?;
        self.watch.progress.start(description.snapshot_size);
        std::thread::scope(|scope| {
            let (pieces, digested) = queue();
            // The trailer, compared below, says whether etcd's digest may be missing.
            let check = spawn(scope, "digest", move || digest(SnapshotCheck::new(true), digested))?;
            let delivery = Delivery::new(output, pieces, self.read, self.watch);
            let finder = FrameFinder::new(self, description);
            let unpacked = if description.frame_size > FRAME_SIZE_DEFAULT {
                finder.unpack_in_order(plaintext, delivery)
            } else {
                finder.unpack_in_parallel(plaintext, delivery)
            };
            match (unpacked, join(check)) {
                (Ok((trailer, frames)), Ok(Digested { checked, facts })) => {
                    compare(&trailer, &checked)?;
                    let status_after = trailer.status_after.as_ref();
                    Claims { description, status_after }.hold(&facts)?;
                    let facts = facts.ok();
                    hold_trailer(&trailer, &checked, facts.as_ref())?;
                    let manifest = Some(manifest.content.clone());
                    Ok(LayersRead { foreign: None, manifest, trailer: Some(trailer), frames, checked, facts })
                }
                // The digest comes last: when another stage stops it, it reports a snapshot that is cut short.
                (unpacked, checked) => {
                    let stops = [unpacked.err(), checked.err().map(Stop::Failed)];
                    Err(first_failure(stops).unwrap_or_else(no_reason))
                }
            }
        })
    }

    fn read_manifest(&self, plaintext: &mut Plaintext) -> Result<Document<Manifest>> {
        let (_, json) = read_skippable(plaintext, DOCUMENT_SIZE_MAX, "manifest")?;
        let manifest = parse_manifest(&json, self.description);
        if manifest.as_ref().is_err_and(|error| error.kind() == Kind::FormatNewer) {
            // What the manifest says counts only if the payload is whole.
            plaintext.skip_rest()?;
        }
        manifest
    }

    fn read_foreign(
        &self,
        mut plaintext: Plaintext,
        output: &mut (dyn Write + Send),
        zstd: bool,
    ) -> Result<LayersRead> {
        self.watch.progress.start(None);
        std::thread::scope(|scope| {
            let (pieces, digested) = queue();
            let check = SnapshotCheck::new(self.options.allow_missing_digest);
            let check = spawn(scope, "digest", move || digest(check, digested))?;
            let mut delivery = Delivery::new(output, pieces, self.read, self.watch);
            let delivered = if zstd {
                decode_foreign(&mut plaintext, &mut delivery)
            } else {
                copy_foreign(&mut plaintext, &mut delivery)
            };
            drop((delivery, plaintext));
            match (delivered, join(check)) {
                (Ok(()), Ok(Digested { checked, facts })) => {
                    let foreign = Some(Foreign { armored: self.armored, zstd });
                    let facts = facts.ok();
                    Ok(LayersRead { foreign, manifest: None, trailer: None, frames: 0, checked, facts })
                }
                (delivered, checked) => {
                    Err(first_failure([delivered.err(), checked.err().map(Stop::Failed)])
                        .unwrap_or_else(no_reason))
                }
            }
        })
    }
}

fn is_not_of_version_1(error: &Error) -> bool {
    matches!(error.kind(), Kind::FormatNewer | Kind::PayloadDamaged)
}

/// Compares what the trailer says of the snapshot with the snapshot that came out.
fn compare(trailer: &Trailer, checked: &Checked) -> Result<()> {
    if trailer.snapshot_size != checked.size
        || trailer.database_sha256 != hex::encode(checked.database_sha256)
        || trailer.digest != Digest::from(checked.digest)
    {
        return Err(damaged("the trailer does not fit the snapshot"));
    }
    Ok(())
}

/// A frame of the snapshot as it stands in the archive.
struct FoundFrame {
    bytes: Buffer,
    content_size: u32,
    /// The whole chunks of the file that it lies in.
    range: Range<u64>,
}

impl FoundFrame {
    fn unpack(self, unpacker: &mut FrameUnpacker, mut content: Buffer) -> Result<Buffer> {
        let Self { bytes, content_size, range } = self;
        unpacker.unpack(&bytes, content_size, &mut content).map_err(|error| within(error, range))?;
        Ok(content)
    }
}

/// Adds the `range` of the file to an error about its content.
fn within(error: Error, range: Range<u64>) -> Error {
    error.within(format_args!("between byte {} and byte {}", range.start, range.end)).with_damaged(range)
}

/// Finds every frame after the manifest, up to the end, which must be where version 1 puts it.
struct FrameFinder<'a> {
    layers: &'a Layers<'a>,
    description: &'a Description,
    table: SeekTable,
    pool: Pool,
    expansion: Expansion,
    /// Whether the previous frame was shorter than the frame size, which only the last one may be.
    short: bool,
}

impl<'a> FrameFinder<'a> {
    fn new(layers: &'a Layers<'a>, description: &'a Description) -> Self {
        Self {
            layers,
            description,
            table: SeekTable::default(),
            pool: Pool::default(),
            expansion: Expansion::new(description.snapshot_size),
            short: false,
        }
    }

    /// Unpacks the frames on several threads. Several frames are in memory at a time, packed and unpacked.
    fn unpack_in_parallel(
        self,
        plaintext: Plaintext,
        mut delivery: Delivery<'_>,
    ) -> Result<(Trailer, u64), Stop> {
        let (pool, jobs) = (Pool::default(), self.layers.options.jobs);
        std::thread::scope(|scope| {
            let (frames, contents) = ordered(scope, "decompress", jobs, || {
                let mut unpacker = FrameUnpacker::new()?;
                let pool = pool.clone();
                Ok(move |frame: FoundFrame| frame.unpack(&mut unpacker, pool.take()))
            })?;
            let order = spawn(scope, "order", move || {
                self.find(plaintext, |finder, plaintext| frames.send(finder.frame(plaintext)?))
            })?;
            let delivered = delivery.deliver(contents);
            drop(delivery);
            match (delivered, join(order)) {
                (Ok(()), order) => order,
                (delivered, order) => {
                    let failure = first_failure([delivered.err(), order.err()]);
                    Err(failure.map_or(Stop::Closed, Stop::Failed))
                }
            }
        })
    }

    /// Unpacks the frames block by block on this thread: frames may be so large that several of them at once would take
    /// too much memory.
    fn unpack_in_order(
        self,
        plaintext: Plaintext,
        mut delivery: Delivery<'_>,
    ) -> Result<(Trailer, u64), Stop> {
        let mut decoder = FrameDecoder::new(u64::from(FRAME_SIZE_MAX))?;
        let found =
            self.find(plaintext, |finder, plaintext| finder.unpack(plaintext, &mut decoder, &mut delivery))?;
        decoder.finish(&mut delivery)?;
        Ok(found)
    }

    /// Reads up to the end; calls `take` at the start of each frame to read it.
    fn find(
        mut self,
        mut plaintext: Plaintext,
        mut take: impl FnMut(&mut Self, &mut Plaintext) -> Result<(), Stop>,
    ) -> Result<(Trailer, u64), Stop> {
        let manifest_size =
            usize::try_from(plaintext.position()).map_err(|_| damaged("the manifest is too long"))?;
        self.table.push(manifest_size, 0)?;
        loop {
            let first = plaintext.peek()?;
            match first.first_chunk().map(|magic| u32::from_le_bytes(*magic)) {
                Some(ZSTD_MAGIC) => take(&mut self, &mut plaintext)?,
                Some(TRAILER_MAGIC) => break,
                Some(_) => {
                    return Err(
                        damaged("there is something that is no frame between manifest and trailer").into()
                    );
                }
                None => return Err(damaged("what is inside the encryption ends before the trailer").into()),
            }
        }
        let count = self.table.entries.len() as u64 - 1;
        if count == 0 {
            return Err(damaged("there is no frame between manifest and trailer").into());
        }
        let trailer = self.end(&mut plaintext)?;
        Ok((trailer, count))
    }

    /// Unpacks the next frame while reading it.
    fn unpack(
        &mut self,
        plaintext: &mut Plaintext,
        decoder: &mut FrameDecoder,
        delivery: &mut Delivery<'_>,
    ) -> Result<(), Stop> {
        let begin = plaintext.position();
        let mut limits = None;
        let (mut packed, mut content) = (0, 0);
        let unpacked = decoder.frame(plaintext, delivery, |header, more_packed, more_content| {
            let (packed_limit, content_size) = if let Some(limits) = limits {
                limits
            } else {
                let (packed_limit, content_size) =
                    (self.packed_limit(header)?, header.version_1_content_size()?);
                // Refuses a frame before any of it comes out if it would be too much even at the worst compression.
                { self.expansion }.add(packed_limit as u64, u64::from(content_size))?;
                *limits.insert((packed_limit, content_size))
            };
            packed += more_packed;
            content += more_content;
            if packed > packed_limit as u64 || content > u64::from(content_size) {
                return Err(damaged("a zstd frame is larger than its content could ever need"));
            }
            Ok(())
        });
        let content_size = limits.map_or(0, |(_, content_size)| content_size);
        let whole = unpacked.and_then(|()| {
            if content == u64::from(content_size) {
                return Ok(());
            }
            Err(damaged("a zstd frame does not hold what its header says").into())
        });
        let range = self.range(begin, plaintext);
        whole.map_err(|stop| match stop {
            Stop::Failed(error) if error.kind() == Kind::StructureDamaged => within(error, range).into(),
            stop => stop,
        })?;
        let packed = usize::try_from(packed).map_err(|_| damaged("a zstd frame is too long"))?;
        Ok(self.note(packed, content_size)?)
    }

    fn frame(&mut self, plaintext: &mut Plaintext) -> Result<FoundFrame> {
        let begin = plaintext.position();
        let mut magic = [0; 4];
        plaintext.read_exactly(&mut magic)?;
        let mut bytes = self.pool.take();
        bytes.clear();
        let mut limit = None;
        let header = walk_frame(plaintext, &mut bytes, |header, bytes| {
            // zstd never needs more than its bound, so what the header may promise bounds the memory.
            let limit = match limit {
                Some(limit) => limit,
                None => *limit.insert(self.packed_limit(header)?),
            };
            if bytes.len() > limit {
                return Err(damaged("a zstd frame is larger than its content could ever need"));
            }
            Ok(())
        })?;
        let content_size = header.version_1_content_size()?;
        self.note(bytes.len(), content_size)?;
        Ok(FoundFrame { bytes, content_size, range: self.range(begin, plaintext) })
    }

    /// The range of the file, in whole chunks, that holds what was read since `begin`.
    fn range(&self, begin: u64, plaintext: &Plaintext) -> Range<u64> {
        // Every chunk with these bytes has been read, so the range stays within the file.
        let read = self.layers.read.load(Ordering::Relaxed);
        sealed_range(self.layers.header_size, begin..plaintext.position(), read)
    }

    fn packed_limit(&self, header: &FrameHeader) -> Result<usize> {
        let content_size = header.version_1_content_size()?;
        if content_size > self.description.frame_size {
            return Err(damaged("a zstd frame is larger than the manifest says"));
        }
        Ok(zstd::compress_bound(content_size as usize))
    }

    fn note(&mut self, packed: usize, content_size: u32) -> Result<()> {
        if self.short {
            return Err(damaged("a zstd frame that is not the last is shorter than the manifest says"));
        }
        self.short = content_size < self.description.frame_size;
        self.expansion.add(packed as u64, u64::from(content_size))?;
        self.table.push(packed, content_size)
    }

    fn end(mut self, plaintext: &mut Plaintext) -> Result<Trailer> {
        let (_, json) = read_skippable(plaintext, DOCUMENT_SIZE_MAX, "trailer")?;
        let trailer: Trailer = parse(&json, "trailer")?.content;
        self.table.push(SKIPPABLE_HEADER_SIZE + json.len(), 0)?;
        let snapshot_size = self.expansion.content();
        let promised = self.description.snapshot_size.unwrap_or(snapshot_size);
        if trailer.snapshot_size != snapshot_size || promised != snapshot_size {
            return Err(damaged("manifest, trailer and frames disagree on the size of the snapshot"));
        }
        let expected = self.table.to_frame()?;
        let (magic, table) = read_skippable(plaintext, expected.len() - SKIPPABLE_HEADER_SIZE, "seek table")?;
        if magic != SEEK_TABLE_MAGIC || table != expected[SKIPPABLE_HEADER_SIZE..] {
            return Err(damaged("the seek table does not fit the frames before it"));
        }
        if !plaintext.available()?.is_empty() {
            return Err(damaged("there is something behind the seek table"));
        }
        Ok(trailer)
    }
}

/// Reads a skippable frame of at most `limit` bytes of content; returns its magic number and its content.
fn read_skippable(plaintext: &mut Plaintext, limit: usize, what: &str) -> Result<(u32, Vec<u8>)> {
    let mut header = [0; SKIPPABLE_HEADER_SIZE];
    plaintext.read_exactly(&mut header)?;
    let (magic, size) = parse_skippable_header(header);
    if size > limit {
        return Err(damaged(format!("the {what} would be {size} bytes long")));
    }
    let mut content = vec![0; size];
    plaintext.read_exactly(&mut content)?;
    Ok((magic, content))
}
