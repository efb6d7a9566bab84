//! The program: the only module that knows flags, environment, terminal, clock, signals and exit codes.
//!
//! `command_line` parses the arguments, and `settings` resolves arguments and environment. Each command has its own file in
//! `commands`, with its arguments; it takes settings, calls the library and reports the result with `report`.

pub mod exit;

mod afresh;
mod bar;
mod clock;
mod command_line;
mod commands;
mod console;
mod input;
mod options;
mod output;
mod printable;
mod prompt;
mod repeats;
mod report;
mod secret;
mod settings;
mod supervise;

use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::watch::Watch;
use afresh::Beginning;
use command_line::Unparsed;
use commands::{Arguments, Command, OutputArguments, recovery, tether};
use console::{Console, Verbosity};
use exit::Exit;
use prompt::Terminal;
use report::Reporter;
use settings::environment::{self, Environment};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use supervise::StoppedBy;

struct Context {
    environment: Environment,
    /// The output of results and failures.
    reporter: Reporter,
    /// The output of log lines and the progress bar.
    console: Console,
    /// The prompt for questions to the user.
    terminal: Arc<Terminal>,
    /// The request to stop.
    interrupt: Interrupt,
    /// The signal that raised it.
    stopped_by: StoppedBy,
    /// The runtime for connections to etcd.
    runtime: tokio::runtime::Handle,
    /// `-q`.
    quiet: bool,
}

impl Context {
    /// The watch over work that is called `doing` while its progress is shown.
    fn watch(&self, doing: &'static str) -> Watch {
        Watch::new(bar::progress(&self.console, self.quiet, doing), &self.interrupt)
    }
}

/// Runs the program and returns its exit code.
#[must_use]
pub fn run() -> ExitCode {
    let beginning = afresh::begin();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let console = Console::default();
    match command_line::parse(&arguments, &beginning.environment) {
        Ok(Arguments { command: Command::Tether(arguments), .. }) => tether::run(&arguments, &console),
        Ok(Arguments { command: Command::Recovery, .. }) => shown(&recovery::text(), &console).code().into(),
        Ok(Arguments { command: Command::Version, .. }) => {
            shown(&command_line::version(), &console).code().into()
        }
        Ok(arguments) => run_command(arguments, beginning, &console).code().into(),
        Err(Unparsed::Shown(text)) => shown(&text, &console).code().into(),
        Err(Unparsed::Wrong(error, glimpse)) => {
            let reporter = Reporter {
                json: glimpse.json,
                verbosity: Verbosity::Normal,
                stdout_is_taken: glimpse.takes_stdout,
                console,
            };
            reporter.failure(&error, Exit::Usage, None);
            Exit::Usage.code().into()
        }
    }
}

/// Prints a text that the user asked for: help, version, a page.
fn shown(text: &str, console: &Console) -> Exit {
    let Err(error) = report::put_on_stdout(text) else { return Exit::Done };
    let reporter = Reporter {
        json: false,
        verbosity: Verbosity::Normal,
        stdout_is_taken: false,
        console: console.clone(),
    };
    reporter.failure(&error, Exit::Failure, None);
    Exit::Failure
}

fn run_command(arguments: Arguments, beginning: Beginning, console: &Console) -> Exit {
    let Arguments { command, output, from_environment } = arguments;
    options::show_variables(from_environment);
    console::install_log(console, verbosity(&output));
    let checked = beginning.check();
    let environment = beginning.environment;
    let reporter = Reporter {
        json: output.json,
        verbosity: verbosity(&output),
        stdout_is_taken: command.takes_stdout(),
        console: console.clone(),
    };
    let patience = command.patience();
    let prepared = checked.and_then(|()| keep_secrets_out_of_dumps()).and_then(|()| command.step_aside());
    let result = prepared.and_then(|()| {
        supervise::supervise(&reporter, console, patience, |interrupt, stopped_by, runtime| {
            let terminal = Arc::new(Terminal::new(console.clone(), passphrase_file(&environment)));
            let (reporter, console, quiet) = (reporter.clone(), console.clone(), output.quiet);
            let context =
                Context { environment, reporter, console, terminal, interrupt, stopped_by, runtime, quiet };
            move || command.run(&context)
        })
    });
    let exit = result.unwrap_or_else(|error| {
        let exit = Exit::of(error.kind());
        reporter.failure(&error, exit, None);
        exit
    });
    console.tell_left_out_warnings();
    exit
}

fn verbosity(output: &OutputArguments) -> Verbosity {
    match (output.quiet, output.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, true) => Verbosity::Verbose,
        (false, false) => Verbosity::Normal,
    }
}

/// The file with the passphrase: from the variable, or a systemd credential.
fn passphrase_file(environment: &Environment) -> Option<PathBuf> {
    environment.get(environment::PASSPHRASE_FILE).map(PathBuf::from).or_else(|| {
        let directory = environment.get(environment::CREDENTIALS_DIRECTORY)?;
        Some(Path::new(directory).join(environment::PASSPHRASE_CREDENTIAL)).filter(|file| file.exists())
    })
}

/// Keeps keys out of core dumps and away from debuggers of the same user.
fn keep_secrets_out_of_dumps() -> Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let refused = |error: rustix::io::Errno| {
        Error::new(Kind::Io, format!("cannot turn core dumps off: {error}"))
            .with_hint("something on this host forbids setrlimit or prctl to this program; allow them")
            .with_source(error)
    };
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(refused)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused)
}

/// Lowers the priority as far as possible. A refusal is no failure, as the work can be done at any priority.
fn lower_priority() {
    const LOWEST: i32 = 19;
    if let Err(error) = rustix::process::setpriority_process(None, LOWEST) {
        tracing::warn!("cannot lower the priority, going on as before: {error}");
    }
}
