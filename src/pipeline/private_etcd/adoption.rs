//! Ends the processes of a private etcd that have lost their parent.
//!
//! The launcher that starts an etcd adopts every process below it that loses its parent, and kills them when the work ends.
//! If the launcher itself is killed, nothing would end a process that has left its session. So the process that works is a
//! subreaper, too, while its etcds run, and such a process becomes its child.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

/// How long to wait for the end of killed processes.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look for their end.
const POLL: Duration = Duration::from_millis(10);

/// A child of this process, whether started or adopted.
pub(crate) struct ChildProcess {
    /// Its id, which is not reused until the process is waited for.
    pub(crate) id: Pid,
    ended: bool,
}

/// Lists all children of this process.
pub(crate) fn children() -> std::io::Result<Vec<ChildProcess>> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc")?.flatten() {
        let id = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(id) = id else { continue };
        let status = std::fs::read(process.path().join("stat")).unwrap_or_default();
        if let Some((ended, parent)) = state_in(&status)
            && parent == getpid()
        {
            found.push(ChildProcess { id, ended });
        }
    }
    Ok(found)
}

/// Whether the process has ended, and its parent: the fields of `proc_pid_stat(5)` after the parenthesised name, which may
/// hold any characters.
fn state_in(status: &[u8]) -> Option<(bool, Pid)> {
    let name_ends = status.iter().rposition(|&byte| byte == b')')?;
    let mut fields = std::str::from_utf8(&status[name_ends + 1..]).ok()?.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    Some((ended, fields.next()?.parse().ok().and_then(Pid::from_raw)?))
}

/// Makes this process the parent of orphans below it for as long as this value lives. Dropping it kills them and waits for
/// them.
pub(in crate::pipeline) struct Adoption {
    active: bool,
    /// Children that had ended before; the code that started them waits for them.
    spared: Vec<Pid>,
}

impl Adoption {
    /// Begins, unless this process already has other children, such as those of a shell that became this program: their
    /// orphans could not be told from those of etcd.
    pub(in crate::pipeline) fn begin() -> Self {
        let children = children().unwrap_or_default();
        let active = children.iter().all(|child| child.ended) && set_child_subreaper(Some(getpid())).is_ok();
        if !active {
            tracing::debug!("this process has other children: it adopts none");
        }
        Self { active, spared: children.into_iter().map(|child| child.id).collect() }
    }

    /// Kills all children until none are left; their own children become children of this process meanwhile.
    fn end_all(&self) -> std::io::Result<bool> {
        let began = Instant::now();
        loop {
            let mut left = children()?;
            left.retain(|child| !self.spared.contains(&child.id));
            if left.is_empty() || began.elapsed() > PATIENCE {
                return Ok(left.is_empty());
            }
            for child in left {
                // Both may fail: the child may have ended already, or another thread may have waited for it.
                let _ = kill_process(child.id, Signal::KILL);
                let _ = waitpid(Some(child.id), WaitOptions::NOHANG);
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        if !self.active {
            return;
        }
        match self.end_all() {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!("a process that etcd has started does not end, although it was killed");
            }
            Err(error) => tracing::warn!("cannot look for processes that etcd has started: {error}"),
        }
        // If this fails, this process only adopts orphans and never ends them.
        let _ = set_child_subreaper(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getppid;

    #[test]
    fn a_parent_is_read_whatever_a_process_is_called() {
        assert_eq!(state_in(b"17 (a) b) R 42 17 17 0"), Pid::from_raw(42).map(|id| (false, id)));
        assert_eq!(state_in(b"17 (a) Z 42 17 17 0"), Pid::from_raw(42).map(|id| (true, id)));
        assert_eq!(state_in(b"17 (a"), None);
        assert_eq!(state_in(b""), None);
        let own = state_in(&std::fs::read("/proc/self/stat").unwrap()).unwrap();
        assert_eq!((own.0, Some(own.1)), (false, getppid()));
    }
}
