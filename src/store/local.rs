//! Files on a local filesystem: written beside the target, published whole or not at all.
use crate::error::Result;
use crate::interrupt::Interrupt;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What to do when the final name exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /** Refuse. */
    Refuse,
    /** `--force`. */
    Replace,
}

/// A file being written under a temporary name beside its final one; removed on drop unless published.
pub struct Unpublished {
    _private: (),
}

impl Unpublished {
    /// Creates the temporary (0600, exclusive flock) in `directory`, after removing stale temporaries of ours.
    pub fn create(_directory: &Path) -> Result<Self> {
        todo!()
    }
    /// Fsyncs and publishes it as `name` in its directory, and with `sidecar` writes and publishes that too
    /// (one line; the function gets the archive's final name). `Interrupt::begin_commit` is called just before the rename.
    pub fn publish(
        self,
        _name: &str,
        _existing: Existing,
        _sha256: Option<[u8; 32]>,
        _interrupt: &Interrupt,
    ) -> Result<PathBuf> {
        todo!()
    }
}

impl Write for Unpublished {
    fn write(&mut self, _buf: &[u8]) -> std::io::Result<usize> {
        todo!()
    }
    fn flush(&mut self) -> std::io::Result<()> {
        todo!()
    }
}

/// Removes every temporary this process has in the making; for a process that must exit while a thread is stuck.
pub fn abandon_all() {
    todo!()
}
