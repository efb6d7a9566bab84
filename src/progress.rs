//! How far something is, told to whoever shows it, and whether it lives at all. Knows no terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Signs of life of an output, for whoever has to tell a slow one from one that stands still. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The output took something.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it did.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

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
