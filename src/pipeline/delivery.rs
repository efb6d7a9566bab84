//! The last stage of opening an archive: sends the snapshot to the output and to the digest.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use super::buffer::Buffer;
use super::digest::Piece;
use super::stage::{Ordered, Stop};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// Writes the snapshot to the output and sends it to the digest.
pub(super) struct Delivery<'a> {
    output: &'a mut (dyn Write + Send),
    pieces: SyncSender<Piece>,
    read: &'a AtomicU64,
    progress: &'a dyn Progress,
    interrupt: &'a Interrupt,
    delivered: u64,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(
        output: &'a mut (dyn Write + Send),
        pieces: SyncSender<Piece>,
        read: &'a AtomicU64,
        progress: &'a dyn Progress,
        interrupt: &'a Interrupt,
    ) -> Self {
        Self { output, pieces, read, progress, interrupt, delivered: 0 }
    }

    /// Delivers all contents in order.
    pub(super) fn deliver(&mut self, contents: Ordered<Result<Buffer>>) -> Result<(), Stop> {
        for content in contents {
            self.push(content?)?;
        }
        Ok(())
    }

    /// Delivers the next bytes.
    pub(super) fn push(&mut self, piece: Buffer) -> Result<(), Stop> {
        self.interrupt.check()?;
        let piece = Arc::new(piece);
        self.pieces.send(Arc::clone(&piece)).map_err(|_| Stop::Closed)?;
        self.output.write_all(&piece).map_err(|error| Error::io("write", "the snapshot", error))?;
        self.delivered += piece.len() as u64;
        self.progress.advance(self.delivered, self.read.load(Ordering::Relaxed));
        Ok(())
    }
}
