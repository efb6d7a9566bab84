//! How archives are read to their end.

use super::effort::{Effort, EffortArguments};
use super::environment::Environment;
use crate::error::Result;
use crate::pipeline;
use clap::Args;

/// How to read archives to their end.
#[derive(Debug, Args)]
pub(crate) struct OpeningArguments {
    /// Accept a foreign archive whose snapshot has no digest of etcd's; the exit status is then 3
    #[arg(long)]
    pub(crate) allow_missing_digest: bool,
    /// How much of this host to take.
    #[command(flatten)]
    pub(crate) effort: EffortArguments,
}

pub(crate) fn opening_options(
    words: &OpeningArguments,
    environment: &Environment,
) -> Result<pipeline::open::Options> {
    Ok(pipeline::open::Options {
        jobs: Effort::resolve(&words.effort, environment)?.jobs,
        allow_missing_digest: words.allow_missing_digest,
        file_digest: false,
    })
}
