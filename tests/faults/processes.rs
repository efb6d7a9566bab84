//! The program as a process: what others see of its secrets, and what is left of it when it is stopped at any moment.

use harness::process::{PATIENCE, await_that, mode, signal};
use harness::program::{Outcome, Program, Running, etcd_seal};
use harness::pty::Dialogue;
use harness::sandbox::{Sandbox, names};
use harness::snapshots::{random, snapshot};
use harness::trial::is_temporary;
use harness::{Etcd, an_etcd, can, needs, skip};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

/// What must never be seen anywhere.
const PASSPHRASE: &str = "hunter2-passphrase-7c5d";

/// The exit codes of signals.
const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;
const KILLED: i32 = 137;

/// Longer than the program waits for a stuck thread, and than any test machine is late.
const BOUND: Duration = Duration::from_secs(20);

/// A `save` from its standard input that has been given all of a snapshot but the end, and is asked to wait for it.
fn stalled_save(sandbox: &Sandbox, snapshot: &[u8]) -> Running {
    stalled(sandbox, sandbox.save().args(["--from", "-", "-v"]).arg(sandbox.backups()), snapshot)
}

/// The same with a command of one's own.
fn stalled(sandbox: &Sandbox, command: Program, snapshot: &[u8]) -> Running {
    let before = sandbox.published().len();
    let running = command.input(&snapshot[..snapshot.len() - 1000]).start_fed();
    await_that("there is a temporary", || sandbox.published().len() > before);
    running
}

/// Gives a stalled save the rest and lets it end.
fn resume(mut running: Running, snapshot: &[u8]) -> Outcome {
    running.feed(&snapshot[snapshot.len() - 1000..]);
    running.wait()
}

/// The program among the children of strace, which has others of its own at first.
fn traced_program(strace: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    let is_program = |process: &&str| {
        fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim_end() == "etcd-seal")
    };
    children.split_whitespace().find(is_program).unwrap().parse().unwrap()
}

#[test]
fn a_passphrase_is_never_said() {
    let sandbox = Sandbox::furnished();
    let file = sandbox.write("passphrase", format!("{PASSPHRASE}\n"));
    for words in [&["save", "--from", "-"][..], &["verify"], &["info"]] {
        let command = sandbox.seal(words).arg(sandbox.backups().join("x.age"));
        let command = command.env("ETCD_SEAL_PASSPHRASE_FILE", &file).args(["-p", "-v", "--json"]);
        let ended = command.input(snapshot(3)).succeed();
        assert!(!ended.said().contains(PASSPHRASE), "{}", ended.stderr);
    }
    for path in sandbox.files().into_iter().filter(|path| *path != file) {
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(PASSPHRASE.len()).any(|window| window == PASSPHRASE.as_bytes());
        assert!(!found, "{}", path.display());
    }
}

#[test]
fn no_other_process_can_look_into_a_running_save() {
    let sandbox = Sandbox::furnished();
    let bytes = snapshot(100);
    let running = stalled_save(&sandbox, &bytes);
    let process = running.child.id();
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    resume(running, &bytes).ends_with(0);
}

/// Only root can trace a process that is not dumpable, and root owns its files in /proc. It is seen only as another user.
#[test]
fn a_running_save_is_not_dumpable() {
    let other_user = &["--reuid=65534", "--regid=65534", "--clear-groups"];
    needs!(can("setpriv", &[&other_user[..], &["true"]].concat()));
    let sandbox = Sandbox::furnished();
    for path in [sandbox.root().to_owned(), sandbox.backups(), sandbox.path("work")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    // Where the program was built only its owner may be able to go.
    let program = sandbox.path("etcd-seal");
    fs::copy(etcd_seal(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let bytes = snapshot(100);
    let save = sandbox.program(&program).args(["save", "--from", "-", "-r", &sandbox.recipient]);
    let save = save.arg(sandbox.backups()).behind([&["setpriv"], &other_user[..], &["--"]].concat());
    let running = stalled(&sandbox, save, &bytes);
    let process = running.child.id();
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    assert!(status.contains("Uid:\t65534\t65534"), "{status}");
    assert_eq!(fs::metadata(format!("/proc/{process}/status")).unwrap().uid(), 0);
    resume(running, &bytes).ends_with(0);
}

#[test]
fn files_are_private_under_every_umask() {
    for umask in ["0", "022", "0777"] {
        let sandbox = Sandbox::furnished();
        let bytes = snapshot(100);
        let under = |command: Program| command.behind(["sh", "-c", r#"umask "$0"; exec "$@""#, umask]);
        let save = under(sandbox.save().args(["--from", "-"]).arg(sandbox.backups()));
        let running = stalled(&sandbox, save, &bytes);
        assert_eq!(mode(&sandbox.backups().join(&sandbox.published()[0])), 0o600, "the temporary");
        resume(running, &bytes).ends_with(0);
        let archive = sandbox.archive();
        assert_eq!(mode(&archive), 0o600);
        assert_eq!(mode(&sandbox.backups().join(&sandbox.published()[1])), 0o600, "the sidecar");
        let restored = sandbox.path("restored.db");
        under(sandbox.open("restore").arg(&archive).arg("-o").arg(&restored)).succeed();
        assert_eq!(mode(&restored), 0o600);
        assert_eq!(fs::read(&restored).unwrap(), bytes);
        let key = sandbox.path("new.txt");
        under(sandbox.seal(["keygen"]).arg("-o").arg(&key)).succeed();
        assert_eq!(mode(&key), 0o600);
    }
}

/// Runs `script` with bash; `$SEAL` is the program, `$R` the recipient, `$I` the identity, `$B` the backups, `$S` a
/// snapshot.
fn bash(sandbox: &Sandbox, script: &str) -> Outcome {
    let snapshot_file = sandbox.path("snapshot.db");
    if !snapshot_file.exists() {
        fs::write(&snapshot_file, snapshot(2000)).unwrap();
    }
    let bash = sandbox.program("bash").args(["-uc", script]).env("SEAL", etcd_seal()).env("S", snapshot_file);
    bash.env("R", &sandbox.recipient).env("I", sandbox.identity()).env("B", sandbox.backups()).run()
}

#[test]
fn a_reader_that_goes_away_is_a_failure_where_it_was_to_get_the_archive() {
    let sandbox = Sandbox::furnished();
    let early = bash(
        &sandbox,
        r#""$SEAL" save -r "$R" --from "$S" - | head -c 1 >/dev/null; echo "${PIPESTATUS[0]}""#,
    );
    assert_eq!(early.text(), "1\n");
    let _ = early.tells_an_error();
    // Even where the program is asked to die of it.
    let early = bash(
        &sandbox,
        r#"trap - PIPE; "$SEAL" save --json -r "$R" --from "$S" - | true; echo "${PIPESTATUS[0]}""#,
    );
    assert_eq!(early.text(), "1\n");
    bash(&sandbox, r#""$SEAL" save -r "$R" --from "$S" - >/dev/full"#).ends_with(1).says("error: ");
}

#[test]
fn a_reader_of_the_result_may_go_away() {
    let sandbox = Sandbox::furnished();
    let saved = bash(&sandbox, r#""$SEAL" save -r "$R" --from "$S" "$B" | true; echo "${PIPESTATUS[0]}""#);
    assert_eq!(saved.text(), "0\n", "{}", saved.stderr);
    let archive = sandbox.archive();
    for command in ["info", "verify"] {
        let script = format!(r#""$SEAL" {command} -i "$I" "$B"/*.age | true; echo "${{PIPESTATUS[0]}}""#);
        assert_eq!(bash(&sandbox, &script).text(), "0\n");
    }
    // A result that cannot be written is a failure, and the archive stays.
    let lost = bash(&sandbox, r#""$SEAL" save -r "$R" --from "$S" "$B/2.age" >/dev/full"#).ends_with(1);
    let _ = lost.says("only this report of it is lost");
    for archive in [archive, sandbox.backups().join("2.age")] {
        sandbox.open("verify").arg(archive).succeed();
    }
}

#[test]
fn closed_standard_streams_are_never_taken_for_files() {
    let sandbox = Sandbox::furnished();
    bash(&sandbox, r#""$SEAL" save -r "$R" --from "$S" "$B" >&- 2>&- <&-"#).ends_with(0);
    let archive = sandbox.archive();
    sandbox.open("verify").arg(&archive).succeed();
    bash(&sandbox, r#""$SEAL" restore -i "$I" "$B"/*.age -o "$HOME/x" >&- 2>&- <&- && cmp "$HOME/x" "$S""#)
        .ends_with(0);
    bash(&sandbox, r#""$SEAL" info -i "$I" "$B"/*.age >&- 2>&-"#).ends_with(0);
    // An archive, a snapshot or a key that went nowhere is no success.
    for script in [
        r#""$SEAL" save -r "$R" --from "$S" - >&-"#,
        r#""$SEAL" restore -i "$I" "$B"/*.age -o - >&-"#,
        r#""$SEAL" keygen -o - >&-"#,
    ] {
        bash(&sandbox, script).ends_with(2).says("standard output is closed");
    }
    // Who wants that can say so.
    bash(&sandbox, r#""$SEAL" save -r "$R" --from "$S" - >/dev/null"#).ends_with(0);
}

#[test]
fn neither_home_nor_terminal_is_needed() {
    let sandbox = Sandbox::furnished();
    let run = "env -u HOME -u TMPDIR -u PATH setsid -w";
    let scripts = [
        format!(
            r#"PATH= ; {} "$SEAL" save -r "$R" --from "$S" "$B""#,
            run.replace("setsid", "/usr/bin/setsid").replace("env", "/usr/bin/env")
        ),
        format!(r#"{run} "$SEAL" verify -i "$I" "$B"/*.age"#),
        format!(r#"{run} "$SEAL" info -i "$I" "$B"/*.age"#),
        format!(r#"{run} "$SEAL" restore -i "$I" "$B"/*.age -o "$B/../x" && cmp "$S" "$B/../x""#),
    ];
    needs!(can("/usr/bin/setsid", &["-w", "true"]));
    for script in scripts {
        bash(&sandbox, &script).ends_with(0);
    }
    // What needs a terminal says so and does not wait.
    for script in [
        r#"setsid -w "$SEAL" save -p --from "$S" "$B/y.age""#,
        r#"setsid -w "$SEAL" save -r "$R" --user root "$B/y.age""#,
        r#"setsid -w "$SEAL" verify -p "$B"/*.age"#,
    ] {
        bash(&sandbox, script).ends_with(2).says("terminal");
    }
    let _ = sandbox.archive();
}

#[test]
fn a_second_signal_ends_a_save_too_and_the_next_save_succeeds() {
    let (sandbox, bytes) = (Sandbox::furnished(), snapshot(2000));
    let save = sandbox.save().args(["--from", "-", "--json"]).arg(sandbox.backups());
    for signals in [&["INT"][..], &["INT", "TERM"]] {
        let running = stalled(&sandbox, save.clone(), &bytes);
        for name in signals {
            running.signal(name);
        }
        let began = Instant::now();
        let failure = running.wait_with_input_open();
        assert!([INTERRUPTED, TERMINATED].contains(&failure.code), "{failure:?}");
        assert!(began.elapsed() < BOUND);
        assert!(sandbox.published().is_empty());
        if let [_] = signals {
            let told = failure.object();
            assert_eq!((&told["ok"], &told["exit_code"]), (&false.into(), &INTERRUPTED.into()));
        }
    }
    resume(stalled_save(&sandbox, &bytes), &bytes).ends_with(0);
    sandbox.open("verify").arg(sandbox.archive()).succeed();
}

#[test]
fn two_saves_at_once_do_not_touch_each_other() {
    let sandbox = Sandbox::furnished();
    let bytes = snapshot(500);
    let first = stalled_save(&sandbox, &bytes);
    let temporary = sandbox.published().remove(0);
    assert!(is_temporary(&temporary));
    // However old it looks, it is alive.
    let file = File::options().write(true).open(sandbox.backups().join(&temporary)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(86_400)).unwrap();
    drop(file);
    let second = sandbox.save().args(["--from", "-"]).arg(sandbox.backups().join("second.age"));
    second.input(&bytes).succeed();
    assert!(sandbox.published().contains(&temporary));
    let third = stalled_save(&sandbox, &bytes);
    resume(first, &bytes).ends_with(0);
    third.signal("TERM");
    third.wait_with_input_open().ends_with(TERMINATED);
    let names = sandbox.published();
    assert_eq!(names.len(), 4, "{names:?}");
    for name in names.iter().filter(|name| !name.ends_with(".sha256")) {
        sandbox.open("verify").arg(sandbox.backups().join(name)).succeed();
    }
}

#[test]
fn many_saves_at_once_to_the_same_name_publish_one() {
    let sandbox = Sandbox::furnished();
    let bytes = snapshot(100);
    let archive = sandbox.backups().join("x.db.zst.age");
    let mut running = Vec::new();
    for _ in 0..4 {
        running.push(stalled(&sandbox, sandbox.save().args(["--from", "-"]).arg(&archive), &bytes));
    }
    let mut codes: Vec<i32> = running.into_iter().map(|running| resume(running, &bytes).code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 2, 2, 2]);
    assert_eq!(sandbox.archive(), archive);
    sandbox.open("verify").arg(&archive).succeed();
    sandbox.seal(["verify"]).arg(&archive).succeed();
}

#[test]
fn what_a_killed_save_leaves_is_removed_when_it_is_old() {
    let sandbox = Sandbox::furnished();
    let bytes = snapshot(500);
    let running = stalled_save(&sandbox, &bytes);
    running.signal("KILL");
    running.wait_with_input_open().ends_with(KILLED);
    let left = sandbox.published();
    assert!(left.len() == 1 && is_temporary(&left[0]), "{left:?}");
    let left = sandbox.backups().join(&left[0]);
    let mut strangers =
        vec![".etcd-seal-x.tmp", ".etcd-seal-0123456789ABCDEF.tmp", "etcd-seal-0123456789abcdef.tmp"];
    let old = SystemTime::now() - Duration::from_secs(3600);
    for name in &strangers {
        File::create(sandbox.backups().join(name)).unwrap().set_modified(old).unwrap();
    }
    let next = |name: &str| {
        sandbox.save().args(["--from", "-"]).arg(sandbox.backups().join(name)).input(&bytes).succeed()
    };
    let _ = next("1.age");
    assert!(left.exists(), "a minute has not passed");
    let file = File::options().write(true).open(&left).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(70)).unwrap();
    drop(file);
    let _ = next("2.age");
    assert!(!left.exists());
    strangers.extend(["1.age", "1.age.sha256", "2.age", "2.age.sha256"]);
    strangers.sort_unstable();
    assert_eq!(sandbox.published(), strangers);
}

/// `save` of a small snapshot under strace, which holds it for two seconds at `moment`. Once `arrived` says it is
/// there it gets a signal.
fn signalled_at(sandbox: &Sandbox, moment: &str, name: &str, arrived: impl Fn(&[String]) -> bool) -> Outcome {
    let file = sandbox.write("snapshot.db", snapshot(100));
    let save = sandbox.save().arg("--from").arg(file).arg(sandbox.backups().join("x.age"));
    let running = save.faulty(&[moment], &["-e", "trace=renameat2,renameat,fsync"]).start();
    await_that("the moment comes", || arrived(&sandbox.published()));
    signal(traced_program(running.child.id()), name);
    running.wait()
}

fn delay(call: &str, when: u32) -> String {
    format!("{call}:delay_exit=2000000:when={when}")
}

#[test]
fn a_signal_around_the_commit_is_before_or_after_it() {
    needs!(skip::can_trace());
    let is_published = |names: &[String]| names.iter().any(|name| name == "x.age");
    for (name, code) in [("INT", INTERRUPTED), ("TERM", TERMINATED)] {
        // While the archive has its name and the sidecar does not: the end is waited for.
        let sandbox = Sandbox::furnished();
        signalled_at(&sandbox, &delay("renameat2", 1), name, is_published).ends_with(0);
        assert_eq!(sandbox.published(), ["x.age", "x.age.sha256"]);
        sandbox.seal(["verify"]).arg(sandbox.backups().join("x.age")).succeed();

        // While both have theirs and the directory is being synced.
        let sandbox = Sandbox::furnished();
        let both = |names: &[String]| names.iter().any(|name| name == "x.age.sha256");
        signalled_at(&sandbox, &delay("fsync", 3), name, both).ends_with(0);
        assert_eq!(sandbox.published(), ["x.age", "x.age.sha256"]);

        // While the sidecar's temporary is being synced, nothing is published and nothing will be.
        let sandbox = Sandbox::furnished();
        let prepared = |names: &[String]| names.iter().filter(|name| is_temporary(name)).count() == 2;
        signalled_at(&sandbox, &delay("fsync", 1), name, prepared).ends_with(code);
        assert!(sandbox.published().is_empty());
    }

    // Killed right after the commit: the archive is whole, and the rest is a temporary.
    let sandbox = Sandbox::furnished();
    let ended = signalled_at(&sandbox, &delay("renameat2", 1), "KILL", is_published);
    assert_ne!(ended.code, 0);
    let names = sandbox.published();
    assert!(names.len() == 2 && is_temporary(&names[0]) && names[1] == "x.age", "{names:?}");
    sandbox.open("verify").arg(sandbox.backups().join("x.age")).succeed();
    sandbox.seal(["verify"]).arg(sandbox.backups().join("x.age")).run().ends_with(3);
}

/// More than all buffers between a member and a reader who does not read.
const LARGE_VALUES: usize = 48;
const LARGE_VALUE_SIZE: usize = 1_000_000;

fn fill_with_noise(etcd: &Etcd) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = etcd_client::Client::connect([etcd.address()], None).await.unwrap();
        for number in 0..LARGE_VALUES {
            client.put(format!("/noise/{number}"), random(LARGE_VALUE_SIZE), None).await.unwrap();
        }
    });
}

/// A save to a pipe whose reader reads no further.
fn save_to_pipe(sandbox: &Sandbox, etcd: &Etcd, arguments: &[&str]) -> Running {
    let command = sandbox.save().args(["-", "--jobs", "1", "--endpoints", &etcd.address()]).args(arguments);
    let mut running = command.start_unread();
    running.begin_to_read();
    running
}

/// A reader that takes its time is no stall of etcd's, however long it takes.
#[test]
fn a_slow_reader_is_no_stall() {
    let Some(etcd) = an_etcd() else { return };
    fill_with_noise(&etcd);
    let sandbox = Sandbox::furnished();
    let mut running = save_to_pipe(&sandbox, &etcd, &["--stall-timeout", "2s"]);
    let stdout = running.child.stdout.as_mut().unwrap();
    // Longer than the timeout in all, but never without a byte for as long: this is what is tested, not waited for.
    for _ in 0..12 {
        stdout.read_exact(&mut vec![0; 64 * 1024]).unwrap();
        std::thread::sleep(Duration::from_millis(250));
    }
    running.wait().ends_with(0);
}

#[test]
fn a_reader_that_takes_nothing_does_not_keep_etcd_waiting() {
    let Some(etcd) = an_etcd() else { return };
    fill_with_noise(&etcd);
    let sandbox = Sandbox::furnished();
    let mut running = save_to_pipe(&sandbox, &etcd, &["--stall-timeout", "500ms"]);
    // The pipe is not read further: it ends all the same.
    await_that("the program gives up", || !running.is_alive());
    let ended = running.wait().ends_with(1).says("the output stood still");
    sandbox.assert_no_archive(&ended.stdout, "a pipe that is not read");
}

#[test]
fn a_full_output_is_told_while_the_input_still_waits() {
    let sandbox = Sandbox::furnished();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = sandbox.save().args(["-", "--from", "-"]).command(&[]);
    command.stdin(Stdio::piped()).stdout(full).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // The program may be gone before it has read all of it.
    let _ = input.write_all(&snapshot(3));
    let mut status = None;
    // The input is held open: only the failed output can end it.
    await_that("the program gives up", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(1));
    drop(input);
}

#[test]
fn a_hang_up_leaves_nothing_unless_it_is_ignored() {
    let Some(etcd) = an_etcd() else { return };
    fill_with_noise(&etcd);
    let sandbox = Sandbox::furnished();
    let running = save_to_pipe(&sandbox, &etcd, &[]);
    running.signal("HUP");
    running.wait().ends_with(TERMINATED);

    let save = sandbox.save().args(["-", "--endpoints", &etcd.address()]);
    let mut running = save.behind(["nohup"]).start_unread();
    running.begin_to_read();
    running.signal("HUP");
    running.wait().ends_with(0);
}

/// The prompt turns the echo off, and whatever ends it turns it on again.
#[test]
fn a_passphrase_at_the_terminal_is_not_shown_and_the_echo_comes_back() {
    let sandbox = Sandbox::furnished();
    sandbox.write("snapshot.db", snapshot(3));
    let save = sandbox.seal(["save", "-p", "--from", "../snapshot.db", "../backups"]);
    // The end of the dialogue asserts that the echo is back.
    let answered = |answers: &[(&str, &str)]| {
        let mut dialogue = Dialogue::begin(&save);
        for (question, answer) in answers {
            dialogue.answer(question, answer);
        }
        let (code, _, screen) = dialogue.end();
        assert!(!screen.contains(PASSPHRASE), "{screen}");
        (code, screen)
    };
    let (first, second) = ("passphrase for the archive: ", "the same again: ");
    assert_eq!(answered(&[(first, "\u{3}")]).0, 130);
    let (code, screen) = answered(&[(first, PASSPHRASE), (second, "another")]);
    assert!(code == 2 && screen.contains("differ"), "{code}: {screen}");
    assert!(sandbox.published().is_empty());
    assert_eq!(answered(&[(first, PASSPHRASE), (second, PASSPHRASE)]).0, 0);
    let _ = sandbox.archive();
}

/// Kept from growing: nothing here may wait longer than a whole program may.
const _: () = assert!(BOUND.as_secs() < PATIENCE.as_secs());

#[test]
fn a_directory_is_left_as_it_was_found() {
    let sandbox = Sandbox::furnished();
    let missing = sandbox.path("missing");
    sandbox.save().args(["--from", "-"]).arg(missing.join("x.age")).input(snapshot(3)).run().ends_with(2);
    assert!(!missing.exists());
    assert!(names(&sandbox.path("home")).is_empty() && names(&sandbox.path("tmp")).is_empty());
}
