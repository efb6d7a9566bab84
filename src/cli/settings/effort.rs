//! How much of the host's resources a command may take.
#![expect(
    clippy::doc_markdown,
    reason = "the comments of arguments are the help, and a terminal shows backticks as they are"
)]

use super::environment::{self, Environment};
use super::values::parse_bool;
use crate::error::Result;
use clap::Args;
use std::num::NonZero;

/// More threads than any machine has use for.
const MAXIMUM_JOBS: i64 = 1024;

/// How much of this host to take.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Effort")]
pub(crate) struct EffortArguments {
    /// Threads of each parallel stage [default: as many as processors, 4 at most; with --nice 1]
    ///
    /// Each one takes 5 to 10 MiB of memory. The default keeps up with etcd; more are of use to save with a high
    /// --level.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAXIMUM_JOBS))]
    pub(crate) jobs: Option<u16>,
    /// Let all other processes on this host go first, such as the members of a control plane [env: ETCD_SEAL_NICE]
    ///
    /// Runs at the lowest CPU priority (nice 19) and, from which Linux derives it, the lowest best-effort I/O priority,
    /// with one thread for each parallel stage unless --jobs says otherwise. On a busy host it takes longer, and a save
    /// then keeps etcd's read transaction open for longer: etcd cannot reuse the pages it frees meanwhile, and its
    /// database may grow. Priorities count among the processes of one control group: where a unit or a container has
    /// shares of its own, set those.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = parse_bool)]
    pub(crate) nice: Option<bool>,
}

/// Most threads of each parallel stage by default.
///
/// Each thread holds frames of its own, some 5 to 10 MiB, so memory would grow with the number of processors: with four
/// threads, nothing at its default needs 96 MiB, whatever is in the snapshot. Four threads are also faster than all that
/// they wait for at the default level: each compresses 0.9 GB/s, while etcd sends half a gigabyte a second and SHA-256, on
/// one thread, takes 1.7 GB/s.
const DEFAULT_JOBS_MAXIMUM: usize = 4;

/// How much of the host's resources a command may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Whether other processes take precedence.
    pub(crate) nice: bool,
    /// Threads of each parallel stage.
    pub(crate) jobs: usize,
}

impl Effort {
    /// Resolves arguments and environment.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage).
    pub(crate) fn resolve(words: &EffortArguments, environment: &Environment) -> Result<Self> {
        let nice = match words.nice {
            Some(nice) => nice,
            None => environment.parsed(environment::NICE, parse_bool)?.unwrap_or(false),
        };
        let jobs = words.jobs.map_or_else(|| default_jobs(nice, processors()), usize::from);
        Ok(Self { nice, jobs })
    }
}

/// The number of processors that this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn default_jobs(nice: bool, processors: usize) -> usize {
    if nice { 1 } else { processors.min(DEFAULT_JOBS_MAXIMUM) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn resolve(nice: Option<bool>, jobs: Option<u16>, variable: &str) -> Result<Effort> {
        let environment = Environment::of(&[(environment::NICE, variable)]);
        Effort::resolve(&EffortArguments { jobs, nice }, &environment)
    }

    #[test]
    fn memory_does_not_grow_with_the_host() {
        let jobs = [1, 2, 4, 128].map(|processors| default_jobs(false, processors));
        assert_eq!(jobs, [1, 2, 4, 4]);
        assert_eq!(default_jobs(true, 128), 1);
    }

    #[test]
    fn what_is_said_counts() {
        assert_eq!(resolve(None, Some(32), "").unwrap(), Effort { nice: false, jobs: 32 });
        assert_eq!(resolve(Some(true), Some(32), "").unwrap(), Effort { nice: true, jobs: 32 });
        assert_eq!(resolve(Some(true), None, "").unwrap(), Effort { nice: true, jobs: 1 });
    }

    #[test]
    fn the_flag_beats_the_variable() {
        assert!(resolve(None, None, "1").unwrap().nice);
        assert!(!resolve(Some(false), None, "1").unwrap().nice);
        assert!(!resolve(None, None, "").unwrap().nice);
        let error = resolve(None, None, "very").unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.to_string(), "ETCD_SEAL_NICE: `very` is neither true nor false");
    }
}
