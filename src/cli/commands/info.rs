//! `info`: shows what archives say of themselves.

use super::verify::check_archives;
use crate::cli::context::Context;
use crate::cli::downgrade::warn_of_downgrade;
use crate::cli::exit::Exit;
use crate::cli::input::{Archive, each};
use crate::cli::render::InfoReport;
use crate::cli::settings::effort::usual_jobs;
use crate::cli::settings::identities::IdentityArguments;
use crate::error::Result;
use crate::keys::Identities;
use crate::pipeline::inspect::inspect;
use crate::pipeline::open::{Options, look, open};
use crate::store::Object;
use clap::Args;
use std::io;
use std::path::PathBuf;

/// Arguments of `info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    /// Archives to show, or directories of them, - for standard input
    ///
    /// In a directory these are the files whose names end in .age. The sidecar (.sha256) and the signature (.sig) of an
    /// archive that is named as well, as by DIR/*, are skipped.
    #[arg(value_name = "ARCHIVE", required = true)]
    pub(crate) archives: Vec<PathBuf>,
    /// What opens them.
    #[command(flatten)]
    pub(crate) identities: IdentityArguments,
}

impl InfoArguments {
    /// Refuses what makes no sense before anything is asked or read.
    pub(super) fn check(&self) -> Result<()> {
        check_archives(&self.archives, &self.identities)
    }
}

pub(crate) fn run(arguments: &InfoArguments, context: &Context) -> Result<Exit> {
    arguments.check()?;
    let options = Options { jobs: usual_jobs(), allow_missing_digest: true, file_digest: false };
    let identities = arguments.identities.load(&context.terminal)?;
    let tally = each(&arguments.archives, context, |archive, object| {
        show(archive, object, identities.as_ref(), &options, context)
    })?;
    Ok(tally.worst)
}

fn show(
    archive: &Archive,
    mut object: Box<dyn Object>,
    identities: Option<&Identities>,
    options: &Options,
    context: &Context,
) -> Result<Exit> {
    let report = if object.size().is_some() {
        let inspected = inspect(&mut object, identities);
        InfoReport::inspected(
            inspected.map_err(|error| archive.or_damaged(error, &context.interrupt))?,
            archive.path(),
        )
    } else {
        // An input that cannot seek has to be read to its end, which also verifies it.
        let watch = context.watch("reading");
        match identities {
            None => InfoReport::seen(look(&mut object, &watch)?, archive.path()),
            Some(identities) => {
                let opened = open(&mut object, identities, options, &mut io::sink(), &watch)?;
                InfoReport::opened(opened, archive.path())
            }
        }
    };
    warn_of_downgrade(archive.subject(), report.downgrade());
    context.reporter.result(&report)
}
