//! Progress reports and heartbeats, independent of any terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A heartbeat of an output, which tells a slow output from a stalled one. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Counts one beat; the output calls it whenever it took bytes.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of beats so far.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Receives progress from the threads of the pipeline, one after the other, at least once per frame. Implementations must
/// return quickly.
pub trait Progress: Send + Sync {
    /// The work begins; `total` is the expected number of snapshot bytes, where known.
    fn start(&self, total: Option<u64>);
    /// So far, `snapshot` bytes of the snapshot and `archive` bytes of the archive are processed.
    fn advance(&self, snapshot: u64, archive: u64);
    /// The next of several steps begins, such as `starting etcd`.
    fn step(&self, _step: &str) {}
    /// The work ended, with or without success.
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
