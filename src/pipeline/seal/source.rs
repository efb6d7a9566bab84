//! The sources of a snapshot: a live etcd, or a reader.

use std::io::{self, ErrorKind, Read};

use super::record::status_after;
use crate::archive::manifest::StatusAfter;
use crate::archive::member::Condition;
use crate::error::{Error, Result, Subject};
use crate::etcd::{SnapshotReader, StreamEnd};
use crate::interrupt::Interrupt;
use crate::pipeline::packed::{fault, unreadable};

/// What a source learns after its stream has ended.
#[derive(Clone, Debug, Default)]
pub struct AfterStream {
    /// Status of the member after the stream.
    pub status_after: Option<StatusAfter>,
    /// Milliseconds from the request to the end of the stream.
    pub stream_open_ms: Option<u64>,
}

/// A stream of snapshot bytes; a thread of the pipeline pulls from it.
pub trait SnapshotSource: Send {
    /// The next bytes, in pieces of any size; `None` at the clean end. Pieces of exactly one frame need not be copied.
    ///
    /// # Errors
    /// The reason why the stream ended early.
    fn next(&mut self) -> Result<Option<Vec<u8>>>;

    /// Called once, after the clean end and after all checks of the snapshot passed.
    ///
    /// # Errors
    /// Anything that makes the stream worthless after all.
    fn finish(&mut self) -> Result<AfterStream> {
        Ok(AfterStream::default())
    }
}

/// The snapshot stream of an etcd, for the pipeline thread that pulls from it.
pub(super) struct EtcdSource {
    pub(super) flow: SnapshotReader,
    /// The endpoint that serves it, and the conditions that the member reported before.
    pub(super) endpoint: String,
    pub(super) conditions: Vec<Condition>,
}

impl SnapshotSource for EtcdSource {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        self.flow.take()
    }

    fn finish(&mut self) -> Result<AfterStream> {
        let Some(StreamEnd { open_for, status }) = self.flow.end() else { return Ok(AfterStream::default()) };
        let status_after = status.as_ref().and_then(status_after);
        let now = status_after.iter().flat_map(|status| &status.conditions);
        for condition in now.filter(|condition| !self.conditions.contains(condition)) {
            tracing::warn!("{}: by the end of the stream the member reports {condition}", self.endpoint);
        }
        Ok(AfterStream { status_after, stream_open_ms: u64::try_from(open_for.as_millis()).ok() })
    }
}

/// Bytes per read.
const READ_SIZE: usize = 1024 * 1024;

/// Reads an existing snapshot in pieces of one frame, which need not be copied. Only the first piece is what one read gives:
/// an error, such as a bad snapshot or a full output, must not wait for more input.
pub(super) struct ReadSource<R> {
    source: R,
    subject: Subject,
    frame_size: usize,
    /// Bytes of the next frame that were read so far; `None` before the first.
    filled: Option<usize>,
    interrupt: Interrupt,
}

impl<R: Read> ReadSource<R> {
    pub(super) fn new(source: R, subject: Subject, frame_size: u32, interrupt: &Interrupt) -> Self {
        Self { source, subject, frame_size: frame_size as usize, filled: None, interrupt: interrupt.clone() }
    }

    fn read_first(&mut self) -> Result<Vec<u8>> {
        let mut piece = vec![0; READ_SIZE.min(self.frame_size)];
        let length = loop {
            match self.source.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(|error| self.unreadable(error))?,
            }
        };
        piece.truncate(length);
        Ok(piece)
    }

    /// Reads until `piece` has `size` bytes, or to the end.
    fn read_on(&mut self, piece: &mut Vec<u8>, size: usize) -> Result<()> {
        while piece.len() < size {
            self.interrupt.check()?;
            let wanted = READ_SIZE.min(size - piece.len()) as u64;
            let read = self.source.by_ref().take(wanted).read_to_end(piece);
            if read.map_err(|error| self.unreadable(error))? == 0 {
                break;
            }
        }
        Ok(())
    }

    fn unreadable(&self, error: io::Error) -> Error {
        fault(error, |error| unreadable(error, &self.subject))
    }
}

impl<R: Read + Send> SnapshotSource for ReadSource<R> {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        self.interrupt.check()?;
        let piece = match self.filled {
            None => self.read_first()?,
            Some(filled) => {
                let size = self.frame_size - filled;
                let mut piece = Vec::with_capacity(size);
                self.read_on(&mut piece, size)?;
                piece
            }
        };
        self.filled = Some((self.filled.unwrap_or(0) + piece.len()) % self.frame_size);
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_to_its_end_in_pieces_that_end_with_the_frames() {
        // Two reads: 3 bytes, then the rest.
        let reads = b"a s".chain(&b"napshot of 23 bytes."[..]);
        let mut source = ReadSource::new(reads, Subject::Stream("x".to_owned()), 8, &Interrupt::new());
        for piece in [&b"a s"[..], b"napsh", b"ot of 23", b" bytes."] {
            assert_eq!(source.next().unwrap().as_deref(), Some(piece));
        }
        assert_eq!(source.next().unwrap(), None);
        assert_eq!(source.finish().unwrap().stream_open_ms, None);
    }
}
