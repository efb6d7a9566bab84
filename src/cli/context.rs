//! What a command runs with.

use super::last_work::LastWork;
use super::render::Reporter;
use super::settings::environment::Environment;
use super::supervise::StoppedBy;
use super::terminal::bar;
use super::terminal::console::Console;
use super::terminal::prompt::Terminal;
use crate::interrupt::Interrupt;
use crate::watch::Watch;
use std::sync::Arc;

/// What a command runs with.
pub(crate) struct Context {
    pub(crate) environment: Environment,
    /// The output of results and failures.
    pub(crate) reporter: Reporter,
    /// The output of log lines and the progress bar.
    pub(crate) console: Console,
    /// The prompt for questions to the user.
    pub(crate) terminal: Arc<Terminal>,
    /// The request to stop.
    pub(crate) interrupt: Interrupt,
    /// The signal that raised it.
    pub(crate) stopped_by: StoppedBy,
    /// What is to be done at the end even if the command's thread is stuck.
    pub(crate) last_work: LastWork,
    /// The runtime for connections to etcd.
    pub(crate) runtime: tokio::runtime::Handle,
    /// The definition of the command line, for manual pages and completions.
    pub(crate) definition: fn() -> clap::Command,
    /// `-q`.
    pub(crate) quiet: bool,
}

impl Context {
    /// The watch over work that is called `doing` while its progress is shown.
    pub(crate) fn watch(&self, doing: &'static str) -> Watch {
        Watch::new(bar::progress(&self.console, self.quiet, doing), &self.interrupt)
    }
}
