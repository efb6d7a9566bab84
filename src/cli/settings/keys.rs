//! Resolves the flags and variables for recipients and identities, and reads their files.
#![expect(
    clippy::doc_markdown,
    reason = "the comments of arguments are the help, and a terminal shows backticks as they are"
)]

use super::environment::{self, Environment};
use super::standard_input::StandardInput;
use crate::cli::input::standard_input;
use crate::cli::prompt::Terminal;
use crate::cli::secret::read_secret;
use crate::error::{Error, Kind, Result};
use crate::keys::{DEFAULT_MAX_WORK_FACTOR, HIGHEST_WORK_FACTOR};
use crate::keys::{Identities, KEY_FILE_SIZE_LIMIT, KeyFile, Recipients, SharedPrompt, is_private_key};
use crate::store::source;
use clap::Args;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The recipients.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipients")]
pub(crate) struct RecipientArguments {
    /// A recipient: age1..., an ssh-ed25519 or ssh-rsa public key; may be repeated [env: ETCD_SEAL_RECIPIENTS]
    ///
    /// A recipient of an age plugin may ask for a touch or a PIN. It does so when sealing begins: while etcd holds
    /// the snapshot stream open.
    #[arg(short = 'r', long = "recipient", value_name = "RECIPIENT")]
    pub(crate) recipients: Vec<String>,
    /// A file of recipients, one on a line, - for standard input; may be repeated
    /// [env: ETCD_SEAL_RECIPIENTS_FILE]
    #[arg(short = 'R', long = "recipients-file", value_name = "FILE")]
    pub(crate) recipients_files: Vec<PathBuf>,
    /// Encrypt to a passphrase, asked for twice or read from the file named by ETCD_SEAL_PASSPHRASE_FILE
    ///
    /// Such an archive has no public description and can have no other recipient: both are rules of age.
    #[arg(short = 'p', long, conflicts_with_all = ["recipients", "recipients_files"])]
    pub(crate) passphrase: bool,
}

/// Who opens archives.
#[derive(Debug, Args)]
#[command(next_help_heading = "Identities")]
pub(crate) struct IdentityArguments {
    /// An identity file, - for standard input; may be repeated [env: ETCD_SEAL_IDENTITY]
    ///
    /// An age identity file, such a file encrypted with a passphrase, or an ssh private key.
    #[arg(short = 'i', long = "identity", value_name = "FILE", conflicts_with = "passphrase")]
    pub(crate) identities: Vec<PathBuf>,
    /// Open with a passphrase, asked for or read from the file named by ETCD_SEAL_PASSPHRASE_FILE
    #[arg(short = 'p', long)]
    pub(crate) passphrase: bool,
    /// The most work, as a power of two, a passphrase may cost to try
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_WORK_FACTOR,
          value_parser = clap::value_parser!(u8).range(1..=i64::from(HIGHEST_WORK_FACTOR)))]
    pub(crate) max_work_factor: u8,
}

/// The recipients to encrypt to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RecipientSettings {
    /// `-p`.
    Passphrase,
    /// `-r` and `-R`, or the variables.
    Public {
        /// Recipients as given.
        recipients: Vec<String>,
        /// Files of recipients, `-` for standard input.
        files: Vec<PathBuf>,
    },
}

impl RecipientSettings {
    /// Resolves the flags, which replace the variables as a set.
    ///
    /// # Errors
    /// [`Kind::NoRecipient`] when no recipient is given.
    pub(crate) fn resolve(
        flags: RecipientArguments,
        environment: &Environment,
        input: &mut StandardInput,
    ) -> Result<Self> {
        if flags.passphrase {
            return Ok(Self::Passphrase);
        }
        let (mut recipients, mut files) = (flags.recipients, flags.recipients_files);
        if recipients.is_empty() && files.is_empty() {
            recipients = split_recipients(environment.text(environment::RECIPIENTS)?.unwrap_or_default());
            files = environment.get(environment::RECIPIENTS_FILE).map(PathBuf::from).into_iter().collect();
        }
        if recipients.is_empty() && files.is_empty() {
            return Err(Error::new(
                Kind::NoRecipient,
                "nobody is named to encrypt to: -r, -R and -p are all missing",
            ));
        }
        input.claim_paths("-R -", &files)?;
        Ok(Self::Public { recipients, files })
    }

    /// Reads the files and parses all recipients.
    ///
    /// # Errors
    /// [`Kind::Recipient`], and the errors of reading and asking.
    pub(crate) fn load(&self, terminal: &Arc<Terminal>) -> Result<Recipients> {
        match self {
            Self::Passphrase => Recipients::passphrase(terminal.new_passphrase()?),
            Self::Public { recipients, files } => {
                let files = read_key_files(files, Kind::Recipient)?;
                let prompt: SharedPrompt = terminal.clone();
                Recipients::parse(recipients, &files, &prompt)
            }
        }
    }
}

/// Splits recipients separated by lines, commas and blanks. The words after an ssh key, up to the next separator that is no
/// blank, are its comment, unless one begins another recipient: no recipient may be dropped silently. As in recipient
/// files, a line that begins with `#` is a comment.
fn split_recipients(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut recipients = Vec::new();
    for part in lines.flat_map(|line| line.split(',')) {
        let mut words = part.split_whitespace().peekable();
        while let Some(word) = words.next() {
            if !["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| word.starts_with(prefix)) {
                recipients.push(word.to_owned());
                continue;
            }
            recipients.push(words.next().map_or_else(|| word.to_owned(), |key| format!("{word} {key}")));
            while words.next_if(|word| !begins_recipient(word)).is_some() {}
        }
    }
    recipients
}

/// Whether a word begins a recipient, and so is no comment of an ssh key.
fn begins_recipient(word: &str) -> bool {
    word.starts_with("age1") || matches!(word, "ssh-ed25519" | "ssh-rsa")
}

/// The identities that open archives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IdentitySettings {
    source: IdentitySource,
    max_work_factor: u8,
}

#[derive(Debug, PartialEq, Eq)]
enum IdentitySource {
    None,
    Passphrase,
    Files(Vec<PathBuf>),
}

impl IdentitySettings {
    /// Resolves the flags, which replace the variable.
    ///
    /// # Errors
    /// [`Kind::Usage`] when standard input would be read twice.
    pub(crate) fn resolve(
        flags: IdentityArguments,
        environment: &Environment,
        input: &mut StandardInput,
    ) -> Result<Self> {
        let mut files = flags.identities;
        if files.is_empty() {
            files = environment.get(environment::IDENTITY).map(PathBuf::from).into_iter().collect();
        }
        let source = if flags.passphrase {
            IdentitySource::Passphrase
        } else if files.is_empty() {
            IdentitySource::None
        } else {
            input.claim_paths("-i -", &files)?;
            IdentitySource::Files(files)
        };
        Ok(Self { source, max_work_factor: flags.max_work_factor })
    }

    /// Whether no identity is given.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.source == IdentitySource::None
    }

    /// Reads the files and parses all identities; `None` when none is given.
    ///
    /// # Errors
    /// [`Kind::Identity`], and the errors of reading and asking.
    pub(crate) fn load(&self, terminal: &Arc<Terminal>) -> Result<Option<Identities>> {
        use crate::keys::Prompt;
        let identities = match &self.source {
            IdentitySource::None => return Ok(None),
            IdentitySource::Passphrase => {
                Identities::passphrase(terminal.secret("passphrase of the archive")?, self.max_work_factor)
            }
            IdentitySource::Files(files) => {
                let files = read_key_files(files, Kind::Identity)?;
                let prompt: SharedPrompt = terminal.clone();
                Identities::parse(files, &prompt, self.max_work_factor)?
            }
        };
        Ok(Some(identities))
    }
}

impl IdentitySettings {
    /// Reads and parses the files without asking anything; does not ask for a passphrase.
    ///
    /// # Errors
    /// [`Kind::Identity`].
    pub(crate) fn check(&self, terminal: &Arc<Terminal>) -> Result<()> {
        match self.source {
            IdentitySource::None | IdentitySource::Passphrase => Ok(()),
            IdentitySource::Files(_) => self.load(terminal).map(drop),
        }
    }
}

/// Reads key files; an unreadable one gives an error of `kind`.
fn read_key_files(paths: &[PathBuf], kind: Kind) -> Result<Vec<KeyFile>> {
    paths.iter().map(|path| read_key_file(path, kind)).collect()
}

fn read_key_file(path: &Path, kind: Kind) -> Result<KeyFile> {
    let (name, source) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), standard_input()?)
    } else {
        let file = source::open(path).map_err(|error| cannot_open(kind, path, error))?;
        (path.display().to_string(), file)
    };
    let text = read_secret(source, KEY_FILE_SIZE_LIMIT).map_err(|error| unreadable(kind, &name, error))?;
    if text.len() as u64 > KEY_FILE_SIZE_LIMIT {
        return Err(Error::new(kind, format!("{name} is longer than {KEY_FILE_SIZE_LIMIT} bytes")));
    }
    Ok(KeyFile { name, text })
}

/// The error for a file that cannot be opened. The name is left out if it may be a key given in place of a file.
fn cannot_open(kind: Kind, path: &Path, error: io::Error) -> Error {
    let name = path.display().to_string();
    if !is_private_key(&name) {
        return unreadable(kind, &name, error);
    }
    if kind == Kind::Recipient {
        return Error::new(kind, "a private key is named as the recipients file").with_hint(
            "a private key does not belong on the host that makes backups: pass its recipient with -r; \
             what was on a command line, other users may have seen",
        );
    }
    Error::new(kind, "a private key is named as the identity file").with_hint(
        "put the key into a file that only you can read, and name that; what was on a command line, other users \
         may have seen",
    )
}

fn unreadable(kind: Kind, name: &str, error: io::Error) -> Error {
    let what = if kind == Kind::Recipient { "recipients file" } else { "identity file" };
    if !is_about_the_path(error.kind()) {
        return Error::io("read", format_args!("{what} {name}"), error);
    }
    Error::new(kind, format!("cannot read {what} {name}: {error}"))
        .with_hint("check its path and permissions, and that its filesystem is mounted")
        .with_source(error)
}

/// Whether another path would help. Otherwise the disk or the system is at fault, and not the flag.
fn is_about_the_path(error: io::ErrorKind) -> bool {
    use io::ErrorKind::{
        InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied,
    };
    matches!(
        error,
        NotFound | PermissionDenied | NotADirectory | IsADirectory | InvalidFilename | InvalidInput
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: RecipientArguments, variables: &[(&str, &str)]) -> Result<RecipientSettings> {
        RecipientSettings::resolve(flags, &Environment::of(variables), &mut StandardInput::default())
    }

    fn flags(recipients: &[&str], files: &[&str], passphrase: bool) -> RecipientArguments {
        RecipientArguments {
            recipients: recipients.iter().map(ToString::to_string).collect(),
            recipients_files: files.iter().map(PathBuf::from).collect(),
            passphrase,
        }
    }

    const VARIABLES: &[(&str, &str)] = &[
        (environment::RECIPIENTS, "age1a, age1b\nssh-ed25519 AAAA age1c"),
        (environment::RECIPIENTS_FILE, "/r"),
    ];

    #[test]
    fn variables_name_recipients() {
        let expected = RecipientSettings::Public {
            recipients: ["age1a", "age1b", "ssh-ed25519 AAAA", "age1c"].map(str::to_owned).to_vec(),
            files: vec!["/r".into()],
        };
        assert_eq!(resolve(flags(&[], &[], false), VARIABLES).unwrap(), expected);
    }

    #[test]
    fn comments_of_ssh_keys_are_no_recipients() {
        for (text, recipients) in [
            ("ssh-ed25519 AAAA root@backup", &["ssh-ed25519 AAAA"][..]),
            ("ssh-rsa AAAA the key of Bob\nage1a", &["ssh-rsa AAAA", "age1a"]),
            ("# of the vault\nssh-rsa AAAA x,age1a", &["ssh-rsa AAAA", "age1a"]),
            ("ssh-rsa AAAA x ssh-ed25519 BBBB y age1a", &["ssh-rsa AAAA", "ssh-ed25519 BBBB", "age1a"]),
            ("age1a root@backup", &["age1a", "root@backup"]),
            ("ssh-rsa", &["ssh-rsa"]),
        ] {
            assert_eq!(split_recipients(text), recipients, "{text}");
        }
    }

    #[test]
    fn flags_replace_the_variables_as_a_set() {
        let only_recipient =
            RecipientSettings::Public { recipients: vec!["age1f".to_owned()], files: Vec::new() };
        assert_eq!(resolve(flags(&["age1f"], &[], false), VARIABLES).unwrap(), only_recipient);
        let only_file = RecipientSettings::Public { recipients: Vec::new(), files: vec!["/f".into()] };
        assert_eq!(resolve(flags(&[], &["/f"], false), VARIABLES).unwrap(), only_file);
        assert_eq!(resolve(flags(&[], &[], true), VARIABLES).unwrap(), RecipientSettings::Passphrase);
    }

    #[test]
    fn nobody_is_refused() {
        assert_eq!(resolve(flags(&[], &[], false), &[]).unwrap_err().kind(), Kind::NoRecipient);
        let blank = &[(environment::RECIPIENTS, " ,\n")];
        assert_eq!(resolve(flags(&[], &[], false), blank).unwrap_err().kind(), Kind::NoRecipient);
    }

    #[test]
    fn standard_input_is_read_once() {
        assert_eq!(resolve(flags(&[], &["-", "-"], false), &[]).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn flags_replace_the_identity_variable() {
        let resolve = |identities: &[&str], passphrase| {
            let identities = identities.iter().map(PathBuf::from).collect();
            let flags = IdentityArguments { identities, passphrase, max_work_factor: 20 };
            let environment = Environment::of(&[(environment::IDENTITY, "/e")]);
            IdentitySettings::resolve(flags, &environment, &mut StandardInput::default()).unwrap().source
        };
        assert_eq!(resolve(&[], false), IdentitySource::Files(vec!["/e".into()]));
        assert_eq!(resolve(&["/f"], false), IdentitySource::Files(vec!["/f".into()]));
        assert_eq!(resolve(&[], true), IdentitySource::Passphrase);
    }

    #[test]
    fn a_missing_key_file_is_a_usage_error() {
        let error = read_key_file(Path::new("/nowhere/key.txt"), Kind::Identity).err().unwrap();
        assert_eq!(error.kind(), Kind::Identity);
        assert!(error.to_string().starts_with("cannot read identity file /nowhere/key.txt: "), "{error}");
    }
}
