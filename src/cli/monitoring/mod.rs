//! Tells the outside how a command ended: programs of the user's, and a file of metrics for Prometheus.
//!
//! What happens here never changes what the command did. An archive stays published when a program after it fails; the
//! result then says so, and the exit status is that of partial success.
#![expect(
    clippy::doc_markdown,
    reason = "the comments of arguments are the help, and a terminal shows backticks as they are"
)]

mod hooks;
mod metrics;
mod metrics_file;

use super::clock::now;
use super::context::Context;
use super::exit::Exit;
use super::render::{Report, Text, failure_fields, result_fields};
use super::settings::values::parse_duration;
use crate::error::{Error, Result};
use clap::Args;
use hooks::{Event, Hook, Hooks, When};
use metrics::Ended;
pub(crate) use metrics::Told;
use metrics_file::MetricsFile;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What to do around a command: programs to run, and a file of metrics to write.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Monitoring")]
pub(crate) struct MonitoringArguments {
    /// Write the outcome, good or bad, for node_exporter's textfile collector: a file ending in .prom
    ///
    /// It is replaced as a whole, and every user may read it. After a failure the time of the last success stays in it. A
    /// run that is killed writes nothing: alert on the age of the last success. etcd-seal generate alerts prints rules.
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
    /// Run this program first; if it fails, nothing is done
    ///
    /// A program with its arguments, separated by spaces and quoted as in a shell. No shell reads them: for one, say
    /// sh -c 'COMMANDS'. Its output goes to standard error. Every field of the result that --json would print is in its
    /// environment, such as ETCD_SEAL_RESULT_PATH, ETCD_SEAL_RESULT_EXIT_CODE and ETCD_SEAL_RESULT_ERROR, beside
    /// ETCD_SEAL_COMMAND and ETCD_SEAL_HOOK (before, after, failed or finally). All four options can be repeated; the
    /// programs run in the order given, and with -n none does.
    #[arg(hide_short_help = true, long, value_name = "PROGRAM", value_parser = Hook::parse)]
    run_before: Vec<Hook>,
    /// Run this program after success; if it fails, the exit status is 3
    #[arg(hide_short_help = true, long, value_name = "PROGRAM", value_parser = Hook::parse)]
    run_after: Vec<Hook>,
    /// Run this program after a failure
    #[arg(hide_short_help = true, long, value_name = "PROGRAM", value_parser = Hook::parse)]
    run_failed: Vec<Hook>,
    /// Run this program last, however the command ended
    #[arg(hide_short_help = true, long, value_name = "PROGRAM", value_parser = Hook::parse)]
    run_finally: Vec<Hook>,
    /// How long each of these programs may take before it is killed, which counts as a failure
    #[arg(hide_short_help = true, long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    run_timeout: Duration,
}

/// What to do around a command.
#[derive(Debug)]
pub(crate) struct Monitoring {
    metrics: Option<MetricsFile>,
    hooks: Hooks,
}

impl Monitoring {
    /// Checks that the file can be written before the command begins.
    ///
    /// # Errors
    /// `Kind::Destination`, `Kind::Io`.
    pub(crate) fn begin(arguments: MonitoringArguments) -> Result<Self> {
        let MonitoringArguments { metrics_file, run_before, run_after, run_failed, run_finally, run_timeout } =
            arguments;
        let metrics = metrics_file.as_deref().map(MetricsFile::named).transpose()?;
        // A clock that shows no valid time is detected before the command, not after it.
        now()?;
        let hooks = Hooks {
            before: run_before,
            after: run_after,
            failed: run_failed,
            finally: run_finally,
            timeout: run_timeout,
        };
        Ok(Self { metrics, hooks })
    }

    /// Runs `command`, which fills in what metrics say of it, prints its result, and does what was asked for around it.
    ///
    /// # Errors
    /// Those of `command`, and `Kind::HookFailed` of a program before it.
    pub(crate) fn around<R: Report + Text>(
        self,
        name: &'static str,
        context: &Context,
        command: impl FnOnce(&Told) -> Result<R>,
    ) -> Result<Exit> {
        let run = Run { monitoring: Arc::new(self), name, began: Instant::now(), told: Told::default() };
        let before = run.event(When::Before, Vec::new());
        let ended = run.monitoring.hooks.before(&before, &context.interrupt).and_then(|()| {
            let given_up = run.clone();
            context.last_work.leave(move |error, exit| given_up.failed(error, exit));
            command(&run.told)
        });
        if !context.last_work.take_back() {
            // The process exits, and another thread tells of it.
            return ended.and_then(|report| context.reporter.result(&report));
        }
        match ended {
            Ok(mut report) => {
                run.succeeded(&mut report);
                context.reporter.result(&report)
            }
            Err(error) => {
                run.failed(&error, context.stopped_by.exit_of(&error, &context.interrupt));
                Err(error)
            }
        }
    }
}

/// One run of a command.
#[derive(Clone)]
struct Run {
    monitoring: Arc<Monitoring>,
    name: &'static str,
    began: Instant,
    told: Told,
}

impl Run {
    /// Does what follows success, and adds to the result what of it failed.
    fn succeeded(&self, report: &mut impl Report) {
        let hooks = &self.monitoring.hooks;
        let after = hooks.after(&self.event(When::After, result_fields(report)));
        report.verdict_mut().note(after);
        let written = self.write_metrics(report.verdict().exit_code);
        report.verdict_mut().note(written);
        let last = hooks.after(&self.event(When::Finally, result_fields(report)));
        report.verdict_mut().note(last);
    }

    /// Does what follows a failure, which matters more than what fails here.
    fn failed(&self, error: &Error, exit: Exit) {
        let hooks = &self.monitoring.hooks;
        let fields = failure_fields(error, exit);
        let followed = [
            hooks.after(&self.event(When::Failed, fields.clone())),
            self.write_metrics(exit),
            hooks.after(&self.event(When::Finally, fields)),
        ];
        for error in followed.into_iter().filter_map(Result::err) {
            tracing::warn!("{error}");
        }
    }

    fn event(&self, when: When, fields: Vec<(String, String)>) -> Event {
        Event { command: self.name, when, fields }
    }

    fn write_metrics(&self, exit: Exit) -> Result<()> {
        let Some(file) = &self.monitoring.metrics else { return Ok(()) };
        let ended = Ended { command: self.name, at: now()?, took: self.began.elapsed(), exit };
        file.write(&self.told.text(&ended, file.last_success(self.name).as_ref()))
    }
}
