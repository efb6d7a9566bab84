//! A value in a database: in memory, or so long that it stays in the file.

use std::fs::File;

use super::database::read_exactly;
use crate::database::protobuf::{Fault, Source};
use crate::error::Result;

/// Bytes of a long value that are in memory at once.
const PIECE_SIZE: usize = 64 * 1024;
/// The most bytes of a varint.
const VARINT_SIZE: usize = 10;

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

/// Bytes of the file.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'v> {
    file: &'v File,
    begin: u64,
    size: u64,
}

impl<'v> Stretch<'v> {
    pub(super) fn new(file: &'v File, begin: u64, size: u64) -> Self {
        Self { file, begin, size }
    }
}

impl Source for Stretch<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn varint(&mut self) -> Result<Option<u64>, Fault> {
        let mut buffer = [0; VARINT_SIZE];
        let head = self.beginning(&mut buffer)?;
        let mut rest = head;
        let number = rest.varint()?;
        let taken = (head.len() - rest.len()) as u64;
        self.begin += taken;
        self.size -= taken;
        Ok(number)
    }

    fn take(&mut self, size: u64) -> Option<Self> {
        let taken = Self { size, ..*self };
        self.size = self.size.checked_sub(size)?;
        self.begin += size;
        Some(taken)
    }

    fn beginning<'b>(&'b self, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
        let size = buffer.len().min(usize::try_from(self.size).unwrap_or(usize::MAX));
        read_exactly(self.file, &mut buffer[..size], self.begin)?;
        Ok(&buffer[..size])
    }

    fn pieces(&self, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut rest = *self;
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

impl Source for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn varint(&mut self) -> Result<Option<u64>, Fault> {
        let mut value = 0;
        for (position, byte) in self.iter().take(VARINT_SIZE).enumerate() {
            value |= u64::from(byte & 0x7F) << (7 * position);
            if byte & 0x80 == 0 {
                *self = &self[position + 1..];
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn take(&mut self, size: u64) -> Option<Self> {
        let (taken, rest) = self.split_at_checked(usize::try_from(size).ok()?)?;
        *self = rest;
        Some(taken)
    }

    fn beginning<'b>(&'b self, _: &'b mut [u8]) -> Result<&'b [u8]> {
        Ok(self)
    }

    fn pieces(&self, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.chunks(PIECE_SIZE).for_each(take);
        Ok(())
    }
}
