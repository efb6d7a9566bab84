//! What the members that a new one replaces had reached.

use std::path::PathBuf;

use crate::database::bolt::Database;
use crate::database::member::cluster_id_in_wal;
use crate::database::query::newest_revision;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::store::member::MemberPlace;
use crate::store::predecessor;

/// No cluster has larger revisions: ten years of a million writes a second end far below.
const REVISION_MAX: i64 = 1_000_000_000_000_000;

/// A member that was in the data directory before the new one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Predecessor {
    /// Its directory.
    pub path: PathBuf,
    /// Whether this restore moves it out of use; otherwise it was moved aside before.
    pub is_replaced: bool,
    /// The id of its cluster, read from its log.
    pub cluster_id: Option<u64>,
    /// The state of its database, or why it cannot be read.
    pub reached: Result<Reached>,
}

/// The state of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reached {
    /// Its newest revision.
    pub revision: i64,
    /// Bytes of its file.
    pub size: u64,
}

impl Predecessor {
    fn new(found: predecessor::Predecessor, interrupt: &Interrupt) -> Self {
        let predecessor::Predecessor { path, is_replaced, database, log_head } = found;
        let named = |error: std::io::Error| Error::io("read", path.join("snap/db").display(), error);
        let reached = database.map_err(named).and_then(|file| {
            let size = file.metadata().map_err(named)?.len();
            let revision = newest_revision(&Database::open(&file)?, interrupt)?;
            Ok(Reached { revision, size })
        });
        let reached = reached.and_then(|reached| match reached.revision {
            ..=REVISION_MAX => Ok(reached),
            absurd => Err(Error::new(
                crate::error::Kind::DatabaseDamaged,
                format!("the database claims the revision {absurd}, which no cluster ever reached"),
            )),
        });
        Self { cluster_id: log_head.as_deref().and_then(cluster_id_in_wal), path, is_replaced, reached }
    }
}

/// The members in the data directory of `place`: the current one, and those moved aside before.
#[must_use]
pub fn predecessors(place: &MemberPlace, interrupt: &Interrupt) -> Vec<Predecessor> {
    place.predecessors().into_iter().map(|found| Predecessor::new(found, interrupt)).collect()
}

/// The newest revision that any of `predecessors` had reached.
#[must_use]
pub fn newest_reached(predecessors: &[Predecessor]) -> Option<i64> {
    predecessors.iter().flat_map(|predecessor| &predecessor.reached).map(|reached| reached.revision).max()
}
