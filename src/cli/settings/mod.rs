//! Validates command line and environment, and refuses every conflict before the program asks, reads or connects to
//! anything. Commands receive settings, never raw arguments.

pub(crate) mod connection;
pub(crate) mod drill;
pub(crate) mod effort;
pub(crate) mod environment;
pub(crate) mod keys;
pub(crate) mod restore;
pub(crate) mod standard_input;
pub(crate) mod values;

use super::args::{
    EffortArguments, InfoArguments, OpeningArguments, SaveArguments, SealArguments, VerifyArguments,
};
use crate::error::{Error, Kind, Result};
use crate::pipeline;
use connection::ConnectionSettings;
use effort::Effort;
use environment::Environment;
use keys::{IdentitySettings, RecipientSettings};
use standard_input::StandardInput;
use std::ffi::OsString;
use std::path::PathBuf;

/// The source of the snapshot for `save`.
pub(crate) enum SourceSettings {
    /// A live etcd.
    Etcd(Box<ConnectionSettings>),
    /// `--from FILE`.
    File(PathBuf),
    /// `--from -`.
    StandardInput,
}

pub(crate) struct SaveSettings {
    /// The source of the snapshot.
    pub(crate) source: SourceSettings,
    /// The recipients to encrypt to.
    pub(crate) recipients: RecipientSettings,
    /// DEST as given.
    pub(crate) destination: OsString,
    /// Whether to replace an existing archive.
    pub(crate) force: bool,
    /// Whether to print only the plan.
    pub(crate) dry_run: bool,
    /// Recorded texts, level and frame size.
    pub(crate) seal: SealArguments,
    /// How the pipeline runs.
    pub(crate) options: pipeline::save::Options,
}

impl SaveSettings {
    /// Resolves arguments and environment.
    ///
    /// # Errors
    /// [`Kind::NoRecipient`] first, then [`Kind::Usage`].
    pub(crate) fn resolve(words: SaveArguments, environment: &Environment) -> Result<Self> {
        let mut input = StandardInput::default();
        let recipients = RecipientSettings::resolve(words.recipients, environment, &mut input)?;
        let destination = destination(words.destination, environment)?;
        check_texts(&words.seal)?;
        let source = match words.from {
            None => {
                SourceSettings::Etcd(Box::new(ConnectionSettings::resolve(words.connection, environment)?))
            }
            Some(path) if path.as_os_str() == "-" => {
                input.claim("--from -")?;
                SourceSettings::StandardInput
            }
            Some(path) => SourceSettings::File(path),
        };
        let options = pipeline::save::Options {
            jobs: Effort::resolve(&words.effort, environment)?.jobs,
            describe: !words.seal.no_description,
            allow_missing_digest: words.allow_missing_digest,
        };
        let (force, dry_run, seal) = (words.force, words.dry_run, words.seal);
        Ok(Self { source, recipients, destination, force, dry_run, seal, options })
    }
}

/// Most bytes of tags and note together: the manifest has 64 KiB, and JSON may need six bytes for one.
const MAXIMUM_TEXTS: usize = 8 * 1024;

/// Refuses tags and notes that would not fit into the manifest.
fn check_texts(seal: &SealArguments) -> Result<()> {
    let length: usize = seal.tags.iter().chain(&seal.note).map(String::len).sum();
    if length > MAXIMUM_TEXTS {
        let message = format!("--tag and --note have {length} bytes together, more than {MAXIMUM_TEXTS}");
        return Err(Error::new(Kind::Usage, message).with_hint("shorten them"));
    }
    Ok(())
}

/// DEST, from the argument or otherwise from the variable.
fn destination(word: Option<OsString>, environment: &Environment) -> Result<OsString> {
    word.or_else(|| environment.get(environment::DESTINATION).map(ToOwned::to_owned)).ok_or_else(|| {
        Error::new(Kind::Usage, "no destination is named: DEST and ETCD_SEAL_DESTINATION are both missing")
            .with_hint("name an existing directory, a file ending in .age, or - for standard output")
    })
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

fn opening_options(words: &OpeningArguments, environment: &Environment) -> Result<pipeline::open::Options> {
    Ok(pipeline::open::Options {
        jobs: Effort::resolve(&words.effort, environment)?.jobs,
        allow_missing_digest: words.allow_missing_digest,
        file_digest: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Command, Unparsed, parse};

    fn command(words: &[&str]) -> Command {
        match parse(&["etcd-seal"].iter().chain(words).map(Into::into).collect::<Vec<_>>()) {
            Ok(arguments) => arguments.command,
            Err(Unparsed::Wrong(error)) => panic!("{error}"),
            Err(Unparsed::Shown(text)) => panic!("{text}"),
        }
    }

    fn save(words: &[&str], variables: &[(&str, &str)]) -> Result<SaveSettings> {
        let Command::Save(words) = command(words) else { panic!("no save") };
        SaveSettings::resolve(*words, &Environment::of(variables))
    }

    fn refused<T>(result: Result<T>) -> (Kind, String) {
        let error = result.err().expect("should be refused");
        (error.kind(), error.to_string())
    }

    #[test]
    fn nobody_to_encrypt_to_is_refused_first() {
        let (kind, _) = refused(save(&["save", "--cert=/c"], &[]));
        assert_eq!(kind, Kind::NoRecipient);
    }

    #[test]
    fn dest_beats_its_variable_and_one_is_needed() {
        let variables = &[(environment::DESTINATION, "/e/")];
        assert_eq!(save(&["save", "-rage1x", "/f/"], variables).unwrap().destination, "/f/");
        assert_eq!(save(&["save", "-rage1x"], variables).unwrap().destination, "/e/");
        assert_eq!(refused(save(&["save", "-rage1x"], &[])).0, Kind::Usage);
    }

    #[test]
    fn two_readers_of_standard_input_are_refused() {
        let (kind, message) = refused(save(&["save", "-R-", "--from=-", "/b/"], &[]));
        assert_eq!(kind, Kind::Usage);
        assert_eq!(message, "standard input can be read once: -R - and --from -");
        let Command::Verify(words) = command(&["verify", "-", "-i-"]) else { panic!("no verify") };
        let (_, message) = refused(ReadSettings::resolve(words, &Environment::default()));
        assert_eq!(message, "standard input can be read once: ARCHIVE - and -i -");
        let Command::Info(words) = command(&["info", "-", "-"]) else { panic!("no info") };
        assert_eq!(refused(ReadSettings::of_info(words, &Environment::default())).0, Kind::Usage);
    }

    #[test]
    fn sealing_has_the_documented_defaults() {
        let settings = save(&["save", "-rage1x", "/b/"], &[]).unwrap();
        assert_eq!(
            (settings.seal.level, settings.seal.frame_size),
            (1, crate::archive::frame::FRAME_SIZE_DEFAULT)
        );
        assert!(settings.options.describe && !settings.options.allow_missing_digest);
        assert!(settings.options.jobs >= 1);
        let settings = save(
            &["save", "-rage1x", "/b/", "--level=19", "--frame-size=64KiB", "--jobs=3", "--no-description"],
            &[],
        )
        .unwrap();
        assert_eq!((settings.seal.level, settings.seal.frame_size), (19, 65536));
        assert_eq!((settings.options.jobs, settings.options.describe), (3, false));
    }
}
