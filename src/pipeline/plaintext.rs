//! The payload of an archive, decrypted in parallel and read in order.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Scope;

use super::stage::{Feeder, Ordered, ordered};
use crate::archive::cannot_read;
use crate::archive::frame::{ReadExactly, SKIPPABLE_HEADER_SIZE, damaged};
use crate::archive::payload::{ChunkCipher, Chunks, PayloadKey, Position, SEALED_CHUNK_SIZE};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;

/// Sealed chunks opened by one thread at a time: about 1 MiB.
const BATCH_CHUNKS: usize = 16;

/// Fills `buffer` as far as the input reaches.
///
/// # Errors
/// [`Kind::Io`], or [`Kind::PayloadDamaged`] where the armour around it is malformed.
pub(super) fn read_full(input: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cannot_read(error)),
        }
    }
    Ok(filled)
}

/// The archive ends where no archive can.
pub(super) fn cut(size: u64) -> Error {
    Error::new(
        Kind::PayloadDamaged,
        format!("the archive is cut: it ends inside a chunk, after {size} bytes"),
    )
    .with_damaged(size..size + 1)
}

/// Consecutive sealed chunks for one decrypting thread.
pub(super) struct SealedBatch {
    first_counter: u64,
    sealed: Vec<u8>,
    position: Position,
}

impl SealedBatch {
    fn open(&self, cipher: &ChunkCipher, header_size: u64) -> Result<Vec<u8>> {
        let count = self.sealed.len().div_ceil(SEALED_CHUNK_SIZE);
        let mut plaintext = Vec::with_capacity(self.sealed.len());
        let mut opened = Vec::with_capacity(SEALED_CHUNK_SIZE);
        for ((chunk, counter), number) in
            self.sealed.chunks(SEALED_CHUNK_SIZE).zip(self.first_counter..).zip(1..)
        {
            let position = if number == count { self.position } else { Position::NotLast };
            opened.clear();
            opened.extend_from_slice(chunk);
            if !cipher.open(counter, position, &mut opened) {
                return Err(explain(cipher, counter, position, chunk, header_size));
            }
            plaintext.extend_from_slice(&opened);
        }
        Ok(plaintext)
    }
}

/// Why a chunk did not open: if it opens at the other position, the archive was cut or appended to.
fn explain(cipher: &ChunkCipher, counter: u64, position: Position, chunk: &[u8], header_size: u64) -> Error {
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
    if cipher.open(counter, other, &mut chunk.to_vec()) {
        return Error::new(Kind::PayloadDamaged, otherwise).with_damaged(end..end + 1);
    }
    Error::new(Kind::PayloadDamaged, format!("the archive is damaged between byte {begin} and byte {end}"))
        .with_damaged(begin..end)
}

/// Where sealed batches go in: an error takes its place in the order, so that damage before it is met first.
pub(super) type Batches = Feeder<Result<SealedBatch>, Result<Vec<u8>>>;

/// Starts the threads that decrypt.
///
/// # Errors
/// [`Kind::Io`] where the system has no more threads.
pub(super) fn start_decrypting<'scope>(
    scope: &'scope Scope<'scope, '_>,
    jobs: usize,
    key: &PayloadKey,
    header_size: u64,
) -> Result<(Batches, Ordered<Result<Vec<u8>>>)> {
    ordered(scope, "decrypt", jobs, || {
        let cipher = key.cipher();
        Ok(move |batch: Result<SealedBatch>| batch?.open(&cipher, header_size))
    })
}

/// Cuts the payload into batches until its end, or until nobody listens. `read` begins as the size of the header, and
/// ends as that of the archive.
pub(super) fn read_batches(
    mut payload: impl Read,
    read: &AtomicU64,
    batches: &Batches,
    interrupt: &Interrupt,
) {
    let header_size = read.load(Ordering::Relaxed);
    let mut counter = 0;
    let mut next = read_batch(&mut payload);
    loop {
        let sealed = match next.and_then(|sealed| interrupt.check().map(|()| sealed)) {
            Ok(sealed) => sealed,
            Err(error) => {
                // Nobody listening is no failure here: whoever stopped says why.
                let _ = batches.send(Err(error));
                return;
            }
        };
        let size = read.fetch_add(sealed.len() as u64, Ordering::Relaxed) + sealed.len() as u64 - header_size;
        next = read_batch(&mut payload);
        let last = matches!(&next, Ok(following) if following.is_empty());
        let first_counter = counter;
        counter += BATCH_CHUNKS as u64;
        let sent = if last {
            send_last(batches, first_counter, sealed, header_size, size)
        } else {
            batches.send(Ok(SealedBatch { first_counter, sealed, position: Position::NotLast }))
        };
        if last || sent.is_err() {
            return;
        }
    }
}

fn send_last(
    batches: &Batches,
    first_counter: u64,
    mut sealed: Vec<u8>,
    header_size: u64,
    size: u64,
) -> Result<(), super::stage::Stop> {
    if Chunks::of_payload(size).is_some() {
        return batches.send(Ok(SealedBatch { first_counter, sealed, position: Position::Last }));
    }
    sealed.truncate(sealed.len() / SEALED_CHUNK_SIZE * SEALED_CHUNK_SIZE);
    batches.send(Ok(SealedBatch { first_counter, sealed, position: Position::NotLast }))?;
    batches.send(Err(cut(header_size + size)))
}

fn read_batch(payload: &mut impl Read) -> Result<Vec<u8>> {
    let mut sealed = vec![0; BATCH_CHUNKS * SEALED_CHUNK_SIZE];
    let read = read_full(payload, &mut sealed)?;
    sealed.truncate(read);
    Ok(sealed)
}

/// The plaintext of the payload, in order.
pub(super) struct Plaintext {
    batches: Ordered<Result<Vec<u8>>>,
    batch: Vec<u8>,
    /// Bytes of `batch` already given out.
    taken: usize,
    /// Bytes of the plaintext before `batch`.
    before: u64,
}

impl Plaintext {
    pub(super) fn new(batches: Ordered<Result<Vec<u8>>>) -> Self {
        Self { batches, batch: Vec::new(), taken: 0, before: 0 }
    }

    /// Bytes given out so far.
    pub(super) fn position(&self) -> u64 {
        self.before + self.taken as u64
    }

    /// The bytes at hand; empty only at the end.
    pub(super) fn available(&mut self) -> Result<&[u8]> {
        while self.taken == self.batch.len() {
            let Some(batch) = self.batches.next() else { return Ok(&[]) };
            self.before += self.batch.len() as u64;
            self.batch = batch?;
            self.taken = 0;
        }
        Ok(&self.batch[self.taken..])
    }

    /// Marks `count` of the bytes at hand as given out.
    pub(super) fn consume(&mut self, count: usize) {
        self.taken += count;
    }

    /// The next bytes, without giving them out: as many as the header of a skippable frame and one more, fewer only
    /// near the end.
    pub(super) fn peek(&mut self) -> Result<Vec<u8>> {
        const PEEKED: usize = SKIPPABLE_HEADER_SIZE + 1;
        if self.available()?.len() < PEEKED
            && let Some(batch) = self.batches.next()
        {
            let mut joined = self.batch.split_off(self.taken);
            joined.extend(batch?);
            self.before += self.taken as u64;
            (self.batch, self.taken) = (joined, 0);
        }
        let available = self.available()?;
        Ok(available[..available.len().min(PEEKED)].to_vec())
    }
}

impl ReadExactly for Plaintext {
    fn read_exactly(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let available = self.available()?;
            if available.is_empty() {
                return Err(damaged("what is inside the encryption ends too early"));
            }
            let length = available.len().min(buffer.len());
            buffer[..length].copy_from_slice(&available[..length]);
            self.consume(length);
            buffer = &mut buffer[length..];
        }
        Ok(())
    }
}
