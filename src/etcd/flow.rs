//! A snapshot stream that keeps its time limits whoever reads it.
//!
//! While a stream is open, etcd holds a read transaction for it. So a task of its own pulls the stream, and gives up when
//! nobody takes what it pulled for as long as the stall timeout: a full pipe must not pin the transaction for ever.

use super::status::Status;
use super::stream::Snapshot;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, error::TrySendError};

/// Messages of 32 KiB that may wait to be taken.
const WAITING_MESSAGES: usize = 32;

/// The bytes of a [`Snapshot`], taken by a thread that may block.
pub struct Flow {
    pieces: mpsc::Receiver<Result<Piece>>,
    end: Option<End>,
    interrupt: Interrupt,
}

enum Piece {
    Bytes(Vec<u8>),
    End(End),
}

/// What is known after the clean end of a stream.
#[derive(Clone, Debug)]
pub struct End {
    /// From the request to the end: an upper bound of how long etcd held its read transaction open.
    pub open_for: Duration,
    /// Status of the same member after the stream; `None` if it no longer answers.
    pub status: Option<Status>,
}

impl Snapshot {
    /// Lets the stream flow, on `runtime`. Where the reader takes nothing for the stall timeout, `interrupt` is told.
    #[must_use]
    pub fn flow(self, runtime: &Handle, interrupt: &Interrupt) -> Flow {
        let (sender, pieces) = mpsc::channel(WAITING_MESSAGES);
        runtime.spawn(pull(self, sender, interrupt.clone()));
        Flow { pieces, end: None, interrupt: interrupt.clone() }
    }
}

async fn pull(mut snapshot: Snapshot, sender: mpsc::Sender<Result<Piece>>, interrupt: Interrupt) {
    loop {
        let (piece, last) = match snapshot.next().await {
            Ok(Some(bytes)) => (Piece::Bytes(bytes), false),
            Ok(None) => {
                let open_for = snapshot.requested.elapsed();
                (Piece::End(End { open_for, status: snapshot.status_after().await }), true)
            }
            Err(error) => return fail(error, &sender, &interrupt),
        };
        match snapshot.bound(sender.send(Ok(piece))).await {
            Ok(Ok(())) if !last => {}
            // The reader has the end, or wants no more.
            Ok(_) => return,
            Err(error) => return fail(error, &sender, &interrupt),
        }
    }
}

/// Tells the reader in its turn, with the cause; or aside where it takes nothing.
fn fail(error: Error, sender: &mpsc::Sender<Result<Piece>>, interrupt: &Interrupt) {
    if let Err(TrySendError::Full(Err(error))) = sender.try_send(Err(error)) {
        interrupt.fail(&error);
    }
}

impl Flow {
    /// The next bytes; `None` at the clean end. Waits for them, so it must not be called on a thread of the runtime.
    ///
    /// # Errors
    /// Those of [`Snapshot::next`].
    pub fn take(&mut self) -> Result<Option<Vec<u8>>> {
        if self.end.is_some() {
            return Ok(None);
        }
        match self.pieces.blocking_recv() {
            Some(Ok(Piece::Bytes(bytes))) => Ok(Some(bytes)),
            Some(Ok(Piece::End(end))) => {
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

    /// What is known after the clean end; `None` before.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }
}
