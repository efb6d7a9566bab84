//! From a snapshot source to an archive, in one pass.
use crate::archive::manifest::{Manifest, StatusAfter, Trailer};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::keys::Recipients;
use crate::progress::Progress;
use std::io::Write;

/// What a source knows once its stream has ended.
#[derive(Clone, Debug, Default)]
pub struct AfterStream {
    /// Status of the member after the stream.
    pub status_after: Option<StatusAfter>,
    /// Milliseconds from request to end of stream.
    pub stream_open_ms: Option<u64>,
}

/// A stream of snapshot bytes, pulled by a thread of the pipeline.
pub trait SnapshotSource: Send {
    /// The next bytes, in pieces of any size; `None` at the clean end.
    ///
    /// # Errors
    /// Whatever ended the stream early.
    fn next(&mut self) -> Result<Option<Vec<u8>>>;
    /// Called once after the end.
    ///
    /// # Errors
    /// Whatever makes the stream worthless after all.
    fn finish(&mut self) -> Result<AfterStream> {
        Ok(AfterStream::default())
    }
}

/// How to seal.
#[derive(Clone, Debug)]
pub struct Options {
    /// Worker threads.
    pub jobs: usize,
    /// Whether the public description stanza is written.
    pub describe: bool,
    /// Whether a snapshot without etcd's digest is accepted.
    pub allow_missing_digest: bool,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Saved {
    /// As written (with the sizes filled in).
    pub manifest: Manifest,
    /// As written.
    pub trailer: Trailer,
    /// Bytes of the archive.
    pub archive_size: u64,
    /// SHA-256 of the archive.
    pub archive_sha256: [u8; 32],
}

/// Seals `source` into `output`. Level, frame size and `source` are taken from the manifest; its `snapshot_size` is
/// the announced size where known and is corrected from the first page. On error what was written to `output` is
/// an archive that stock age refuses: the final chunk is missing.
///
/// # Errors
/// Anything wrong with source, snapshot or output.
pub fn save(
    _source: impl SnapshotSource,
    _manifest: Manifest,
    _recipients: &Recipients,
    _options: &Options,
    _output: &mut (dyn Write + Send),
    _progress: &dyn Progress,
    _interrupt: &Interrupt,
) -> Result<Saved> {
    todo!()
}
