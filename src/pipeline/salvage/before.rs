//! What the copy of a data directory says before an etcd starts on it, and what would keep an etcd from replaying its log.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::database::bolt::Database;
use crate::database::member::{LogFile, LogSummary, has_v2_keys, read_log};
use crate::database::query::{consistent_index, data_version, is_learner, newest_revision};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::pipeline::private_etcd::cluster::DIRECTORY;
use crate::store::data_dir::DataDirectory;
use crate::store::member::{LOG_DIRECTORY, MEMBER, SNAPSHOT_DIRECTORY};
use crate::store::scratch::Scratch;

/// The most bytes of a raft snapshot that are read: it holds the keys of the v2 API, which were never many.
const RAFT_SNAPSHOT_MAX: u64 = 256 << 20;

/// The copy, as the member has left it.
pub(super) struct Before {
    pub(super) log: LogSummary,
    /// The newest revision in the database alone.
    pub(super) revision: i64,
    /// The version of the data.
    pub(super) version: Option<String>,
    pub(super) v2_keys: bool,
    /// The last file of the log.
    last_file: PathBuf,
}

impl Before {
    /// Reads the copy of `source`.
    pub(super) fn read(source: &DataDirectory, scratch: &Scratch, interrupt: &Interrupt) -> Result<Self> {
        let lost = |error: Error| match error.kind() {
            Kind::DatabaseDamaged | Kind::NotASnapshot => error
                .into_kind(Kind::DatabaseDamaged)
                .with_hint("no etcd starts on it: use the data directory of another member, or an archive"),
            _ => error,
        };
        let file = scratch.open_file(&in_member(SNAPSHOT_DIRECTORY, "db"))?;
        let database = Database::open(&file).map_err(lost)?;
        let names = source.log_names();
        let log = read_copied_log(&names, scratch, interrupt).map_err(|error| match error.kind() {
            Kind::DatabaseDamaged => error.with_hint(database_alone(source.path())),
            _ => error,
        })?;
        let applied = consistent_index(&database, interrupt).map_err(lost)?;
        refuse_useless(&log, applied, source.path())?;
        if is_learner(&database, log.member_id, interrupt).map_err(lost)? {
            return Err(learner(source.path()));
        }
        let in_snapshot = match source.newest_raft_snapshot() {
            Some(name) => read_raft_snapshot(&scratch.open_file(&in_member(SNAPSHOT_DIRECTORY, &name))?)?,
            None => false,
        };
        let before = Self {
            revision: newest_revision(&database, interrupt).map_err(lost)?,
            version: data_version(&database, interrupt).map_err(lost)?,
            v2_keys: in_snapshot || log.v2_keys,
            last_file: in_member(LOG_DIRECTORY, names.last().map_or("", String::as_str)),
            log,
        };
        before.warn(source.path());
        Ok(before)
    }

    /// Commits every entry in the log of the copy, and cuts off what is no whole record.
    pub(super) fn prepare(&self, scratch: &Scratch) -> Result<()> {
        if self.log.unconfirmed() == 0 && !self.log.is_cut {
            return Ok(());
        }
        let failed = |error| Error::io("write", "the scratch directory", error);
        let (end, record) = self.log.commit_all();
        let file = scratch.open_file(&self.last_file)?;
        file.set_len(end).map_err(failed)?;
        file.write_all_at(&record, end).map_err(failed)
    }

    fn warn(&self, path: &Path) {
        let path = path.display();
        if self.log.is_cut {
            tracing::warn!(
                "{path}: the write-ahead log ends in the middle of a record, as after a power loss: what came behind is lost"
            );
        }
        match self.log.unconfirmed() {
            0 => {}
            entries => tracing::info!(
                "{path}: the member did not know yet whether the last entries of its log ({entries}) are committed; they are \
                 taken, as writes that were acknowledged can be among them"
            ),
        }
        if self.v2_keys {
            tracing::warn!(
                "{path}: there are keys of etcd's v2 API, which are in no snapshot and not in this one: only an etcd up to 3.5 \
                 that runs on these data with --enable-v2 gives them out"
            );
        }
    }
}

/// The path of a file of the copy.
fn in_member(directory: &str, name: &str) -> PathBuf {
    [DIRECTORY, MEMBER, directory, name].iter().collect()
}

fn read_copied_log(names: &[String], scratch: &Scratch, interrupt: &Interrupt) -> Result<LogSummary> {
    let open = |name: &String| scratch.open_file(&in_member(LOG_DIRECTORY, name));
    let opened = names.iter().map(open).collect::<Result<Vec<File>>>()?;
    let files: Vec<LogFile<'_>> =
        names.iter().zip(&opened).map(|(name, file)| LogFile { name, file }).collect();
    read_log(&files, interrupt)
}

/// Refuses a log that ends before the database, in which `applied` is the last entry: etcd writes an entry to the log first.
fn refuse_useless(log: &LogSummary, applied: u64, path: &Path) -> Result<()> {
    if log.last >= applied {
        return Ok(());
    }
    let message = format!(
        "the write-ahead log is cut short: it ends with the entry {}, and the database holds {applied} already",
        log.last
    );
    Err(Error::new(Kind::DatabaseDamaged, message).with_hint(database_alone(path)))
}

fn learner(path: &Path) -> Error {
    let message =
        format!("{} is of a learner, which has no vote and may lack the newest writes", path.display());
    Error::new(Kind::DatabaseDamaged, message).with_hint(format!(
        "take the data directory of a voting member. If this is the last one there is, what its database holds: {}",
        seal_database(path)
    ))
}

/// The hint where the log is of no use.
pub(super) fn database_alone(path: &Path) -> String {
    let seal = seal_database(path);
    format!(
        "try the data directory of another member. What the database alone holds, without the newest writes: {seal}"
    )
}

fn seal_database(path: &Path) -> String {
    format!("etcd-seal save `from` {} `allow_missing_digest`", path.join("member/snap/db").display())
}

fn read_raft_snapshot(file: &File) -> Result<bool> {
    let failed = |error| Error::io("read", "a raft snapshot", error);
    let size = file.metadata().map_err(failed)?.len();
    if size > RAFT_SNAPSHOT_MAX {
        return Ok(true);
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0).map_err(failed)?;
    Ok(has_v2_keys(&bytes))
}
