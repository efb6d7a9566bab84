//! Opens an archive for a caller that has its key: verifies it, or brings the snapshot back.

use std::io::{Read, Write};
use std::path::Path;

use super::open::{Opened, Options, open};
use super::seal::default_jobs;
use crate::error::{Error, Kind, Result};
use crate::keys::Identities;
use crate::store::{Existing, Location, Published, Terms, Unpublished};
use crate::watch::Watch;

/// Opens archives with identities. The options have the defaults of the program.
#[derive(Clone, Debug)]
pub struct Unseal<'a> {
    identities: &'a Identities,
    options: Options,
    watch: Watch,
}

impl<'a> Unseal<'a> {
    /// Opens with `identities`.
    #[must_use]
    pub fn new(identities: &'a Identities) -> Self {
        Self { identities, options: default_options(), watch: Watch::default() }
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

    /// Shows the progress, and makes it possible to stop the work.
    #[must_use]
    pub fn watch(mut self, watch: Watch) -> Self {
        self.watch = watch;
        self
    }

    /// Reads an archive to its end and checks every layer of it.
    ///
    /// # Errors
    /// Any fault of the archive or the identities.
    pub fn verify(&self, mut archive: impl Read + Send) -> Result<Opened> {
        open(&mut archive, self.identities, &self.options, &mut std::io::sink(), &self.watch)
    }

    /// Writes the snapshot in the archive to `output`.
    ///
    /// The digests are at the end of an archive, so bytes come out before they are verified: what `output` holds counts only
    /// if this returns `Ok`.
    ///
    /// # Errors
    /// Any fault of the archive, the identities or the output.
    pub fn to_writer(
        &self,
        mut archive: impl Read + Send,
        output: &mut (dyn Write + Send),
    ) -> Result<Opened> {
        open(&mut archive, self.identities, &self.options, output, &self.watch)
    }

    /// Writes the snapshot in the archive to a new file at `path`, which appears under its name only after everything is
    /// verified and synced; on error nothing is left behind.
    ///
    /// # Errors
    /// The errors of [`Self::to_writer`], and [`Kind::DestinationExists`].
    pub fn to_file(&self, archive: impl Read + Send, path: &Path) -> Result<(Opened, Published)> {
        let mut object = new_object(path, false)?;
        let opened = self.to_writer(archive, &mut object)?;
        let published = object.publish(None, &self.watch.interrupt)?;
        Ok((opened, published))
    }
}

/// How archives are read where the caller says nothing else.
pub(super) fn default_options() -> Options {
    Options { jobs: default_jobs(), allow_missing_digest: false, file_digest: false }
}

/// Begins the object at `path`, whose name must be free.
pub(super) fn new_object(path: &Path, sidecar: bool) -> Result<Box<dyn Unpublished>> {
    let (location, name) = Location::of_object(path).ok_or_else(|| {
        Error::new(Kind::Destination, format!("{} does not name a file", path.display())).naming(path)
    })?;
    let mut object = location.store().begin()?;
    object.name(&name, Terms { existing: Existing::Refuse, sidecar })?;
    Ok(object)
}
