//! How much of the host's resources a command may take.

use super::setting::{Setting, setting};
use super::values::parse_bool;
use crate::error::Result;
use crate::pipeline::seal::jobs_for;
use clap::Args;
use std::num::NonZero;

/// More threads than any machine has use for.
const MAXIMUM_JOBS: i64 = 1024;

/// How much of this host to take.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Effort")]
pub(crate) struct EffortArguments {
    /// Threads of each parallel stage [default: as many as processors, 4 at most; with --nice 1]
    ///
    /// Each one takes 5 to 10 MiB of memory. The default keeps up with etcd; more are of use to save with a high
    /// --level.
    #[arg(hide_short_help = true, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAXIMUM_JOBS))]
    jobs: Option<u16>,
    /// Let all other processes on this host go first, such as the members of a control plane
    ///
    /// Runs at the lowest CPU priority (nice 19) and, from which Linux derives it, the lowest best-effort I/O priority,
    /// with one thread for each parallel stage unless --jobs says otherwise. On a busy host it takes longer, and a save
    /// then keeps etcd's read transaction open for longer: etcd cannot reuse the pages it frees meanwhile, and its
    /// database may grow. Priorities count among the processes of one control group: where a unit or a container has
    /// shares of its own, set those.
    #[arg(hide_short_help = true, long, value_name = "BOOL", env = "ETCD_SEAL_NICE", default_value = "false", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_parser = setting(parse_bool))]
    nice: Setting<bool>,
}

impl EffortArguments {
    /// Whether other processes take precedence.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage).
    pub(crate) fn nice(&self) -> Result<bool> {
        self.nice.get()
    }

    /// Threads of each parallel stage.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage).
    pub(crate) fn jobs(&self) -> Result<usize> {
        let nice = self.nice()?;
        Ok(self.jobs.map_or_else(|| default_jobs(nice, processors()), usize::from))
    }
}

/// Threads of each parallel stage of a command without [`EffortArguments`].
#[must_use]
pub(crate) fn usual_jobs() -> usize {
    default_jobs(false, processors())
}

/// The number of processors that this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn default_jobs(nice: bool, processors: usize) -> usize {
    if nice { 1 } else { jobs_for(processors) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line::parsed;
    use crate::cli::commands::Command;
    use crate::error::Kind;

    fn effort(flags: &[&str], variable: &str) -> Result<(bool, usize)> {
        let verify =
            parsed(&[&["verify", "x.age"], flags].concat(), &[("ETCD_SEAL_NICE", variable)]).unwrap();
        let Command::Verify(verify) = verify else { panic!("no verify") };
        Ok((verify.opening.effort.nice()?, verify.opening.effort.jobs()?))
    }

    #[test]
    fn memory_does_not_grow_with_the_host() {
        let jobs = [1, 2, 4, 128].map(|processors| default_jobs(false, processors));
        assert_eq!(jobs, [1, 2, 4, 4]);
        assert_eq!(default_jobs(true, 128), 1);
    }

    #[test]
    fn jobs_count_as_given() {
        assert_eq!(effort(&["--jobs=32"], "").unwrap(), (false, 32));
        assert_eq!(effort(&["--nice", "--jobs=32"], "").unwrap(), (true, 32));
        assert_eq!(effort(&["--nice"], "").unwrap(), (true, 1));
    }

    #[test]
    fn the_flag_beats_the_variable() {
        assert!(effort(&[], "1").unwrap().0);
        assert!(!effort(&["--nice=false"], "1").unwrap().0);
        assert!(!effort(&[], "").unwrap().0);
        let error = effort(&[], "very").unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.to_string(), "ETCD_SEAL_NICE: `very` is neither true nor false");
    }
}
