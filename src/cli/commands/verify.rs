//! `verify`: proves that archives are whole.

use super::info::InfoArguments;
use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::input::{Archive, each};
use crate::cli::report::VerifyReport;
use crate::cli::settings::effort::EffortArguments;
use crate::cli::settings::environment::Environment;
use crate::cli::settings::keys::{IdentityArguments, IdentitySettings};
use crate::cli::settings::opening::{OpeningArguments, opening_options};
use crate::cli::settings::standard_input::StandardInput;
use crate::error::{Kind, Result};
use crate::keys::Identities;
use crate::pipeline;
use crate::pipeline::open::{Options, look, open};
use clap::Args;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Archives to verify, - for standard input
    #[arg(value_name = "ARCHIVE", required = true)]
    pub(crate) archives: Vec<PathBuf>,
    /// Who opens them.
    #[command(flatten)]
    pub(crate) identities: IdentityArguments,
    /// How to read them.
    #[command(flatten)]
    pub(crate) opening: OpeningArguments,
}

/// The settings of `info` and `verify`.
pub(crate) struct ReadSettings {
    /// The archives, `-` for standard input.
    pub(crate) archives: Vec<PathBuf>,
    /// The identities that open them.
    pub(crate) identities: IdentitySettings,
    /// How the pipeline runs.
    pub(crate) options: pipeline::open::Options,
}

impl ReadSettings {
    /// Resolves arguments and environment of `info`.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(crate) fn of_info(words: InfoArguments, environment: &Environment) -> Result<Self> {
        let opening = OpeningArguments { allow_missing_digest: true, effort: EffortArguments::default() };
        Self::resolve(
            VerifyArguments { archives: words.archives, identities: words.identities, opening },
            environment,
        )
    }

    /// Resolves arguments and environment of `verify`.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(crate) fn resolve(words: VerifyArguments, environment: &Environment) -> Result<Self> {
        let mut input = StandardInput::default();
        input.claim_paths("ARCHIVE -", &words.archives)?;
        let identities = IdentitySettings::resolve(words.identities, environment, &mut input)?;
        Ok(Self {
            archives: words.archives,
            identities,
            options: opening_options(&words.opening, environment)?,
        })
    }
}

pub(crate) fn run(words: VerifyArguments, context: &Context) -> Result<Exit> {
    let settings = ReadSettings::resolve(words, &context.environment)?;
    let identities = settings.identities.load(&context.terminal)?;
    each(&settings.archives, context, |archive, file| match &identities {
        None => verify_without_key(archive, file, context),
        Some(identities) => verify_with_key(archive, file, identities, &settings.options, context),
    })
}

/// Compares the sidecar, and checks what is readable without a key.
fn verify_without_key(archive: Archive<'_>, mut file: File, context: &Context) -> Result<Exit> {
    let began = Instant::now();
    let sidecar = archive.sidecar()?;
    let watch = context.watch("verifying");
    let visible = look(&mut file, &watch)?;
    let sidecar = archive.compare(sidecar.as_ref(), visible.archive_sha256.as_ref())?;
    context.reporter.result(&VerifyReport::seen(visible, archive.path(), sidecar, began.elapsed()))
}

/// Verifies every layer to the end, and the sidecar. A malformed sidecar does not prevent the check of the content.
fn verify_with_key(
    archive: Archive<'_>,
    mut file: File,
    identities: &Identities,
    options: &Options,
    context: &Context,
) -> Result<Exit> {
    let began = Instant::now();
    let sidecar = archive.sidecar();
    let watch = context.watch("verifying");
    let (sidecar, malformed) = match sidecar {
        Err(error) if error.kind() == Kind::SidecarMalformed => (None, Some(error)),
        read => (read?, None),
    };
    let options = Options { file_digest: sidecar.is_some(), ..options.clone() };
    let opened = open(&mut file, identities, &options, &mut io::sink(), &watch)
        .map_err(|error| archive.or_damaged(error, &context.interrupt))?;
    if let Some(error) = malformed {
        return Err(archive.whole_but(error));
    }
    let sidecar = archive.compare(sidecar.as_ref(), opened.visible.archive_sha256.as_ref())?;
    context.reporter.result(&VerifyReport::opened(opened, archive.path(), sidecar, began.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line::parse;
    use crate::cli::commands::{Arguments, Command};

    #[test]
    fn two_readers_of_standard_input_are_refused() {
        let command = |arguments: &[&str]| {
            let arguments: Vec<_> = ["etcd-seal"].iter().chain(arguments).map(Into::into).collect();
            let Ok(Arguments { command, .. }) = parse(&arguments) else { panic!("should parse") };
            command
        };
        let Command::Verify(verify) = command(&["verify", "-", "-i-"]) else { panic!("no verify") };
        let error = ReadSettings::resolve(verify, &Environment::default()).err().unwrap();
        assert_eq!(error.to_string(), "standard input can be read once: ARCHIVE - and -i -");
        let Command::Info(info) = command(&["info", "-", "-"]) else { panic!("no info") };
        let error = ReadSettings::of_info(info, &Environment::default()).err().unwrap();
        assert_eq!(error.kind(), crate::Kind::Usage);
    }
}
