//! Parallel stages that keep the order of their items, and the way stages stop.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::error::{Error, Kind, Result};
use crate::watch::Watch;

/// Why a stage ended before its work was done.
#[derive(Debug)]
pub(in crate::pipeline) enum Stop {
    /// The next stage dropped its end of the queue, and has the reason.
    Closed,
    /// This stage failed.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The error of the first of these stages that failed by itself, in the order given.
pub(in crate::pipeline) fn first_failure<const N: usize>(stops: [Option<Stop>; N]) -> Option<Error> {
    stops.into_iter().flatten().find_map(|stop| match stop {
        Stop::Failed(error) => Some(error),
        Stop::Closed => None,
    })
}

/// One piece of work under watch. Dropping it ends its progress and clears the failure that its threads shared.
pub(in crate::pipeline) struct Work<'a>(&'a Watch);

impl<'a> Work<'a> {
    pub(in crate::pipeline) fn new(watch: &'a Watch) -> Self {
        Self(watch)
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.progress.finish();
        self.0.interrupt.end_work();
    }
}

/// Reports a failure of this stage to the other threads of the work, so that a thread that waits for input or output
/// stops waiting.
pub(in crate::pipeline) fn announce<T>(result: Result<T, Stop>, watch: &Watch) -> Result<T, Stop> {
    if let Err(Stop::Failed(error)) = &result {
        watch.interrupt.fail(error);
    }
    result
}

/// The error where every stage says that another one stopped first, which is a defect.
pub(in crate::pipeline) fn no_reason() -> Error {
    Error::new(Kind::Io, "the work stopped without a reason")
        .with_hint("this is a defect of etcd-seal; please report it")
}

/// Starts a named thread.
///
/// # Errors
/// [`Kind::Io`](crate::Kind::Io) where the system cannot start another thread.
pub(in crate::pipeline) fn spawn<'scope, 'env, T: Send + 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, work)
        .map_err(|error| Error::io("start", format!("the {name} thread"), error))
}

/// The result of a thread. Passes a panic on: it is a defect of this program, never of its input.
pub(in crate::pipeline) fn join<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The input side of a stage.
pub(in crate::pipeline) struct Feeder<I, O> {
    work: Sender<(I, SyncSender<O>)>,
    order: SyncSender<Receiver<O>>,
}

impl<I, O> Feeder<I, O> {
    /// Sends the next item; blocks while the stage is full (backpressure).
    pub(in crate::pipeline) fn send(&self, item: I) -> Result<(), Stop> {
        let (result, receiver) = sync_channel(1);
        self.order.send(receiver).map_err(|_| Stop::Closed)?;
        self.work.send((item, result)).map_err(|_| Stop::Closed)
    }
}

/// The output side of a stage: results in the order of the items.
pub(in crate::pipeline) struct Ordered<O>(Receiver<Receiver<O>>);

impl<O> Iterator for Ordered<O> {
    type Item = O;

    fn next(&mut self) -> Option<O> {
        let result = self.0.recv().ok()?.recv();
        // An item without a result must not look like the end of all items: what follows would be sealed as a whole archive.
        Some(result.unwrap_or_else(|_| panic!("a worker of this stage has panicked")))
    }
}

/// Starts a stage of `jobs` threads, each with its own worker, that holds at most `jobs + 1` items.
///
/// # Errors
/// The errors of `worker` and of [`spawn`].
pub(in crate::pipeline) fn ordered<'scope, 'env, I, O, W>(
    scope: &'scope Scope<'scope, 'env>,
    name: &str,
    jobs: usize,
    worker: impl Fn() -> Result<W>,
) -> Result<(Feeder<I, O>, Ordered<O>)>
where
    I: Send + 'scope,
    O: Send + 'scope,
    W: FnMut(I) -> O + Send + 'scope,
{
    let jobs = jobs.max(1);
    let (work, items) = channel::<(I, SyncSender<O>)>();
    let items = Arc::new(Mutex::new(items));
    for _ in 0..jobs {
        let (mut worker, items) = (worker()?, Arc::clone(&items));
        spawn(scope, name, move || {
            loop {
                let item = items.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((item, result)) = item else { break };
                // A dropped receiver is no failure here: a later stage has stopped and has the reason.
                let _ = result.send(worker(item));
            }
        })?;
    }
    // The consumer holds one more result, so the queue itself holds `jobs`.
    let (order, results) = sync_channel(jobs);
    Ok((Feeder { work, order }, Ordered(results)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let results: Vec<u64> = std::thread::scope(|scope| {
            let (feeder, results) = ordered(scope, "test", 4, || {
                Ok(|item: u64| {
                    // Early items take longest.
                    (0..(200 - item) * 500).fold(item, |sum, step| std::hint::black_box(sum ^ step ^ step))
                })
            })
            .unwrap();
            spawn(scope, "feed", move || (0..200).try_for_each(|item| feeder.send(item))).unwrap();
            results.collect()
        });
        assert_eq!(results, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_lost_result_is_no_end() {
        let taken = std::panic::catch_unwind(|| {
            std::thread::scope(|scope| {
                let (feeder, results) = ordered(scope, "test", 1, || {
                    Ok(|item: u8| if item == 2 { panic!("on purpose") } else { item })
                })
                .unwrap();
                spawn(scope, "feed", move || (0..4).try_for_each(|item| feeder.send(item))).unwrap();
                results.count()
            })
        });
        assert!(taken.is_err());
    }

    #[test]
    fn a_feeder_notices_that_the_next_stage_is_gone() {
        std::thread::scope(|scope| {
            let (feeder, results) = ordered(scope, "test", 2, || Ok(|item: u8| item)).unwrap();
            drop(results);
            assert!(matches!(feeder.send(1), Err(Stop::Closed)));
        });
    }
}
