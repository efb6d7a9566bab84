//! Re-executes the program with no secrets in its environment.
//!
//! Child processes inherit the environment, and the age crate starts plugins; the system also shows the variables that a
//! process was started with for as long as it lives. Safe Rust cannot remove a variable, but the process can re-exec its own
//! program without it. The removed values come back through a pipe. To other processes it stays the same process, with the
//! same id, files and terminal.

use super::settings::environment::{Environment, SECRETS};
use super::terminal::secret::read_secret;
use crate::error::{Error, Kind, Result};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// The variable that tells one process which descriptor holds its secrets: `process:descriptor`.
const HANDED_OVER: &str = "ETCD_SEAL_HANDED_OVER";
/// Set to `plugin`, it makes the age crate print all messages to and from a plugin on standard error, with file keys.
const AGE_DEBUG: &str = "AGEDEBUG";
/// More than a pipe can hold on any system.
const PIPE_MAXIMUM: u64 = 1 << 20;

/// The state at the start of the process.
pub(super) struct Beginning {
    /// The environment with its secrets.
    pub(super) environment: Environment,
    /// What went wrong with the secrets.
    trouble: Trouble,
}

enum Trouble {
    None,
    /// The secrets are still visible in the environment.
    Visible(io::Error),
    /// The secrets were lost on the way through the pipe.
    Lost(io::Error),
}

/// Reads the environment. If it holds secrets or `AGEDEBUG`, the process re-executes itself without them, and this call does
/// not return. It returns if there are none, if the secrets came through the pipe, or if the re-exec failed.
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
    /// Warns where secrets stay visible, which is tolerable.
    ///
    /// # Errors
    /// [`Kind::Io`] where secrets were lost, [`Kind::Usage`] where plugins would print file keys.
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

/// Re-executes this program with the same arguments, and with `secrets` in a pipe. Returns only on failure.
fn start_anew(secrets: &[(&str, OsString)]) -> io::Error {
    let prepare = || {
        let (reader, mut writer) = io::pipe()?;
        // Nothing reads the pipe yet, so a full pipe must be an error and not block.
        rustix::io::ioctl_fionbio(&writer, true)?;
        for (name, value) in secrets {
            for part in [name.as_bytes(), b"=", value.as_bytes(), b"\0"] {
                writer.write_all(part)?;
            }
        }
        // The new program will open the pipe by its path, which some processes may not: find out now.
        File::open(path_of(reader.as_raw_fd()))?;
        let mut arguments = std::env::args_os();
        let mut program = Command::new(std::env::current_exe()?);
        program.arg0(arguments.next().unwrap_or_default()).args(arguments).env_remove(AGE_DEBUG);
        for (name, _) in secrets {
            program.env_remove(name);
        }
        program.env(HANDED_OVER, format!("{}:{}", std::process::id(), reader.as_raw_fd()));
        rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::empty())?;
        // Both ends stay open until the exec, which closes the writer, so that the pipe has an end.
        Ok((program, reader, writer))
    };
    match prepare() {
        Ok((mut program, _reader, _writer)) => program.exec(),
        Err(error) => error,
    }
}

/// The path of the descriptor, if the variable is meant for this process: children of the process inherit it, too.
fn handed_over_to_us(variable: &OsStr) -> Option<PathBuf> {
    let (process, descriptor) = variable.to_str()?.split_once(':')?;
    (process.parse() == Ok(std::process::id())).then_some(())?;
    descriptor.parse().ok().map(path_of)
}

fn path_of(descriptor: i32) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{descriptor}"))
}

/// Parses `NAME=value` entries, each followed by a zero byte.
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
