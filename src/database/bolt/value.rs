//! A value in a database: in memory, or so long that it stays in the source of the pages.

use std::fmt;

use super::source::PageSource;
use crate::error::Result;

/// Bytes of a long value that are in memory at once.
pub(in crate::database) const PIECE_SIZE: usize = 64 * 1024;

/// A value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'v> {
    /// A value in memory.
    Whole(&'v [u8]),
    /// A value that is too long for memory.
    Long(Stretch<'v>),
}

impl<'v> Value<'v> {
    /// The value, if it is in memory.
    #[must_use]
    pub fn whole(self) -> Option<&'v [u8]> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Long(_) => None,
        }
    }

    /// The number of its bytes.
    #[must_use]
    pub fn size(self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Long(stretch) => stretch.size,
        }
    }

    /// Passes all of it to `take`, one piece after the other.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::Kind::Io).
    pub fn pieces(self, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        match self {
            Self::Whole(bytes) => take(bytes),
            Self::Long(stretch) => stretch.pieces(take)?,
        }
        Ok(())
    }
}

/// Bytes that are not in memory.
#[derive(Clone, Copy)]
pub struct Stretch<'v> {
    source: &'v dyn PageSource,
    begin: u64,
    size: u64,
}

impl fmt::Debug for Stretch<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes from {} on", self.size, self.begin)
    }
}

impl<'v> Stretch<'v> {
    pub(super) fn new(source: &'v dyn PageSource, begin: u64, size: u64) -> Self {
        Self { source, begin, size }
    }

    /// The number of its bytes.
    pub(in crate::database) fn size(self) -> u64 {
        self.size
    }

    /// What is left of it behind its first `size` bytes; `None` where it has fewer.
    pub(in crate::database) fn split_at(self, size: u64) -> Option<(Self, Self)> {
        let rest = Self { begin: self.begin + size, size: self.size.checked_sub(size)?, ..self };
        Some((Self { size, ..self }, rest))
    }

    /// Its first bytes: as many as `buffer` holds, if there are as many.
    pub(in crate::database) fn beginning(self, buffer: &mut [u8]) -> Result<&[u8]> {
        let size = buffer.len().min(usize::try_from(self.size).unwrap_or(usize::MAX));
        self.source.read_at(&mut buffer[..size], self.begin)?;
        Ok(&buffer[..size])
    }

    /// Passes all of it to `take`, one piece after the other.
    pub(in crate::database) fn pieces(self, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut rest = self;
        let mut piece = vec![0; PIECE_SIZE];
        while rest.size > 0 {
            let taken = rest.beginning(&mut piece)?;
            let size = taken.len() as u64;
            take(taken);
            rest = Self { begin: rest.begin + size, size: rest.size - size, ..rest };
        }
        Ok(())
    }
}
