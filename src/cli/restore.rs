//! `restore`: from an archive back to the snapshot.

use super::Context;
use super::args::RestoreArguments;
use super::bar;
use super::exit::Exit;
use super::input::Archive;
use super::output::Place;
use super::report::{Plan, RestoreReport};
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
        settings.identities.check(&context.terminal)?;
        let plan = Plan::new("restore", archive.name(), place.to_string(), Vec::new());
        return context.reporter.result(&plan);
    }
    let began = Instant::now();
    let identities = settings.identities.load(&context.terminal)?.unwrap_or_default();
    let mut output = place.begin()?;
    let progress = bar::progress(&context.console, context.quiet, "restoring");
    let opened = open(&mut file, &identities, &settings.options, &mut output, &*progress, &context.interrupt)
        .map_err(|error| {
            let blame = |error| archive.named_in(archive.or_damaged(error, &context.interrupt));
            output.explain(error, blame)
        })?;
    drop(progress);
    let published = output.publish(None, &context.interrupt)?;
    context.reporter.result(&RestoreReport::new(opened, archive.path(), published, began.elapsed()))
}
