//! Makes a file durable while it is still being written, so that little is left for the fsync at its end.
//!
//! Otherwise the system keeps written data in memory for up to half a minute, and the disk is idle meanwhile.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Bytes written between two syncs.
const STRIDE: usize = 16 * 1024 * 1024;

/// A thread that syncs a file repeatedly.
#[derive(Debug)]
pub(super) struct Writeback {
    wake: SyncSender<()>,
    syncing: JoinHandle<io::Result<()>>,
    /// Bytes written since the thread was last woken.
    waiting: usize,
}

impl Writeback {
    /// Starts the thread for `file`; `None` where the system has no descriptor or thread left: then the final fsync does all
    /// the work.
    pub(super) fn begin(file: &File) -> Option<Self> {
        let begin = || {
            let file = file.try_clone()?;
            let (wake, woken) = sync_channel(1);
            let work = move || woken.iter().try_for_each(|()| file.sync_data());
            let syncing = Builder::new().name("writeback".to_owned()).spawn(work)?;
            Ok(Self { wake, syncing, waiting: 0 })
        };
        begin().inspect_err(|error: &io::Error| tracing::debug!(%error, "no early writeback")).ok()
    }

    /// Notes that `length` more bytes were written.
    pub(super) fn written(&mut self, length: usize) {
        self.waiting += length;
        if self.waiting >= STRIDE {
            match self.wake.try_send(()) {
                // A thread that has stopped has failed, and reports that at the end.
                Ok(()) | Err(TrySendError::Disconnected(())) => self.waiting = 0,
                Err(TrySendError::Full(())) => {}
            }
        }
    }

    /// Waits for the thread.
    ///
    /// # Errors
    /// The first failure. The system reports each failure only once, so a later fsync of the same file would not report it.
    pub(super) fn finish(self) -> io::Result<()> {
        drop(self.wake);
        self.syncing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_synced_while_it_is_written() {
        let mut file = tempfile::tempfile().unwrap();
        let mut writeback = Writeback::begin(&file).unwrap();
        let piece = vec![7; STRIDE / 4];
        for _ in 0..10 {
            file.write_all(&piece).unwrap();
            writeback.written(piece.len());
        }
        assert!(writeback.waiting < STRIDE);
        writeback.finish().unwrap();
    }

    #[test]
    fn what_could_not_be_synced_is_told_at_the_end() {
        // A pipe cannot be synced.
        let (_reader, writer) = io::pipe().unwrap();
        let mut writeback = Writeback::begin(&File::from(std::os::fd::OwnedFd::from(writer))).unwrap();
        writeback.written(STRIDE);
        assert!(writeback.finish().is_err());
    }
}
