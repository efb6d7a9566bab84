//! What the outside is told of a command: a file for Prometheus, and programs around it.

use harness::program::{Outcome, Program};
use harness::sandbox::Sandbox;
use harness::skip;
use harness::snapshots::snapshot;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const PROM: [&str; 2] = ["--metrics-file", "save.prom"];

fn save(sandbox: &Sandbox) -> Program {
    sandbox.save().args(["--from", "-", "--cluster-name", "prod"]).arg(sandbox.backups()).input(snapshot(3))
}

/// Each sample by its name without the prefix. Every one has its help, its type, and the label of the cluster.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let sample = |lines: &[&str]| {
        let (series, value) = lines[2].rsplit_once(' ').unwrap();
        let name = series.strip_suffix("{cluster=\"prod\"}").unwrap();
        assert!(lines[0].starts_with(&format!("# HELP {name} ")), "{lines:?}");
        assert_eq!(lines[1], format!("# TYPE {name} gauge"));
        (name.strip_prefix("etcd_seal_save_").unwrap().to_owned(), value.parse().unwrap())
    };
    text.lines().collect::<Vec<_>>().chunks(3).map(sample).collect()
}

#[test]
#[expect(clippy::float_cmp, reason = "whole numbers")]
fn a_failure_keeps_the_last_success() {
    let sandbox = Sandbox::furnished();
    let file = sandbox.path("work/save.prom");
    let report = save(&sandbox).args(PROM).arg("--json").succeed().object();
    let good = fs::read_to_string(&file).unwrap();
    let told = samples(&good);
    insta::assert_debug_snapshot!("metrics", told.keys().collect::<Vec<_>>());
    assert_eq!((told["success"], told["exit_code"]), (1.0, 0.0));
    for (metric, field) in [("snapshot_bytes", "snapshot_size"), ("archive_bytes", "archive_size")] {
        assert_eq!(told[metric], report[field].as_f64().unwrap());
    }
    assert_eq!(told["last_success_timestamp_seconds"], told["timestamp_seconds"]);
    // Prometheus runs as another user.
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o644);

    // A save that fails before it reads does not know the cluster.
    sandbox.save().args(["--from", "missing"]).args(PROM).arg(sandbox.backups()).run().ends_with(10);
    let bad = fs::read_to_string(&file).unwrap();
    let now = samples(&bad);
    assert_eq!((now["success"], now["exit_code"]), (0.0, 10.0));
    assert_eq!(now["last_success_timestamp_seconds"], told["timestamp_seconds"]);
    assert!(!now.contains_key("archive_bytes"));
    save(&sandbox).args(["--metrics-file", "save.txt"]).fails_with(2, "names no file ending in .prom");
    save(&sandbox).args(["--metrics-file", "nowhere/a.prom"]).fails_with(2, "nowhere");
    assert_eq!(sandbox.published().len(), 2);
}

#[test]
fn promtool_finds_no_fault() {
    let sandbox = Sandbox::furnished();
    if !skip::can("promtool", &["--version"]) {
        return;
    }
    save(&sandbox).args(PROM).succeed();
    let metrics = fs::read(sandbox.path("work/save.prom")).unwrap();
    let checked = sandbox.program("promtool").args(["check", "metrics"]).input(metrics).succeed();
    assert_eq!(checked.said(), "");

    let rules = sandbox.seal(["generate", "alerts", "--every", "1h", "--drill-every", "24h"]).succeed();
    sandbox.write("work/alerts.yml", rules.stdout);
    sandbox.write("work/alerts_test.yml", include_str!("alerts_test.yml"));
    sandbox.program("promtool").args(["check", "rules", "alerts.yml"]).succeed();
    sandbox.program("promtool").args(["test", "rules", "alerts_test.yml"]).succeed();
}

/// A program that notes which hook it is, and the variables named.
fn noting(sandbox: &Sandbox) -> String {
    let script = "#!/bin/sh\n\
        echo said to standard output\n\
        echo \"$1 $ETCD_SEAL_COMMAND $ETCD_SEAL_HOOK ${ETCD_SEAL_RESULT_EXIT_CODE-none} ${ETCD_SEAL_RESULT_KIND-none} \
        ${ETCD_SEAL_RESULT_PATH+archive} ${ETCDCTL_PASSWORD+password}\" >>\"$2\"\n\
        exit \"${3:-0}\"\n";
    let script = sandbox.write_script("note it", script);
    format!("'{}'", script.display())
}

/// What the programs noted, when each of them exits with the code named for it.
fn noted(sandbox: &Sandbox, command: Program, fails: &[&str]) -> (Vec<String>, Outcome) {
    let program = noting(sandbox);
    let with_hook = |command: Program, hook: &str| {
        let code = if fails.contains(&hook) { "4" } else { "0" };
        command.args([format!("--run-{hook}"), format!("{program} {hook} noted {code}")])
    };
    let command = ["before", "after", "failed", "finally"].into_iter().fold(command, with_hook);
    let ended = command.env("ETCDCTL_PASSWORD", "hunter2").run();
    let noted = fs::read_to_string(sandbox.path("work/noted")).unwrap();
    fs::remove_file(sandbox.path("work/noted")).unwrap();
    (noted.lines().map(|line| line.trim_end().to_owned()).collect(), ended)
}

#[test]
fn programs_run_around_a_command() {
    let sandbox = Sandbox::furnished();
    let (lines, ended) = noted(&sandbox, save(&sandbox).arg("--json"), &[]);
    ended.ends_with(0).object();
    let whole = [
        "before save before none none",
        "after save after 0 none archive",
        "finally save finally 0 none archive",
    ];
    assert_eq!(lines, whole);

    let missing = sandbox.save().args(["--from", "missing"]).arg(sandbox.backups());
    let (lines, ended) = noted(&sandbox, missing, &[]);
    ended.ends_with(10).says("said to standard output");
    let failed = ["failed save failed 10 not_found", "finally save finally 10 not_found"];
    assert_eq!(lines[1..], failed);

    // With -n nothing runs.
    save(&sandbox).args(["-n", "--run-before", "false"]).succeed();
    for wrong in ["'", ""] {
        save(&sandbox).args(["--run-after", wrong]).fails_with(2, "--run-after");
    }
    assert_eq!(sandbox.published().len(), 2);
}

#[test]
fn a_program_that_fails_is_told() {
    let sandbox = Sandbox::furnished();
    let (lines, ended) = noted(&sandbox, save(&sandbox), &["before", "failed"]);
    ended
        .ends_with(1)
        .says("of --run-before failed: exit status: 4")
        .says("of --run-failed failed: exit status: 4");
    assert_eq!(lines[1], "failed save failed 1 hook_failed");
    assert!(sandbox.published().is_empty());
    save(&sandbox).args(["--run-before", "no-such-program"]).fails_with(1, "cannot be run");
    let slow = save(&sandbox).args(["--run-before", "sleep 60", "--run-timeout", "10ms"]);
    slow.fails_with(1, "took longer than 10ms");

    // What was saved stays, and the result says that less than everything was done.
    let (lines, ended) = noted(&sandbox, save(&sandbox).args(PROM).arg("--json"), &["after"]);
    let report = ended.ends_with(3).object();
    assert_eq!((&report["kind"], &report["ok"]), (&"hook_failed".into(), &false.into()));
    assert_eq!(lines[2], "finally save finally 3 hook_failed archive");
    let metrics = fs::read_to_string(sandbox.path("work/save.prom")).unwrap();
    assert!(metrics.contains("\netcd_seal_save_exit_code{cluster=\"prod\"} 3\n"), "{metrics}");
    sandbox.seal(["verify"]).arg(sandbox.archive()).succeed();
}

#[test]
fn a_signal_leaves_time_for_the_programs_after_it() {
    let sandbox = Sandbox::furnished();
    let program = noting(&sandbox);
    let waiting = sandbox.save().args(["--from", "-"]).arg(sandbox.backups()).args(PROM);
    let waiting =
        waiting.args(["--run-before", "touch begun", "--run-failed", &format!("{program} failed noted")]);
    let running = waiting.start_fed();
    harness::process::await_that("the save begins", || sandbox.path("work/begun").exists());
    running.signal("TERM");
    running.wait_with_input_open().ends_with(143);
    let noted = fs::read_to_string(sandbox.path("work/noted")).unwrap();
    assert_eq!(noted.trim_end(), "failed save failed 143 interrupted");
    assert!(
        fs::read_to_string(sandbox.path("work/save.prom"))
            .unwrap()
            .contains("etcd_seal_save_exit_code 143\n")
    );
    assert!(sandbox.published().is_empty());
}
