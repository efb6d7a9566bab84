//! Reads the variables that the program knows, and no others.

use crate::error::{Error, Kind, Result};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// A copy of the known variables. Empty ones count as absent, as in etcdctl.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, OsString>,
    /// The values of [`SECRETS`]; `None` for a value that is not UTF-8.
    secrets: BTreeMap<String, Option<SecretString>>,
}

/// A variable and its meaning, for the manual.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    /// The commands that read it.
    pub(crate) commands: &'static [&'static str],
}

/// etcdctl's user, optionally with the password.
pub(crate) const USER: &str = "ETCDCTL_USER";
/// etcdctl's password.
pub(crate) const PASSWORD: &str = "ETCDCTL_PASSWORD";
/// Variables that are wiped from memory after use, and removed from the environment before anything else begins.
pub(crate) const SECRETS: [&str; 2] = [USER, PASSWORD];
/// The file with the passphrase, which replaces the question on the terminal.
pub(crate) const PASSPHRASE_FILE: &str = "ETCD_SEAL_PASSPHRASE_FILE";
/// The directory in which systemd puts a unit's credentials.
pub(crate) const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// The credential that replaces [`PASSPHRASE_FILE`].
pub(crate) const PASSPHRASE_CREDENTIAL: &str = "etcd-seal.passphrase";

/// The search path for programs.
pub(crate) const PATH: &str = "PATH";
/// Set, it takes all colours away: <https://no-color.org>.
pub(crate) const NO_COLOR: &str = "NO_COLOR";
/// `0` takes the colours away.
pub(crate) const CLICOLOR: &str = "CLICOLOR";
/// Set to anything but `0`, it asks for colours where there is no terminal.
pub(crate) const CLICOLOR_FORCE: &str = "CLICOLOR_FORCE";
/// The kind of the terminal.
pub(crate) const TERMINAL_TYPE: &str = "TERM";
/// The variables that name the locale of characters; the first that is set counts.
pub(crate) const LOCALES: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];
/// Variables that are neither ours nor etcdctl's.
const COMMON: [&str; 10] = [
    CREDENTIALS_DIRECTORY,
    PATH,
    "TMPDIR",
    NO_COLOR,
    CLICOLOR,
    CLICOLOR_FORCE,
    TERMINAL_TYPE,
    LOCALES[0],
    LOCALES[1],
    LOCALES[2],
];

const KEYS: &[&str] = &["save", "info", "verify", "restore", "drill"];

/// The variables that no argument has, in the order of the manual. Those of arguments stand with the arguments.
pub(crate) const VARIABLES: &[Variable] = &[
    Variable {
        name: "ETCDCTL_API",
        meaning: "Accepted and ignored: there is only version 3.",
        commands: &["save"],
    },
    Variable {
        name: PASSPHRASE_FILE,
        meaning: "A file whose whole content, less one final newline, answers whenever a passphrase is needed: \
                  that of -p, or of an encrypted identity. Nothing is then asked on the terminal.",
        commands: KEYS,
    },
    Variable {
        name: CREDENTIALS_DIRECTORY,
        meaning: "Set by systemd. Without ETCD_SEAL_PASSPHRASE_FILE, a credential named etcd-seal.passphrase in it \
                  is that file.",
        commands: KEYS,
    },
    Variable {
        name: PATH,
        meaning: "Where drill and restore look for etcd; all that the etcd they start has of the environment.",
        commands: &["restore", "drill"],
    },
    Variable {
        name: NO_COLOR,
        meaning: "Set, it takes the colours from what a terminal shows, as CLICOLOR=0 and TERM=dumb do. No pipe and no \
                  file gets colours, but with CLICOLOR_FORCE=1.",
        commands: &[],
    },
];

impl Environment {
    /// Keeps our variables and etcdctl's.
    #[must_use]
    pub(crate) fn from_iterator(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let known = |name: &str| {
            name.starts_with("ETCDCTL_") || name.starts_with("ETCD_SEAL_") || COMMON.contains(&name)
        };
        let known = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            (known(&name) && !value.is_empty()).then_some((name, value))
        });
        let mut environment = Self::default();
        for (name, value) in known {
            if SECRETS.contains(&name.as_str()) {
                environment.secrets.insert(name, value.into_string().ok().map(SecretString::from));
            } else {
                environment.variables.insert(name, value);
            }
        }
        environment
    }

    /// The value of a variable that is set and not empty. It never returns one of [`SECRETS`].
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }

    /// Whether a variable is set and not empty, also one of [`SECRETS`].
    #[must_use]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name) || self.secrets.contains_key(name)
    }

    /// The value of one of [`SECRETS`].
    ///
    /// # Errors
    /// [`Kind::Usage`] where it is not UTF-8.
    pub(crate) fn secret(&self, name: &str) -> Result<Option<SecretString>> {
        match self.secrets.get(name) {
            None => Ok(None),
            Some(None) => Err(not_text(name)),
            Some(secret) => Ok(secret.clone()),
        }
    }
}

fn not_text(name: &str) -> Error {
    Error::new(Kind::Usage, format!("{name} is not UTF-8"))
}

#[cfg(test)]
impl Environment {
    /// An environment for a test.
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        Self::from_iterator(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn empty_and_foreign_variables_are_absent() {
        let environment =
            Environment::of(&[("ETCDCTL_CERT", ""), ("HOME", "/root"), ("ETCD_SEAL_DESTINATION", "/b/")]);
        assert_eq!(environment.get("ETCDCTL_CERT"), None);
        assert_eq!(environment.get("HOME"), None);
        assert_eq!(environment.get("ETCD_SEAL_DESTINATION"), Some(OsStr::new("/b/")));
    }

    #[test]
    fn secrets_are_kept_apart() {
        use std::os::unix::ffi::OsStrExt;
        let bad = (OsString::from(USER), OsStr::from_bytes(b"root:\xff").to_owned());
        let environment = Environment::from_iterator([(PASSWORD.into(), "hunter2".into()), bad]);
        assert_eq!((environment.get(PASSWORD), environment.get(USER)), (None, None));
        assert_eq!(environment.secret(PASSWORD).unwrap().unwrap().expose_secret(), "hunter2");
        assert_eq!(environment.secret(USER).unwrap_err().to_string(), "ETCDCTL_USER is not UTF-8");
        assert!(Environment::default().secret(USER).unwrap().is_none());
    }
}
