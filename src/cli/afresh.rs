//! Starting anew with nothing secret in the environment.
//!
//! What this process starts gets its environment, and the age crate starts plugins; the system shows the variables a
//! process began with for as long as it lives. No safe code can take one away, but the process can execute its own program
//! once more without it. What was taken away comes back through a pipe. To everybody else it stays the same process, with its
//! id, its files and its terminal.

use super::secret::read_secret;
use super::settings::environment::{Environment, SECRETS};
use crate::error::{Error, Kind, Result};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// The variable that says, to one process alone, from which descriptor the secrets come: `process:descriptor`.
const HANDED_OVER: &str = "ETCD_SEAL_HANDED_OVER";
/// Set to `plugin`, it makes the age crate show on standard error all that it tells a plugin and hears from it: file keys.
const AGE_DEBUG: &str = "AGEDEBUG";
/// More than any system lets a pipe hold.
const PIPE_MAXIMUM: u64 = 1 << 20;

/// How the process began.
pub(super) struct Beginning {
    /// Its environment, secrets and all.
    pub(super) environment: Environment,
    /// What is wrong with it.
    trouble: Trouble,
}

enum Trouble {
    None,
    /// The secrets are still where others find them.
    Visible(io::Error),
    /// The secrets did not arrive.
    Lost(io::Error),
}

/// The environment, out of which secrets have been taken where that can be done. Returns twice where there are any: to nobody,
/// and in the next life of the process.
pub(super) fn begin() -> Beginning {
    let begun = |secrets, trouble| {
        let variables = std::env::vars_os().chain(secrets);
        Beginning { environment: Environment::from_iterator(variables), trouble }
    };
    if let Some(path) = std::env::var_os(HANDED_OVER).as_deref().and_then(handed_over_to_us) {
        return match File::open(path).and_then(|pipe| read_secret(pipe, PIPE_MAXIMUM)) {
            Ok(bytes) => begun(parse(&bytes), Trouble::None),
            Err(error) => begun(Vec::new(), Trouble::Lost(error)),
        };
    }
    let secrets: Vec<_> = SECRETS.iter().filter_map(|&name| Some((name, std::env::var_os(name)?))).collect();
    if secrets.is_empty() && std::env::var_os(AGE_DEBUG).is_none() {
        return begun(Vec::new(), Trouble::None);
    }
    begun(Vec::new(), Trouble::Visible(start_anew(&secrets)))
}

impl Beginning {
    /// Warns of what can be lived with.
    ///
    /// # Errors
    /// [`Kind::Io`] where secrets were lost, [`Kind::Usage`] where plugins would show file keys.
    pub(super) fn check(&self) -> Result<()> {
        match &self.trouble {
            Trouble::None => Ok(()),
            Trouble::Lost(error) => {
                Err(Error::new(Kind::Io, format!("cannot take over the user and password: {error}"))
                    .with_hint("use a client certificate, or let the program ask for the password"))
            }
            Trouble::Visible(_) if std::env::var_os(AGE_DEBUG).is_some_and(|value| value == "plugin") => {
                Err(Error::new(Kind::Usage, "AGEDEBUG is set, with which age plugins would show file keys")
                    .with_hint("unset AGEDEBUG"))
            }
            Trouble::Visible(error) => {
                tracing::warn!("age plugins can read the user and password in the environment: {error}");
                Ok(())
            }
        }
    }
}

/// Executes this program again, with the same words and with `secrets` in a pipe. Returns only where that fails.
fn start_anew(secrets: &[(&str, OsString)]) -> io::Error {
    let prepare = || {
        let (reader, mut writer) = io::pipe()?;
        // What the pipe cannot hold is an error: nobody reads it yet.
        rustix::io::ioctl_fionbio(&writer, true)?;
        for (name, value) in secrets {
            for part in [name.as_bytes(), b"=", value.as_bytes(), b"\0"] {
                writer.write_all(part)?;
            }
        }
        // It is opened by its name then, which not every process may: see that now.
        File::open(path_of(reader.as_raw_fd()))?;
        let mut words = std::env::args_os();
        let mut program = Command::new(std::env::current_exe()?);
        program.arg0(words.next().unwrap_or_default()).args(words).env_remove(AGE_DEBUG);
        for (name, _) in secrets {
            program.env_remove(name);
        }
        program.env(HANDED_OVER, format!("{}:{}", std::process::id(), reader.as_raw_fd()));
        rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::empty())?;
        // The writer is closed on the way: then the pipe has an end.
        Ok((program, reader, writer))
    };
    match prepare() {
        Ok((mut program, _reader, _writer)) => program.exec(),
        Err(error) => error,
    }
}

/// The descriptor's path, where the variable speaks to this process. A program that this one started has it as well.
fn handed_over_to_us(variable: &OsStr) -> Option<PathBuf> {
    let (process, descriptor) = variable.to_str()?.split_once(':')?;
    (process.parse() == Ok(std::process::id())).then_some(())?;
    descriptor.parse().ok().map(path_of)
}

fn path_of(descriptor: i32) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{descriptor}"))
}

/// `NAME=value`, each with a zero byte behind it.
fn parse(bytes: &[u8]) -> Vec<(OsString, OsString)> {
    let text = |bytes: &[u8]| OsString::from_vec(bytes.to_owned());
    let variable = |variable: &[u8]| {
        let at = variable.iter().position(|&byte| byte == b'=')?;
        Some((text(&variable[..at]), text(&variable[at + 1..])))
    };
    bytes.split(|&byte| byte == 0).filter_map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_arrive_as_they_were() {
        assert!(parse(b"").is_empty());
        let expected: [(OsString, OsString); 2] =
            [("A".into(), "b=c\n".into()), ("B".into(), OsString::from_vec(b"\xff".to_vec()))];
        assert_eq!(parse(b"A=b=c\n\0B=\xff\0"), expected);
    }

    #[test]
    fn only_the_process_itself_is_spoken_to() {
        let own = std::process::id();
        assert_eq!(handed_over_to_us(OsStr::new(&format!("{own}:7"))), Some("/proc/self/fd/7".into()));
        for other in [format!("{}:7", own + 1), format!("{own}"), format!("{own}:x"), String::new()] {
            assert_eq!(handed_over_to_us(OsStr::new(&other)), None);
        }
    }
}
