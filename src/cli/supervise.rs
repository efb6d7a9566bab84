//! One thread works, this one watches for signals.
//!
//! SIGINT, SIGTERM and SIGHUP ask the command to stop. It gets a moment to do so by itself; a thread that is stuck in
//! a read or a write is left behind, and what it was writing is removed. The same when the command has failed but one of
//! its threads is stuck. Once an archive is being published, stopping is too late and its end is waited for.

use super::exit::Exit;
use super::report::{Reporter, interrupted};
use super::console::Console;
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

/// How often to look whether the command has failed without coming to its end.
const FAILURE_POLL: Duration = Duration::from_millis(250);
/// How long a command that has failed may take to come to its end.
const FAILURE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a command may take to stop by itself after a signal. Short, because the thread that has to stop may be in the
/// middle of a frame or of a read, and whoever sent the signal waits: 200 ms are to be enough for everything.
pub(super) const SIGNAL_PATIENCE: Duration = Duration::from_millis(100);
/// The same for a command that has plaintext to remove and processes to end: nobody else does that.
pub(super) const CLEANING_PATIENCE: Duration = Duration::from_secs(10);
/// Descriptors the runtime takes, and some.
const RUNTIME_DESCRIPTORS: usize = 8;

/// Which signal asked a command to stop. Clones tell the same.
#[derive(Clone, Default)]
pub(super) struct StoppedBy(Arc<OnceLock<Exit>>);

impl StoppedBy {
    /// The code that the program ends with where its command fails with `error`: that of the signal, if the command was
    /// asked to stop, whatever became of it then.
    pub(super) fn exit_of(&self, error: &Error, interrupt: &Interrupt) -> Exit {
        let stopped = interrupt.check().is_err_and(|reason| reason.kind() == Kind::Interrupted);
        self.0.get().copied().filter(|_| stopped).unwrap_or_else(|| Exit::of(error.kind()))
    }
}

/// Runs what `prepare` returns on a thread of its own until it ends or a signal ends it, for which it has `patience`.
///
/// # Errors
/// The command's.
pub(super) fn supervise<C>(
    reporter: &Reporter,
    console: &Console,
    patience: Duration,
    prepare: impl FnOnce(Interrupt, StoppedBy, Handle) -> C,
) -> Result<Exit>
where
    C: FnOnce() -> Result<Exit> + Send + 'static,
{
    let runtime = start_runtime()?;
    let (interrupt, stopped_by) = (Interrupt::new(), StoppedBy::default());
    let mut signals = {
        let _entered = runtime.enter();
        Signals::install()?
    };
    let command = prepare(interrupt.clone(), stopped_by.clone(), runtime.handle().clone());
    let (done, mut end) = oneshot::channel();
    let work = move || {
        // Whoever waits may have gone already: then nobody needs the result.
        let _ = done.send(command());
    };
    std::thread::Builder::new()
        .name("command".to_owned())
        .spawn(work)
        .map_err(|error| Error::io("start", "a thread", error))?;
    let ended = runtime.block_on(watch(&mut end, &mut signals, (&interrupt, &stopped_by), patience));
    runtime.shutdown_background();
    match ended {
        Ended::ByItself(result) => result,
        Ended::Stopped(signal) => {
            reporter.failure(&interrupted(), signal, None);
            Ok(signal)
        }
        Ended::Stuck(signal) => leave(&interrupted(), signal, reporter, console),
        Ended::FailedStuck(error) => leave(&error, Exit::of(error.kind()), reporter, console),
    }
}

/// What watches for signals talks to etcd, too; the pipeline has threads of its own. One stream is not received faster by
/// more, and a runtime with threads panics where the system has none left.
fn start_runtime() -> Result<Runtime> {
    spare_descriptors(RUNTIME_DESCRIPTORS)
        .and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build())
        .map_err(|error| Error::io("start", "the asynchronous runtime", error))
}

/// Fails where there are fewer than `count` descriptors to be had. tokio panics when it finds none for the pipe that its
/// signals come through.
fn spare_descriptors(count: usize) -> io::Result<()> {
    let standard_input = io::stdin();
    let another = |_| standard_input.as_fd().try_clone_to_owned();
    (0..count).map(another).collect::<io::Result<Vec<_>>>().map(drop)
}

/// How the command ended.
enum Ended {
    /// As it would have without a signal.
    ByItself(Result<Exit>),
    /// Because of a signal, by itself and cleanly.
    Stopped(Exit),
    /// Not at all, in spite of a signal.
    Stuck(Exit),
    /// Not at all, although it has failed.
    FailedStuck(Error),
}

/// The signals that ask to stop; `None` for what whoever started the program wants ignored, as `nohup` does.
struct Signals {
    interrupt: Option<Signal>,
    terminate: Signal,
    hang_up: Option<Signal>,
    /// Not waited for: while it is caught, a write beyond the file size limit fails instead of killing the process.
    _file_size: Signal,
    /// Not waited for either: where it is ignored, nobody learns how a child ended.
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

    /// The exit code of the next one.
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

/// The signals this process was started to ignore, one bit each: `SigIgn` in `proc_pid_status(5)`. None where it cannot
/// be read.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

type End = oneshot::Receiver<Result<Exit>>;

/// Waits for the end, or for a signal and then for the end as long as `patience`.
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
    // Before the command can know that it is to stop.
    let signal = *stopped_by.0.get_or_init(|| signal);
    if !interrupt.raise() {
        // Publishing has begun: the command ends as if nothing had happened.
        return Ended::ByItself(received(end.await));
    }
    tokio::select! {
        biased;
        result = &mut *end => match received(result) {
            // It was through before it looked.
            Ok(exit) => Ended::ByItself(Ok(exit)),
            // Whatever it says, such as that a plugin was interrupted too, the signal is why.
            Err(_) => Ended::Stopped(signal),
        },
        () = tokio::time::sleep(patience) => Ended::Stuck(signal),
        // Who has plaintext to remove is not hurried by a second one.
        _ = signals.next(), if patience < CLEANING_PATIENCE => Ended::Stuck(signal),
    }
}

/// The failure of a command that has had its time to end since.
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

/// The result, or what remains when the thread panicked: the panic itself has been printed.
fn received(result: std::result::Result<Result<Exit>, oneshot::error::RecvError>) -> Result<Exit> {
    result.unwrap_or_else(|_| {
        Err(Error::new(Kind::Io, "the program failed at something it should never fail at")
            .with_hint("what is printed above is a bug of etcd-seal: please report it with what led to it"))
    })
}

/// Exits with a thread still stuck, leaving nothing behind.
#[expect(clippy::exit, reason = "the command's thread is stuck in a read or a write that nothing else ends")]
fn leave(error: &Error, exit: Exit, reporter: &Reporter, console: &Console) -> ! {
    abandon_all();
    console.restore();
    reporter.failure(error, exit, None);
    std::process::exit(exit.code().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    static ALONE: Mutex<()> = Mutex::new(());

    /// Longer than any machine is late.
    const LONG: Duration = Duration::from_secs(60);

    fn watched(
        act: impl FnOnce(oneshot::Sender<Result<Exit>>, &Interrupt),
        signal: Option<SignalKind>,
        patience: Duration,
    ) -> Ended {
        // A signal is for the whole process: tests side by side would take each other's.
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

    /// One test for all signals: they reach every test of the process.
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
        assert!(matches!(ended, Ended::Stuck(Exit::Interrupted)));

        // And where there is no second one, patience ends.
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
