//! `generate`: writes manual pages and completions from the one definition of the command line, and alert rules.

mod alerts;
pub(crate) mod man;

use crate::cli::exit::Exit;
use crate::cli::render::put_on_stdout;
use crate::cli::settings::values::parse_duration;
use crate::error::{Error, Kind, Result};
use clap::{Args, Command, Subcommand};
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// What to generate.
    #[command(subcommand)]
    pub(crate) what: Generate,
}

/// What to generate.
#[derive(Debug, Subcommand)]
pub(crate) enum Generate {
    /// Write the manual page of every command into a directory
    Man {
        /// The directory, which must exist
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print alert rules for Prometheus on the metrics of save and drill
    Alerts {
        /// How often backups are made
        #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
        every: Duration,
        /// How often a backup is drilled
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
        drill_every: Duration,
    },
}

pub(crate) fn run(what: &Generate, definition: Command) -> Result<Exit> {
    match what {
        Generate::Man { directory } => write_pages(directory, definition)?,
        Generate::Completions { shell } => put_on_stdout(&completions(*shell, definition)?)?,
        Generate::Alerts { every, drill_every } => put_on_stdout(&alerts::rules(*every, *drill_every))?,
    }
    Ok(Exit::Done)
}

fn write_pages(directory: &Path, definition: Command) -> Result<()> {
    for (name, page) in man::pages(definition) {
        let path = directory.join(name);
        std::fs::write(&path, page).map_err(|error| Error::io("write", path.display(), error))?;
    }
    Ok(())
}

fn completions(shell: clap_complete::Shell, mut definition: Command) -> Result<String> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut definition, "etcd-seal", &mut bytes);
    String::from_utf8(bytes)
        .map_err(|error| Error::new(Kind::Io, "the completions are not UTF-8").with_source(error))
}
