//! How far something is, told to whoever shows it. Knows no terminal.

/// Told by the pipeline, from one thread, at least once a frame. Implementations must return quickly.
pub trait Progress: Send + Sync {
    /// The work begins; `total` is the number of snapshot bytes expected, where known.
    fn start(&self, total: Option<u64>);
    /// `snapshot` bytes of the snapshot and `archive` bytes of the archive are through so far.
    fn advance(&self, snapshot: u64, archive: u64);
    /// The work ended, well or badly.
    fn finish(&self);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _total: Option<u64>) {}
    fn advance(&self, _snapshot: u64, _archive: u64) {}
    fn finish(&self) {}
}
