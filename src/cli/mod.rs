//! The program: the only module that knows flags, environment, terminal, clock, signals and exit codes.
//!
//! `args` parses a command line into words, and `settings` validates words and environment. Each command is one file that
//! takes settings, calls the library and reports the result with `report`.

pub mod exit;

mod afresh;
mod args;
mod bar;
mod console;
mod drill;
mod generate;
mod info;
mod input;
mod keygen;
mod man;
mod options;
mod output;
mod page;
mod printable;
mod prompt;
mod repeats;
mod report;
mod restore;
mod save;
mod secret;
mod settings;
mod supervise;
mod tether;
mod verify;

use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::name::whole_seconds;
use afresh::Beginning;
use args::{Arguments, Command, OutputArguments, Unparsed};
use console::{Console, Verbosity};
use exit::Exit;
use prompt::Terminal;
use report::Reporter;
use settings::effort::Effort;
use settings::environment::{self, Environment};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
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

/// Runs the program and returns its exit code.
#[must_use]
pub fn run() -> ExitCode {
    let beginning = afresh::begin();
    let words: Vec<OsString> = std::env::args_os().collect();
    let console = Console::default();
    match args::parse(&words) {
        Ok(Arguments { command: Command::Tether(words), .. }) => tether::run(&words, &console),
        Ok(Arguments { command: Command::Recovery, .. }) => shown(&recovery(), &console).code().into(),
        Ok(Arguments { command: Command::Version, .. }) => shown(&args::version(), &console).code().into(),
        Ok(arguments) => run_command(arguments, beginning, &console).code().into(),
        Err(Unparsed::Shown(text)) => shown(&text, &console).code().into(),
        Err(Unparsed::Wrong(error)) => {
            let reporter = Reporter {
                json: words.iter().any(|word| word == "--json"),
                verbosity: Verbosity::Normal,
                stdout_is_taken: args::name_stdout(&words, &beginning.environment),
                console,
            };
            reporter.failure(&error, Exit::Usage, None);
            Exit::Usage.code().into()
        }
    }
}

/// The manual page on disaster recovery.
fn recovery() -> String {
    const PAGE: &str = include_str!("../../man/etcd-seal-recovery.7");
    // A test renders it; in a disaster the unrendered page is better than none.
    page::render(PAGE).unwrap_or_else(|_| PAGE.to_owned())
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
    let Arguments { command, output } = arguments;
    console::install_log(console, verbosity(&output));
    let checked = beginning.check();
    let environment = beginning.environment;
    let reporter = Reporter {
        json: output.json,
        verbosity: verbosity(&output),
        stdout_is_taken: command.takes_stdout(&environment),
        console: console.clone(),
    };
    let patience = command.patience();
    let prepared =
        checked.and_then(|()| keep_secrets_out_of_dumps()).and_then(|()| command.step_aside(&environment));
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

impl Command {
    /// Whether standard output carries an archive, a snapshot or an identity, so that results must go elsewhere.
    fn takes_stdout(&self, environment: &Environment) -> bool {
        match self {
            Self::Save(words) => {
                let variable = environment.get(environment::DESTINATION);
                words.destination.as_deref().or(variable).is_some_and(|destination| destination == "-")
            }
            Self::Restore(words) => words.output.as_ref().is_some_and(|output| output == "-"),
            Self::Keygen(words) => words.output == "-",
            Self::Info(_)
            | Self::Verify(_)
            | Self::Drill(_)
            | Self::Recovery
            | Self::Version
            | Self::Generate(_)
            | Self::Tether(_) => false,
        }
    }

    /// Lowers the priority with `--nice`. A thread inherits the priority of the thread that starts it, so this comes before
    /// the first thread is started.
    fn step_aside(&self, environment: &Environment) -> Result<()> {
        let words = match self {
            Self::Save(words) => &words.effort,
            Self::Verify(words) => &words.opening.effort,
            Self::Restore(words) => &words.opening.effort,
            Self::Drill(words) => &words.opening.effort,
            Self::Info(_)
            | Self::Keygen(_)
            | Self::Recovery
            | Self::Version
            | Self::Generate(_)
            | Self::Tether(_) => return Ok(()),
        };
        if Effort::resolve(words, environment)?.nice {
            lower_priority();
        }
        Ok(())
    }

    /// How long the command may take to stop by itself after a signal.
    fn patience(&self) -> Duration {
        match self {
            Self::Drill(_) => supervise::CLEANING_PATIENCE,
            _ => supervise::SIGNAL_PATIENCE,
        }
    }

    fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::Save(words) => save::run(*words, context),
            Self::Info(words) => info::run(words, context),
            Self::Verify(words) => verify::run(words, context),
            Self::Restore(words) => restore::run(*words, context),
            Self::Drill(words) => drill::run(*words, context),
            Self::Keygen(words) => keygen::run(&words, context),
            Self::Generate(words) => generate::run(&words.what),
            // `run` in this module handles these before it prepares a context.
            Self::Recovery | Self::Version | Self::Tether(_) => Ok(Exit::Failure),
        }
    }
}

/// The current time in whole seconds, as in every document of an archive.
///
/// # Errors
/// [`Kind::Io`] where the clock of this host shows a year that RFC 3339 cannot write: before 0 or after 9999.
fn now() -> Result<jiff::Timestamp> {
    time_of(std::time::SystemTime::now()).ok_or_else(|| {
        Error::new(Kind::Io, "the clock of this host shows a time outside the years 0 to 9999").with_hint(
            "set the clock of this host: the time is part of every archive, and of the age of each",
        )
    })
}

/// A system time in whole seconds; `None` where RFC 3339 cannot write it.
fn time_of(time: std::time::SystemTime) -> Option<jiff::Timestamp> {
    let time = whole_seconds(jiff::Timestamp::try_from(time).ok()?);
    (jiff::tz::Offset::UTC.to_datetime(time).year() >= 0).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_time_that_rfc_3339_cannot_write_is_none() {
        const YEAR: u64 = 31_556_952;
        let after = |seconds| time_of(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let before = |seconds| time_of(SystemTime::UNIX_EPOCH - Duration::from_secs(seconds));
        assert_eq!(before(5).unwrap().to_string(), "1969-12-31T23:59:55Z");
        assert_eq!(after(946_684_800).unwrap().to_string(), "2000-01-01T00:00:00Z");
        assert_eq!(after(99_999_999_999).unwrap().to_string(), "5138-11-16T09:46:39Z");
        assert!(before(1969 * YEAR).is_some() && before(1971 * YEAR).is_none());
        assert!(after(400_000_000_000).is_none() && before(400_000_000_000).is_none());
    }
}
