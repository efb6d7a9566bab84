//! `drill`: proves an archive under a real etcd.

use crate::cli::exit::Exit;
use crate::cli::monitoring::{Monitoring, Told};
use crate::cli::render::{DrillReport, Plan, count, size};
mod settings;

use super::restore::OpenSource;
use crate::cli::clock::now;
use crate::cli::commands::tether;
use crate::cli::context::Context;
use crate::cli::downgrade::warn_of_downgrade;
use crate::cli::settings::private_etcd::PrivateEtcd;
use crate::error::{Kind, Result};
use crate::pipeline::drill::{Drill, Drilled, check_room};
use crate::pipeline::private_etcd::Program;
use crate::pipeline::restore::Restore;
use crate::store::scratch::Scratch;
use crate::store::space::free_space;
pub(crate) use settings::DrillArguments;
use settings::DrillSettings;
use std::fmt::Write as _;
use std::path::PathBuf;

pub(crate) fn run(arguments: DrillArguments, context: &Context) -> Result<Exit> {
    if arguments.dry_run {
        return plan(DrillSettings::resolve(arguments, &context.environment)?, context);
    }
    let monitoring = Monitoring::begin(arguments.monitoring.clone())?;
    monitoring.around("drill", context, |told| {
        let settings = DrillSettings::resolve(arguments, &context.environment)?;
        let etcd = settings.etcd.etcd.clone();
        let mut path = None;
        let drilled = perform(settings, &mut path, told, context)?;
        tell(&drilled, told);
        Ok(DrillReport::new(drilled, path.as_deref(), &etcd))
    })
}

/// Performs the drill; `path` becomes that of the archive, unless it is standard input.
fn perform(
    settings: DrillSettings,
    path: &mut Option<PathBuf>,
    told: &Told,
    context: &Context,
) -> Result<Drilled> {
    let mut source = OpenSource::open(settings.source, context, false)?;
    *path = source.archive().path().map(PathBuf::from);
    let description = source.describe();
    if let Some(description) = &description {
        told.describe(description);
    }
    let expected_size = source.expected_size(description.as_ref());
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
        told.describe(&manifest.description);
    }
    Ok(drilled)
}

/// What metrics say of a drill beside its end.
fn tell(drilled: &Drilled, told: &Told) {
    let times = drilled.times;
    told.seconds("recovery_seconds", "The measured time to recovery.", times.recovery());
    told.seconds("restore_seconds", "The part of it until members were on the disk.", times.restore);
    told.seconds("boot_seconds", "The part of it until etcd served.", times.boot);
    told.gauge("revision", "The revision in the archive.", &drilled.contents.revision);
    told.gauge("keys", "The keys in the archive.", &drilled.keys.count);
    told.gauge("snapshot_bytes", "The size of the snapshot in the archive.", &drilled.snapshot_size);
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
