//! A bound on the size of the snapshot that an archive unpacks to.
//!
//! An attacker who knows a recipient can seal arbitrary content, and a few hundred bytes of zstd hold 16 MiB of zeros. A
//! manifest that names the size of the snapshot tells the operator beforehand (`info`), and no more than that is unpacked.
//! An archive whose manifest names no size, and a foreign age file, which has no manifest, may unpack only to a multiple of
//! the bytes read. No snapshot of etcd comes near that multiple: every page of a database begins with its own number.

use super::frame::damaged;
use crate::error::Error;

/// The size that is allowed without a promise: a member begins with a file of this order, mostly zeros.
pub const UNPROMISED_SIZE: u64 = 64 * 1024 * 1024;
/// The further size that is allowed for each byte of packed frames.
pub const UNPROMISED_RATIO: u64 = 1024;

/// The size of the snapshot unpacked so far, and its bound.
#[derive(Clone, Copy, Debug)]
pub struct Expansion {
    promised: Option<u64>,
    packed: u64,
    content: u64,
}

/// More bytes than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// More than the manifest promised.
    Promised,
    /// More than is allowed without a promise.
    Unpromised,
}

impl Expansion {
    /// Nothing is unpacked yet; `promised` is the size that the manifest names.
    #[must_use]
    pub fn new(promised: Option<u64>) -> Self {
        Self { promised, packed: 0, content: 0 }
    }

    /// The number of bytes unpacked so far.
    #[must_use]
    pub fn content(&self) -> u64 {
        self.content
    }

    /// Notes that `packed` more bytes hold `content` more. The caller asks before it passes them on, so that nothing beyond
    /// the bound gets out.
    ///
    /// # Errors
    /// An [`Excess`], which a reader reports as damage.
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
