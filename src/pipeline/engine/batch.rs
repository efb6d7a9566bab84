//! Batches of consecutive chunks: one thread seals or opens a whole batch in place.

use super::buffer::{Buffer, Pool};
use super::stage::{Feeder, Stop};
use crate::archive::payload::{CHUNK_SIZE, ChunkCipher, Position, SEALED_CHUNK_SIZE, TAG_SIZE};
use crate::error::{Error, Kind, Result};

/// Chunks of a batch: with 1 MiB the cost of passing batches between threads is small.
const BATCH_CHUNKS: usize = 16;
/// Bytes of every batch but the last.
pub(in crate::pipeline) const BATCH_SIZE: usize = BATCH_CHUNKS * SEALED_CHUNK_SIZE;

/// Consecutive chunks of a payload.
pub(in crate::pipeline) struct Batch {
    first_counter: u64,
    /// Sealed chunks as in the archive, or plaintext chunks, each followed by room for its tag.
    chunks: Buffer,
    /// The position of the last chunk.
    position: Position,
}

impl Batch {
    /// Batch number `number` of the payload.
    pub(in crate::pipeline) fn new(number: u64, chunks: Buffer, position: Position) -> Self {
        Self { first_counter: number * BATCH_CHUNKS as u64, chunks, position }
    }

    /// The chunks with their counters and positions.
    fn each(&mut self) -> impl Iterator<Item = (u64, Position, &mut [u8])> {
        let (count, last) = (self.chunks.len().div_ceil(SEALED_CHUNK_SIZE), self.position);
        let chunks = self.chunks.chunks_mut(SEALED_CHUNK_SIZE);
        chunks.zip(self.first_counter..).zip(1..).map(move |((chunk, counter), number)| {
            (counter, if number == count { last } else { Position::NotLast }, chunk)
        })
    }

    /// Seals the chunks; the result is what stands in the archive.
    pub(in crate::pipeline) fn seal(mut self, cipher: &ChunkCipher) -> Result<Buffer> {
        for (counter, position, chunk) in self.each() {
            cipher.seal(counter, position, chunk)?;
        }
        Ok(self.chunks)
    }

    /// Decrypts the chunks; [`plaintext`] finds the plaintext in the result.
    pub(in crate::pipeline) fn open(mut self, cipher: &ChunkCipher, header_size: u64) -> Result<Buffer> {
        for (counter, position, chunk) in self.each() {
            if !cipher.open(counter, position, chunk) {
                return Err(explain(cipher, counter, position, chunk, header_size));
            }
        }
        Ok(self.chunks)
    }
}

/// Explains why a chunk did not open: if it opens at the other position, the archive was cut or appended to.
fn explain(
    cipher: &ChunkCipher,
    counter: u64,
    position: Position,
    chunk: &mut [u8],
    header_size: u64,
) -> Error {
    let begin = header_size + counter * SEALED_CHUNK_SIZE as u64;
    let end = begin + chunk.len() as u64;
    let (other, otherwise) = match position {
        Position::Last => {
            (Position::NotLast, format!("the archive is cut: its end is missing after byte {end}"))
        }
        Position::NotLast => {
            (Position::Last, format!("there is something behind the archive's end at byte {end}"))
        }
    };
    if cipher.open(counter, other, chunk) {
        return Error::new(Kind::PayloadDamaged, otherwise).with_damaged(end..end + 1);
    }
    Error::new(Kind::PayloadDamaged, format!("the archive is damaged between byte {begin} and byte {end}"))
        .with_damaged(begin..end)
}

/// The plaintext of chunk number `number` of an opened batch; `None` after the last.
pub(in crate::pipeline) fn plaintext(opened: &[u8], number: usize) -> Option<&[u8]> {
    let chunk = opened.chunks(SEALED_CHUNK_SIZE).nth(number)?;
    chunk.get(..chunk.len().checked_sub(TAG_SIZE)?)
}

/// Cuts a plaintext into batches. It sends a batch only when more bytes follow, so the last one is never empty.
pub(in crate::pipeline) struct Batcher {
    batches: Feeder<Batch, Result<Buffer>>,
    pool: Pool,
    chunks: Buffer,
    sent: u64,
}

impl Batcher {
    pub(in crate::pipeline) fn new(batches: Feeder<Batch, Result<Buffer>>) -> Self {
        let pool = Pool::default();
        let chunks = empty_batch(&pool);
        Self { batches, pool, chunks, sent: 0 }
    }

    pub(in crate::pipeline) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Stop> {
        while !bytes.is_empty() {
            let mut room = CHUNK_SIZE - self.chunks.len() % SEALED_CHUNK_SIZE;
            if room == 0 {
                self.end_chunk();
                room = CHUNK_SIZE;
                if self.chunks.len() == BATCH_SIZE {
                    self.send(Position::NotLast)?;
                }
            }
            let (taken, rest) = bytes.split_at(bytes.len().min(room));
            self.chunks.extend_from_slice(taken);
            bytes = rest;
        }
        Ok(())
    }

    /// Sends the last batch.
    pub(in crate::pipeline) fn finish(mut self) -> Result<(), Stop> {
        self.end_chunk();
        self.send(Position::Last)
    }

    /// Leaves room for the tag.
    fn end_chunk(&mut self) {
        self.chunks.extend_from_slice(&[0; TAG_SIZE]);
    }

    fn send(&mut self, position: Position) -> Result<(), Stop> {
        let chunks = std::mem::replace(&mut self.chunks, empty_batch(&self.pool));
        let number = self.sent;
        self.sent += 1;
        self.batches.send(Batch::new(number, chunks, position))
    }
}

fn empty_batch(pool: &Pool) -> Buffer {
    let mut chunks = pool.take();
    chunks.clear();
    chunks.reserve_exact(BATCH_SIZE);
    chunks
}
