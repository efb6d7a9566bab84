//! What the program is like to the host it runs on: whom it lets go first, how many threads it has, what it takes of a
//! processor while there is nothing to do, and how soon it goes when it is told to.

use harness::fake::{Fake, Script, Step};
use harness::needs;
use harness::process::{Process, await_that};
use harness::program::{Program, Running};
use harness::pty;
use harness::sandbox::Sandbox;
use harness::say;
use harness::skip;
use harness::snapshots::snapshot;
use std::fs;
use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

const INTERRUPTED: i32 = 130;

/// What is kept back of an input, so that its reader has to wait.
const KEPT_BACK: usize = 1000;

/// A sandbox with an archive of a snapshot in it, and the snapshot.
struct Scene {
    sandbox: Sandbox,
    snapshot: Vec<u8>,
}

impl Scene {
    /// Of a snapshot of so many pages.
    fn new(pages: usize) -> Self {
        let scene = Self { sandbox: Sandbox::furnished(), snapshot: snapshot(pages) };
        scene.sandbox.write("snapshot.db", &scene.snapshot);
        scene.save_from_file().arg(scene.archive()).succeed();
        scene
    }

    fn snapshot_file(&self) -> PathBuf {
        self.sandbox.path("snapshot.db")
    }

    fn archive(&self) -> PathBuf {
        self.sandbox.path("x.age")
    }

    /// A member that sends half of the snapshot, and then nothing.
    fn stalling_member(&self) -> Fake {
        let database = self.snapshot.len() - 32;
        Fake::start(Script::sending(&self.snapshot[..database / 2], database, &[Step::Hang]))
    }

    /// A member that sends all of it.
    fn whole_member(&self) -> Fake {
        Fake::start(Script::sending(&self.snapshot, self.snapshot.len() - 32, &[]))
    }

    fn save_from(&self, member: &Fake) -> Program {
        self.sandbox.save().args(["--endpoints", &member.address.to_string()])
    }

    fn save_from_file(&self) -> Program {
        self.sandbox.save().arg("--from").arg(self.snapshot_file())
    }

    fn restore(&self) -> Program {
        self.sandbox.open("restore").arg(self.archive()).arg("-o")
    }

    /// The commands that read all of their standard input, with all of it but its end.
    fn reading_input(&self) -> [(&'static str, Program, Vec<u8>); 3] {
        let (sandbox, backups) = (&self.sandbox, self.sandbox.backups());
        let archive = fs::read(self.archive()).unwrap();
        let restore = sandbox.open("restore").args(["-", "-o"]).arg(backups.join("x.db"));
        [
            ("save", sandbox.save().args(["--from", "-"]).arg(backups), &self.snapshot),
            ("verify", sandbox.open("verify").arg("-"), &archive),
            ("restore", restore, &archive),
        ]
        .map(|(name, command, input)| (name, command, input[..input.len() - KEPT_BACK].to_vec()))
    }
}

/// The parallel stages of a command, and the thread that is started after theirs.
fn stages(command: &str) -> ([&'static str; 2], &'static str) {
    if command == "save" { (["compress", "seal"], "order") } else { (["decrypt", "decompress"], "order") }
}

/// A polite program is polite with every thread: Linux gives each a priority of its own.
#[test]
fn every_thread_of_a_polite_program_lets_others_go_first() {
    let scene = Scene::new(2000);
    let cores = std::thread::available_parallelism().unwrap().get();
    for (flags, variable, nice, jobs) in [
        (&[][..], "", 0, cores.min(4)),
        (&["--nice"], "", 19, 1),
        (&["--nice", "--jobs=3"], "", 19, 3),
        (&["--jobs=5"], "", 0, 5),
        (&[], "true", 19, 1),
        (&["--nice=false"], "true", 0, cores.min(4)),
    ] {
        for (name, command, input) in scene.reading_input() {
            let command = command.args(flags).env("ETCD_SEAL_NICE", variable);
            let running = command.input(input).start_fed();
            let process = running.process();
            let (parallel, last) = stages(name);
            await_that("every stage has been started", || process.count(last) == 1);
            // A thread is called what its parent is until it runs and names itself.
            for stage in parallel {
                await_that(&format!("{name} {flags:?} has {jobs} threads that {stage}"), || {
                    process.count(stage) == jobs
                });
            }
            let threads = process.threads();
            assert!(threads.iter().any(|thread| thread.name == "command"), "{threads:?}");
            let others = threads.iter().filter(|thread| thread.nice != nice).count();
            assert_eq!(others, 0, "{name} {flags:?} {variable:?}: {threads:?}");
        }
    }
}

#[test]
fn a_priority_that_cannot_be_set_is_no_failure() {
    needs!(skip::can_trace());
    let scene = Scene::new(10);
    let save = scene.save_from_file().arg("--nice").arg(scene.sandbox.backups());
    save.faulty(&["setpriority:error=EPERM"], &[])
        .succeed()
        .says("etcd-seal: warning: cannot lower the priority");
    let _ = scene.sandbox.archive();
}

/// How long a process without work is watched, and how often at most.
const WATCHED: Duration = Duration::from_secs(2);
const WATCHES: usize = 4;
/// How long it takes to see that there is no more work.
const GLANCE: Duration = Duration::from_millis(300);

/// The processor time a process takes while this passes.
fn processor_time(process: Process, while_passes: Duration) -> Duration {
    let before = process.whole().processor_time;
    std::thread::sleep(while_passes);
    process.whole().processor_time.saturating_sub(before)
}

/// Waits until all that came has been worked off, and then looks whether the process waits as one should: asleep.
fn assert_waits_asleep(what: &str, process: Process) {
    await_that(&format!("{what} has nothing to do"), || processor_time(process, GLANCE) < GLANCE / 10);
    // On a busy host there may be work left that it had no turn for. Who spins does so every time.
    let is_calm = || {
        let taken = processor_time(process, WATCHED);
        say(&format!("{what}: {} ms of a processor in {} ms", taken.as_millis(), WATCHED.as_millis()));
        taken < WATCHED / 10
    };
    assert!((0..WATCHES).any(|_| is_calm()), "{what} takes a processor while there is nothing to do");
}

/// Starts a command that has a terminal for its standard error, and returns what appears there.
fn start_with_bar(command: &Program) -> (Running, File, Receiver<String>) {
    let (terminal, user_side) = pty::open();
    let shown = pty::show(terminal.try_clone().unwrap());
    (command.clone().env("TERM", "xterm").start_telling(user_side), terminal, shown)
}

/// Waits until the bar has been drawn several times.
fn await_bar(shown: &Receiver<String>, doing: &str) {
    let mut screen = String::new();
    await_that("the bar is drawn", || {
        screen.extend(shown.try_iter());
        screen.matches(doing).count() >= 2
    });
}

#[test]
fn no_thread_spins_while_etcd_stalls() {
    let scene = Scene::new(2000);
    let member = scene.stalling_member();
    let running = scene.save_from(&member).arg(scene.sandbox.backups()).start();
    assert_waits_asleep("save from a member that stalls", running.process());
    drop(running);

    let (running, _terminal, shown) = start_with_bar(&scene.save_from(&member).arg(scene.sandbox.backups()));
    await_bar(&shown, "sealing");
    assert_waits_asleep("save from a member that stalls, with a bar", running.process());
    drop(running);

    let silent = Fake::start(Script { silent_at_snapshot: true, ..Script::of(&[]) });
    let running = scene.save_from(&silent).arg(scene.sandbox.backups()).start();
    await_that("a member is chosen", || !scene.sandbox.published().is_empty());
    assert_waits_asleep("save from a member that says nothing", running.process());
}

#[test]
fn no_thread_spins_while_the_input_stalls() {
    let scene = Scene::new(2000);
    for (name, command, input) in scene.reading_input() {
        let running = command.input(input).start_fed();
        assert_waits_asleep(&format!("{name} of an input that stalls"), running.process());
    }
}

#[test]
fn no_thread_spins_while_the_output_is_not_read() {
    let scene = Scene::new(2000);
    let member = scene.whole_member();
    // As little as can be between etcd and the pipe, so that etcd has to wait too.
    let from_member = scene.save_from(&member).args(["--jobs=1", "--frame-size=64KiB"]);
    for (what, doing, command) in [
        ("save from a member", "sealing", from_member),
        ("save from a file", "sealing", scene.save_from_file()),
        ("restore", "restoring", scene.restore()),
    ] {
        let command = command.arg("-");
        let mut running = command.start_unread();
        running.begin_to_read();
        assert_waits_asleep(&format!("{what} to a pipe that is not read"), running.process());
        drop(running);

        let (mut running, _terminal, shown) = start_with_bar(&command);
        running.begin_to_read();
        await_bar(&shown, doing);
        assert_waits_asleep(&format!("{what} to a pipe that is not read, with a bar"), running.process());
    }
}

/// How long the end may take after a signal before the test fails: 200 ms are what is aimed at, and measured by
/// `benches/peers/run --rows cancel`, but a busy machine may be late.
const SOON: Duration = Duration::from_secs(2);

/// Interrupts it, and asserts that it ends soon and as it should, with its input open and its output unread.
fn assert_goes(what: &str, mut running: Running) {
    let began = Instant::now();
    running.signal("INT");
    await_that(&format!("{what} ends"), || !running.is_alive());
    let took = began.elapsed();
    say(&format!("{what}: gone {} ms after the signal", took.as_millis()));
    running.wait().ends_with(INTERRUPTED).says("interrupted");
    assert!(took < SOON, "{what} takes {took:?} to end");
}

#[test]
fn a_save_goes_when_it_is_told_to() {
    let scene = Scene::new(2000);
    let (stalling, whole) = (scene.stalling_member(), scene.whole_member());
    let deaf = Fake::start(Script { silent_at_status: true, ..Script::of(&[]) });
    let silent = Fake::start(Script { silent_at_snapshot: true, ..Script::of(&[]) });
    let backups = scene.sandbox.backups();
    let nothing_is_left = || assert_eq!(scene.sandbox.published(), [""; 0]);

    let running = scene.save_from(&deaf).arg(&backups).start();
    await_that("it watches for signals", || running.process().count("command") == 1);
    assert_goes("save that looks for a member", running);
    nothing_is_left();

    let running = scene.save_from(&silent).arg(&backups).start();
    await_that("there is a temporary", || !scene.sandbox.published().is_empty());
    assert_goes("save from a member that says nothing", running);
    nothing_is_left();

    let running = scene.save_from(&stalling).arg(&backups).start();
    await_that("the stream has begun", || running.process().count("order") == 1);
    assert_goes("save from a member that stalls", running);
    nothing_is_left();

    for (what, command) in
        [("save from a member", scene.save_from(&whole)), ("save from a file", scene.save_from_file())]
    {
        let mut running = command.arg("-").start_unread();
        running.begin_to_read();
        assert_goes(&format!("{what} to a pipe that is not read"), running);
    }

    // A frame of this size takes many seconds at this level, and none can be left half compressed.
    let slow = scene.save_from_file();
    let running = slow.args(["--level=19", "--frame-size=16MiB"]).arg(&backups).start();
    await_that("it compresses", || running.process().count("order") == 1);
    assert_goes("save in the middle of a frame", running);
    nothing_is_left();

    let asking = asking_unattended(&scene.sandbox);
    let running = asking.arg("--from").arg(scene.snapshot_file()).arg(&backups).start();
    await_that("it asks the plugin", || scene.sandbox.path("asked").exists());
    assert_goes("save that waits for a plugin", running);
    nothing_is_left();
}

/// A `save` to a recipient whose plugin never answers. It ends with its input.
fn asking_unattended(sandbox: &Sandbox) -> Program {
    let plugins = sandbox.make_directory("plugins");
    // Its standard output stays open with nothing in it.
    let asked = sandbox.path("asked");
    let script = format!("#!/bin/sh\n: >{}\nexec 3>&1\nexec cat >/dev/null\n", asked.display());
    sandbox.write_script("plugins/age-plugin-asking", script);
    sandbox.seal(["save", "-r", "age1asking18hqs4j"]).find_first_in([plugins])
}

#[test]
fn a_program_that_waits_for_input_goes_when_it_is_told_to() {
    let scene = Scene::new(2000);
    for (name, command, input) in scene.reading_input() {
        for bytes in [&input[..], &[]] {
            let running = command.clone().input(bytes).start_fed();
            let began = if bytes.is_empty() { "command" } else { "order" };
            await_that("it has begun", || running.process().count(began) == 1);
            assert_goes(&format!("{name} of an input of {} bytes so far", bytes.len()), running);
            assert_eq!(scene.sandbox.published(), [""; 0]);
        }
    }
    let archive = fs::read(scene.archive()).unwrap();
    let running = scene.sandbox.seal(["verify", "-"]).input(&archive).start_fed();
    await_that("it has begun", || running.process().count("command") == 1);
    assert_goes("verify without a key", running);
}

#[test]
fn a_reader_of_a_large_archive_goes_when_it_is_told_to() {
    let scene = Scene::new(6000);
    let verify = scene.sandbox.open("verify");
    let restore = scene.restore();
    for (what, command) in [
        ("verify", verify.arg(scene.archive())),
        ("restore", restore.arg(scene.sandbox.backups().join("x.db"))),
    ] {
        let running = command.start();
        await_that("it reads", || running.process().count("order") == 1);
        assert_goes(what, running);
        assert_eq!(scene.sandbox.published(), [""; 0]);
    }
    let mut running = scene.restore().arg("-").start_unread();
    running.begin_to_read();
    assert_goes("restore to a pipe that is not read", running);
}

/// Bytes of memory that opening an archive takes at most, whatever it is.
const MEMORY_MAX: u64 = 96 << 20;

#[test]
fn frames_of_any_size_are_opened_in_the_same_memory() {
    let scene = Scene::new(16_500);
    let (archive, output) = (scene.sandbox.path("large.age"), scene.sandbox.backups().join("x.db"));
    scene.save_from_file().args(["--frame-size", "16MiB"]).arg(&archive).succeed();
    let restore = scene.sandbox.open("restore").args(["--jobs", "4", "-o"]).arg(&output).arg(&archive);
    let (ended, memory) = restore.start().wait_and_watch();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(memory > 0 && memory < MEMORY_MAX, "{memory} bytes of memory");
    assert!(fs::read(output).unwrap() == scene.snapshot);
}
