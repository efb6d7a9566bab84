//! The age payload: STREAM with ChaCha20-Poly1305 in chunks of 64 KiB.
//!
//! From the age specification (c2sp.org/age, "Payload"): the payload key is HKDF-SHA-256 of the file key with the
//! header's nonce as salt and `payload` as info. Each chunk is sealed with a nonce of an 11-byte big-endian counter and
//! one byte that is 1 for the last chunk. The last chunk may be shorter, but is empty only when the whole payload is.

use std::ops::Range;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{Error, Kind, Result};

/// Plaintext bytes of every chunk but the last.
pub const CHUNK_SIZE: usize = 64 * 1024;
/// Bytes of Poly1305's tag behind each chunk.
pub const TAG_SIZE: usize = 16;
/// Bytes of every sealed chunk but the last.
pub const SEALED_CHUNK_SIZE: usize = CHUNK_SIZE + TAG_SIZE;
/// Bytes of the nonce between header and payload.
pub const NONCE_SIZE: usize = 16;

/// The key of one payload. It is never used for two plaintexts: every attempt to seal has a new header.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PayloadKey([u8; 32]);

/// The flag byte of the STREAM nonce: whether the chunk is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Another chunk follows.
    NotLast,
    /// The payload ends here.
    Last,
}

impl PayloadKey {
    /// Derives the key from a file key and the nonce behind the header.
    #[must_use]
    pub fn derive(file_key: &[u8; 16], nonce: &[u8; NONCE_SIZE]) -> Self {
        Self(*Zeroizing::new(age_core::primitives::hkdf(nonce, b"payload", file_key)))
    }

    /// A cipher for one thread.
    #[must_use]
    pub fn cipher(&self) -> ChunkCipher {
        ChunkCipher(ChaCha20Poly1305::new((&self.0).into()))
    }
}

/// Seals and opens single chunks.
pub struct ChunkCipher(ChaCha20Poly1305);

impl ChunkCipher {
    /// Seals chunk number `counter` in place: the last [`TAG_SIZE`] bytes of `chunk` are room for the tag, and everything
    /// before is plaintext.
    ///
    /// # Errors
    /// No error for at most [`SEALED_CHUNK_SIZE`] bytes with room for a tag; the cipher's limit is far beyond that.
    pub fn seal(&self, counter: u64, position: Position, chunk: &mut [u8]) -> Result<()> {
        let length = chunk.len();
        let sealed = chunk.split_last_chunk_mut().and_then(|(text, tag): (_, &mut [u8; TAG_SIZE])| {
            *tag = self.0.encrypt_inout_detached(&nonce(counter, position), &[], text.into()).ok()?.into();
            Some(())
        });
        sealed.ok_or_else(|| Error::new(Kind::Io, format!("cannot seal a chunk of {length} bytes")))
    }

    /// Opens chunk number `counter` in place: afterwards all but the last [`TAG_SIZE`] bytes are plaintext. Where it is not
    /// authentic, it returns false and leaves `chunk` unchanged.
    #[must_use]
    pub fn open(&self, counter: u64, position: Position, chunk: &mut [u8]) -> bool {
        let Some((text, tag)) = chunk.split_last_chunk_mut::<TAG_SIZE>() else { return false };
        let tag = Tag::from(*tag);
        self.0.decrypt_inout_detached(&nonce(counter, position), &[], text.into(), &tag).is_ok()
    }
}

fn nonce(counter: u64, position: Position) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&counter.to_be_bytes());
    nonce[11] = u8::from(position == Position::Last);
    nonce.into()
}

/// The chunks of a payload of a certain size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Number of chunks, at least one.
    pub count: u64,
    /// Sealed bytes of the last chunk.
    pub last_sealed: u64,
    /// Plaintext bytes of the whole payload.
    pub plaintext: u64,
}

impl Chunks {
    /// Divides a payload of `size` bytes into chunks; `None` where no payload can have that size.
    #[must_use]
    pub fn of_payload(size: u64) -> Option<Self> {
        let sealed = SEALED_CHUNK_SIZE as u64;
        let tag = TAG_SIZE as u64;
        let count = size.div_ceil(sealed);
        let last_sealed = size - count.checked_sub(1)? * sealed;
        let only = count == 1;
        let possible = last_sealed > tag || (only && last_sealed == tag);
        possible.then(|| Self { count, last_sealed, plaintext: size - count * tag })
    }
}

/// The range in the file of the sealed chunks that hold the given plaintext bytes.
#[must_use]
pub fn sealed_range(header_size: u64, plaintext: Range<u64>, archive_size: u64) -> Range<u64> {
    let (chunk, sealed) = (CHUNK_SIZE as u64, SEALED_CHUNK_SIZE as u64);
    let begin = header_size + plaintext.start / chunk * sealed;
    let end = header_size + plaintext.end.div_ceil(chunk) * sealed;
    begin..end.min(archive_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher() -> ChunkCipher {
        PayloadKey::derive(&[7; 16], &[9; 16]).cipher()
    }

    #[test]
    fn a_chunk_opens_only_at_its_own_place() {
        let mut sealed = [&b"chunk"[..], &[0; TAG_SIZE]].concat();
        cipher().seal(5, Position::NotLast, &mut sealed).unwrap();
        for (counter, position) in [(4, Position::NotLast), (6, Position::NotLast), (5, Position::Last)] {
            let mut chunk = sealed.clone();
            assert!(!cipher().open(counter, position, &mut chunk));
            assert_eq!(chunk, sealed);
        }
        assert!(cipher().open(5, Position::NotLast, &mut sealed));
        assert_eq!(&sealed[..5], b"chunk");
    }

    #[test]
    fn what_is_shorter_than_a_tag_is_refused() {
        assert!(!cipher().open(0, Position::Last, &mut [0; TAG_SIZE - 1]));
        assert!(cipher().seal(0, Position::Last, &mut [0; TAG_SIZE - 1]).is_err());
    }

    #[test]
    fn payload_sizes_are_cut_as_the_specification_has_it() {
        let cut = |size| {
            Chunks::of_payload(size).map(|chunks| (chunks.count, chunks.last_sealed, chunks.plaintext))
        };
        assert_eq!(cut(0), None);
        assert_eq!(cut(15), None);
        assert_eq!(cut(16), Some((1, 16, 0)));
        assert_eq!(cut(17), Some((1, 17, 1)));
        assert_eq!(cut(65_552), Some((1, 65_552, 65_536)));
        assert_eq!(cut(65_553), None);
        assert_eq!(cut(65_568), None);
        assert_eq!(cut(65_569), Some((2, 17, 65_537)));
    }

    #[test]
    fn damage_is_named_in_whole_chunks() {
        assert_eq!(sealed_range(200, 0..1, 1_000_000), 200..65_752);
        assert_eq!(sealed_range(200, 65_536..65_537, 70_000), 65_752..70_000);
    }
}
