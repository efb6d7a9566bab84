//! Checks the snapshot on a thread of its own: SHA-256 is sequential and would slow down the other stages.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::buffer::Buffer;
use crate::archive::manifest::Digest;
use crate::database::snapshot::{Checked, DigestState, SnapshotCheck};
use crate::database::stream_check::{StreamCheck, StreamFacts, Unreadable};
use crate::error::Result;

/// Pieces that may wait in the queue.
const QUEUE: usize = 2;

/// A piece of the snapshot, shared with the stage that compresses or writes it.
pub(in crate::pipeline) type Piece = Arc<Buffer>;

/// The queue into the digest thread.
pub(in crate::pipeline) fn queue() -> (SyncSender<Piece>, Receiver<Piece>) {
    sync_channel(QUEUE)
}

/// A snapshot whose length and digest are right, and what its database says of itself.
pub(in crate::pipeline) struct Digested {
    pub(in crate::pipeline) checked: Checked,
    pub(in crate::pipeline) facts: Result<StreamFacts, Unreadable>,
}

/// Checks all pieces of a snapshot to its end, and collects what the database says of itself.
///
/// # Errors
/// The errors of [`SnapshotCheck`].
pub(in crate::pipeline) fn digest(mut check: SnapshotCheck, pieces: Receiver<Piece>) -> Result<Digested> {
    let mut facts = StreamCheck::default();
    for piece in pieces {
        check.update(&piece)?;
        facts.update(&piece);
    }
    Ok(Digested { checked: check.finish()?, facts: facts.finish() })
}

impl From<DigestState> for Digest {
    fn from(state: DigestState) -> Self {
        match state {
            DigestState::Verified => Self::Verified,
            DigestState::Absent => Self::Absent,
        }
    }
}
