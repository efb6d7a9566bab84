//! Where the pages of a database are read from.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::error::{Error, Result};

/// The bytes of a database, read at any offset: a file, memory, or whatever else can serve a range of bytes.
pub trait PageSource {
    /// The number of bytes.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::Kind::Io) and other errors of the source.
    fn size(&self) -> Result<u64>;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::Kind::Io), also where the bytes end before; other errors of the source.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()>;
}

impl PageSource for File {
    fn size(&self) -> Result<u64> {
        Ok(self.metadata().map_err(cannot_read)?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.read_exact_at(buffer, offset).map_err(cannot_read)
    }
}

impl PageSource for &[u8] {
    fn size(&self) -> Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let begin = usize::try_from(offset).unwrap_or(usize::MAX);
        let wanted = self.get(begin..begin.saturating_add(buffer.len()));
        buffer.copy_from_slice(wanted.ok_or_else(|| cannot_read(std::io::ErrorKind::UnexpectedEof.into()))?);
        Ok(())
    }
}

impl PageSource for Vec<u8> {
    fn size(&self) -> Result<u64> {
        self.as_slice().size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.as_slice().read_at(buffer, offset)
    }
}

fn cannot_read(error: std::io::Error) -> Error {
    Error::io("read", "the database", error)
}
