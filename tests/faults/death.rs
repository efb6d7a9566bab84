//! Our own death at any moment: whatever ends the program, under the final name there is nothing or a complete file, and a
//! later run cleans up, but never what another run is still writing.

use harness::dice::Dice;
use harness::fake::{Fake, Script};
use harness::process::{await_that, signal};
use harness::program::{Outcome, Program, Running};
use harness::skip;
use harness::trial::{BOTH, Publishing, Trial, is_temporary};
use harness::{can, needs, say};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Pages of the snapshot: more than one frame, and some dozens of writes.
const PAGES: usize = 400;

/// The signals, and the exit code of each.
const SIGNALS: [(&str, i32); 3] = [("INT", 130), ("TERM", 143), ("KILL", 137)];

/// Moments at which each command is signalled, by the clock and by what it does.
const MOMENTS: usize = 25;
const CALLS: usize = 14;

/// How often each end came.
#[derive(Default)]
struct Ends(BTreeMap<i32, usize>);

impl Ends {
    fn count(&mut self, ended: &Outcome) {
        *self.0.entry(ended.code).or_default() += 1;
    }

    /// Some were stopped: else nothing was tested.
    fn assert_some_were_stopped(&self, what: &str) {
        say(&format!("{what}: {:?}", self.0));
        for (_, code) in SIGNALS {
            assert!(self.0.contains_key(&code), "{what}: none ended with {code}: {:?}", self.0);
        }
    }
}

/// Starts `command`, lets `moment` pass, and signals it; how it ended, and how long it took.
fn signalled_after(command: &Program, moment: Duration, name: &str) -> (Outcome, Duration) {
    let begun = Instant::now();
    let mut running = command.start();
    // The moment itself is what is tested, so this is no waiting for anything.
    while running.is_alive() && begun.elapsed() < moment {
        std::thread::sleep(Duration::from_millis(1));
    }
    if running.is_alive() {
        running.signal(name);
    }
    let ended = running.wait();
    (ended, begun.elapsed())
}

/// Signals `command` at random moments of as long as it takes; each end must keep the rule.
fn signal_at_random_moments(
    trial: &Trial,
    publishing: Publishing,
    moments: usize,
    what: &str,
    command: impl Fn() -> Program,
) {
    let begun = Instant::now();
    command().succeed();
    let mut whole = begun.elapsed();
    trial.clear();
    let mut dice = Dice::new(what);
    let mut ends = Ends::default();
    for number in 0..moments {
        let (name, code) = SIGNALS[number % SIGNALS.len()];
        // The first of each signal comes so early that it is never too late. None comes much later than the end.
        let share = if number < SIGNALS.len() { 0 } else { dice.roll(1050) };
        let moment = whole * u32::try_from(share).unwrap() / 1000;
        let (ended, took) = signalled_after(&command(), moment, name);
        assert!([0, code].contains(&ended.code), "{what}: SIG{name} after {moment:?}: {}", ended.stderr);
        trial.judge(publishing, &ended, &format!("{what}: SIG{name} after {moment:?} of {whole:?}"));
        trial.clear();
        ends.count(&ended);
        // It takes as long as the host lets it, and that changes.
        if ended.code == 0 {
            whole = took;
        } else if share > 800 {
            whole += whole / 5;
        }
    }
    ends.assert_some_were_stopped(what);
    trial.assert_a_later_run_cleans_up();
}

#[test]
fn a_signal_at_any_moment_of_a_save_leaves_all_or_nothing() {
    let trial = Trial::new(PAGES);
    let command = || trial.command(Publishing::Save);
    signal_at_random_moments(&trial, Publishing::Save, MOMENTS, "save --from", command);
}

#[test]
fn a_signal_at_any_moment_of_a_restore_leaves_all_or_nothing() {
    let trial = Trial::new(PAGES);
    let command = || trial.command(Publishing::Restore);
    signal_at_random_moments(&trial, Publishing::Restore, MOMENTS, "restore", command);
}

#[test]
fn a_signal_at_any_moment_of_a_save_from_etcd_leaves_all_or_nothing() {
    let trial = Trial::new(PAGES);
    let member = Fake::start(Script::sending(trial.snapshot(), trial.snapshot().len(), &[]));
    let command = || {
        let save = trial.sandbox.save().args(["--endpoints", &member.address.to_string()]);
        save.arg(trial.sandbox.backups().join(Publishing::Save.name()))
    };
    signal_at_random_moments(&trial, Publishing::Save, MOMENTS / 2, "save from etcd", command);
}

/// What a command asks of the system when it publishes, in the order it does. The others are too many or say nothing.
const STEPS: &str =
    "openat,write,fsync,flock,renameat2,renameat,unlinkat,fchmod,newfstatat,clone3,munmap,close,exit_group";

/// Runs the command under strace, which writes its steps to a log.
fn traced(trial: &Trial, publishing: Publishing, faults: &[&str]) -> Outcome {
    let log = trial.sandbox.path("tmp/log");
    let more = ["-o", log.to_str().unwrap(), "-e", &format!("trace={STEPS}")];
    trial.command(publishing).faulty(faults, &more).run()
}

/// The same, by what it does instead of by the clock: in the midst of a system call that it was seen to make.
#[test]
fn a_signal_in_any_system_call_leaves_all_or_nothing() {
    needs!(skip::can_trace());
    let mut trial = Trial::new(PAGES / 4);
    trial.slowed = true;
    let mut dice = Dice::new("system calls");
    for publishing in BOTH {
        traced(&trial, publishing, &[]).ends_with(0);
        trial.clear();
        let seen = fs::read_to_string(trial.sandbox.path("tmp/log")).unwrap();
        // Thread and name.
        let call = |line: &str| {
            let (thread, rest) = line.split_once(' ')?;
            Some((thread.to_owned(), rest.trim_start().split_once('(')?.0.to_owned()))
        };
        let calls: Vec<(String, String)> = seen.lines().filter_map(call).collect();
        assert!(calls.iter().any(|(_, name)| name == "renameat2"), "{seen}");
        let mut ends = Ends::default();
        for number in 0..CALLS {
            // Half of them near the end, where the commit is, and the rest anywhere.
            let at = if number < 6 { calls.len() - 1 - dice.roll(12) } else { dice.roll(calls.len()) };
            // strace counts for each thread by itself.
            let when = calls[..=at].iter().filter(|other| **other == calls[at]).count();
            let (name, code) = SIGNALS[number % SIGNALS.len()];
            let fault = format!("{}:signal={name}:when={when}", calls[at].1);
            let ended = traced(&trial, publishing, &[&fault]);
            assert!([0, code].contains(&ended.code), "{fault}: {}", ended.stderr);
            trial.judge(publishing, &ended, &fault);
            trial.clear();
            ends.count(&ended);
        }
        say(&format!("{publishing:?} in system calls: {:?}", ends.0));
        assert!(ends.0.len() > 1, "none was stopped");
        trial.assert_a_later_run_cleans_up();
    }
}

/// A `save` behind `wrapper` that waits for the rest of its input, with a temporary that looks a day old.
fn waiting_save(trial: &Trial, wrapper: &[&str]) -> (Running, String) {
    let before = trial.sandbox.published();
    let save = trial.command_fed(Publishing::Save).behind(wrapper);
    let running = save.input(&trial.snapshot()[..trial.snapshot().len() - 1000]).start_fed();
    let mut new = None;
    await_that("there is a temporary", || {
        new = trial.sandbox.published().into_iter().find(|name| is_temporary(name) && !before.contains(name));
        new.is_some()
    });
    trial.make_temporaries_old(Duration::from_secs(86_400));
    (running, new.unwrap())
}

/// Gives it the rest, and lets it end well.
fn let_it_end(trial: &Trial, mut running: Running) {
    let rest = &trial.snapshot()[trial.snapshot().len() - 1000..];
    running.feed(rest);
    running.wait().ends_with(0);
    assert_eq!(trial.sandbox.published(), ["x.age", "x.age.sha256"]);
    trial.assert_whole(Publishing::Save, &trial.sandbox.backups());
    trial.clear();
}

/// No later run, in whatever way it is started, takes `temporary` for a dead one.
fn assert_others_spare(trial: &Trial, temporary: &str, wrapper: &[&str], what: &str) {
    let publishing = Publishing::Restore;
    trial.command(publishing).behind(wrapper).succeed();
    assert_eq!(trial.sandbox.published(), [temporary, publishing.name()], "{what}");
    trial.assert_whole(publishing, &trial.sandbox.backups());
    trial.clear();
}

#[test]
fn a_living_temporary_is_spared_through_another_mount_and_from_another_namespace() {
    let trial = Trial::new(PAGES / 4);
    let backups = trial.sandbox.backups();
    let (running, temporary) = waiting_save(&trial, &[]);
    assert_others_spare(&trial, &temporary, &[], "beside it");

    // The same directory mounted a second time over itself, so that it is the same path and another mount.
    let bind = "mount --bind \"$0\" \"$0\" && exec \"$@\"";
    let mounted = ["unshare", "--mount", "sh", "-c", bind, backups.to_str().unwrap()];
    if can(mounted[0], &[&mounted[1..], &["true"]].concat()) {
        assert_others_spare(&trial, &temporary, &mounted, "through another mount");
    }
    let_it_end(&trial, running);

    // Process 1 beside another process 1: names and ids of processes say nothing.
    let first_process = ["unshare", "--pid", "--fork", "--kill-child"];
    if can(first_process[0], &[&first_process[1..], &["true"]].concat()) {
        let (running, temporary) = waiting_save(&trial, &first_process);
        assert_others_spare(&trial, &temporary, &first_process, "as the same process id");
        assert_others_spare(&trial, &temporary, &[], "from outside");
        let_it_end(&trial, running);

        // Dead, it is found from anywhere.
        let (running, temporary) = waiting_save(&trial, &first_process);
        signal(running.child.id(), "KILL");
        running.wait_with_input_open().ends_with(137);
        await_that("no process holds it", || is_unlocked(&trial, &temporary));
        trial.assert_a_later_run_cleans_up();
    }
}

/// Whether the lock of a temporary can be had: its owner dies a moment later than who started it.
fn is_unlocked(trial: &Trial, temporary: &str) -> bool {
    let file = fs::File::open(trial.sandbox.backups().join(temporary)).unwrap();
    flock(&file, FlockOperation::NonBlockingLockShared).is_ok()
}
