//! How much of the host's resources a command may take.

use super::environment::{self, Environment};
use super::values::parse_bool;
use crate::cli::args::EffortArguments;
use crate::error::Result;
use std::num::NonZero;

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
