//! `verify`: proves that archives are whole.

use super::Context;
use super::args::VerifyArguments;
use super::bar;
use super::exit::Exit;
use super::input::{Archive, each};
use super::report::VerifyReport;
use super::settings::ReadSettings;
use crate::error::{Kind, Result};
use crate::keys::Identities;
use crate::pipeline::open::{Options, look, open};
use std::fs::File;
use std::io;
use std::time::Instant;

pub(super) fn run(words: VerifyArguments, context: &Context) -> Result<Exit> {
    let settings = ReadSettings::resolve(words, &context.environment)?;
    let identities = settings.identities.load(&context.terminal)?;
    each(&settings.archives, context, |archive, file| match &identities {
        None => verify_without_key(archive, file, context),
        Some(identities) => verify_with_key(archive, file, identities, &settings.options, context),
    })
}

/// Compares the sidecar, and checks what is readable without a key.
fn verify_without_key(archive: Archive<'_>, mut file: File, context: &Context) -> Result<Exit> {
    let began = Instant::now();
    let sidecar = archive.sidecar()?;
    let progress = bar::progress(&context.console, context.quiet, "verifying");
    let visible = look(&mut file, &*progress, &context.interrupt)?;
    drop(progress);
    let sidecar = archive.compare(sidecar.as_ref(), visible.archive_sha256.as_ref())?;
    context.reporter.result(&VerifyReport::seen(visible, archive.path(), sidecar, began.elapsed()))
}

/// Verifies every layer to the end, and the sidecar. A malformed sidecar does not prevent the check of the content.
fn verify_with_key(
    archive: Archive<'_>,
    mut file: File,
    identities: &Identities,
    options: &Options,
    context: &Context,
) -> Result<Exit> {
    let began = Instant::now();
    let sidecar = archive.sidecar();
    let progress = bar::progress(&context.console, context.quiet, "verifying");
    let (sidecar, malformed) = match sidecar {
        Err(error) if error.kind() == Kind::SidecarMalformed => (None, Some(error)),
        read => (read?, None),
    };
    let options = Options { file_digest: sidecar.is_some(), ..options.clone() };
    let opened = open(&mut file, identities, &options, &mut io::sink(), &*progress, &context.interrupt)
        .map_err(|error| archive.or_damaged(error, &context.interrupt))?;
    drop(progress);
    if let Some(error) = malformed {
        return Err(archive.whole_but(error));
    }
    let sidecar = archive.compare(sidecar.as_ref(), opened.visible.archive_sha256.as_ref())?;
    context.reporter.result(&VerifyReport::opened(opened, archive.path(), sidecar, began.elapsed()))
}
