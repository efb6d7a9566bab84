//! Runs a command on one thread while this thread watches for signals.
//!
//! SIGINT, SIGTERM and SIGHUP ask the command to stop. It gets a moment to do so by itself; if its thread is stuck in a
//! read or a write, the process removes the unfinished output and exits without it. The same happens when the command has
//! failed but one of its threads is stuck. Once the command publishes its output, it is too late to stop, and the process
//! waits for its end.

use super::exit::Exit;
use super::last_work::LastWork;
use super::render::Reporter;
use super::terminal::console::Console;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::local::abandon_all;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// How often to look whether the command has failed without ending.
const FAILURE_POLL: Duration = Duration::from_millis(250);
/// How long a command that has failed may take to end.
const FAILURE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a command may take to stop by itself after a signal. It is short because the sender of the signal waits, and
/// all of it must take at most 200 ms, while the thread that has to stop may be in the middle of a frame or of a read.
pub(super) const SIGNAL_PATIENCE: Duration = Duration::from_millis(100);
/// The same for a command with plaintext to remove and processes to end, as nothing else cleans those up.
pub(super) const CLEANING_PATIENCE: Duration = Duration::from_secs(10);
/// Descriptors that the runtime needs, and some to spare.
const RUNTIME_DESCRIPTORS: usize = 8;

/// The signal that asked a command to stop. Clones share it.
#[derive(Clone, Default)]
pub(super) struct StoppedBy(Arc<OnceLock<Exit>>);

impl StoppedBy {
    /// The exit code of a command that failed with `error`: the code of the signal if the command was asked to stop,
    /// whatever error followed.
    pub(super) fn exit_of(&self, error: &Error, interrupt: &Interrupt) -> Exit {
        let stopped = interrupt.check().is_err_and(|reason| reason.kind() == Kind::Interrupted);
        self.0.get().copied().filter(|_| stopped).unwrap_or_else(|| Exit::of(error.kind()))
    }
}

/// Runs the command that `prepare` returns on its own thread until it ends, or, after a signal, for at most `patience`.
///
/// # Errors
/// The errors of the command.
pub(super) fn supervise<C>(
    reporter: &Reporter,
    console: &Console,
    patience: Duration,
    prepare: impl FnOnce(Interrupt, StoppedBy, LastWork, Handle) -> C,
) -> Result<Exit>
where
    C: FnOnce() -> Result<Exit> + Send + 'static,
{
    let runtime = start_runtime()?;
    let (interrupt, stopped_by, last) = (Interrupt::new(), StoppedBy::default(), LastWork::default());
    let mut signals = {
        let _entered = runtime.enter();
        Signals::install()?
    };
    let command = prepare(interrupt.clone(), stopped_by.clone(), last.clone(), runtime.handle().clone());
    let (done, mut end) = oneshot::channel();
    let work = move || {
        // The receiver may be gone already, and then the result is not needed.
        let _ = done.send(command());
    };
    std::thread::Builder::new()
        .name("command".to_owned())
        .spawn(work)
        .map_err(|error| Error::io("start", "a thread", error))?;
    let ended = runtime.block_on(async {
        let ended = watch(&mut end, &mut signals, (&interrupt, &stopped_by), patience).await;
        if matches!(ended, Ended::Stuck(_) | Ended::FailedStuck(_)) && last.is_the_commands() {
            // The command is not stuck: it tells of its end.
            return tokio::time::timeout(CLEANING_PATIENCE, &mut end)
                .await
                .map_or(ended, |result| Ended::ByItself(received(result)));
        }
        ended
    });
    runtime.shutdown_background();
    match ended {
        Ended::ByItself(result) => result,
        Ended::Stopped(signal) => {
            reporter.failure(&interrupted(), signal, None);
            Ok(signal)
        }
        Ended::Stuck(signal) => leave(&interrupted(), signal, &last, (reporter, console)),
        Ended::FailedStuck(error) => leave(&error, Exit::of(error.kind()), &last, (reporter, console)),
    }
}

/// Starts the runtime for signals and for the connection to etcd; the pipeline has its own threads. It has a single thread:
/// one stream gains nothing from more, and a runtime with worker threads panics where the system cannot start them.
fn start_runtime() -> Result<Runtime> {
    spare_descriptors(RUNTIME_DESCRIPTORS)
        .and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build())
        .map_err(|error| Error::io("start", "the asynchronous runtime", error))
}

/// Fails if fewer than `count` descriptors are available. tokio panics when it finds none for the pipe that its signals
/// come through.
fn spare_descriptors(count: usize) -> io::Result<()> {
    let standard_input = io::stdin();
    let another = |_| standard_input.as_fd().try_clone_to_owned();
    (0..count).map(another).collect::<io::Result<Vec<_>>>().map(drop)
}

/// How the command ended.
enum Ended {
    /// The command ended on its own.
    ByItself(Result<Exit>),
    /// The command stopped cleanly because of a signal.
    Stopped(Exit),
    /// The command is still running in spite of a signal.
    Stuck(Exit),
    /// The command has failed, but is still running.
    FailedStuck(Error),
}

/// The signals that ask to stop; `None` for a signal that the parent process set to be ignored, as `nohup` does.
struct Signals {
    interrupt: Option<Signal>,
    terminate: Signal,
    hang_up: Option<Signal>,
    /// Never awaited: while the program catches it, a write beyond the file size limit fails instead of killing the process.
    _file_size: Signal,
    /// Never awaited either: while SIGCHLD is ignored, the exit status of a child is lost.
    _child: Signal,
}

impl Signals {
    fn install() -> Result<Self> {
        let install = |kind| signal(kind).map_err(|error| Error::io("watch for", "signals", error));
        let ignored = ignored_signals();
        let unless_ignored = |kind: SignalKind| {
            let bit = u64::try_from(kind.as_raw_value() - 1).map_or(0, |shift| 1 << shift);
            if ignored & bit == 0 { install(kind).map(Some) } else { Ok(None) }
        };
        Ok(Self {
            interrupt: unless_ignored(SignalKind::interrupt())?,
            terminate: install(SignalKind::terminate())?,
            hang_up: unless_ignored(SignalKind::hangup())?,
            _file_size: install(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
            _child: install(SignalKind::child())?,
        })
    }

    /// The exit code of the next signal.
    async fn next(&mut self) -> Exit {
        tokio::select! {
            () = received_signal(self.interrupt.as_mut()) => Exit::Interrupted,
            () = received_signal(Some(&mut self.terminate)) => Exit::Terminated,
            () = received_signal(self.hang_up.as_mut()) => Exit::Terminated,
        }
    }
}

async fn received_signal(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The signals that the process was started to ignore, one bit each: `SigIgn` in `proc_pid_status(5)`. Zero where that
/// cannot be read.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

type End = oneshot::Receiver<Result<Exit>>;

/// Waits for the end of the command, or for a signal and then up to `patience` for the end.
async fn watch(
    end: &mut End,
    signals: &mut Signals,
    (interrupt, stopped_by): (&Interrupt, &StoppedBy),
    patience: Duration,
) -> Ended {
    let signal = tokio::select! {
        biased;
        result = &mut *end => return Ended::ByItself(received(result)),
        signal = signals.next() => signal,
        error = failed_and_stuck(interrupt) => return Ended::FailedStuck(error),
    };
    // Record the signal before the command can learn that it has to stop.
    let signal = *stopped_by.0.get_or_init(|| signal);
    if !interrupt.raise() {
        // Publishing has begun: the command ends as if nothing had happened.
        return Ended::ByItself(received(end.await));
    }
    tokio::select! {
        biased;
        result = &mut *end => match received(result) {
            // The command finished before it checked for the request.
            Ok(exit) => Ended::ByItself(Ok(exit)),
            // The signal is the cause, whatever the error says, such as that a plugin was interrupted.
            Err(_) => Ended::Stopped(signal),
        },
        () = tokio::time::sleep(patience) => Ended::Stuck(signal),
        // A second signal does not cut short a command that has plaintext to remove.
        _ = signals.next(), if patience < CLEANING_PATIENCE => Ended::Stuck(signal),
    }
}

/// Returns the failure of a command that has failed and did not end in time.
async fn failed_and_stuck(interrupt: &Interrupt) -> Error {
    loop {
        tokio::time::sleep(FAILURE_POLL).await;
        if interrupt.failure().is_some() {
            tokio::time::sleep(FAILURE_PATIENCE).await;
            if let Some(error) = interrupt.failure() {
                return error;
            }
        }
    }
}

/// The result of the command, or an error if its thread panicked: the panic itself has been printed.
fn received(result: std::result::Result<Result<Exit>, oneshot::error::RecvError>) -> Result<Exit> {
    result.unwrap_or_else(|_| {
        Err(Error::new(Kind::Io, "the program failed at something it should never fail at")
            .with_hint("what is printed above is a bug of etcd-seal: please report it with what led to it"))
    })
}

/// The error of an interrupted command.
fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}

/// Exits while a thread is stuck, after it removed all unfinished output and did the last work of the command.
#[expect(clippy::exit, reason = "the command's thread is stuck in a read or a write that nothing else ends")]
fn leave(error: &Error, exit: Exit, last: &LastWork, (reporter, console): (&Reporter, &Console)) -> ! {
    abandon_all();
    console.restore();
    reporter.failure(error, exit, None);
    last.perform(error, exit);
    std::process::exit(exit.code().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    static ALONE: Mutex<()> = Mutex::new(());

    /// Longer than any scheduling delay, and short enough for a second signal to count.
    const LONG: Duration = CLEANING_PATIENCE.saturating_sub(Duration::from_secs(1));

    fn watched(
        act: impl FnOnce(oneshot::Sender<Result<Exit>>, &Interrupt),
        signal: Option<SignalKind>,
        patience: Duration,
    ) -> Ended {
        // A signal reaches the whole process, so tests in parallel would receive each other's.
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = start_runtime().unwrap();
        let interrupt = Interrupt::new();
        let (done, mut end) = oneshot::channel();
        runtime.block_on(async {
            let mut signals = Signals::install().unwrap();
            act(done, &interrupt);
            if let Some(kind) = signal {
                raise(kind);
            }
            watch(&mut end, &mut signals, (&interrupt, &StoppedBy::default()), patience).await
        })
    }

    /// Sends this process a signal.
    fn raise(kind: SignalKind) {
        let signal = rustix::process::Signal::from_named_raw(kind.as_raw_value()).unwrap();
        rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
    }

    #[test]
    fn a_command_ends_by_itself() {
        let ended = watched(|done, _| drop(done.send(Ok(Exit::Partly))), None, LONG);
        assert!(matches!(ended, Ended::ByItself(Ok(Exit::Partly))));
    }

    #[test]
    fn a_panic_is_a_failure() {
        let ended = watched(|done, _| drop(done), None, LONG);
        assert!(matches!(ended, Ended::ByItself(Err(error)) if error.kind() == Kind::Io));
    }

    /// One test for all signals, because they reach every test of the process.
    #[test]
    fn a_signal_asks_waits_and_leaves() {
        let ended = watched(
            |done, interrupt| {
                let interrupt = interrupt.clone();
                std::thread::spawn(move || {
                    while interrupt.check().is_ok() {
                        std::thread::yield_now();
                    }
                    let _ = done.send(Err(interrupted()));
                });
            },
            Some(SignalKind::terminate()),
            LONG,
        );
        assert!(matches!(ended, Ended::Stopped(Exit::Terminated)));

        // The second signal is sent once the first has been taken.
        let mut stuck = None;
        let begun = std::time::Instant::now();
        let ended = watched(
            |done, interrupt| {
                stuck = Some(done);
                let interrupt = interrupt.clone();
                std::thread::spawn(move || {
                    while interrupt.check().is_ok() {
                        std::thread::yield_now();
                    }
                    raise(SignalKind::interrupt());
                });
            },
            Some(SignalKind::interrupt()),
            LONG,
        );
        assert!(matches!(ended, Ended::Stuck(Exit::Interrupted)) && begun.elapsed() < LONG);

        // Without a second signal, patience ends.
        let ended = watched(|done, _| stuck = Some(done), Some(SignalKind::interrupt()), SIGNAL_PATIENCE);
        assert!(matches!(ended, Ended::Stuck(Exit::Interrupted)));

        let ended = watched(
            |done, interrupt| {
                interrupt.begin_commit().unwrap();
                let _ = done.send(Ok(Exit::Done));
            },
            Some(SignalKind::interrupt()),
            LONG,
        );
        assert!(matches!(ended, Ended::ByItself(Ok(Exit::Done))));
    }
}
