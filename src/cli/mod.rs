//! The program: the only module that knows flags, environment, terminal, clock, signals and exit codes.
//!
//! `command_line` parses the arguments, and `settings` resolves arguments and environment. Each command has its own file in
//! `commands`, with its arguments; it takes settings, calls the library and prints the result with `render`.

pub mod exit;

mod afresh;
mod clock;
mod command_line;
mod commands;
mod context;
mod downgrade;
mod etcd_program;
mod input;
mod last_work;
mod monitoring;
mod options;
mod output;
mod process;
mod render;
mod settings;
mod suggestions;
mod summary;
mod supervise;
mod terminal;

use afresh::Beginning;
use command_line::Unparsed;
use commands::{Arguments, Command, OutputArguments, recovery, tether};
use context::Context;
use exit::Exit;
use render::Reporter;
use settings::environment::{self, Environment};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use terminal::console::Console;
use terminal::log::{self, Verbosity};
use terminal::prompt::Terminal;

/// Runs the program and returns its exit code.
#[must_use]
pub fn run() -> ExitCode {
    let beginning = afresh::begin();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let console = Console::of_process(&beginning.environment);
    match command_line::parse(&arguments, &beginning.environment) {
        Ok(Arguments { command: Command::Tether(arguments), .. }) => tether::run(&arguments, &console),
        Ok(Arguments { command: Command::Recovery, .. }) => shown(&recovery::text(), &console).code().into(),
        Ok(Arguments { command: Command::Version, .. }) => {
            shown(&command_line::version(), &console).code().into()
        }
        Ok(arguments) => run_command(arguments, beginning, &console).code().into(),
        Err(Unparsed::Shown(text)) => shown(&console.stdout_style().help(&text), &console).code().into(),
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
    let Err(error) = render::put_on_stdout(text) else { return Exit::Done };
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
    options::show_as(command_line::flags().chain(from_environment));
    log::install(console, verbosity(&output));
    let checked = beginning.check();
    let environment = beginning.environment;
    let reporter = Reporter {
        json: output.json,
        verbosity: verbosity(&output),
        stdout_is_taken: command.takes_stdout(),
        console: console.clone(),
    };
    let patience = command.patience();
    let prepared =
        checked.and_then(|()| process::keep_secrets_out_of_dumps()).and_then(|()| command.step_aside());
    let result = prepared.and_then(|()| {
        supervise::supervise(&reporter, console, patience, |interrupt, stopped_by, last_work, runtime| {
            let terminal = Arc::new(Terminal::new(console.clone(), passphrase_file(&environment)));
            let (reporter, console, quiet) = (reporter.clone(), console.clone(), output.quiet);
            let definition = command_line::command;
            let context = Context {
                environment,
                reporter,
                console,
                terminal,
                interrupt,
                stopped_by,
                last_work,
                runtime,
                definition,
                quiet,
            };
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
