//! The etcd of this host: where it lies, and its version.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::error::{Error, Kind, Result};

/// How long `etcd --version` may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often to look for its end.
const POLL: Duration = Duration::from_millis(5);
/// Bytes of its answer that are read.
const ANSWER_SIZE: usize = 4096;
/// What the version follows in the answer.
const VERSION: &str = "etcd Version: ";

/// Finds etcd as a shell finds programs: a name without a slash is looked up in `search_path`.
///
/// # Errors
/// [`Kind::NoEtcd`].
pub(crate) fn find_etcd(named: Option<&Path>, search_path: Option<&OsStr>) -> Result<PathBuf> {
    let name = named.unwrap_or(Path::new("etcd"));
    if name.components().count() > 1 {
        let absolute = std::path::absolute(name).map_err(|error| Error::io("find", name.display(), error))?;
        return if is_program(&absolute) {
            Ok(absolute)
        } else {
            Err(no_etcd(format!("{} is no program", name.display())))
        };
    }
    let directories =
        search_path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    let found = directories
        .into_iter()
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|path| is_program(path));
    found.ok_or_else(|| no_etcd(format!("there is no {} on PATH to start", name.display())))
}

fn no_etcd(message: String) -> Error {
    Error::new(Kind::NoEtcd, message)
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The version that `etcd --version` prints; `None` where it prints none, or not soon.
pub(crate) fn version_of(etcd: &Path, search_path: Option<&OsStr>) -> Option<String> {
    // A pipe would block where a process that outlives this one holds it.
    let answer = File::from(memfd_create("etcd-version", MemfdFlags::CLOEXEC).ok()?);
    let mut command = Command::new(etcd);
    command.arg("--version").env_clear().envs(search_path.map(|path| ("PATH", path)));
    command.stdin(Stdio::null()).stdout(answer.try_clone().ok()?).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().ok()?;
    let succeeded = ends_well(&mut child);
    let mut bytes = [0; ANSWER_SIZE];
    let size = answer.read_at(&mut bytes, 0).ok()?;
    let text = String::from_utf8_lossy(&bytes[..size]);
    let version = text.lines().find_map(|line| line.strip_prefix(VERSION))?.trim().to_owned();
    succeeded.then_some(version)
}

/// Waits for the end, for as long as patience lasts, and kills what is left of the process and its children; whether it
/// succeeded.
fn ends_well(child: &mut Child) -> bool {
    let (started, id) = (Instant::now(), Pid::from_child(child));
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(id), look), Ok(None)) && started.elapsed() < PATIENCE {
        std::thread::sleep(POLL);
    }
    // The number of the group is valid until the process is waited for.
    let _ = kill_process_group(id, Signal::KILL);
    child.wait().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(script: &str) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("etcd");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        version_of(&path, std::env::var_os("PATH").as_deref())
    }

    #[test]
    fn the_version_is_what_etcd_prints_and_nothing_waits_for_it() {
        let version = "echo 'etcd Version: 3.7.1'; echo 'Git SHA: x'";
        assert_eq!(told(version).as_deref(), Some("3.7.1"));
        // A child keeps its output open.
        assert_eq!(told(&format!("sleep 60 & {version}")).as_deref(), Some("3.7.1"));
        for other in ["echo no version", "exit 1", &format!("{version}; exit 1")] {
            assert_eq!(told(other), None, "{other}");
        }
        let started = Instant::now();
        assert_eq!(told(&format!("{version}; exec sleep 60")), None);
        assert!(started.elapsed() < Duration::from_secs(30));
        assert_eq!(version_of(Path::new("/nowhere/etcd"), None), None);
    }
}
