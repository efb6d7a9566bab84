//! How archives are read to their end.

use super::effort::EffortArguments;
use crate::error::Result;
use crate::pipeline::open::Options;
use clap::Args;

/// How to read archives to their end.
#[derive(Debug, Args)]
pub(crate) struct OpeningArguments {
    /// Accept a foreign archive whose snapshot has no digest of etcd's; the exit status is then 3
    #[arg(hide_short_help = true, long)]
    allow_missing_digest: bool,
    /// How much of this host to take.
    #[command(flatten)]
    pub(crate) effort: EffortArguments,
}

impl OpeningArguments {
    /// The options of the library.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage).
    pub(crate) fn options(&self) -> Result<Options> {
        let (jobs, allow_missing_digest) = (self.effort.jobs()?, self.allow_missing_digest);
        Ok(Options { jobs, allow_missing_digest, file_digest: false })
    }
}
