//! No plaintext leaves the program: not into a file, not into a pipe, not into memory others see.
//!
//! Random markers are planted in the values of a real etcd, and strace shows every buffer the program hands to the
//! kernel. That this finds what it is looking for is shown with commands that do spool plaintext.

use harness::program::{Program, etcd_seal};
use harness::sandbox::{Sandbox, names};
use harness::skip;
use harness::snapshots::random;
use harness::trace::{Call, Markers, assert_nothing_is_invisible, traced, written_paths};
use harness::{Etcd, an_etcd, each_etcd, needs, run};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How many values are planted, and how many bytes each has: all of it is markers, which zstd therefore leaves as
/// they are, so that even a compressed spool would show them.
const VALUES: usize = 20;
const VALUE_SIZE: usize = 50_000;

/// What is left of the markers where every page and every write may cut some in two.
const MOST_MARKERS: usize = VALUES * (VALUE_SIZE / 16) * 9 / 10;

/// Where Linux keeps memory that has a name.
const SHARED_MEMORY: &str = "/dev/shm";

/// Plants values of markers only.
fn plant(etcd: &Etcd) -> Markers {
    let secret = random(VALUES * VALUE_SIZE);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = etcd_client::Client::connect([etcd.address()], None).await.unwrap();
        for (number, value) in secret.chunks(VALUE_SIZE).enumerate() {
            client.put(format!("/registry/secrets/{number}"), value, None).await.unwrap();
        }
    });
    Markers::of(&secret)
}

/// A command that runs `script` with a shell, and may spool.
fn shell(sandbox: &Sandbox, script: &str, arguments: &[&OsStr]) -> Program {
    sandbox.program("sh").args(["-euc", script, "sh"]).args(arguments)
}

/// Whether any file in the sandbox, or a new one in shared memory, holds a marker.
fn assert_no_file_holds(markers: &Markers, sandbox: &Sandbox, shared_before: &[String], except: &[&Path]) {
    let fresh = names(Path::new(SHARED_MEMORY)).into_iter().filter(|name| !shared_before.contains(name));
    let shared = fresh.map(|name| Path::new(SHARED_MEMORY).join(name)).filter(|path| path.is_file());
    for file in sandbox.files().into_iter().chain(shared).filter(|file| !except.contains(&file.as_path())) {
        assert_eq!(markers.count(&std::fs::read(&file).unwrap()), 0, "{}", file.display());
    }
    assert!(names(&sandbox.path("tmp")).is_empty());
    assert!(names(&sandbox.path("home")).is_empty());
    assert!(names(&sandbox.path("work")).is_empty());
}

/// Runs a command that must succeed and let no marker out.
fn assert_silent(markers: &Markers, command: Program) -> Vec<Call> {
    let told = format!("{command:?}");
    let (ended, calls) = traced(command);
    let ended = ended.ends_with(0);
    assert_eq!(markers.count(&ended.stdout) + markers.count(ended.stderr.as_bytes()), 0);
    assert_nothing_is_invisible(&calls);
    assert_eq!(markers.leaked(&calls), 0, "{told}");
    calls
}

/// `verify` and `info` open an archive, with a key and without, from a file and from a pipe, and write nothing at all.
fn assert_reading_is_silent(markers: &Markers, sandbox: &Sandbox, archive: &Path) {
    for name in ["verify", "info"] {
        for command in [sandbox.seal([name]), sandbox.open(name)] {
            let calls = assert_silent(markers, command.arg(archive).arg("-v"));
            assert_eq!(written_paths(&calls), [].into(), "{name}");
        }
        let script = r#"cat "$1" | "$2" "$3" -i "$4" -"#;
        let (program, identity) = (OsStr::new(etcd_seal()), sandbox.identity());
        let piped =
            shell(sandbox, script, &[archive.as_os_str(), program, OsStr::new(name), identity.as_os_str()]);
        let calls = assert_silent_but_for_cat(markers, piped);
        assert_eq!(written_paths(&calls), [].into(), "{name}");
    }
}

/// The same for a pipeline: `cat` may use calls that show nothing.
fn assert_silent_but_for_cat(markers: &Markers, command: Program) -> Vec<Call> {
    let told = format!("{command:?}");
    let (ended, calls) = traced(command);
    ended.ends_with(0);
    assert_eq!(markers.leaked(&calls), 0, "{told}");
    calls
}

/// Until the archive has its name nothing was created but temporaries of our own, private from their first moment.
fn assert_only_temporaries_before_the_commit(calls: &[Call], archive: &Path) {
    let name = archive.file_name().unwrap();
    let commit = calls.iter().position(|call| call.name.starts_with("rename") && call.succeeded()).unwrap();
    assert_eq!(calls[commit].path(1), Path::new(name), "{:?}", calls[commit]);
    assert!(calls[commit].text.contains("RENAME_NOREPLACE"), "{:?}", calls[commit]);
    let mut created = Vec::new();
    for call in calls.iter().filter(|call| call.opens_to_write() && call.succeeded()) {
        let path = call.path(0);
        let name = path.to_str().unwrap();
        let random = name.strip_prefix(".etcd-seal-").and_then(|rest| rest.strip_suffix(".tmp"));
        assert!(random.is_some_and(|random| random.len() == 16), "{call:?}");
        // The program looks whether a second lock on its own temporary is refused.
        if call.text.contains("O_CREAT") {
            assert!(call.text.contains("O_EXCL") && call.text.contains("0600"), "{call:?}");
            created.push(path);
        }
    }
    assert_eq!(created.len(), 2, "the archive and its sidecar: {created:?}");
    let named: Vec<PathBuf> = calls
        .iter()
        .filter(|call| ["rename", "link", "symlink", "mk"].iter().any(|verb| call.name.starts_with(verb)))
        .map(|call| call.path(1))
        .collect();
    let mut sidecar = name.to_owned();
    sidecar.push(".sha256");
    assert_eq!(named, [PathBuf::from(name), sidecar.into()]);
}

/// Saves in several ways from etcd and from a snapshot; returns the archives.
fn assert_saving_is_silent(markers: &Markers, sandbox: &Sandbox, etcd: &Etcd, snapshot: &Path) {
    let address = etcd.address();
    let endpoint: &[&OsStr] = &["--endpoints".as_ref(), address.as_ref()];
    let from: &[&OsStr] = &["--from".as_ref(), snapshot.as_os_str()];
    let small: &[&OsStr] = &["--frame-size".as_ref(), "64KiB".as_ref(), "--level".as_ref(), "19".as_ref()];
    for (number, arguments) in
        [endpoint.to_vec(), from.to_vec(), [endpoint, small].concat(), [from, small].concat()]
            .iter()
            .enumerate()
    {
        let archive = sandbox.backups().join(format!("{number}.db.zst.age"));
        let calls =
            assert_silent(markers, sandbox.save().args(arguments).arg(&archive).args(["-v", "--json"]));
        assert_only_temporaries_before_the_commit(&calls, &archive);
        for file in [archive.clone(), sandbox.backups().join(format!("{number}.db.zst.age.sha256"))] {
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o600);
        }
    }
}

#[test]
fn no_marker_leaves_save_verify_or_info() {
    needs!(skip::can_trace());
    for etcd in each_etcd() {
        let markers = plant(&etcd);
        let sandbox = Sandbox::furnished();
        let shared_before = names(Path::new(SHARED_MEMORY));
        let snapshot = sandbox.path("snapshot.db");
        run(etcd.etcdctl().args(["snapshot", "save"]).arg(&snapshot));
        let there = markers.count(&std::fs::read(&snapshot).unwrap());
        assert!(there > MOST_MARKERS, "they are in the snapshot: {there}");

        assert_saving_is_silent(&markers, &sandbox, &etcd, &snapshot);
        let archives: Vec<PathBuf> =
            (0..4).map(|number| sandbox.backups().join(format!("{number}.db.zst.age"))).collect();
        assert_reading_is_silent(&markers, &sandbox, &archives[0]);
        assert_reading_is_silent(&markers, &sandbox, &archives[2]);
        assert_no_file_holds(&markers, &sandbox, &shared_before, &[&snapshot]);

        // What was sealed holds them all the same.
        for archive in archives {
            let restored = sandbox.open("restore").arg(archive).args(["-o", "-"]).succeed();
            assert!(markers.count(&restored.stdout) > MOST_MARKERS);
        }
    }
}

#[test]
fn a_save_that_fails_lets_no_marker_out_either() {
    needs!(skip::can_trace());
    let Some(etcd) = an_etcd() else { return };
    let markers = plant(&etcd);
    let sandbox = Sandbox::furnished();
    let shared_before = names(Path::new(SHARED_MEMORY));
    let snapshot = sandbox.path("snapshot.db");
    run(etcd.etcdctl().args(["snapshot", "save"]).arg(&snapshot));
    let mut damaged = std::fs::read(&snapshot).unwrap();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(&snapshot, damaged).unwrap();
    for destination in [sandbox.backups().as_os_str(), OsStr::new("-")] {
        let (ended, calls) = traced(sandbox.save().arg(destination).arg("--from").arg(&snapshot).arg("-v"));
        let ended = ended.ends_with(13);
        assert_eq!(markers.count(&ended.stdout) + markers.leaked(&calls), 0);
        assert_nothing_is_invisible(&calls);
        assert!(ended.stderr.contains(snapshot.to_str().unwrap()), "it names the file: {}", ended.stderr);
    }
    assert!(sandbox.published().is_empty());
    assert_no_file_holds(&markers, &sandbox, &shared_before, &[&snapshot]);
}

#[test]
fn the_search_finds_the_markers_of_commands_that_spool() {
    needs!(skip::can_trace());
    let Some(etcd) = an_etcd() else { return };
    let markers = plant(&etcd);
    let sandbox = Sandbox::furnished();
    let etcdctl = etcd.etcdctl();
    let (etcdctl, address) = (etcdctl.get_program(), etcd.address());
    let (program, backups) = (OsStr::new(etcd_seal()), sandbox.backups());
    let arguments = [etcdctl, address.as_ref(), program, sandbox.recipient.as_ref(), backups.as_os_str()];
    for script in [
        // What etcd-seal is there to replace.
        r#""$1" --endpoints "$2" snapshot save "$TMPDIR/spool""#,
        // It cleans up after itself, and only what it wrote gives it away.
        r#""$1" --endpoints "$2" snapshot save "$TMPDIR/spool" && "$3" save "$5" -r "$4" --from "$TMPDIR/spool" && rm "$TMPDIR/spool""#,
        // It compresses what it spools.
        r#""$1" --endpoints "$2" snapshot save "$TMPDIR/spool" >"$TMPDIR/log" && rm -f "$TMPDIR/x" && zstd -q "$TMPDIR/spool" -o "$TMPDIR/x""#,
        // It keeps the plaintext off the disks but in a pipe.
        r#""$1" --endpoints "$2" snapshot save "$TMPDIR/spool2" >"$TMPDIR/log" && cat "$TMPDIR/spool2" | wc -c"#,
    ] {
        let (ended, calls) = traced(shell(&sandbox, script, &arguments));
        ended.ends_with(0);
        let leaked = markers.leaked(&calls);
        assert!(leaked > MOST_MARKERS, "{script}: {leaked}");
        let _ = std::fs::remove_file(sandbox.path("tmp/spool"));
    }
    let compressed = std::fs::read(sandbox.path("tmp/x")).unwrap();
    assert!(markers.count(&compressed) > MOST_MARKERS, "a compressed spool still shows them");

    // And of our own program, where it is asked to give the plaintext out.
    let archive = sandbox.archive();
    let (ended, calls) = traced(sandbox.open("restore").arg(archive).args(["-o", "-"]));
    assert!(markers.count(&ended.ends_with(0).stdout) > MOST_MARKERS);
    assert!(markers.leaked(&calls) > MOST_MARKERS);
}
