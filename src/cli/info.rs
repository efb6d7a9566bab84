//! `info`: what archives say of themselves.

use super::Context;
use super::args::InfoArguments;
use super::bar;
use super::exit::Exit;
use super::input::Archive;
use super::report::InfoReport;
use super::settings::ReadSettings;
use crate::error::{Error, Kind, Result};
use crate::keys::Identities;
use crate::pipeline::inspect::inspect;
use crate::pipeline::open::{Options, look, open};
use std::fs::File;
use std::io;
use std::path::PathBuf;

pub(super) fn run(words: InfoArguments, context: &Context) -> Result<Exit> {
    let settings = ReadSettings::of_info(words, &context.environment)?;
    let identities = settings.identities.load(&context.terminal)?;
    each(&settings.archives, context, |archive| {
        show(archive, identities.as_ref(), &settings.options, context)
    })
}

/// Does `what` with every archive: a failure is told and the next one tried; the worst counts.
pub(super) fn each(
    archives: &[PathBuf],
    context: &Context,
    what: impl Fn(Archive<'_>) -> Result<Exit>,
) -> Result<Exit> {
    let mut worst = Exit::Done;
    for path in archives {
        let archive = Archive::named(path);
        let exit = match what(archive) {
            Ok(exit) => exit,
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                let exit = Exit::of(error.kind());
                context.reporter.failure(&named(error, archive), exit, Some(path));
                exit
            }
        };
        worst = worst.worse(exit);
    }
    Ok(worst)
}

/// Puts the archive's name before a message that does not have it.
pub(super) fn named(error: Error, archive: Archive<'_>) -> Error {
    let name = archive.name();
    if error.to_string().contains(&name) { error } else { error.within(name) }
}

fn show(
    archive: Archive<'_>,
    identities: Option<&Identities>,
    options: &Options,
    context: &Context,
) -> Result<Exit> {
    let mut file = archive.open()?;
    let report = if is_seekable(&file) {
        let inspected = inspect(&mut file, identities);
        InfoReport::inspected(
            inspected.map_err(|error| archive.or_damaged(error, &context.interrupt))?,
            archive.path(),
        )
    } else {
        // What cannot be sought has to be read to its end, and then is verified too.
        let progress = bar::progress(&context.console, context.quiet, "reading");
        match identities {
            None => InfoReport::seen(look(&mut file, &*progress, &context.interrupt)?, archive.path()),
            Some(identities) => {
                let opened =
                    open(&mut file, identities, options, &mut io::sink(), &*progress, &context.interrupt)?;
                InfoReport::opened(opened, archive.path())
            }
        }
    };
    context.reporter.result(&report)
}

fn is_seekable(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file())
}
