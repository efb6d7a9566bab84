//! A host that is short of everything: descriptors, memory, threads, room, a directory. Whatever is missing, the program
//! ends with a code of its table and an error in its own words, and keeps the rule of [`Trial::judge`].

use harness::process::await_that;
use harness::program::{Outcome, Running};
use harness::sandbox::names;
use harness::skip;
use harness::trial::{BOTH, Publishing, Trial, is_temporary};
use harness::{can, needs, say};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Pages of the snapshot: some writes, and several frames of the least size.
const PAGES: usize = 100;

/// Runs both commands under `limit` (`resource=value` of prlimit) and judges how they end; returns the codes. 127 stands for a
/// program that the system could not even start.
fn under(trial: &Trial, limit: &str) -> Vec<i32> {
    let wrapper = ["prlimit", &format!("--{limit}"), "--"];
    let version = trial.sandbox.seal(["--version"]).behind(wrapper).run();
    if version.code != 0 {
        return vec![127];
    }
    let mut codes = Vec::new();
    for publishing in BOTH {
        let ended = trial.command(publishing).behind(wrapper).run();
        trial.judge(publishing, &ended, limit);
        assert!([0, 1, 134].contains(&ended.code), "{limit}: {publishing:?}: {ended:?}");
        codes.push(ended.code);
        if ended.code == 1 {
            let flag = if limit.starts_with("nofile=") { "ulimit -n" } else { "-v" };
            ended.tells_an_error().says(flag);
        }
        trial.clear();
    }
    codes
}

#[test]
fn few_descriptors_are_an_error_until_they_are_enough() {
    needs!(can("prlimit", &["--nofile=50", "--", "true"]));
    let trial = Trial::new(PAGES);
    let codes: Vec<Vec<i32>> = (3..=20).map(|limit| under(&trial, &format!("nofile={limit}"))).collect();
    say(&format!("3 to 20 descriptors: {codes:?}"));
    // Memory has nothing to do with it.
    assert!(!codes.iter().flatten().any(|&code| code == 134));
    assert!(codes.iter().any(|codes| codes.contains(&1)), "nothing was short");
    assert_eq!(codes.last().unwrap(), &[0, 0]);
    trial.assert_a_later_run_cleans_up();
}

/// Rust ends a process that gets no memory with SIGABRT; where it is told of it, it is an error like others.
#[test]
fn little_memory_leaves_all_or_nothing() {
    needs!(can("prlimit", &["--as=1000000000", "--", "true"]));
    let trial = Trial::new(PAGES);
    let mut codes = Vec::new();
    // An optimized program needs less, and every thread may take 64 MiB more of addresses.
    for mebibytes in [16, 20, 24, 26, 28, 30, 32, 34, 36, 40, 44, 48, 56, 64, 96, 112, 128, 160, 180, 256] {
        codes.push(under(&trial, &format!("as={}", mebibytes << 20)));
    }
    codes.push(under(&trial, &format!("as={}", 4_u64 << 30)));
    say(&format!("16 to 256 MiB of addresses: {codes:?}"));
    assert!(codes.iter().flatten().any(|&code| code == 1 || code == 134), "nothing was short");
    assert_eq!(codes.last().unwrap(), &[0, 0]);
    trial.assert_a_later_run_cleans_up();
}

#[test]
fn no_thread_to_be_had_is_an_error() {
    needs!(skip::can_trace());
    let trial = Trial::new(PAGES);
    for publishing in BOTH {
        let mut failed = 0;
        for first in 1..=7 {
            let fault = format!("clone3:error=EAGAIN:when={first}+");
            let ended = trial.command(publishing).faulty(&[&fault], &[]).run();
            trial.judge(publishing, &ended, &fault);
            assert!([0, 1].contains(&ended.code), "{fault}: {}", ended.stderr);
            if ended.code == 1 {
                failed += 1;
                ended.tells_an_error().says("thread");
            }
            trial.clear();
        }
        assert!(failed > 2, "{publishing:?}: {failed}");
    }
}

/// One thing goes wrong at a time, whatever it is: the system calls that publishing needs, each with errors it may answer.
/// The first writes of a thread may be those by which tokio wakes another, which cannot fail, or that of the error.
const FAULTS: &str = "
    write:error=EIO:when=8 write:error=ENOSPC:when=9 write:error=EDQUOT:when=10
    write:error=EROFS:when=11 write:error=ESTALE:when=12 write:retval=0:when=9
    fsync:error=EIO:when=1 fsync:error=EIO:when=2 fsync:error=ENOSPC:when=1 fsync:error=EDQUOT:when=2
    fsync:error=EROFS:when=3 fsync:error=EIO:when=1+
    renameat2:error=EIO renameat2:error=ENOSPC renameat2:error=ENOENT renameat2:error=EROFS
    renameat:error=EIO flock:error=EIO flock:error=EBADF getdents64:error=EIO fchmod:error=EIO
    unlinkat:error=EIO unlinkat:error=EROFS
";

/// Those the program lives with: it asks again.
const HARMLESS: &str = "
    write:error=EINTR:when=8+3 read:error=EINTR:when=20+2 fsync:error=EINTR:when=1 flock:error=ENOLCK
    getrandom:error=EINTR:when=1 getrandom:error=ENOSYS
";

#[test]
fn one_fault_anywhere_leaves_all_or_nothing() {
    needs!(skip::can_trace());
    // Some dozen writes.
    let trial = Trial::new(2 * PAGES);
    for publishing in BOTH {
        let mut failed = 0;
        for fault in FAULTS.split_whitespace() {
            let ended = trial.command(publishing).faulty(&[fault], &[]).run();
            trial.judge(publishing, &ended, fault);
            assert!([0, 1, 3].contains(&ended.code), "{fault}: {} {}", ended.code, ended.stderr);
            if ended.code != 0 {
                failed += 1;
                ended.tells_an_error();
            }
            trial.clear();
        }
        let all = FAULTS.split_whitespace().count();
        assert!(failed > all / 2, "{publishing:?}: only {failed} of {all} had an effect");
        for fault in HARMLESS.split_whitespace() {
            let ended = trial.command(publishing).faulty(&[fault], &[]).run();
            assert_eq!(ended.code, 0, "{publishing:?} {fault}: {}", ended.stderr);
            trial.judge(publishing, &ended, fault);
            trial.clear();
        }
    }
    trial.assert_a_later_run_cleans_up();
}

/// What cannot be removed again stays, and is said.
#[test]
fn a_failure_whose_remains_cannot_be_removed_still_publishes_nothing() {
    needs!(skip::can_trace());
    let trial = Trial::new(PAGES);
    for publishing in BOTH {
        let faults = ["renameat2:error=EIO", "unlinkat:error=EIO"];
        trial.command(publishing).faulty(&faults, &[]).run().ends_with(1).tells_an_error();
        let left = trial.sandbox.published();
        assert!(!left.is_empty() && left.iter().all(|name| is_temporary(name)), "{left:?}");
        trial.assert_a_later_run_cleans_up();
    }
}

/// The disk that holds the input fails: nothing is published from what was read so far.
#[test]
fn an_input_that_cannot_be_read_is_an_error() {
    needs!(skip::can_trace());
    // More than is read at first.
    let trial = Trial::new(4 * PAGES);
    for publishing in BOTH {
        let input = trial.input(publishing).to_str().unwrap().to_owned();
        let of_input = ["-P", input.as_str()];
        let command = trial.command(publishing);
        for fault in ["read:error=EIO:when=1", "read:error=EIO:when=2", "read:error=ESTALE:when=2"] {
            let ended = command.clone().faulty(&[fault], &of_input).run().ends_with(1);
            trial.judge(publishing, &ended, fault);
            ended.tells_an_error().says(&input);
        }
        let ended = command.clone().faulty(&["read:error=EINTR:when=1+2"], &of_input).run().ends_with(0);
        trial.judge(publishing, &ended, "interrupted reads");
        trial.clear();
    }
}

/// Pages of a snapshot that is written back while it is written: that happens every 16 MiB.
const PAGES_WRITTEN_BACK: usize = 4500;

/// The system tells an error of writing back only once, and only to who asks.
#[test]
fn an_error_while_writing_back_is_not_lost() {
    needs!(skip::can_trace());
    let trial = Trial::new(PAGES_WRITTEN_BACK);
    for (publishing, error) in [(Publishing::Save, "EIO"), (Publishing::Restore, "ENOSPC")] {
        let fault = format!("fdatasync:error={error}:when=1");
        let ended = trial.command(publishing).faulty(&[&fault], &[]).run().ends_with(1);
        trial.judge(publishing, &ended, &fault);
        ended.tells_an_error();
    }
}

#[test]
fn a_file_size_limit_anywhere_leaves_nothing() {
    needs!(can("prlimit", &["--fsize=50", "--", "true"]));
    let trial = Trial::new(PAGES);
    for publishing in BOTH {
        trial.command(publishing).succeed();
        let path = trial.sandbox.backups().join(publishing.name());
        // An archive of the same snapshot is as long each time, but for grease in its header.
        let whole = fs::metadata(path).unwrap().len();
        trial.clear();
        for limit in [0, 1, 100, 4095, 65_537, whole / 2, whole - 300] {
            let limit = format!("--fsize={limit}");
            let ended = trial.command(publishing).behind(["prlimit", &limit, "--"]).run();
            trial.judge(publishing, &ended, &limit);
            ended.ends_with(1).tells_an_error().says("ulimit -f");
        }
        let limit = format!("--fsize={}", whole + 1000);
        trial.command(publishing).behind(["prlimit", &limit, "--"]).succeed();
        trial.clear();
    }
}

/// A shell in a mount namespace of its own, in which `$0` is the directory of archives.
fn private_mounts<'a>(trial: &Trial, script: &'a str) -> Vec<String> {
    let more: &'a [&'a str] = if rustix::process::geteuid().is_root() { &[] } else { &["--map-root-user"] };
    let words = [&["unshare", "--mount"], more, &["bash", "-c", script]].concat();
    let directory = trial.sandbox.backups().to_str().unwrap().to_owned();
    words.into_iter().map(str::to_owned).chain([directory]).collect()
}

/// Whether `script` can be run there.
fn can_mount(trial: &Trial, script: &str) -> bool {
    let words = private_mounts(trial, script);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    can(words[0], &words[1..])
}

#[test]
fn a_full_disk_is_an_error_and_once_there_is_room_it_works() {
    let trial = Trial::new(PAGES);
    needs!(can_mount(&trial, "mount -t tmpfs -o size=1m tmpfs \"$0\""));
    for publishing in BOTH {
        // Too little for any of it, for half, and for all but the end.
        for size in ["4k", "64k", "200k", "400k"] {
            let script = format!(
                "mount -t tmpfs -o size={size} tmpfs \"$0\" && cd \"$0\" || exit 99
                \"$@\"; echo \"first $?\"; ls -A
                mount -o remount,size=4m \"$0\" || exit 99
                \"$@\"; echo \"second $?\"; ls -A"
            );
            let wrapper = private_mounts(&trial, &script);
            let ended = trial.command(publishing).behind(&wrapper).succeed();
            let names = if publishing == Publishing::Save { "x.age\nx.age.sha256\n" } else { "x.db\n" };
            // The lines of a result have a colon, or are indented.
            let of_script = |line: &&str| !line.contains(':') && !line.starts_with(' ');
            let lines: Vec<&str> = ended.text().lines().filter(of_script).collect();
            let expected = format!("first 1\nsecond 0\n{names}");
            assert_eq!(lines.join("\n") + "\n", expected, "{publishing:?} in {size}: {}", ended.stderr);
            // A restore knows beforehand.
            let restores = publishing == Publishing::Restore;
            let words = if restores { "are free there" } else { "No space left on device" };
            ended.tells_an_error().says(words);
        }
    }
}

#[test]
fn a_directory_that_may_not_be_written_to_is_an_error() {
    let trial = Trial::new(PAGES);
    let backups = trial.sandbox.backups();
    let directory = backups.to_str().unwrap();
    let read_only = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
    if can_mount(&trial, read_only) {
        for publishing in BOTH {
            let wrapper = private_mounts(&trial, &format!("{read_only} && exec \"$@\""));
            let ended = trial.command(publishing).behind(&wrapper).run();
            trial.judge(publishing, &ended, "read-only");
            ended.ends_with(1).says("Read-only file system").says("mounted for writing");
        }
    }
    // Root ignores permissions, but not this.
    if can("chattr", &["+i", directory]) {
        let ended = BOTH.map(|publishing| (publishing, trial.command(publishing).run()));
        assert!(can("chattr", &["-i", directory]));
        for (publishing, ended) in ended {
            trial.judge(publishing, &ended, "immutable");
            ended.ends_with(1).says("Operation not permitted").tells_an_error();
        }
    }
    for publishing in BOTH {
        trial.command(publishing).succeed();
        trial.assert_whole(publishing, &backups);
    }
}

/// A command that has all of its input but the end, and a temporary.
fn waiting(trial: &Trial, publishing: Publishing) -> (Running, Vec<u8>) {
    let mut input = fs::read(trial.input(publishing)).unwrap();
    let rest = input.split_off(input.len() - 1000);
    let running = trial.command_fed(publishing).input(&input).start_fed();
    await_that("there is a temporary", || !trial.sandbox.published().is_empty());
    (running, rest)
}

fn resumed((mut running, rest): (Running, Vec<u8>)) -> Outcome {
    // Who has failed already does not read it.
    let _ = running.child.stdin.as_mut().unwrap().write_all(&rest);
    running.wait()
}

#[test]
fn a_directory_that_goes_away_meanwhile_takes_nothing_with_it() {
    let trial = Trial::new(PAGES);
    let (backups, elsewhere) = (trial.sandbox.backups(), trial.sandbox.path("elsewhere"));
    for publishing in BOTH {
        // Removed with all that is in it.
        let run = waiting(&trial, publishing);
        fs::remove_dir_all(&backups).unwrap();
        resumed(run).ends_with(1).tells_an_error().says(backups.to_str().unwrap());
        assert!(!backups.exists(), "it was created again");

        // Another in its place: a later run would not find the file there, nor look where it was.
        fs::create_dir(&backups).unwrap();
        let run = waiting(&trial, publishing);
        fs::rename(&backups, &elsewhere).unwrap();
        fs::create_dir(&backups).unwrap();
        resumed(run).ends_with(1).tells_an_error();
        assert_eq!((names(&backups), names(&elsewhere)), (Vec::new(), Vec::new()));
        fs::remove_dir(&elsewhere).unwrap();

        // The temporary alone: what is left to publish belongs to no run.
        let run = waiting(&trial, publishing);
        fs::remove_file(backups.join(&trial.sandbox.published()[0])).unwrap();
        let ended = resumed(run);
        trial.judge(publishing, &ended, "its temporary was removed");
        ended.ends_with(1).tells_an_error();
    }
    trial.assert_a_later_run_cleans_up();
}

/// A clock that was set back leaves temporaries of the future, and files of the future are published over.
#[test]
fn a_clock_that_steps_back_does_no_harm() {
    let trial = Trial::new(PAGES);
    let (running, _) = waiting(&trial, Publishing::Save);
    running.signal("KILL");
    let ended = running.wait_with_input_open();
    trial.judge(Publishing::Save, &ended, "killed");
    let left = trial.sandbox.published();
    assert_eq!(left.len(), 1);
    let path = trial.sandbox.backups().join(&left[0]);
    let file = fs::File::options().write(true).open(&path).unwrap();
    for ahead in [1, 3600, 30 * 365 * 86_400] {
        file.set_modified(std::time::SystemTime::now() + Duration::from_secs(ahead)).unwrap();
        let ended = trial.command(Publishing::Save).succeed();
        trial.judge(Publishing::Save, &ended, "beside a temporary of the future");
        assert!(path.exists(), "one of the future may be alive");
        trial.clear();
    }
    // Long before there were clocks, too.
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let ended = trial.command(Publishing::Restore).succeed();
    trial.judge(Publishing::Restore, &ended, "beside a temporary of 1970");
    assert!(!path.exists());
    drop(file);
    trial.clear();
    faked_time(&trial);
}

/// The program's own clock, where that can be had.
fn faked_time(trial: &Trial) {
    for when in ["1970-01-02 00:00:00", "2200-01-01 00:00:00"] {
        needs!(can("faketime", &[when, "true"]));
        for publishing in BOTH {
            let ended = trial.command(publishing).behind(["faketime", when]).succeed();
            trial.judge(publishing, &ended, when);
            trial.clear();
        }
    }
}

/// Nothing is read from a home, and nothing is written to one.
#[test]
fn a_home_that_is_nowhere_does_no_harm() {
    let trial = Trial::new(PAGES);
    for home in [None, Some(""), Some("/nowhere"), Some("/dev/null")] {
        for publishing in BOTH {
            let bare = trial.command(publishing).without_environment().working_in("/");
            let ended =
                home.iter().fold(bare, |bare, home| bare.env("HOME", home).env("TMPDIR", home)).succeed();
            trial.judge(publishing, &ended, &format!("home {home:?}"));
            trial.clear();
        }
    }
    assert!(names(Path::new(&trial.sandbox.path("home"))).is_empty());
}
