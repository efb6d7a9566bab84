//! The processes of a drill that have lost their parent.
//!
//! The launcher that starts an etcd is the parent of all that has left it, and ends that when the drill ends. Should the
//! launcher itself be killed, a process that has left its session would have no one to end it. So while its etcds run, the
//! drill is a subreaper, too: such a process becomes its child.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

/// How long to wait for the end of processes that were killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often their end is looked for.
const POLL: Duration = Duration::from_millis(10);

/// A child of this process, by any way it became one.
pub(crate) struct ChildProcess {
    /// Its id, which is no other's until it is waited for.
    pub(crate) id: Pid,
    /// Whether it has ended.
    ended: bool,
}

/// All children of this process.
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

/// Whether it has ended, and its parent, as `proc_pid_stat(5)` tells behind the name in parentheses, which may hold anything.
fn state_in(status: &[u8]) -> Option<(bool, Pid)> {
    let name_ends = status.iter().rposition(|&byte| byte == b')')?;
    let mut fields = std::str::from_utf8(&status[name_ends + 1..]).ok()?.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    Some((ended, fields.next()?.parse().ok().and_then(Pid::from_raw)?))
}

/// As long as it lives, what loses its parent below this process becomes a child of this process. When it is dropped, all
/// of them are killed and waited for.
pub(super) struct Adoption {
    active: bool,
    /// Children that had ended before; those who started them wait for them.
    spared: Vec<Pid>,
}

impl Adoption {
    /// Begins, unless this process has children already that are not the drill's, such as those of a shell that became this
    /// program: what they leave behind could not be told from what the drill's own do.
    pub(super) fn begin() -> Self {
        let children = children().unwrap_or_default();
        let active = children.iter().all(|child| child.ended) && set_child_subreaper(Some(getpid())).is_ok();
        if !active {
            tracing::debug!("this process has other children: it adopts none");
        }
        Self { active, spared: children.into_iter().map(|child| child.id).collect() }
    }

    /// Kills those there are, until there are none; theirs become children of this process meanwhile.
    fn end_all(&self) -> std::io::Result<bool> {
        let began = Instant::now();
        loop {
            let mut left = children()?;
            left.retain(|child| !self.spared.contains(&child.id));
            if left.is_empty() || began.elapsed() > PATIENCE {
                return Ok(left.is_empty());
            }
            for child in left {
                // One that has ended already needs no signal, and one that is waited for elsewhere is not there any more.
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
        // Without it, this process only adopts what nobody ends any more.
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
