//! Questions on /dev/tty, and the passphrase file that answers instead of the user.

use super::console::{Console, TTY};
use super::printable::sanitize;
use super::secret::read_secret;
use crate::error::{Error, Kind, Result};
use crate::keys::Prompt;
use crate::store::source;
use secrecy::SecretString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroize;

/// A longer passphrase file is refused.
const PASSPHRASE_FILE_MAXIMUM: u64 = 64 * 1024;

/// The user at the terminal, or a passphrase file instead.
pub(crate) struct Terminal {
    console: Console,
    passphrase_file: Option<PathBuf>,
}

impl Terminal {
    /// Asks on /dev/tty; passphrases come from `passphrase_file` where there is one.
    #[must_use]
    pub(crate) fn new(console: Console, passphrase_file: Option<PathBuf>) -> Self {
        Self { console, passphrase_file }
    }

    /// A passphrase to encrypt with. It is asked for twice, because a typing error would make the archive unreadable.
    ///
    /// # Errors
    /// [`Kind::NoTerminal`]; [`Kind::Usage`] when the two differ or are empty.
    pub(crate) fn new_passphrase(&self) -> Result<SecretString> {
        use secrecy::ExposeSecret;
        if let Some(path) = &self.passphrase_file {
            return passphrase_from(path);
        }
        let first = self.ask_secret("passphrase for the archive")?;
        let second = self.ask_secret("the same again")?;
        if first.expose_secret() != second.expose_secret() {
            return Err(Error::new(Kind::Usage, "the two passphrases differ").with_hint("run it again"));
        }
        Ok(first)
    }

    /// The password of an etcd user, always from the terminal.
    ///
    /// # Errors
    /// [`Kind::NoTerminal`].
    pub(crate) fn password(&self, user: &str) -> Result<SecretString> {
        self.ask_secret(&format!("password of etcd user {user}")).map_err(|error| {
            if error.kind() == Kind::NoTerminal {
                error.with_hint("put the password in ETCDCTL_PASSWORD, or use a client certificate")
            } else {
                error
            }
        })
    }

    fn ask_secret(&self, question: &str) -> Result<SecretString> {
        let tty = open_tty(question)?;
        self.console.question_begins(&tty);
        let mut answer = rpassword::prompt_password(format!("{}: ", sanitize(question)));
        self.console.question_ends();
        match &mut answer {
            Ok(text) => {
                let secret = SecretString::from(text.as_str());
                let empty = text.is_empty();
                text.zeroize();
                if empty { Err(nothing_entered(question)) } else { Ok(secret) }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                Err(Error::new(Kind::Interrupted, "interrupted"))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(nothing_entered(question)),
            Err(error) => {
                Err(Error::new(Kind::NoTerminal, format!("cannot ask for the {question}: {error}")))
            }
        }
    }

    /// Asks on the terminal with echo; `None` without a terminal.
    fn ask_public(question: &str) -> Option<String> {
        let mut tty = open_tty(question).ok()?;
        write!(tty, "{}: ", sanitize(question)).and_then(|()| tty.flush()).ok()?;
        let mut answer = String::new();
        BufReader::new(tty).read_line(&mut answer).ok()?;
        Some(answer.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl Prompt for Terminal {
    fn message(&self, text: &str) {
        self.console.write(&format!("etcd-seal: {}\n", sanitize(text)));
    }

    fn confirm(&self, text: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let choice = no.map_or_else(|| format!("[{yes}]"), |no| format!("[{yes}/{no}]"));
        loop {
            let answer = Self::ask_public(&format!("{text} {choice}"))?.to_lowercase();
            match no {
                _ if answer == yes.to_lowercase() || answer == "y" => return Some(true),
                None => return Some(true),
                Some(no) if answer == no.to_lowercase() || answer == "n" => return Some(false),
                Some(_) if answer.is_empty() => return None,
                Some(_) => {}
            }
        }
    }

    fn public(&self, text: &str) -> Option<String> {
        Self::ask_public(text)
    }

    fn secret(&self, text: &str) -> Result<SecretString> {
        match &self.passphrase_file {
            Some(path) => passphrase_from(path),
            None => self.ask_secret(text),
        }
    }

    fn plugin_secret(&self, text: &str) -> Result<SecretString> {
        self.ask_secret(text)
    }
}

fn open_tty(question: &str) -> Result<File> {
    File::options().read(true).write(true).open(TTY).map_err(|error| {
        Error::new(Kind::NoTerminal, format!("cannot ask for the {question}: there is no terminal"))
            .with_source(error)
    })
}

fn nothing_entered(question: &str) -> Error {
    Error::new(Kind::Usage, format!("nothing was entered as {question}")).with_hint("run it again")
}

/// The content of the file without one final newline.
fn passphrase_from(path: &Path) -> Result<SecretString> {
    let named = format!("the passphrase file {}", path.display());
    let unusable = |wrong: &str| {
        Error::new(Kind::Usage, format!("{named} {wrong}"))
            .with_hint("it holds the passphrase alone, as UTF-8, with or without a final newline")
    };
    let read = source::open(path).and_then(|file| read_secret(file, PASSPHRASE_FILE_MAXIMUM));
    let bytes = read.map_err(|error| {
        Error::new(Kind::Usage, format!("cannot read {named}: {error}"))
            .with_hint("check ETCD_SEAL_PASSPHRASE_FILE and the permissions of the file")
    })?;
    if bytes.len() as u64 > PASSPHRASE_FILE_MAXIMUM {
        return Err(unusable("is longer than 64 KiB"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable("is not UTF-8"))?;
    let passphrase = text.strip_suffix('\n').unwrap_or(text);
    if passphrase.is_empty() { Err(unusable("is empty")) } else { Ok(passphrase.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn passphrase_of(content: &[u8]) -> Result<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passphrase");
        std::fs::write(&path, content).unwrap();
        passphrase_from(&path).map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn a_passphrase_file_loses_one_final_newline() {
        assert_eq!(passphrase_of(b"correct horse").unwrap(), "correct horse");
        assert_eq!(passphrase_of(b"correct horse\n").unwrap(), "correct horse");
        assert_eq!(passphrase_of(b" two\nlines\n\n").unwrap(), " two\nlines\n");
        for unusable in [&b""[..], b"\n", b"\xff\n"] {
            assert_eq!(passphrase_of(unusable).unwrap_err().kind(), Kind::Usage);
        }
        assert_eq!(passphrase_of(&vec![b'a'; 65_537]).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn a_missing_passphrase_file_is_named() {
        let error = passphrase_from(Path::new("/nowhere/passphrase")).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(
            error.to_string().starts_with("cannot read the passphrase file /nowhere/passphrase: "),
            "{error}"
        );
    }
}
