//! Restores the members of a new cluster, as a caller of the library asks for it.

use std::io::Read;
#[cfg(feature = "cli")]
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::age::{Clock, timestamp};
#[cfg(feature = "cli")]
use super::member::copy_snapshot;
use super::member::{Restored, WantedBump, restore_cluster, restore_member};
use super::open::Options;
use super::unseal::default_options;
use crate::database::member::{Bump, Membership, WAL_NAME};
use crate::error::Result;
use crate::keys::Identities;
use crate::store::member::{MemberPlace, Owner};
use crate::watch::Watch;

/// Makes members of a new cluster, without etcd, from an archive or a plain snapshot.
///
/// Each member is a data directory that etcd starts from. It appears whole or not at all, and only after every page of the
/// database and every digest proved right.
///
/// ```no_run
/// use etcd_seal::{Identities, Restore};
/// use std::{fs::File, path::Path};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let identities = Identities::of("AGE-SECRET-KEY-1…")?;
/// let cluster = "m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380";
/// let restore = Restore::archive(&identities).cluster(cluster, "after the fire")?;
/// let restored = restore.to_member(File::open("prod.db.zst.age")?, "m1", Path::new("/var/lib/etcd"))?;
/// println!("revision {}", restored.contents.revision);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Restore<'a> {
    /// The keys that open the archive; `None` for a plain snapshot.
    pub(super) identities: Option<&'a Identities>,
    pub(super) options: Options,
    pub(super) membership: Membership,
    pub(super) bump: WantedBump,
    pub(super) skip_hash_check: bool,
    /// Bytes of the snapshot, where known beforehand: so much must be free.
    pub(super) expected_size: Option<u64>,
    /// The times to compute the age of the snapshot from.
    pub(super) clock: Option<Clock>,
    pub(super) watch: Watch,
}

impl<'a> Restore<'a> {
    /// Restores from an archive that `identities` open.
    #[must_use]
    pub fn archive(identities: &'a Identities) -> Self {
        Self::from(Some(identities))
    }

    /// Restores from a plain snapshot, as `etcdctl snapshot save` writes it.
    #[must_use]
    pub fn snapshot() -> Self {
        Self::from(None)
    }

    /// Restores from an archive where there are identities, else from a plain snapshot.
    pub(crate) fn from(identities: Option<&'a Identities>) -> Self {
        Self {
            identities,
            options: default_options(),
            membership: Membership::default(),
            bump: WantedBump::None,
            skip_hash_check: false,
            expected_size: None,
            clock: None,
            watch: Watch::default(),
        }
    }

    /// Names all members of the new cluster, as `NAME=URL,NAME=URL,…`, and a token, which makes the cluster's id another
    /// than that of every cluster with another token. By default `etcdutl`'s: one member named `default`.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage) for a list that etcd would not take.
    pub fn cluster(self, members: &str, token: &str) -> Result<Self> {
        Ok(self.membership(Membership::parse(members, token)?))
    }

    /// The new cluster.
    pub(crate) fn membership(mut self, membership: Membership) -> Self {
        self.membership = membership;
        self
    }

    /// Raises the newest revision by `by` and marks everything up to it as compacted, so that no watcher sees a revision
    /// twice.
    #[must_use]
    pub fn bump_revision(self, by: i64) -> Self {
        self.bump(WantedBump::By(Bump { by }))
    }

    /// Raises the revision by what suits a Kubernetes cluster, computed from the revision and from the age of the snapshot:
    /// `age`, or the time since it was taken up to [`Self::now`].
    #[must_use]
    pub fn bump_for_kubernetes(self, age: Option<Duration>) -> Self {
        self.bump(WantedBump::Kubernetes(age))
    }

    pub(crate) fn bump(mut self, bump: WantedBump) -> Self {
        self.bump = bump;
        self
    }

    /// Names the current time.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage) for a time outside the years 0 to 9999.
    pub fn now(self, now: SystemTime) -> Result<Self> {
        Ok(self.clock(Clock { now: timestamp(now)?, modified: None }))
    }

    pub(crate) fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Accepts a plain snapshot whose digest is missing or wrong, such as a copied database file, and a database with a
    /// wrong freelist, which etcd can do without. A database that a member could not start on is refused all the same.
    #[must_use]
    pub fn skip_hash_check(mut self) -> Self {
        self.skip_hash_check = true;
        self
    }

    /// Starts so many threads for each parallel stage; by default as many as there are processors, 4 at most.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.options.jobs = jobs;
        self
    }

    /// Accepts an age file that another program made of a snapshot without etcd's digest.
    #[must_use]
    pub fn allow_missing_digest(mut self) -> Self {
        self.options.allow_missing_digest = true;
        self
    }

    /// How to read archives.
    #[cfg(feature = "cli")]
    pub(crate) fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Names the size of the snapshot in bytes, where it is known beforehand: a lack of space then shows before anything is read.
    #[must_use]
    pub fn expected_size(mut self, size: Option<u64>) -> Self {
        self.expected_size = size;
        self
    }

    /// Shows the progress, and makes it possible to stop the work.
    #[must_use]
    pub fn watch(mut self, watch: Watch) -> Self {
        self.watch = watch;
        self
    }

    /// Writes a plain snapshot, checked on the way, to `output`, which is worthless if this fails. Returns its size.
    #[cfg(feature = "cli")]
    pub(crate) fn copy_to(
        &self,
        mut source: impl Read + Send,
        output: &mut (dyn Write + Send),
    ) -> Result<u64> {
        copy_snapshot(self, &mut source, output).map(|origin| origin.snapshot_size)
    }

    /// Makes the member `name` in `data_dir`, an absent or empty directory, which belongs to the user of this process.
    ///
    /// # Errors
    /// Any fault of the source, the database in it, the cluster or the directory; nothing is left behind.
    pub fn to_member(&self, source: impl Read + Send, name: &str, data_dir: &Path) -> Result<Restored> {
        let data_dir = data_dir.to_owned();
        let place = MemberPlace { data_dir, wal_dir: None, replace: None, owner: None, log_name: WAL_NAME };
        self.to_place(source, name, place)
    }

    /// Makes the member `name` in `place`.
    pub(crate) fn to_place(
        &self,
        mut source: impl Read + Send,
        name: &str,
        place: MemberPlace,
    ) -> Result<Restored> {
        restore_member(self, &mut source, self.membership.member(name, None)?, place)
    }

    /// Makes every member in the new directory `directory`, each in a subdirectory of its name, with instructions.
    ///
    /// # Errors
    /// The errors of [`Self::to_member`].
    pub fn to_cluster(&self, source: impl Read + Send, directory: &Path) -> Result<Restored> {
        self.to_cluster_of(source, directory, None)
    }

    /// As [`Self::to_cluster`], with members that belong to `owner`.
    pub(crate) fn to_cluster_of(
        &self,
        mut source: impl Read + Send,
        directory: &Path,
        owner: Option<Owner>,
    ) -> Result<Restored> {
        restore_cluster(self, &mut source, directory, owner)
    }
}
