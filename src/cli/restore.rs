//! `restore`: from an archive back to the snapshot.

use super::Context;
use super::args::RestoreArguments;
use super::bar;
use super::exit::Exit;
use super::info::named;
use super::input::Archive;
use super::output::Place;
use super::report::{Plan, Proved, RestoreReport};
use super::settings::RestoreSettings;
use crate::error::Result;
use crate::pipeline::open::open;
use std::time::Instant;

pub(super) fn run(words: RestoreArguments, context: &Context) -> Result<Exit> {
    let settings = RestoreSettings::resolve(words, &context.environment)?;
    let archive = Archive::named(&settings.archive);
    let place = Place::for_snapshot(&settings.output, settings.force)?;
    let mut file = archive.open()?;
    if settings.dry_run {
        let plan = Plan::new("restore", archive.name(), place.to_string(), Vec::new());
        context.reporter.result(&plan)?;
        return Ok(Exit::Done);
    }
    let began = Instant::now();
    let identities = settings.identities.load(&context.terminal)?.unwrap_or_default();
    let mut output = place.begin()?;
    let progress = bar::progress(&context.console, context.quiet, "restoring");
    let opened = open(&mut file, &identities, &settings.options, &mut output, &*progress, &context.interrupt)
        .map_err(|error| {
            let blame = |error| named(archive.or_damaged(error, &context.interrupt), archive);
            output.explain(error, blame)
        })?;
    drop(progress);
    let path = output.publish(None, &context.interrupt)?;
    let proved = Proved::by(opened.digest);
    let report = RestoreReport::new(opened, archive.path(), path.as_deref(), began.elapsed());
    context.reporter.result(&report)?;
    Ok(proved.exit())
}
