//! Reads any byte range of an archive's plaintext without reading the rest.
//!
//! STREAM allows a reader to open each chunk alone, but only the final chunk marks the end of the payload. So this module
//! opens that one first: it authenticates the length, and only then are seek table, trailer and frames used.

use std::io::{Read, Seek, SeekFrom};

use super::cannot_read;
use super::expansion::Expansion;
use super::frame::{
    FrameUnpacker, MANIFEST_MAGIC, SKIPPABLE_HEADER_SIZE, TRAILER_MAGIC, ZSTD_MAGIC, begins_as_document,
    damaged, parse_skippable_header, walk_frame,
};
use super::manifest::{DOCUMENT_SIZE_MAX, Description, Document, Manifest, Trailer, parse, parse_manifest};
use super::payload::{
    CHUNK_SIZE, ChunkCipher, Chunks, PayloadKey, Position, SEALED_CHUNK_SIZE, TAG_SIZE, sealed_range,
};
use super::seek_table::{Entry, FOOTER_SIZE, SeekTable};
use crate::error::{Error, Kind, Result};

/// The plaintext of an age payload, read at any offset.
pub struct PayloadAt<R> {
    input: R,
    cipher: ChunkCipher,
    header_size: u64,
    chunks: Chunks,
    /// The chunk that was opened last, because reads are usually adjacent.
    opened: Option<(u64, Vec<u8>)>,
}

impl<R: Read + Seek> PayloadAt<R> {
    /// Opens the payload, and first its final chunk.
    ///
    /// # Errors
    /// [`Kind::PayloadDamaged`] where the payload is truncated or not authentic, [`Kind::Io`].
    pub fn new(mut input: R, key: &PayloadKey, header_size: u64) -> Result<Self> {
        let size = input.seek(SeekFrom::End(0)).map_err(cannot_read)?;
        let chunks = size.checked_sub(header_size).and_then(Chunks::of_payload).ok_or_else(|| cut(size))?;
        let mut payload = Self { input, cipher: key.cipher(), header_size, chunks, opened: None };
        payload.chunk(chunks.count - 1)?;
        Ok(payload)
    }

    /// The number of bytes of the plaintext.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.chunks.plaintext
    }

    fn archive_size(&self) -> u64 {
        self.header_size + (self.chunks.count - 1) * SEALED_CHUNK_SIZE as u64 + self.chunks.last_sealed
    }

    /// Fills `buffer` with the plaintext at `offset`.
    ///
    /// # Errors
    /// [`Kind::StructureDamaged`] where the plaintext ends before that range does, [`Kind::PayloadDamaged`], [`Kind::Io`].
    pub fn read_at(&mut self, mut offset: u64, mut buffer: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size());
        if end.is_none() {
            return Err(damaged("a frame reaches beyond the end of the payload"));
        }
        while !buffer.is_empty() {
            let chunk = self.chunk(offset / CHUNK_SIZE as u64)?;
            let within = usize::try_from(offset % CHUNK_SIZE as u64).unwrap_or(0);
            let length = buffer.len().min(chunk.len() - within);
            buffer[..length].copy_from_slice(&chunk[within..within + length]);
            buffer = &mut buffer[length..];
            offset += length as u64;
        }
        Ok(())
    }

    fn chunk(&mut self, number: u64) -> Result<&[u8]> {
        if self.opened.as_ref().is_none_or(|(opened, _)| *opened != number) {
            let chunk = self.open_chunk(number)?;
            self.opened = Some((number, chunk));
        }
        Ok(self.opened.as_ref().map_or(&[], |(_, chunk)| chunk))
    }

    fn open_chunk(&mut self, number: u64) -> Result<Vec<u8>> {
        let last = number + 1 == self.chunks.count;
        let begin = self.header_size + number * SEALED_CHUNK_SIZE as u64;
        let size = if last { self.chunks.last_sealed } else { SEALED_CHUNK_SIZE as u64 };
        let mut chunk = vec![0; usize::try_from(size).unwrap_or(SEALED_CHUNK_SIZE)];
        self.input.seek(SeekFrom::Start(begin)).map_err(cannot_read)?;
        self.input.read_exact(&mut chunk).map_err(cannot_read)?;
        let position = if last { Position::Last } else { Position::NotLast };
        if self.cipher.open(number, position, &mut chunk) {
            chunk.truncate(chunk.len() - TAG_SIZE);
            return Ok(chunk);
        }
        let what =
            if last { "the last chunk is damaged, or the archive was cut" } else { "a chunk is damaged" };
        Err(Error::new(Kind::PayloadDamaged, what).with_damaged(begin..begin + size))
    }
}

fn cut(size: u64) -> Error {
    Error::new(Kind::PayloadDamaged, format!("the archive ends inside a chunk, after {size} bytes"))
}

/// An archive of version 1, open for reading at any offset of the snapshot.
pub struct ArchiveAt<R> {
    payload: PayloadAt<R>,
    /// The manifest.
    pub manifest: Document<Manifest>,
    /// The trailer.
    pub trailer: Trailer,
    /// The position of each snapshot frame in the plaintext, and its size there.
    frames: Vec<(u64, u32)>,
    unpacker: FrameUnpacker,
    unpacked: Option<(usize, Vec<u8>)>,
}

impl<R: Read + Seek> ArchiveAt<R> {
    /// Reads seek table, trailer and manifest, which must repeat the header's `description`. Checks each frame only when it
    /// is read.
    ///
    /// # Errors
    /// [`Kind::StructureDamaged`], [`Kind::PayloadDamaged`], [`Kind::FormatNewer`], [`Kind::Io`].
    pub fn new(mut payload: PayloadAt<R>, description: Option<&Document<Description>>) -> Result<Self> {
        let manifest_json = read_document(&mut payload, 0, MANIFEST_MAGIC, "manifest")?;
        let manifest = parse_manifest(&manifest_json, description)?;
        let (table, table_at) = read_seek_table(&mut payload)?;
        let mut frames = Vec::with_capacity(table.entries.len());
        let mut at = 0;
        let description = &manifest.content.description;
        let mut expansion = Expansion::new(description.snapshot_size);
        for entry in &table.entries {
            frames.push((at, entry.compressed));
            at += u64::from(entry.compressed);
            if entry.decompressed > 0 {
                expansion.add(u64::from(entry.compressed), u64::from(entry.decompressed))?;
            }
        }
        let snapshot = expansion.content();
        let (Some((trailer_at, _)), true) = (frames.pop(), at == table_at) else {
            return Err(table_does_not_fit());
        };
        let trailer_json = read_document(&mut payload, trailer_at, TRAILER_MAGIC, "trailer")?;
        let trailer: Trailer = parse(&trailer_json, "trailer")?.content;
        if !is_table_of(&table, &manifest_json, &trailer_json, description.frame_size) {
            return Err(table_does_not_fit());
        }
        let promised = description.snapshot_size.unwrap_or(snapshot);
        if trailer.snapshot_size != snapshot || promised != snapshot {
            return Err(damaged("manifest, trailer and seek table disagree on the size of the snapshot"));
        }
        frames.remove(0);
        Ok(Self { payload, manifest, trailer, frames, unpacker: FrameUnpacker::new()?, unpacked: None })
    }

    /// The number of frames of the snapshot.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames.len() as u64
    }

    /// Fills `buffer` with the snapshot at `offset`.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a range beyond the snapshot, otherwise the errors of [`new`](Self::new).
    pub fn read_at(&mut self, mut offset: u64, mut buffer: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.trailer.snapshot_size) {
            return Err(Error::new(
                Kind::Usage,
                format!("the snapshot is only {} bytes long", self.trailer.snapshot_size),
            ));
        }
        let frame_size = u64::from(self.manifest.content.description.frame_size);
        while !buffer.is_empty() {
            let within = usize::try_from(offset % frame_size).unwrap_or(0);
            let frame = self.frame(usize::try_from(offset / frame_size).unwrap_or(usize::MAX))?;
            let available = frame.get(within..).filter(|rest| !rest.is_empty());
            let available = available.ok_or_else(|| damaged("a frame is shorter than the manifest says"))?;
            let length = buffer.len().min(available.len());
            buffer[..length].copy_from_slice(&available[..length]);
            buffer = &mut buffer[length..];
            offset += length as u64;
        }
        Ok(())
    }

    fn frame(&mut self, number: usize) -> Result<&[u8]> {
        if self.unpacked.as_ref().is_none_or(|(unpacked, _)| *unpacked != number) {
            let content = self.unpack(number)?;
            self.unpacked = Some((number, content));
        }
        Ok(self.unpacked.as_ref().map_or(&[], |(_, content)| content))
    }

    fn unpack(&mut self, number: usize) -> Result<Vec<u8>> {
        let &(at, size) =
            self.frames.get(number).ok_or_else(|| damaged("the snapshot has fewer frames than it should"))?;
        let frame_size = self.manifest.content.description.frame_size;
        if size as usize > zstd::compress_bound(frame_size as usize) {
            return Err(damaged("a zstd frame is larger than its content could ever need"));
        }
        let mut bytes = vec![0; size as usize];
        self.payload.read_at(at, &mut bytes)?;
        let mut rest = bytes
            .strip_prefix(&ZSTD_MAGIC.to_le_bytes())
            .ok_or_else(|| damaged("a frame does not begin as one"))?;
        let mut block = Vec::new();
        let header = walk_frame(&mut rest, &mut block, |_, block| {
            block.clear();
            Ok(())
        })?;
        let content_size = header.version_1_content_size()?;
        if !rest.is_empty() || content_size > frame_size {
            return Err(damaged("a frame is not as long as the seek table says"));
        }
        let end = self.payload.archive_size();
        let range = sealed_range(self.payload.header_size, at..at + u64::from(size), end);
        let mut content = block;
        self.unpacker
            .unpack(&bytes, content_size, &mut content)
            .map_err(|error| error.with_damaged(range))?;
        Ok(content)
    }
}

fn table_does_not_fit() -> Error {
    damaged("the seek table does not fit the frames before it")
}

/// Whether the table begins and ends with the two documents, and has frames of the frame size between them: only then does a
/// division by the frame size find the frame of a byte.
fn is_table_of(table: &SeekTable, manifest: &[u8], trailer: &[u8], frame_size: u32) -> bool {
    let is_document = |entry: &Entry, json: &[u8]| {
        entry.decompressed == 0 && entry.compressed as usize == SKIPPABLE_HEADER_SIZE + json.len()
    };
    let [first, pieces @ .., last_piece, last] = &table.entries[..] else { return false };
    is_document(first, manifest)
        && is_document(last, trailer)
        && pieces.iter().all(|piece| piece.decompressed == frame_size)
        && (1..=frame_size).contains(&last_piece.decompressed)
}

/// Whether the payload ends as an archive of version 1 does, with a trailer. If it does, but its beginning differs, the
/// archive has been altered.
///
/// # Errors
/// [`Kind::PayloadDamaged`], [`Kind::Io`].
pub fn ends_with_trailer<R: Read + Seek>(payload: &mut PayloadAt<R>) -> Result<bool> {
    let trailer = read_seek_table(payload).and_then(|(table, table_at)| {
        let size = table.entries.last().map_or(0, |entry| u64::from(entry.compressed));
        let trailer_at = table_at.checked_sub(size).ok_or_else(|| damaged("the seek table does not fit"))?;
        let mut first = [0; SKIPPABLE_HEADER_SIZE + 1];
        payload.read_at(trailer_at, &mut first)?;
        Ok(begins_as_document(&first))
    });
    match trailer {
        Ok(found) => Ok(found),
        // The payload ends with something else, which is not of this format.
        Err(error) if error.kind() == Kind::StructureDamaged => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_document<R: Read + Seek>(
    payload: &mut PayloadAt<R>,
    at: u64,
    magic: u32,
    what: &str,
) -> Result<Vec<u8>> {
    let mut header = [0; SKIPPABLE_HEADER_SIZE];
    payload.read_at(at, &mut header)?;
    let (found, size) = parse_skippable_header(header);
    if found != magic || size > DOCUMENT_SIZE_MAX {
        return Err(damaged(format!("the {what} is not where it should be")));
    }
    let mut content = vec![0; size];
    payload.read_at(at + SKIPPABLE_HEADER_SIZE as u64, &mut content)?;
    Ok(content)
}

fn read_seek_table<R: Read + Seek>(payload: &mut PayloadAt<R>) -> Result<(SeekTable, u64)> {
    let missing = || damaged("there is no seek table at the end");
    let mut footer = [0; FOOTER_SIZE];
    let footer_at = payload.size().checked_sub(FOOTER_SIZE as u64).ok_or_else(missing)?;
    payload.read_at(footer_at, &mut footer)?;
    let size = SeekTable::frame_size(&footer)?;
    let at = payload.size().checked_sub(size as u64).ok_or_else(missing)?;
    let mut frame = vec![0; size];
    payload.read_at(at, &mut frame)?;
    Ok((SeekTable::parse(&frame)?, at))
}
