//! `drill`: proves an archive under a real etcd.

use crate::cli::exit::Exit;
use crate::cli::render::{DrillMetrics, DrillReport, Plan, count, size};
mod settings;

use super::restore::OpenSource;
use crate::archive::manifest::Description;
use crate::cli::clock::now;
use crate::cli::commands::tether;
use crate::cli::context::Context;
use crate::cli::downgrade::warn_of_downgrade;
use crate::cli::settings::private_etcd::PrivateEtcd;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::pipeline::drill::{Drill, Drilled, check_room};
use crate::pipeline::private_etcd::Program;
use crate::pipeline::restore::Restore;
use crate::store::Existing;
use crate::store::local::{UnpublishedFile, check};
use crate::store::scratch::Scratch;
use crate::store::space::free_space;
pub(crate) use settings::DrillArguments;
use settings::{DrillSettings, MetricsPlace};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

pub(crate) fn run(arguments: DrillArguments, context: &Context) -> Result<Exit> {
    let mut settings = DrillSettings::resolve(arguments, &context.environment)?;
    let metrics = settings.metrics.take();
    if let Some(MetricsPlace { directory, name }) = &metrics {
        check(directory, name, Existing::Replace, false)?;
    }
    // Detect a clock that shows no valid time before the drill, not after it.
    now()?;
    if settings.dry_run {
        return plan(settings, context);
    }
    let (began, etcd) = (Instant::now(), settings.etcd.etcd.clone());
    let mut seen = Seen::default();
    let drilled = perform(settings, &mut seen, context);
    if let Some(place) = metrics {
        let text = DrillMetrics {
            ended: now()?,
            took: began.elapsed(),
            description: seen.description.as_ref(),
            outcome: drilled.as_ref().map_err(|error| context.stopped_by.exit_of(error, &context.interrupt)),
        }
        .text();
        match (place.write(&text), &drilled) {
            // The failure of the drill matters more than the failed write, so only warn of that.
            (Err(error), Err(_)) => tracing::warn!("{error}"),
            (written, _) => written?,
        }
    }
    context.reporter.result(&DrillReport::new(drilled?, seen.path.as_deref(), &etcd))
}

/// What is known of the archive, however the drill ends.
#[derive(Default)]
struct Seen {
    /// `None` for standard input.
    path: Option<PathBuf>,
    description: Option<Description>,
}

fn perform(settings: DrillSettings, seen: &mut Seen, context: &Context) -> Result<Drilled> {
    let mut source = OpenSource::open(settings.source, context, false)?;
    seen.path = source.archive().path().map(PathBuf::from);
    seen.description = source.describe();
    let expected_size = source.expected_size(seen.description.as_ref());
    let identities = source.identities.take();
    let PrivateEtcd { etcd, search_path, scratch } = settings.etcd;
    let program = Program { etcd, launcher: tether::launcher(), search_path };
    let restore = Restore::from(identities.as_ref()).options(settings.options).expected_size(expected_size);
    let drill = Drill::of(restore, program, now()?.into())
        .members(settings.members)
        .timeout(settings.timeout)
        .runtime(&context.runtime)
        .watch(context.watch("restoring"));
    let drilled = drill.run(&mut source.object, &scratch);
    let drilled = drilled.map_err(|error| match error.kind() {
        Kind::NoEtcd | Kind::EtcdNotRunning => error,
        _ => source.archive().blamed(error, identities.is_some(), &context.interrupt),
    })?;
    warn_of_downgrade(source.archive().subject(), drilled.contents.downgrade.as_deref());
    if let Some(manifest) = drilled.opened.as_ref().and_then(|opened| opened.manifest.as_ref()) {
        seen.description = Some(manifest.description.clone());
    }
    Ok(drilled)
}

fn plan(settings: DrillSettings, context: &Context) -> Result<Exit> {
    let PrivateEtcd { etcd, scratch, .. } = &settings.etcd;
    Scratch::check(scratch)?;
    let mut source = OpenSource::open(settings.source, context, true)?;
    let mut destination = format!(
        "a scratch directory in {}, and start {} of {} there",
        scratch.display(),
        count(settings.members as u64, "member"),
        etcd.display(),
    );
    let description = source.describe();
    let expected = source.expected_size(description.as_ref());
    if let Some(expected) = expected {
        let _ = write!(destination, ", at least {}", size(expected));
    }
    check_room(scratch, expected, settings.members, free_space(scratch)?)?;
    context.reporter.result(&Plan::new(
        "drill",
        source.archive().subject().to_string(),
        destination,
        Vec::new(),
    ))
}

impl MetricsPlace {
    fn write(&self, text: &str) -> Result<()> {
        let Self { directory, name } = self;
        let mut file = UnpublishedFile::create(directory)?;
        let written = file.write_all(text.as_bytes());
        written.map_err(|error| Error::io("write", directory.join(name).display(), error))?;
        file.let_all_users_read()?;
        // Monitoring must learn of an interrupted drill, too, so this write ignores the request to stop.
        let published = file.publish(name, Existing::Replace, None, &Interrupt::new())?;
        published.shortfall.map_or(Ok(()), Err)
    }
}
