//! The check of a snapshot without etcd's digest before it is sealed: only the database itself can show that it is whole.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::database::bolt::Database;
use crate::database::contents::DatabaseContents;
use crate::database::snapshot::{DigestState, judge_length};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::magic::{ENOUGH, FileType};

/// Whether the pages of a database were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walked {
    /// They were, or etcd's digest vouches for them.
    Yes,
    /// They were not: the snapshot is packed.
    No,
}

/// Reads every page of the database in `file`, a copied `db` file of `size` bytes, as a restore would.
///
/// # Errors
/// What a restore would refuse.
pub(super) fn walk(file: &File, size: u64, interrupt: &Interrupt) -> Result<Walked> {
    let mut begin = [0; ENOUGH];
    let read = file.read_at(&mut begin, 0).map_err(|error| Error::io("read", "the snapshot", error))?;
    if FileType::of(&begin[..read]) != Some(FileType::Snapshot) {
        return Ok(Walked::No);
    }
    let database = Database::open(file)?;
    let end = database.meta().database_size().unwrap_or(u64::MAX);
    if judge_length(size, end, true)? == DigestState::Verified {
        return Ok(Walked::Yes);
    }
    let contents = DatabaseContents::read(&database, interrupt).map_err(|error| match error.kind() {
        Kind::DatabaseDamaged | Kind::NotASnapshot => error.with_hint(COPY_AGAIN),
        _ => error,
    })?;
    match contents.pages.as_ref().and_then(|pages| pages.freelist_fault.as_ref()) {
        Some(fault) => {
            let message = format!("the database is damaged: {fault}");
            Err(Error::new(Kind::DatabaseDamaged, message).with_hint(COPY_AGAIN))
        }
        None => Ok(Walked::Yes),
    }
}

/// The hint for a copied database that no member would start on.
const COPY_AGAIN: &str = "no restore would accept it: take a snapshot of a member that runs, or copy member/snap/db again while \
     the etcd on it is stopped";
