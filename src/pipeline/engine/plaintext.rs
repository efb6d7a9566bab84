//! The payload of an archive: decrypted in parallel, read in order.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Scope;

use super::batch::{BATCH_SIZE, Batch, plaintext};
use super::buffer::{Buffer, Pool};
use super::stage::{Feeder, Ordered, Stop, join, ordered, spawn};
use crate::archive::cannot_read;
use crate::archive::frame::{ReadExactly, SKIPPABLE_HEADER_SIZE, damaged};
use crate::archive::payload::{Chunks, PayloadKey, Position, SEALED_CHUNK_SIZE};
use crate::error::{Error, Kind, Result};
use crate::watch::Watch;

/// Reads until `buffer` is full or the input ends.
///
/// # Errors
/// [`Kind::Io`], or [`Kind::PayloadDamaged`] where the armour around it is malformed.
pub(in crate::pipeline) fn read_full(input: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    fill(input, buffer).map_err(cannot_read)
}

/// Fills `buffer`, less only at the end.
///
/// # Errors
/// Those of `input`.
pub(in crate::pipeline) fn fill(input: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The error for an archive that ends inside a chunk.
pub(in crate::pipeline) fn cut(size: u64) -> Error {
    Error::new(
        Kind::PayloadDamaged,
        format!("the archive is cut: it ends inside a chunk, after {size} bytes"),
    )
    .with_damaged(size..size + 1)
}

/// The error for a payload without a byte of plaintext, which age allows.
pub(in crate::pipeline) fn empty() -> Error {
    Error::new(Kind::NotASnapshot, "not an etcd snapshot: it is empty")
}

/// The queue of sealed batches. An error takes its place in the order, so that damage before it is found first.
type Batches = Feeder<Result<Batch>, Result<Buffer>>;

/// Reads and decrypts `payload` on other threads while `read` takes its plaintext. `archive_read` starts at the size of
/// the header and ends at the size of the archive.
///
/// # Errors
/// The errors of `read`, which finds any fault of the payload at its place, and [`Kind::Io`] where the system cannot start
/// another thread.
pub(in crate::pipeline) fn decrypted<T>(
    payload: impl Read + Send,
    key: &PayloadKey,
    archive_read: &AtomicU64,
    jobs: usize,
    watch: &Watch,
    read: impl FnOnce(Plaintext) -> Result<T>,
) -> Result<T> {
    std::thread::scope(|scope| {
        let (batches, opened) = start_decrypting(scope, jobs, key, archive_read.load(Ordering::Relaxed))?;
        let reader = spawn(scope, "read", move || read_batches(payload, archive_read, &batches, watch))?;
        let read = read(Plaintext::new(opened));
        if let Err(error) = &read {
            watch.interrupt.fail(error);
        }
        join(reader);
        read
    })
}

/// Starts the threads that decrypt.
///
/// # Errors
/// [`Kind::Io`] where the system cannot start another thread.
fn start_decrypting<'scope>(
    scope: &'scope Scope<'scope, '_>,
    jobs: usize,
    key: &PayloadKey,
    header_size: u64,
) -> Result<(Batches, Ordered<Result<Buffer>>)> {
    ordered(scope, "decrypt", jobs, || {
        let cipher = key.cipher();
        Ok(move |batch: Result<Batch>| batch?.open(&cipher, header_size))
    })
}

/// Cuts the payload into batches until it ends or the queue is closed; `read` is `archive_read` of [`decrypted`].
fn read_batches(mut payload: impl Read, read: &AtomicU64, batches: &Batches, watch: &Watch) {
    let header_size = read.load(Ordering::Relaxed);
    let pool = Pool::default();
    let mut next = read_batch(&mut payload, &pool);
    for number in 0.. {
        let sealed = match next.and_then(|sealed| watch.check().map(|()| sealed)) {
            Ok(sealed) => sealed,
            Err(error) => {
                // A closed queue is no failure here: the stage that closed it has the reason.
                let _ = batches.send(Err(error));
                return;
            }
        };
        let size = read.fetch_add(sealed.len() as u64, Ordering::Relaxed) + sealed.len() as u64 - header_size;
        next = read_batch(&mut payload, &pool);
        let last = matches!(&next, Ok(following) if following.is_empty());
        let sent = if last {
            send_last(batches, number, sealed, header_size, size)
        } else {
            batches.send(Ok(Batch::new(number, sealed, Position::NotLast)))
        };
        if last || sent.is_err() {
            return;
        }
    }
}

fn send_last(
    batches: &Batches,
    number: u64,
    mut sealed: Buffer,
    header_size: u64,
    size: u64,
) -> Result<(), Stop> {
    if Chunks::of_payload(size).is_some() {
        return batches.send(Ok(Batch::new(number, sealed, Position::Last)));
    }
    let whole = sealed.len() / SEALED_CHUNK_SIZE * SEALED_CHUNK_SIZE;
    sealed.truncate(whole);
    batches.send(Ok(Batch::new(number, sealed, Position::NotLast)))?;
    batches.send(Err(cut(header_size + size)))
}

fn read_batch(payload: &mut impl Read, pool: &Pool) -> Result<Buffer> {
    let mut sealed = pool.take_sized(BATCH_SIZE);
    let read = read_full(payload, &mut sealed)?;
    sealed.truncate(read);
    Ok(sealed)
}

/// The plaintext of the payload, in order.
pub(in crate::pipeline) struct Plaintext {
    batches: Ordered<Result<Buffer>>,
    batch: Buffer,
    /// The next batch, where [`Plaintext::peek`] has already taken it from the queue.
    following: Option<Buffer>,
    /// The current chunk of `batch`, and how many of its bytes were consumed.
    chunk: usize,
    taken: usize,
    position: u64,
}

impl Plaintext {
    fn new(batches: Ordered<Result<Buffer>>) -> Self {
        Self { batches, batch: Vec::new().into(), following: None, chunk: 0, taken: 0, position: 0 }
    }

    /// Bytes consumed so far.
    pub(in crate::pipeline) fn position(&self) -> u64 {
        self.position
    }

    /// The unread bytes of the current chunk; empty only at the end.
    pub(in crate::pipeline) fn available(&mut self) -> Result<&[u8]> {
        while self.at_hand().is_empty() {
            self.taken = 0;
            self.chunk += 1;
            if plaintext(&self.batch, self.chunk).is_none() {
                let Some(batch) = self.take_following()? else { return Ok(&[]) };
                (self.batch, self.chunk) = (batch, 0);
            }
        }
        Ok(self.at_hand())
    }

    /// Reads up to the end, only to see that the rest of the payload is whole.
    pub(in crate::pipeline) fn skip_rest(&mut self) -> Result<()> {
        loop {
            match self.available()?.len() {
                0 => return Ok(()),
                count => self.consume(count),
            }
        }
    }

    fn at_hand(&self) -> &[u8] {
        plaintext(&self.batch, self.chunk).and_then(|chunk| chunk.get(self.taken..)).unwrap_or_default()
    }

    fn take_following(&mut self) -> Result<Option<Buffer>> {
        match self.following.take() {
            Some(following) => Ok(Some(following)),
            None => self.batches.next().transpose(),
        }
    }

    /// Marks the next `count` bytes as consumed.
    pub(in crate::pipeline) fn consume(&mut self, count: usize) {
        self.taken += count;
        self.position += count as u64;
    }

    /// The next bytes, without consuming them: as many as the header of a skippable frame and one more, fewer only near
    /// the end. Only the last chunk is shorter than that, so two chunks always suffice.
    pub(in crate::pipeline) fn peek(&mut self) -> Result<Vec<u8>> {
        const PEEKED: usize = SKIPPABLE_HEADER_SIZE + 1;
        let mut peeked: Vec<u8> = self.available()?.iter().copied().take(PEEKED).collect();
        if peeked.len() < PEEKED {
            let missing = PEEKED - peeked.len();
            peeked.extend(self.behind()?.iter().take(missing));
        }
        Ok(peeked)
    }

    /// The chunk after the current one; empty where there is none.
    fn behind(&mut self) -> Result<&[u8]> {
        if plaintext(&self.batch, self.chunk + 1).is_some() {
            return Ok(plaintext(&self.batch, self.chunk + 1).unwrap_or_default());
        }
        self.following = self.take_following()?;
        Ok(self.following.as_ref().and_then(|batch| plaintext(batch, 0)).unwrap_or_default())
    }
}

impl ReadExactly for Plaintext {
    fn read_exactly(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let available = self.available()?;
            if available.is_empty() {
                return Err(ends_too_early());
            }
            let length = available.len().min(buffer.len());
            buffer[..length].copy_from_slice(&available[..length]);
            self.consume(length);
            buffer = &mut buffer[length..];
        }
        Ok(())
    }

    fn append_exactly(&mut self, mut length: usize, bytes: &mut Vec<u8>) -> Result<()> {
        while length > 0 {
            let available = self.available()?;
            if available.is_empty() {
                return Err(ends_too_early());
            }
            let taken = available.len().min(length);
            bytes.extend_from_slice(&available[..taken]);
            self.consume(taken);
            length -= taken;
        }
        Ok(())
    }
}

fn ends_too_early() -> Error {
    damaged("what is inside the encryption ends too early")
}
