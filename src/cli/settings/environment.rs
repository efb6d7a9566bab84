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
/// Recipients of `save`.
pub(crate) const RECIPIENTS: &str = "ETCD_SEAL_RECIPIENTS";
/// A file of recipients of `save`.
pub(crate) const RECIPIENTS_FILE: &str = "ETCD_SEAL_RECIPIENTS_FILE";
/// The destination of `save`.
pub(crate) const DESTINATION: &str = "ETCD_SEAL_DESTINATION";
/// The longest time without data on the snapshot stream.
pub(crate) const STALL_TIMEOUT: &str = "ETCD_SEAL_STALL_TIMEOUT";
/// Whether other processes on this host take precedence.
pub(crate) const NICE: &str = "ETCD_SEAL_NICE";
/// The rate limit for data from etcd, in bytes per second.
pub(crate) const LIMIT_RATE: &str = "ETCD_SEAL_LIMIT_RATE";
/// `--min-rate`.
pub(crate) const MIN_RATE: &str = "ETCD_SEAL_MIN_RATE";
/// The identity file of the reading commands.
pub(crate) const IDENTITY: &str = "ETCD_SEAL_IDENTITY";
/// The file with the passphrase, which replaces the question on the terminal.
pub(crate) const PASSPHRASE_FILE: &str = "ETCD_SEAL_PASSPHRASE_FILE";
/// The directory in which systemd puts a unit's credentials.
pub(crate) const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// The credential that replaces [`PASSPHRASE_FILE`].
pub(crate) const PASSPHRASE_CREDENTIAL: &str = "etcd-seal.passphrase";

/// The search path for programs.
pub(crate) const PATH: &str = "PATH";
/// The directory for temporary files.
pub(crate) const TMPDIR: &str = "TMPDIR";
/// Variables that are neither ours nor etcdctl's.
const COMMON: [&str; 3] = [CREDENTIALS_DIRECTORY, PATH, TMPDIR];

const READING: &[&str] = &["info", "verify", "restore", "drill"];
const WORKING: &[&str] = &["save", "verify", "restore", "drill"];
const KEYS: &[&str] = &["save", "info", "verify", "restore", "drill"];

/// Our variables, in the order of the manual. etcdctl's are derived from its flags.
pub(crate) const VARIABLES: &[Variable] = &[
    Variable { name: DESTINATION, meaning: "DEST of save when none is given.", commands: &["save"] },
    Variable {
        name: RECIPIENTS,
        meaning: "Recipients of save, separated by white space, commas or line breaks. What follows an ssh key on its \
                  line is its comment. -r and -R replace them as a set.",
        commands: &["save"],
    },
    Variable {
        name: RECIPIENTS_FILE,
        meaning: "A file of recipients of save, added to ETCD_SEAL_RECIPIENTS. -r and -R replace it.",
        commands: &["save"],
    },
    Variable { name: STALL_TIMEOUT, meaning: "The value of --stall-timeout.", commands: &["save"] },
    Variable { name: NICE, meaning: "The value of --nice, true or false.", commands: WORKING },
    Variable { name: LIMIT_RATE, meaning: "The value of --limit-rate.", commands: &["save"] },
    Variable { name: MIN_RATE, meaning: "The value of --min-rate.", commands: &["save"] },
    Variable {
        name: IDENTITY,
        meaning: "The path of an identity file. -i and -p replace it.",
        commands: READING,
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
        meaning: "Where drill looks for etcd; all that the etcd it starts has of the environment.",
        commands: &["drill"],
    },
    Variable {
        name: TMPDIR,
        meaning: "The directory in which drill makes its scratch directory, without --scratch.",
        commands: &["drill"],
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

    /// The value as text.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it is not UTF-8.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.to_str().ok_or_else(|| not_text(name))?;
        Ok(Some(text))
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

    /// The value parsed by `parse`, whose error names the variable.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(crate) fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let value = parse(text).map_err(|wrong| {
            Error::new(Kind::Usage, format!("{name}: {wrong}")).with_hint(format!("correct or unset {name}"))
        })?;
        Ok(Some(value))
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
        let environment = Environment::of(&[("ETCDCTL_CERT", ""), ("HOME", "/root"), (DESTINATION, "/b/")]);
        assert_eq!(environment.get("ETCDCTL_CERT"), None);
        assert_eq!(environment.get("HOME"), None);
        assert_eq!(environment.get(DESTINATION), Some(OsStr::new("/b/")));
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

    #[test]
    fn a_bad_value_names_its_variable() {
        let environment = Environment::of(&[(STALL_TIMEOUT, "soon")]);
        let error = environment.parsed(STALL_TIMEOUT, super::super::values::parse_duration).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(
            error.to_string(),
            "ETCD_SEAL_STALL_TIMEOUT: `soon` is no duration such as 5s, 1m30s or 500ms"
        );
    }
}
