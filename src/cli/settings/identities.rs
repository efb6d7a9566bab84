//! The identities that open archives.
#![expect(
    clippy::doc_markdown,
    reason = "the comments of arguments are the help, and a terminal shows backticks as they are"
)]

use super::key_file::{read_key_files, warn_of_readers};
use super::setting::{Setting, setting};
use super::standard_input::StandardInput;
use crate::cli::terminal::prompt::Terminal;
use crate::error::{Kind, Result};
use crate::keys::{DEFAULT_MAX_WORK_FACTOR, HIGHEST_WORK_FACTOR, Identities, Prompt, SharedPrompt};
use clap::Args;
use clap::builder::PathBufValueParser;
use std::path::PathBuf;
use std::sync::Arc;

/// What opens archives.
#[derive(Debug, Args)]
#[command(next_help_heading = "Identities")]
pub(crate) struct IdentityArguments {
    /// An identity file, - for standard input; may be repeated
    ///
    /// An age identity file, such a file encrypted with a passphrase, or an ssh private key.
    #[arg(short = 'i', long = "identity", value_name = "FILE", env = "ETCD_SEAL_IDENTITY", conflicts_with = "passphrase",
          value_parser = setting(PathBufValueParser::new()))]
    identities: Vec<Setting<PathBuf>>,
    /// Open with a passphrase, asked for or read from the file named by ETCD_SEAL_PASSPHRASE_FILE
    #[arg(short = 'p', long)]
    passphrase: bool,
    /// The most work, as a power of two, a passphrase may cost to try
    #[arg(hide_short_help = true, long, value_name = "N", default_value_t = DEFAULT_MAX_WORK_FACTOR,
          value_parser = clap::value_parser!(u8).range(1..=i64::from(HIGHEST_WORK_FACTOR)))]
    max_work_factor: u8,
}

impl IdentityArguments {
    /// The files that count; a passphrase replaces them.
    fn files(&self) -> Result<Vec<PathBuf>> {
        if self.passphrase { Ok(Vec::new()) } else { self.identities.iter().map(Setting::get).collect() }
    }

    /// Claims standard input where it is an identity file.
    ///
    /// # Errors
    /// [`Kind::Usage`] when standard input would be read twice.
    pub(crate) fn check(&self, input: &mut StandardInput) -> Result<()> {
        input.claim_paths("-i -", &self.files()?)
    }

    /// Whether no identity is given.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        !self.passphrase && self.identities.is_empty()
    }

    /// Reads the files and parses all identities; `None` when none is given.
    ///
    /// # Errors
    /// [`Kind::Identity`], and the errors of reading and asking.
    pub(crate) fn load(&self, terminal: &Arc<Terminal>) -> Result<Option<Identities>> {
        if self.is_empty() {
            return Ok(None);
        }
        if self.passphrase {
            let passphrase = terminal.secret("passphrase of the archive")?;
            return Ok(Some(Identities::passphrase(passphrase, self.max_work_factor)));
        }
        let paths = self.files()?;
        let files = read_key_files(&paths, Kind::Identity)?;
        let prompt: SharedPrompt = terminal.clone();
        let identities = Identities::parse(files, &prompt, self.max_work_factor)?;
        // A file without a secret in it may be open to all.
        warn_of_readers(&paths);
        Ok(Some(identities))
    }

    /// Reads and parses the files without asking anything; does not ask for a passphrase.
    ///
    /// # Errors
    /// [`Kind::Identity`].
    pub(crate) fn read(&self, terminal: &Arc<Terminal>) -> Result<()> {
        if self.passphrase { Ok(()) } else { self.load(terminal).map(drop) }
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::command_line::parsed;
    use crate::cli::commands::Command;

    #[test]
    fn flags_replace_the_variable() {
        let files = |flags: &[&str]| {
            let info =
                parsed(&[&["info", "x.age"], flags].concat(), &[("ETCD_SEAL_IDENTITY", "/e")]).unwrap();
            let Command::Info(info) = info else { panic!("no info") };
            (info.identities.files().unwrap(), info.identities.passphrase)
        };
        assert_eq!(files(&[]), (vec!["/e".into()], false));
        assert_eq!(files(&["-i/f"]), (vec!["/f".into()], false));
        assert_eq!(files(&["-p"]), (Vec::new(), true));
    }
}
