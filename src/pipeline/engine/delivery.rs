//! The last stage of opening an archive: sends the snapshot to the output and to the digest.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use super::buffer::Buffer;
use super::digest::Piece;
use super::stage::{Ordered, Stop};
use crate::error::{Error, Result};
use crate::watch::Watch;

/// Writes the snapshot to the output and sends it to the digest.
pub(in crate::pipeline) struct Delivery<'a> {
    output: &'a mut (dyn Write + Send),
    pieces: SyncSender<Piece>,
    read: &'a AtomicU64,
    watch: &'a Watch,
    delivered: u64,
}

impl<'a> Delivery<'a> {
    pub(in crate::pipeline) fn new(
        output: &'a mut (dyn Write + Send),
        pieces: SyncSender<Piece>,
        read: &'a AtomicU64,
        watch: &'a Watch,
    ) -> Self {
        Self { output, pieces, read, watch, delivered: 0 }
    }

    /// Delivers all contents in order.
    pub(in crate::pipeline) fn deliver(&mut self, contents: Ordered<Result<Buffer>>) -> Result<(), Stop> {
        for content in contents {
            self.push(content?)?;
        }
        Ok(())
    }

    /// Delivers the next bytes.
    pub(in crate::pipeline) fn push(&mut self, piece: Buffer) -> Result<(), Stop> {
        self.watch.check()?;
        let piece = Arc::new(piece);
        self.pieces.send(Arc::clone(&piece)).map_err(|_| Stop::Closed)?;
        self.output.write_all(&piece).map_err(|error| Error::io("write", "the snapshot", error))?;
        self.delivered += piece.len() as u64;
        self.watch.progress.advance(self.delivered, self.read.load(Ordering::Relaxed));
        Ok(())
    }
}
