//! A file that is written from beginning to end, and is durable when it is finished.

use std::fs::File;
use std::io::{self, Write};

use super::writeback::Writeback;

/// Bytes of one write. For larger writes the page cache allocates larger pieces of memory, and finding and clearing those
/// takes longer than copying the data.
const WRITE_SIZE: usize = 64 * 1024;

/// A file being written.
#[derive(Debug)]
pub struct GrowingFile {
    file: File,
    writeback: Option<Writeback>,
    /// The first write that failed. No write follows it: that would leave a hole.
    failed: Option<io::Error>,
}

impl GrowingFile {
    /// Wraps `file`, which must be empty.
    pub(super) fn new(file: File) -> Self {
        let writeback = Writeback::begin(&file);
        Self { file, writeback, failed: None }
    }

    /// The file itself.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Replaces the file by another.
    #[cfg(test)]
    pub(super) fn swap(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    /// The first write that failed.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failed.as_ref().map(same)
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The first error of a write, and the errors of fsync.
    pub fn finish(self) -> io::Result<File> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.writeback.map_or(Ok(()), Writeback::finish)?;
        self.file.sync_all()?;
        Ok(self.file)
    }
}

impl Write for GrowingFile {
    /// After the first failure every later write fails with the same error, and so does [`Self::finish`]. Beyond a file size
    /// limit the system raises `SIGXFSZ`, which ends a process that neither handles nor ignores it; otherwise it is an error
    /// too.
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(same(error));
        }
        let buffer = &buffer[..buffer.len().min(WRITE_SIZE)];
        let failure = match self.file.write(buffer) {
            Ok(0) if !buffer.is_empty() => io::Error::from(io::ErrorKind::WriteZero),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => error,
            other => {
                if let (Ok(length), Some(writeback)) = (&other, &mut self.writeback) {
                    writeback.written(*length);
                }
                return other;
            }
        };
        self.failed = Some(same(&failure));
        Err(failure)
    }

    /// Nothing is buffered.
    fn flush(&mut self) -> io::Result<()> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(same(error)))
    }
}

/// An equal error, because `io::Error` cannot be cloned.
fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
