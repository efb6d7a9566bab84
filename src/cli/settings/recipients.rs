//! The recipients to encrypt to.
#![expect(
    clippy::doc_markdown,
    reason = "the comments of arguments are the help, and a terminal shows backticks as they are"
)]

use super::key_file::read_key_files;
use super::setting::{Origin, Setting, setting};
use super::standard_input::StandardInput;
use crate::cli::terminal::prompt::Terminal;
use crate::error::{Error, Kind, Result};
use crate::keys::{Recipients, SharedPrompt};
use clap::Args;
use clap::builder::{PathBufValueParser, StringValueParser};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The recipients.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipients")]
pub(crate) struct RecipientArguments {
    /// A recipient: age1..., an ssh-ed25519 or ssh-rsa public key; may be repeated
    ///
    /// The variable holds several, separated by white space, commas or line breaks; what follows an ssh key on its line is
    /// its comment. -r and -R replace both variables. A recipient of an age plugin may ask for a touch or a PIN. It does so
    /// when sealing begins: while etcd holds the snapshot stream open.
    #[arg(short = 'r', long = "recipient", value_name = "RECIPIENT", env = "ETCD_SEAL_RECIPIENTS",
          value_parser = setting(StringValueParser::new()))]
    recipients: Vec<Setting<String>>,
    /// A file of recipients, one on a line, - for standard input; may be repeated
    #[arg(short = 'R', long = "recipients-file", value_name = "FILE", env = "ETCD_SEAL_RECIPIENTS_FILE",
          value_parser = setting(PathBufValueParser::new()))]
    recipients_files: Vec<Setting<PathBuf>>,
    /// Encrypt to a passphrase, asked for twice or read from the file named by ETCD_SEAL_PASSPHRASE_FILE
    ///
    /// Such an archive has no public description and can have no other recipient: both are rules of age.
    #[arg(short = 'p', long, conflicts_with_all = ["recipients", "recipients_files"])]
    passphrase: bool,
}

/// The recipients and the files of recipients that count.
type Public = (Vec<String>, Vec<PathBuf>);

impl RecipientArguments {
    /// Checks everything that needs no file and no question, and claims standard input where it is a file of recipients.
    ///
    /// # Errors
    /// [`Kind::NoRecipient`] when no recipient is given; [`Kind::Usage`].
    pub(crate) fn check(&self, input: &mut StandardInput) -> Result<()> {
        let Some((recipients, files)) = self.public()? else { return Ok(()) };
        if recipients.is_empty() && files.is_empty() {
            return Err(Error::new(
                Kind::NoRecipient,
                "no recipient to encrypt to is named: -r, -R and -p are all missing",
            ));
        }
        files.iter().try_for_each(|file| refuse_recipient(file))?;
        input.claim_paths("-R -", &files)
    }

    /// Whether the archive is encrypted to a passphrase.
    #[must_use]
    pub(crate) fn is_passphrase(&self) -> bool {
        self.passphrase
    }

    /// Reads the files and parses all recipients, or asks for the passphrase.
    ///
    /// # Errors
    /// [`Kind::Recipient`], and the errors of reading and asking.
    pub(crate) fn load(&self, terminal: &Arc<Terminal>) -> Result<Recipients> {
        let Some((recipients, files)) = self.public()? else {
            return Recipients::passphrase(terminal.new_passphrase()?);
        };
        let files = read_key_files(&files, Kind::Recipient)?;
        let prompt: SharedPrompt = terminal.clone();
        Recipients::parse(&recipients, &files, &prompt).map_err(|error| or_file(error, &recipients))
    }

    /// The flags, which replace the variables as a set; `None` with a passphrase.
    fn public(&self) -> Result<Option<Public>> {
        if self.passphrase {
            return Ok(None);
        }
        let by_flag = self.recipients.iter().any(Setting::is_flag)
            || self.recipients_files.iter().any(Setting::is_flag);
        let mut recipients = Vec::new();
        for recipient in self.recipients.iter().filter(|recipient| recipient.is_flag() == by_flag) {
            match recipient.origin() {
                Origin::Variable(_) => recipients.extend(split_recipients(&recipient.get()?)),
                _ => recipients.push(recipient.get()?),
            }
        }
        let files = self.recipients_files.iter().filter(|file| file.is_flag() == by_flag);
        Ok(Some((recipients, files.map(Setting::get).collect::<Result<_>>()?)))
    }
}

/// Leads from a file in place of a recipient to the flag for it.
fn or_file(error: Error, recipients: &[String]) -> Error {
    match recipients.iter().find(|recipient| Path::new(recipient).is_file()) {
        Some(file) if error.kind() == Kind::Recipient => {
            error.with_hint(format!("{file} is a file: -R {file} takes the recipients in it"))
        }
        _ => error,
    }
}

/// Refuses a recipient in place of a file of recipients.
fn refuse_recipient(file: &Path) -> Result<()> {
    let text = file.to_string_lossy();
    let first = text.split_whitespace().next().unwrap_or_default();
    if !begins_recipient(first) || file.exists() {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, "-R names a file of recipients, and this is a recipient itself")
        .with_hint("pass it with -r"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line::parsed;
    use crate::cli::commands::Command;

    const VARIABLES: &[(&str, &str)] = &[
        ("ETCD_SEAL_RECIPIENTS", "age1a, age1b\nssh-ed25519 AAAA age1c"),
        ("ETCD_SEAL_RECIPIENTS_FILE", "/r"),
    ];

    fn arguments(flags: &[&str], variables: &[(&str, &str)]) -> RecipientArguments {
        let Command::Save(save) = parsed(&[&["save"], flags].concat(), variables).unwrap() else {
            panic!("no save")
        };
        save.recipients
    }

    fn public(flags: &[&str]) -> Option<(Vec<String>, Vec<PathBuf>)> {
        arguments(flags, VARIABLES).public().unwrap()
    }

    fn refused(flags: &[&str], variables: &[(&str, &str)]) -> Kind {
        arguments(flags, variables).check(&mut StandardInput::default()).unwrap_err().kind()
    }

    #[test]
    fn variables_name_recipients() {
        let recipients = ["age1a", "age1b", "ssh-ed25519 AAAA", "age1c"].map(str::to_owned).to_vec();
        assert_eq!(public(&[]), Some((recipients, vec!["/r".into()])));
    }

    #[test]
    fn flags_replace_the_variables_as_a_set() {
        assert_eq!(public(&["-rage1f"]), Some((vec!["age1f".to_owned()], Vec::new())));
        assert_eq!(public(&["-R/f"]), Some((Vec::new(), vec!["/f".into()])));
        assert_eq!(public(&["-p"]), None);
    }

    #[test]
    fn a_missing_recipient_is_refused() {
        assert_eq!(refused(&[], &[]), Kind::NoRecipient);
        assert_eq!(refused(&[], &[("ETCD_SEAL_RECIPIENTS", " ,\n")]), Kind::NoRecipient);
    }

    #[test]
    fn standard_input_is_read_once() {
        assert_eq!(refused(&["-R-", "-R-"], &[]), Kind::Usage);
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
}
