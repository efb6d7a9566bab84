//! A snapshot stream that keeps its time limits however slow its reader is.
//!
//! While a stream is open, etcd holds a read transaction for it. So a separate task pulls the stream, and gives up when the
//! reader takes nothing for the stall timeout: a full pipe must not pin the transaction for ever.

use super::status::MemberStatus;
use super::stream::Snapshot;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::progress::Pulse;
use std::pin::pin;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, error::TrySendError};

/// The smallest piece in bytes. etcd's messages are of 32 KiB, and waking another thread for each costs more than the copy.
const PIECE_SIZE_MIN: usize = 1024 * 1024;
/// The largest piece in bytes. At least two pieces are in memory at once.
const PIECE_SIZE_MAX: usize = 4 * PIECE_SIZE_MIN;
/// Pieces that may wait in the channel.
const WAITING_PIECES: usize = 1;

/// The bytes of a [`Snapshot`], for a thread that may block.
pub struct SnapshotReader {
    pieces: mpsc::Receiver<Result<StreamPiece>>,
    end: Option<StreamEnd>,
    interrupt: Interrupt,
}

enum StreamPiece {
    Bytes(Vec<u8>),
    End(StreamEnd),
}

/// What is known after the clean end of a stream.
#[derive(Clone, Debug)]
pub struct StreamEnd {
    /// The time from the request to the end: an upper bound of how long etcd held its read transaction open.
    pub open_for: Duration,
    /// Status of the same member after the stream; `None` if it no longer answers.
    pub status: Option<MemberStatus>,
}

impl Snapshot {
    /// Spawns a task on `runtime` that pulls the stream and sends it in pieces of `piece_size` bytes, clamped to the range
    /// from 1 to 4 MiB. The first piece is small so that it comes early, the second completes it to a whole piece, and the
    /// last is the rest. Where the reader takes nothing and `output` shows no heartbeat for the stall timeout, the task
    /// reports that to `interrupt`.
    #[must_use]
    pub fn reader(
        self,
        runtime: &Handle,
        piece_size: usize,
        output: Pulse,
        interrupt: &Interrupt,
    ) -> SnapshotReader {
        let (sender, pieces) = mpsc::channel(WAITING_PIECES);
        let sink = Sink { sender, output, piece_size: piece_size.clamp(PIECE_SIZE_MIN, PIECE_SIZE_MAX) };
        runtime.spawn(pull(self, sink, interrupt.clone()));
        SnapshotReader { pieces, end: None, interrupt: interrupt.clone() }
    }
}

async fn pull(mut snapshot: Snapshot, sink: Sink, interrupt: Interrupt) {
    if let Err(error) = pull_all(&mut snapshot, &sink).await {
        sink.fail(error, &interrupt);
    }
}

async fn pull_all(snapshot: &mut Snapshot, sink: &Sink) -> Result<()> {
    let mut piece = Vec::with_capacity(sink.piece_size);
    // A small first piece tells the reader early that this is no snapshot, or that the output is full.
    let (mut wanted, mut sent) = (PIECE_SIZE_MIN, 0);
    while let Some(bytes) = snapshot.next().await? {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (taken, left) = rest.split_at(rest.len().min(wanted - piece.len()));
            piece.extend_from_slice(taken);
            rest = left;
            if piece.len() == wanted {
                sent = (sent + wanted) % sink.piece_size;
                wanted = sink.piece_size - sent;
                let full = std::mem::replace(&mut piece, Vec::with_capacity(sink.piece_size));
                if !sink.takes(StreamPiece::Bytes(full), snapshot).await? {
                    return Ok(());
                }
            }
        }
    }
    let open_for = snapshot.requested.elapsed();
    // This comes first, so that the pipeline has work while the member answers.
    if sink.takes(StreamPiece::Bytes(piece), snapshot).await? {
        let status = snapshot.status_after().await?;
        sink.takes(StreamPiece::End(StreamEnd { open_for, status }), snapshot).await?;
    }
    Ok(())
}

/// The sending half of the channel to the reader.
struct Sink {
    sender: mpsc::Sender<Result<StreamPiece>>,
    output: Pulse,
    piece_size: usize,
}

impl Sink {
    /// Waits until the channel has room for `piece`; false where the reader is gone. While the output makes progress, the
    /// wait is not a stall: the output may need long for the bytes it has.
    async fn takes(&self, piece: StreamPiece, snapshot: &Snapshot) -> Result<bool> {
        let mut sending = pin!(self.sender.send(Ok(piece)));
        loop {
            let beats = self.output.beats();
            match snapshot.bound(&mut sending).await {
                Ok(sent) => return Ok(sent.is_ok()),
                Err(error) if error.kind() != Kind::Io || self.output.beats() == beats => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Sends the error to the reader through the channel; where that is full, reports it to `interrupt`.
    fn fail(&self, error: Error, interrupt: &Interrupt) {
        if let Err(TrySendError::Full(Err(error))) = self.sender.try_send(Err(error)) {
            interrupt.fail(&error);
        }
    }
}

impl SnapshotReader {
    /// The next bytes; `None` at the clean end. Blocks until they arrive, so a thread of the runtime must not call it.
    ///
    /// # Errors
    /// The errors of [`Snapshot::next`].
    pub fn take(&mut self) -> Result<Option<Vec<u8>>> {
        if self.end.is_some() {
            return Ok(None);
        }
        match self.pieces.blocking_recv() {
            Some(Ok(StreamPiece::Bytes(bytes))) => Ok(Some(bytes)),
            Some(Ok(StreamPiece::End(end))) => {
                self.end = Some(end);
                Ok(None)
            }
            Some(Err(error)) => Err(error),
            None => {
                self.interrupt.check()?;
                Err(Error::new(Kind::EtcdIncomplete, "the snapshot stream was given up before its end"))
            }
        }
    }

    /// What is known after the clean end; `None` before it.
    #[must_use]
    pub fn end(&self) -> Option<&StreamEnd> {
        self.end.as_ref()
    }
}
