//! `drill`: what is proved by a real etcd, what is blamed on whom, and that nothing of it stays.

use etcd_seal::low_level::database::mvcc::Revision;
use harness::bolt;
use harness::contents::{Access, Client, KEYS_LOADED};
use harness::process::await_that;
use harness::program::{Outcome, Program, Running, etcd_seal};
use harness::sandbox::Sandbox;
use harness::{Etcd, Options, etcds, release, skip};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A key, and a place for scratch directories.
struct Scene {
    sandbox: Sandbox,
    recipient: String,
}

impl Scene {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let recipient = sandbox.keygen("key.txt");
        sandbox.make_directory("scratch");
        Self { sandbox, recipient }
    }

    /// With a small archive, where there is an etcd to make one.
    fn small() -> Option<Self> {
        let (scene, etcd) = (Self::new(), etcds().pop()?);
        let member = Etcd::start(&etcd, &Options::default());
        member.fill("/k", 50, 100);
        scene.save(&member, "a.age", &[]);
        Some(scene)
    }

    /// Saves `member`, reached with these flags, into an archive.
    fn save(&self, member: &Etcd, name: &str, flags: &[&str]) {
        let save = ["save", name, "-q", "--cluster-name", "prod", "-r", &self.recipient];
        let endpoint = member.address();
        self.sandbox.seal(save).args(["--endpoints", &endpoint]).args(flags).succeed();
    }

    /// An archive of a member with contents of every kind.
    fn loaded(&self, etcd: &Path, name: &str) {
        let member = Etcd::start(etcd, &Options::default());
        Client::new(&self.sandbox, &member, Access::new(&member.address(), &[] as &[&str])).load();
        self.save(&member, name, &[]);
    }

    /// A drill of an archive.
    fn drill(&self, archive: &str, etcd: &Path) -> Program {
        let drill = ["drill", archive, "-i", "key.txt", "--scratch", "scratch", "--json"];
        self.sandbox.seal(drill).arg("--etcd").arg(etcd)
    }

    /// A script that stands for etcd.
    fn script(&self, name: &str, text: &str) -> PathBuf {
        self.sandbox.write_script(name, format!("#!/bin/sh\n{text}\n"))
    }

    /// Nothing of a drill is left: neither its directory nor a process that worked in it.
    #[track_caller]
    fn is_clean(&self) {
        assert_eq!(self.sandbox.names("scratch"), [] as [&str; 0]);
        assert_eq!(working_in(&self.sandbox.path("scratch")), Vec::<i32>::new());
    }
}

/// Processes whose directory is below `directory`, removed or not.
fn working_in(directory: &Path) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    ids.filter(|id: &i32| {
        std::fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory))
    })
    .collect()
}

/// The drill of an archive that is good.
#[track_caller]
fn proved(outcome: &Outcome) -> Value {
    let report = outcome.object();
    assert_eq!((&report["ok"], &report["command"]), (&Value::from(true), &Value::from("drill")), "{report}");
    report
}

#[test]
fn every_etcd_serves_the_archives_of_every_other() {
    let etcds = etcds();
    let scene = Scene::new();
    for (number, etcd) in etcds.iter().enumerate() {
        let archive = format!("{number}.age");
        scene.loaded(etcd, &archive);
        for other in [etcd, &etcds[(number + 1) % etcds.len()]] {
            let report = proved(&scene.drill(&archive, other).succeed());
            assert_eq!(report["keys"], KEYS_LOADED, "{report}");
            let database = &report["database"];
            let counts = ["leases", "users", "roles"].map(|field| database[field].as_u64().unwrap());
            assert_eq!(counts, [4, 1, 1], "{report}");
            let times = ["restore_ms", "boot_ms", "recovery_ms"].map(|field| report[field].as_u64().unwrap());
            assert!(times[2].abs_diff(times[0] + times[1]) <= 1 && times[1] > 0, "{report}");
            scene.is_clean();
        }
    }
}

#[test]
fn a_cluster_of_three_is_drilled_where_paths_are_long() {
    let Some(etcd) = etcds().pop() else { return };
    let scene = Scene::new();
    scene.loaded(&etcd, "a.age");
    // Longer than the path of a socket can be.
    let long = format!("scratch/{}", "long".repeat(30));
    scene.sandbox.make_directory(&long);
    let drill = ["drill", "a.age", "-i", "key.txt", "--json", "--members", "3"];
    let drill = scene.sandbox.seal(drill).arg("--etcd").arg(&etcd).env("TMPDIR", scene.sandbox.path(&long));
    let report = proved(&drill.succeed());
    assert_eq!(
        (&report["members"], &report["keys"]),
        (&Value::from(3), &Value::from(KEYS_LOADED)),
        "{report}"
    );
    let fields: Vec<&String> = report.as_object().unwrap().keys().collect();
    insta::assert_debug_snapshot!("fields", fields);
    assert_eq!(scene.sandbox.names(&long), [] as [&str; 0]);
}

#[test]
fn data_with_authentication_are_drilled_without_a_password() {
    let scene = Scene::new();
    for etcd in etcds() {
        let member = Etcd::start(&etcd, &Options::default());
        member.fill("/k", 50, 100);
        member.enable_authentication("secret", &[]);
        scene.save(&member, "a.age", &["--force", "--user=root:secret"]);
        let report = proved(&scene.drill("a.age", &etcd).succeed());
        assert_eq!(report["database"]["auth_enabled"], true, "{report}");
        assert_eq!((&report["database"]["users"], &report["keys"]), (&Value::from(1), &Value::from(50)));
        assert!(report["remarks"][0].as_str().unwrap().contains("authentication is on"), "{report}");
        scene.is_clean();
    }
}

#[test]
fn a_full_database_is_drilled_and_its_alarm_told() {
    let Some(etcd) = etcds().pop() else { return };
    let scene = Scene::new();
    let quota = "--quota-backend-bytes=1000000".to_owned();
    let member = Etcd::start(&etcd, &Options { flags: vec![quota], ..Options::default() });
    let value = "v".repeat(100_000);
    let mut puts = (0..100).map(|number| {
        let mut put = member.etcdctl();
        put.args(["put", &format!("k{number}"), &value]).stdout(Stdio::null()).stderr(Stdio::null());
        put.status().unwrap()
    });
    assert!(puts.any(|status| !status.success()), "the quota is no quota");
    scene.save(&member, "a.age", &[]);
    let report = proved(&scene.drill("a.age", &etcd).succeed());
    assert_eq!(report["database"]["alarms"][0], "NOSPACE", "{report}");
    assert!(report["remarks"][0].as_str().unwrap().contains("NOSPACE"), "{report}");
    scene.is_clean();
}

/// A raised revision leaves an empty key and a compaction that etcd does when it starts, at the newest revision.
#[test]
fn data_with_a_raised_revision_and_no_digest_are_drilled() {
    let scene = Scene::new();
    for etcd in etcds() {
        scene.loaded(&etcd, "a.age");
        let restore = ["restore", "a.age", "-i", "key.txt", "--data-dir", "member", "-q"];
        let raise = ["--bump-revision", "1000", "--mark-compacted"];
        scene.sandbox.seal(restore).args(raise).succeed();
        let from = ["--from", "member/member/snap/db", "--allow-missing-digest"];
        let save = scene.sandbox.seal(["save", "b.age", "-q", "-r", &scene.recipient]).args(from);
        save.run().ends_with(3);
        let report = scene.drill("b.age", &etcd).run().ends_with(3).object();
        assert_eq!(report["keys"], KEYS_LOADED, "{report}");
        assert_eq!(report["database"]["compact_revision"], report["database"]["revision"], "{report}");
        let rest = ["a.age", "b.age", "a.age.sha256", "b.age.sha256"].map(|name| scene.sandbox.path(name));
        for path in &rest {
            std::fs::remove_file(path).unwrap();
        }
        std::fs::remove_dir_all(scene.sandbox.path("member")).unwrap();
        scene.is_clean();
    }
}

/// A member that was killed while it compacted has a compaction that was asked for and not done; where the last writes were
/// deletions, those may be gone. etcd 3.4 then goes on at an older revision than later versions do.
#[test]
fn an_unfinished_compaction_above_the_last_write_is_drilled() {
    let scene = Scene::new();
    for etcd in etcds() {
        let mut member = Etcd::start(&etcd, &Options::default());
        member.fill("key", 10, 10);
        member.stop();
        let mut buckets = bolt::buckets(&member.data_dir().join("member/snap/db"));
        let meta = buckets.iter_mut().find(|(name, _)| name == b"meta").unwrap();
        let scheduled = Revision { main: 1000, sub: 0 }.to_bytes().to_vec();
        meta.1.push((b"scheduledCompactRev".to_vec(), scheduled, false));
        meta.1.sort();
        scene.sandbox.write("db", bolt::database(4096, &buckets));
        let from = ["--from", "db", "--allow-missing-digest"];
        let save = scene.sandbox.seal(["save", "a.age", "-q", "--force", "-r", &scene.recipient]).args(from);
        save.run().ends_with(3);
        let report = scene.drill("a.age", &etcd).run().ends_with(3).object();
        assert_eq!(report["database"]["revision"], 1000, "{report}");
        assert_eq!(report["keys"], 10, "{report}");
    }
    scene.is_clean();
}

/// Each metric with its value; every one must have its help and type before it.
fn metrics(text: &str) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::new();
    for lines in text.lines().collect::<Vec<_>>().chunks(3) {
        let [help, kind, sample] = lines else { panic!("{text}") };
        let (series, value) = sample.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(help.starts_with(&format!("# HELP {name} ")), "{text}");
        assert_eq!(*kind, format!("# TYPE {name} gauge"));
        assert!(series.ends_with("{cluster=\"prod\"}"), "{text}");
        let name = name.strip_prefix("etcd_seal_drill_").unwrap();
        metrics.insert(name.to_owned(), value.parse().unwrap());
    }
    metrics
}

#[test]
#[expect(clippy::float_cmp, reason = "small whole numbers")]
fn the_outcome_is_written_for_prometheus() {
    let Some(etcd) = etcds().pop() else { return };
    let scene = Scene::new();
    scene.loaded(&etcd, "a.age");
    let file = scene.sandbox.path("drill.prom");
    let drill =
        |more: &[&str]| scene.drill("a.age", &etcd).args(["--metrics-file", "drill.prom"]).args(more).run();
    let report = proved(&drill(&[]).ends_with(0));
    let told = metrics(&std::fs::read_to_string(&file).unwrap());
    let names: Vec<&String> = told.keys().collect();
    insta::assert_debug_snapshot!("metrics", names);
    assert_eq!((told["success"], told["exit_code"]), (1.0, 0.0));
    for (metric, field) in [("keys", "keys"), ("snapshot_bytes", "snapshot_size")] {
        assert_eq!(told[metric], report[field].as_f64().unwrap(), "{metric}");
    }
    assert_eq!(told["revision"], report["database"]["revision"].as_f64().unwrap());
    let recovery = report["recovery_ms"].as_f64().unwrap() / 1000.0;
    assert!((told["recovery_seconds"] - recovery).abs() < 0.002);
    // Another user reads it.
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o644);

    let fails = scene.script("fails", "exit 1");
    let failing = scene.drill("a.age", &fails).args(["--metrics-file", "drill.prom"]);
    failing.run().ends_with(1);
    let told = metrics(&std::fs::read_to_string(&file).unwrap());
    assert_eq!((told["success"], told["exit_code"]), (0.0, 1.0));
    assert!(!told.contains_key("recovery_seconds"));
    scene.drill("a.age", &etcd).args(["--metrics-file", "nowhere/drill.prom"]).run().ends_with(2);
    scene.is_clean();
}

#[test]
fn what_is_wrong_with_the_host_is_no_fault_of_the_archive() {
    let Some(scene) = Scene::small() else { return };
    let programs = scene.sandbox.make_directory("programs");
    let drill = ["drill", "a.age", "-i", "key.txt", "--scratch", "scratch"];
    let outcome = scene.sandbox.seal(drill).env("PATH", &programs).run().ends_with(1);
    outcome.says("no etcd on PATH").says("apt install etcd-server");

    let dies = scene.script("dies", "echo starting; echo 'panic: out of order'; exit 4");
    let failure = scene.drill("a.age", &dies).run().ends_with(1).object();
    assert_eq!(failure["kind"], "etcd_not_running", "{failure}");
    assert!(failure["error"].as_str().unwrap().contains("panic: out of order"), "{failure}");
    scene.is_clean();

    let hangs = scene.script("hangs", "echo waiting for nothing; exec sleep 600");
    let failure = scene.drill("a.age", &hangs).args(["--timeout", "1s"]).run().ends_with(1).object();
    assert_eq!(failure["kind"], "etcd_not_running", "{failure}");
    let error = failure["error"].as_str().unwrap();
    assert!(error.contains("within 1s") && error.contains("waiting for nothing"), "{failure}");
    scene.is_clean();

    // As a host does that has no memory left, or no disk: nothing that a start without the data would have to tell apart.
    for (name, script, kind) in [
        ("killed", "kill -KILL $$", "etcd_not_running"),
        ("full", "echo 'panic: write: no space left on device'; exit 2", "no_space"),
    ] {
        let outcome = scene.drill("a.age", &scene.script(name, script)).run().ends_with(1);
        assert_eq!(outcome.object()["kind"], kind, "{outcome:?}");
        assert!(!outcome.stderr.contains("without the data"), "{outcome:?}");
        scene.is_clean();
    }

    let no_interpreter = scene.sandbox.write("broken", "#!/nowhere/sh\n");
    std::fs::set_permissions(&no_interpreter, std::fs::Permissions::from_mode(0o755)).unwrap();
    scene.drill("a.age", &no_interpreter).run().ends_with(1);
    scene.is_clean();
}

#[test]
fn what_is_wrong_with_the_archive_is_told_before_any_etcd_starts() {
    let Some(scene) = Scene::small() else { return };
    let started = scene.sandbox.path("started");
    let etcd = scene.script("etcd", &format!("touch {}; exit 1", started.display()));
    scene.sandbox.seal(["keygen", "-o", "other.txt"]).succeed();
    let other = ["drill", "a.age", "-i", "other.txt", "--scratch", "scratch", "--etcd", "./etcd"];
    scene.sandbox.seal(other).run().ends_with(12);
    let mut archive = std::fs::read(scene.sandbox.path("a.age")).unwrap();
    let middle = archive.len() / 2;
    archive[middle] ^= 1;
    scene.sandbox.write("b.age", archive);
    scene.drill("b.age", &etcd).run().ends_with(13);
    scene.drill("missing.age", &etcd).run().ends_with(10);
    let plan = scene.drill("a.age", &etcd).arg("-n").succeed().object();
    assert_eq!(plan["dry_run"], true);
    assert!(!started.exists());
    scene.is_clean();
}

/// The etcd of these tests behind a script that spoils what was restored, as a bad disk or a bad restore would.
#[test]
fn an_etcd_that_serves_something_else_is_noticed() {
    let scene = Scene::new();
    for (number, etcd) in etcds().into_iter().enumerate() {
        let archive = format!("{number}.age");
        scene.loaded(&etcd, &archive);
        let spoiling = |name: &str, how: &str| {
            let text = format!("db=m1/member/snap/db\n[ ! -e $db ] || {how}\nexec {} \"$@\"", etcd.display());
            scene.drill(&archive, &scene.script(name, &text))
        };
        let failure = spoiling("changing", "sed -i 's/bound/unbnd/' $db").run().ends_with(13).object();
        assert_eq!(failure["kind"], "drill_failed", "{failure}");
        assert!(failure["error"].as_str().unwrap().contains("HashKV"), "{failure}");
        scene.is_clean();

        // All pages but the first two: etcd does not start on them, but without them.
        let wiping = "dd if=/dev/zero of=$db bs=4096 seek=2 count=60 conv=notrunc 2>/dev/null";
        let failure = spoiling("wiping", wiping).run().ends_with(13).object();
        assert_eq!(failure["kind"], "drill_failed", "{failure}");
        assert!(failure["error"].as_str().unwrap().contains("started without the data"), "{failure}");
        scene.is_clean();

        // What was served once must be served again.
        let once = "{ [ ! -e started ] && touch started; } || { echo 'panic: not again'; exit 3; }";
        let failure = spoiling("once", once).run().ends_with(13).object();
        assert!(failure["error"].as_str().unwrap().contains("started once more"), "{failure}");
        scene.is_clean();
    }
}

/// An etcd that is older than the data has a reason not to start that is not the archive's fault.
#[test]
fn an_etcd_too_old_for_the_data_is_told_so() {
    let etcds = etcds();
    let (Some(oldest), Some(newest)) =
        (etcds.iter().min_by_key(|etcd| release(etcd)), etcds.iter().max_by_key(|etcd| release(etcd)))
    else {
        return;
    };
    if release(oldest) == release(newest) {
        return skip::refused("every etcd here is of the same version");
    }
    let scene = Scene::new();
    scene.loaded(newest, "a.age");
    let text = format!("[ ! -e m1/member/snap/db ] || exit 2\nexec {} \"$@\"", oldest.display());
    let refuses = scene.script("refuses", &text);
    let needed = release(newest);
    let is_told = |outcome: Outcome| {
        let failure = outcome.ends_with(1).object();
        let error = failure["error"].as_str().unwrap();
        assert!(
            error.ends_with(&format!("does not start on the data, which are of etcd {needed}")),
            "{failure}"
        );
        let hint = failure["hint"].as_str().unwrap();
        assert!(hint.contains(&format!("name etcd {needed} or newer with --etcd")), "{failure}");
        scene.is_clean();
    };
    is_told(scene.drill("a.age", &refuses).run());
    // Those that look refuse by themselves. The others start, and the verdict says so.
    for etcd in etcds.iter().filter(|etcd| release(etcd) < needed) {
        let outcome = scene.drill("a.age", etcd).run();
        if release(etcd).minor >= 6 {
            is_told(outcome);
        } else {
            let report = proved(&outcome.ends_with(0));
            let remark = report["remarks"][0].as_str().unwrap();
            assert!(remark.starts_with(&format!("the data are of etcd {needed}, newer than")), "{report}");
        }
    }
}

/// A drill whose etcd waits for ever, and the process id of that.
fn started_and_stuck(scene: &Scene, more: &[&str]) -> (Running, Pid) {
    let id_file = scene.sandbox.path("id");
    let script = format!("echo $$ > {}.new; mv {0}.new {0}; exec sleep 600", id_file.display());
    let waits = scene.script("waits", &script);
    (scene.drill("a.age", &waits).args(more).start(), written_id(&id_file))
}

/// A drill with a script for etcd that writes the id of a process to `id_file`, and that process.
fn started(scene: &Scene, etcd: &Path, id_file: &Path) -> (Running, Pid) {
    // An earlier script may have written it.
    let _ = std::fs::remove_file(id_file);
    (scene.drill("a.age", etcd).start(), written_id(id_file))
}

/// The process id in the file, once it is there.
fn written_id(file: &Path) -> Pid {
    await_that("the drill starts an etcd", || file.exists());
    Pid::from_raw(std::fs::read_to_string(file).unwrap().trim().parse().unwrap()).unwrap()
}

/// Waits until a process that is no child of the test is gone; a zombie counts as gone.
fn is_gone(id: Pid) {
    await_that("etcd ends with the drill", || {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero()));
        test_kill_process(id).is_err() || status.is_ok_and(|status| status.contains(") Z "))
    });
}

#[test]
fn a_signal_leaves_neither_processes_nor_plaintext() {
    for (signal, code) in [("TERM", 143), ("HUP", 143), ("INT", 130)] {
        let Some(scene) = Scene::small() else { return };
        let (running, etcd) = started_and_stuck(&scene, &["--metrics-file", "drill.prom"]);
        running.signal(signal);
        running.wait().ends_with(code);
        let told = metrics(&std::fs::read_to_string(scene.sandbox.path("drill.prom")).unwrap());
        assert!((told["success"], told["exit_code"]) == (0.0, code.into()), "{told:?}");
        is_gone(etcd);
        scene.is_clean();
    }
}

#[test]
fn a_killed_drill_leaves_no_etcd_and_the_next_removes_the_rest() {
    let Some(scene) = Scene::small() else { return };
    let (running, etcd) = started_and_stuck(&scene, &[]);
    drop(running);
    is_gone(etcd);
    let left = scene.sandbox.names("scratch");
    assert_eq!(left.len(), 1, "{left:?}");
    let aged = scene.sandbox.program("touch").args(["-d", "2 hours ago"]);
    aged.arg(scene.sandbox.path("scratch").join(&left[0])).succeed();
    let fails = scene.script("fails", "exit 1");
    scene.drill("a.age", &fails).run().ends_with(1);
    scene.is_clean();
}

/// A script that forks, even into another session, and one that ends before what it has started: whether the drill is killed or
/// fails, nothing of it stays.
#[test]
fn nothing_that_etcd_starts_outlives_the_drill() {
    let Some(scene) = Scene::small() else { return };
    let id_file = scene.sandbox.path("id");
    let told = format!("echo $! > {}.new; mv {0}.new {0}", id_file.display());
    for (number, script) in [
        format!("sleep 600 & {told}; wait"),
        format!("setsid sleep 600 & {told}; wait"),
        format!("(setsid sh -c 'setsid sleep 600 & {told}' &) ; sleep 600"),
    ]
    .iter()
    .enumerate()
    {
        let etcd = scene.script(&format!("forks-{number}"), script);
        let (running, sleeper) = started(&scene, &etcd, &id_file);
        drop(running);
        is_gone(sleeper);
        // And when it ends by itself.
        let _ = std::fs::remove_file(&id_file);
        let drill = scene.drill("a.age", &etcd).args(["--timeout", "1s"]);
        drill.run().ends_with(1);
        is_gone(written_id(&id_file));
    }
    // One that leaves it behind and ends.
    let _ = std::fs::remove_file(&id_file);
    let leaves = scene.script("leaves", &format!("setsid sleep 600 & {told}; exit 3"));
    let failure = scene.drill("a.age", &leaves).run().ends_with(1).object();
    assert!(failure["error"].as_str().unwrap().contains("exit status: 3"), "{failure}");
    is_gone(written_id(&id_file));
    // What the killed drills have left would go a minute later.
    for name in scene.sandbox.names("scratch") {
        std::fs::remove_dir_all(scene.sandbox.path("scratch").join(name)).unwrap();
    }
    scene.is_clean();
}

/// What holds etcd and all that it starts is a process, too, and may be killed alone: then the drill ends the rest itself.
#[test]
fn what_has_left_its_session_ends_even_where_only_the_tether_is_killed() {
    let Some(scene) = Scene::small() else { return };
    let id_file = scene.sandbox.path("id");
    let told = format!("echo $! > {}.new; mv {0}.new {0}", id_file.display());
    for (number, script) in [
        format!("setsid sleep 600 & {told}; wait"),
        format!("(setsid sh -c 'setsid sleep 600 & {told}' &) ; sleep 600"),
    ]
    .iter()
    .enumerate()
    {
        let etcd = scene.script(&format!("daemon-{number}"), script);
        let (running, sleeper) = started(&scene, &etcd, &id_file);
        let tethers = children_of(running.child.id());
        assert_eq!(tethers.len(), 1, "{tethers:?}");
        kill_process(tethers[0], Signal::KILL).unwrap();
        running.wait().ends_with(1);
        is_gone(sleeper);
    }
    scene.is_clean();
}

/// The children of a process.
fn children_of(parent: u32) -> Vec<Pid> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().map(Result::unwrap) {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let status = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let behind_name = status.rsplit(')').next().unwrap_or_default();
        if behind_name.split_whitespace().nth(1) == Some(&parent.to_string()) {
            found.extend(Pid::from_raw(id));
        }
    }
    found
}

/// It runs any program, so nothing but a drill may have it do so.
#[test]
fn tether_serves_nothing_but_a_drill() {
    let sandbox = Sandbox::new();
    let own = std::process::id().to_string();
    for more in [&[][..], &["--directly"]] {
        let words = |owner: &str| {
            let tether = sandbox.seal(["tether", owner]).args(more).args(["--", "touch", "ran"]);
            tether.run().ends_with(1)
        };
        words(&own).says("for etcd-seal alone");
        words("1").says("the command that started it is gone");
        let script = format!(": | \"$0\" tether $$ {} -- touch ran; exit $?", more.join(" "));
        let shell = sandbox.program("bash").args(["-c", &script, etcd_seal()]);
        shell.fails_with(1, "for etcd-seal alone");
    }
    assert!(!sandbox.path("ran").exists());
}

#[test]
fn a_scratch_place_that_others_can_write_is_refused() {
    let Some(scene) = Scene::small() else { return };
    let place = scene.sandbox.path("scratch");
    let starts = scene.sandbox.path("started");
    let etcd = scene.script("etcd", &format!("touch {}; exit 1", starts.display()));
    let set = |mode: u32| {
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(0o777);
    for more in [&[][..], &["-n"]] {
        let refused = scene.drill("a.age", &etcd).args(more).run().ends_with(2);
        let failure = refused.object();
        assert!(failure["error"].as_str().unwrap().contains("can be written by other users"), "{failure}");
        assert!(failure["hint"].as_str().unwrap().contains("chmod +t"), "{failure}");
    }
    if skip::is_root("only root can give directories away") {
        set(0o755);
        std::os::unix::fs::chown(&place, Some(1234), Some(1234)).unwrap();
        scene.drill("a.age", &etcd).run().ends_with(2);
        std::os::unix::fs::chown(&place, Some(0), Some(0)).unwrap();
    }
    assert!(!starts.exists());
    set(0o1777);
    scene.drill("a.age", &etcd).run().ends_with(1);
    assert!(starts.exists());
    scene.is_clean();
}
