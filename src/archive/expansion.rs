//! How much of a snapshot may come out of an archive.
//!
//! Whoever knows a recipient can seal what he likes, and a few hundred bytes of zstd hold 16 MiB of zeros. A manifest that
//! names the size of the snapshot has told it beforehand, to whoever asks `info`, and no more than that comes out. One that
//! names none, and an age file of another make, which has no manifest, may only unpack as far as what was really read of them
//! justifies. No snapshot of etcd comes near that: every page of a database begins with its own number.

use super::frame::damaged;
use crate::error::Error;

/// What may come out in any case, where no size is promised: a member begins with a file of this order, mostly zeros.
pub const UNPROMISED_SIZE: u64 = 64 * 1024 * 1024;
/// And besides for each byte of packed frames.
pub const UNPROMISED_RATIO: u64 = 1024;

/// The snapshot as far as it was unpacked, beside what it may be.
#[derive(Clone, Copy, Debug)]
pub struct Expansion {
    promised: Option<u64>,
    packed: u64,
    content: u64,
}

/// There is more than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Than was promised.
    Promised,
    /// Than is possible without a promise.
    Unpromised,
}

impl Expansion {
    /// Nothing yet, of a snapshot of the size that the manifest names.
    #[must_use]
    pub fn new(promised: Option<u64>) -> Self {
        Self { promised, packed: 0, content: 0 }
    }

    /// Bytes that came out so far.
    #[must_use]
    pub fn content(&self) -> u64 {
        self.content
    }

    /// Notes that `packed` more bytes hold `content` more. Asked before they are handed on, so that nothing beyond is.
    ///
    /// # Errors
    /// An [`Excess`], of which a reader makes damage.
    pub fn add(&mut self, packed: u64, content: u64) -> Result<(), Excess> {
        self.packed = self.packed.saturating_add(packed);
        self.content = self.content.saturating_add(content);
        let justified = UNPROMISED_SIZE.saturating_add(self.packed.saturating_mul(UNPROMISED_RATIO));
        match self.promised {
            Some(promised) if self.content > promised => Err(Excess::Promised),
            None if self.content > justified => Err(Excess::Unpromised),
            _ => Ok(()),
        }
    }
}

impl From<Excess> for Error {
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Promised => damaged("the snapshot is longer than the manifest says"),
            Excess::Unpromised => damaged(format!(
                "it names no size, and unpacks to more than {UNPROMISED_RATIO} times its own"
            ))
            .with_hint(
                "no snapshot of etcd shrinks that much; if you know better, unpack it with age and zstd",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_may_come_out_and_no_byte_more() {
        let mut expansion = Expansion::new(Some(1 << 40));
        assert_eq!(expansion.add(1, 1 << 40), Ok(()));
        assert_eq!(expansion.add(1 << 40, 1), Err(Excess::Promised));
    }

    #[test]
    fn without_a_promise_what_was_read_decides() {
        let mut expansion = Expansion::new(None);
        assert_eq!(expansion.add(0, UNPROMISED_SIZE), Ok(()));
        assert_eq!(expansion.add(3, 3 * UNPROMISED_RATIO), Ok(()));
        assert_eq!(expansion.content(), UNPROMISED_SIZE + 3 * UNPROMISED_RATIO);
        assert_eq!(expansion.add(0, 1), Err(Excess::Unpromised));
    }

    #[test]
    fn sums_beyond_64_bits_are_more_than_anything() {
        let mut expansion = Expansion::new(Some(u64::MAX - 1));
        assert_eq!(expansion.add(u64::MAX, u64::MAX - 1), Ok(()));
        assert_eq!(expansion.add(u64::MAX, u64::MAX), Err(Excess::Promised));
    }
}
