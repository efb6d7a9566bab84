//! What this process asks of the system for itself.

use crate::error::{Error, Kind, Result};

/// Keeps keys out of core dumps and away from debuggers of the same user.
pub(crate) fn keep_secrets_out_of_dumps() -> Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let refused = |error: rustix::io::Errno| {
        Error::new(Kind::Io, format!("cannot turn core dumps off: {error}"))
            .with_hint("something on this host forbids setrlimit or prctl to this program; allow them")
            .with_source(error)
    };
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(refused)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused)
}

/// Lowers the priority as far as possible. A refusal is no failure, as the work can be done at any priority.
pub(crate) fn lower_priority() {
    const LOWEST: i32 = 19;
    if let Err(error) = rustix::process::setpriority_process(None, LOWEST) {
        tracing::warn!("cannot lower the priority, going on as before: {error}");
    }
}
