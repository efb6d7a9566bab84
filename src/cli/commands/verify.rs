//! `verify`: proves that archives are whole.

use crate::cli::context::Context;
use crate::cli::downgrade::warn_of_downgrade;
use crate::cli::exit::Exit;
use crate::cli::input::{Archive, each};
use crate::cli::render::VerifyReport;
use crate::cli::settings::identities::IdentityArguments;
use crate::cli::settings::opening::OpeningArguments;
use crate::cli::settings::standard_input::StandardInput;
use crate::error::{Kind, Result};
use crate::keys::Identities;
use crate::pipeline::open::{Options, look, open};
use crate::store::Object;
use clap::Args;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Archives to verify, or directories of them, - for standard input
    ///
    /// In a directory these are the files whose names end in .age. The sidecar (.sha256) and the signature (.sig) of an
    /// archive that is named as well, as by DIR/*, are skipped.
    #[arg(value_name = "ARCHIVE", required = true)]
    pub(crate) archives: Vec<PathBuf>,
    /// What opens them.
    #[command(flatten)]
    pub(crate) identities: IdentityArguments,
    /// How to read them.
    #[command(flatten)]
    pub(crate) opening: OpeningArguments,
}

impl VerifyArguments {
    /// Refuses what makes no sense before anything is asked or read.
    fn check(&self) -> Result<()> {
        check_archives(&self.archives, &self.identities)
    }
}

/// Ensures that only one of the archives and identities is standard input.
pub(super) fn check_archives(archives: &[PathBuf], identities: &IdentityArguments) -> Result<()> {
    let mut input = StandardInput::default();
    input.claim_paths("ARCHIVE -", archives)?;
    identities.check(&mut input)
}

pub(crate) fn run(arguments: &VerifyArguments, context: &Context) -> Result<Exit> {
    arguments.check()?;
    let options = arguments.opening.options()?;
    let identities = arguments.identities.load(&context.terminal)?;
    let tally = each(&arguments.archives, context, |archive, object| match &identities {
        None => verify_without_key(archive, object, context),
        Some(identities) => verify_with_key(archive, object, identities, &options, context),
    })?;
    context.reporter.tally(tally)?;
    Ok(tally.worst)
}

/// Checks what is readable without a key, and compares the sidecar. What the archive itself shows comes first, such as that
/// it is of a later format: a malformed sidecar says nothing of the archive.
fn verify_without_key(archive: &Archive, mut object: Box<dyn Object>, context: &Context) -> Result<Exit> {
    let began = Instant::now();
    let sidecar = archive.sidecar();
    let watch = context.watch("verifying");
    let visible = look(&mut object, &watch)?;
    let sidecar = archive.compare(sidecar?.as_ref(), visible.archive_sha256.as_ref())?;
    context.reporter.result(&VerifyReport::seen(visible, archive.path(), sidecar, began.elapsed()))
}

/// Verifies every layer to the end, and the sidecar. A malformed sidecar does not prevent the check of the content.
fn verify_with_key(
    archive: &Archive,
    mut object: Box<dyn Object>,
    identities: &Identities,
    options: &Options,
    context: &Context,
) -> Result<Exit> {
    let began = Instant::now();
    let sidecar = archive.sidecar();
    let watch = context.watch("verifying");
    let (sidecar, malformed) = match sidecar {
        Err(error) if error.kind() == Kind::SidecarMalformed => (None, Some(error)),
        read => (read?, None),
    };
    let options = Options { file_digest: sidecar.is_some(), ..options.clone() };
    let opened = open(&mut object, identities, &options, &mut io::sink(), &watch)
        .map_err(|error| archive.or_damaged(error, &context.interrupt))?;
    if let Some(error) = malformed {
        return Err(archive.whole_but(error));
    }
    let sidecar = archive.compare(sidecar.as_ref(), opened.visible.archive_sha256.as_ref())?;
    warn_of_downgrade(archive.subject(), opened.facts.as_ref().and_then(|facts| facts.downgrade.as_deref()));
    context.reporter.result(&VerifyReport::opened(opened, archive.path(), sidecar, began.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line::parsed;
    use crate::cli::commands::Command;

    #[test]
    fn two_readers_of_standard_input_are_refused() {
        let Ok(Command::Verify(verify)) = parsed(&["verify", "-", "-i-"], &[]) else { panic!("no verify") };
        let error = verify.check().err().unwrap();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.to_string(), "standard input can be read once: ARCHIVE - and -i -");
        let Ok(Command::Info(info)) = parsed(&["info", "-", "-"], &[]) else { panic!("no info") };
        assert_eq!(info.check().err().unwrap().kind(), Kind::Usage);
    }
}
