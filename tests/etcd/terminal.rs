//! What a terminal shows while a command works on data of a real etcd, and what a pipe gets instead.

use harness::program::Program;
use harness::pty;
use harness::sandbox::Sandbox;
use harness::{Etcd, an_etcd};

/// The beginning of every escape sequence.
const ESCAPE: char = '\u{1b}';
/// What comes before each drawing of a bar: the cursor returns, and the line is erased.
const ERASED: &str = "\r\u{1b}[2K";

/// A key, and an etcd with some megabytes, where there is one.
fn scene() -> Option<(Sandbox, Etcd)> {
    let (sandbox, etcd) = (Sandbox::furnished(), an_etcd()?);
    etcd.fill("/k", 60, 100_000);
    Some((sandbox, etcd))
}

fn on_terminal(program: Program) -> Program {
    program.env("TERM", "xterm").env("LC_ALL", "C.UTF-8")
}

fn save(sandbox: &Sandbox, etcd: &Etcd) -> Program {
    sandbox.save().args(["--endpoints", &etcd.address()]).arg(sandbox.backups())
}

/// The drawings of the bar, one after the other.
fn drawings(screen: &str) -> Vec<&str> {
    screen.split(ERASED).filter(|line| line.starts_with("sealing ")).map(str::trim_end).collect()
}

#[test]
fn a_bar_shows_percent_and_time_from_the_first_moment_at_any_width() {
    let Some((sandbox, etcd)) = scene() else { return };
    for columns in [80, 40] {
        let limited = save(&sandbox, &etcd).args(["--limit-rate", "4MiB"]);
        let (code, screen) = pty::run(&on_terminal(limited), columns);
        assert_eq!(code, 0, "{screen}");
        let drawings = drawings(&screen);
        assert!(drawings[0].starts_with("sealing   0% ░") && drawings[0].ends_with("0:00"), "{screen:?}");
        let percent =
            |line: &&str| line["sealing ".len()..].split('%').next().map(str::trim).map(str::to_owned);
        let mut percents: Vec<_> = drawings.iter().map(percent).collect();
        percents.dedup();
        assert!(percents.len() > 2, "{percents:?}");
        for line in drawings {
            assert!(line.chars().count() < usize::from(columns) && line.contains(" MiB"), "{line}");
        }
    }
}

#[test]
fn a_pipe_gets_no_bar_no_sign_and_no_colour() {
    let Some((sandbox, etcd)) = scene() else { return };
    let saved = on_terminal(save(&sandbox, &etcd)).succeed();
    assert_eq!(saved.stderr, "");
    assert!(!saved.text().contains([ESCAPE, '✓', '█']), "{}", saved.text());
    let refused = on_terminal(sandbox.seal(["verify", "x"])).run().ends_with(10);
    assert!(refused.said().starts_with("etcd-seal: error: "), "{}", refused.said());
    let help = on_terminal(sandbox.seal(["save", "--help"])).succeed();
    assert!(!help.text().contains(ESCAPE), "{}", help.text());
    let forced = on_terminal(sandbox.seal(["verify", "x"])).env("CLICOLOR_FORCE", "1").run();
    assert!(forced.said().contains("\u{1b}[1;31merror:\u{1b}[0m "), "{}", forced.said());
}

#[test]
fn a_terminal_gets_a_tick_and_colours_unless_they_are_unwanted() {
    let Some((sandbox, etcd)) = scene() else { return };
    save(&sandbox, &etcd).succeed();
    let archive = sandbox.archive();
    let shown = |words: &[&str], variables: &[(&str, &str)]| {
        let program = on_terminal(sandbox.seal(words.iter().copied()).arg(&archive));
        let program = variables.iter().fold(program, |program, (name, value)| program.env(name, value));
        pty::run(&program, 80).1
    };
    let (verify, refused) = (&["verify"][..], &["verify", "-i", "none"][..]);
    assert!(shown(verify, &[]).contains("\u{1b}[32m✓\u{1b}[0m "));
    let error = shown(refused, &[]);
    let labels = ["\u{1b}[1;31merror:\u{1b}[0m ", "\u{1b}[1;36mhint:\u{1b}[0m "];
    assert!(labels.iter().all(|label| error.contains(label)), "{error:?}");
    assert!(shown(&["--help"], &[]).contains("\u{1b}[1m"));
    for unwanted in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
        let told = shown(verify, &[unwanted]);
        assert!(told.contains("✓ ") && !told.contains("[32m"), "{told:?}");
        assert!(!shown(refused, &[unwanted]).contains(ESCAPE));
        assert!(!shown(&["--help"], &[unwanted]).contains(ESCAPE));
    }
    let dumb = [("TERM", "dumb"), ("LC_ALL", "POSIX")];
    let told = shown(verify, &dumb);
    assert!(told.starts_with("[ok] ") && !told.contains(ESCAPE), "{told:?}");
}

#[test]
fn a_drill_shows_its_steps_and_a_verdict_of_short_lines() {
    let Some((sandbox, etcd)) = scene() else { return };
    save(&sandbox, &etcd).succeed();
    let drill = || {
        let drill = sandbox.seal(["drill", "--etcd"]).arg(etcd.binary()).arg("-i").arg(sandbox.identity());
        drill.arg(sandbox.archive()).working_in(sandbox.backups())
    };
    let (code, screen) = pty::run(&on_terminal(drill()), 80);
    assert_eq!(code, 0, "{screen}");
    let steps = [
        "restoring 1 member, checking every byte",
        "counting and hashing the keys, without etcd",
        "starting etcd",
        "comparing HashKV, keys, leases, users, roles and members",
        "putting, deleting, compacting and defragmenting",
        "saving the member again, and verifying that archive",
        "stopping etcd, and starting it once more",
        "comparing once more",
    ];
    let mut rest = &screen[..];
    for step in steps {
        let at = rest.find(&format!(" s  {step}\r\n")).unwrap_or_else(|| panic!("no {step:?} in {rest:?}"));
        rest = &rest[at..];
    }
    let (_, verdict) = rest.split_once("✓").unwrap();
    assert!(verdict.contains(": proved by etcd 3."), "{verdict:?}");
    assert!(verdict.lines().skip(1).all(|line| line.trim_end().chars().count() < 80), "{verdict}");

    let quiet = drill().succeed();
    assert_eq!(quiet.stderr, "");
    let told = drill().arg("-v").succeed().said();
    let told: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("etcd-seal: debug: ")).collect();
    for step in steps {
        assert!(told.contains(&step), "no {step:?} in {told:?}");
    }
}

#[test]
fn verbose_tells_who_answered_why_one_was_asked_and_what_opened_the_archive() {
    let Some((sandbox, etcd)) = scene() else { return };
    let address = etcd.address();
    let saved = save(&sandbox, &etcd).arg("-v").succeed().said();
    let told =
        |said: &str, words: &str| assert!(said.contains(&format!("etcd-seal: debug: {words}")), "{said}");
    told(&saved, &format!("{address} is member "));
    told(&saved, &format!("asking {address}: no other member can be asked"));

    sandbox.seal(["keygen", "-o", "other.txt"]).succeed();
    let verify = sandbox.seal(["verify", "-v", "-i", "other.txt", "-i"]).arg(sandbox.identity());
    let verified = verify.arg(sandbox.archive()).succeed().said();
    told(&verified, "the identity in other.txt is for none of its recipients");
    told(&verified, &format!("the identity in {} opens the archive", sandbox.identity().display()));
    for checked in ["the header and its MAC", "every chunk", "etcd's own SHA-256", "the SHA-256 of "] {
        told(&verified, &format!("checked: {checked}"));
    }
}
