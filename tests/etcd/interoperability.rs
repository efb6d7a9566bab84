//! Promise 4 on real etcds: what we write is what etcd, age, zstd and sha256sum take for their own.
//!
//! Each test goes through every etcd there is, see `harness::etcds`, and every age, see `harness::program::tools`.

use harness::contents::{Access, Client, KEYS_LOADED, etcdctl};
use harness::program::{Outcome, tools};
use harness::sandbox::Sandbox;
use harness::{Etcd, LOOPBACK_NAMES, Options, Pki, ServerTls, dead_address, etcds, snapshot_tools};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Saves from where `access` leads into the directory `backups`, and returns the archive's name there.
fn save(sandbox: &Sandbox, recipient: &str, access: &Access) -> (String, Value) {
    sandbox.make_directory("backups");
    let words = ["save", "--json", "-r", recipient, "backups"];
    let report = sandbox.seal(words).args(&access.flags).succeed().object();
    let archive = report["path"].as_str().unwrap().strip_prefix("backups/").unwrap().to_owned();
    assert_eq!(sandbox.names("backups"), [archive.clone(), format!("{archive}.sha256")]);
    (archive, report)
}

/// The snapshot by our own restore, proved.
fn restore(sandbox: &Sandbox, archive: &Path) -> Vec<u8> {
    let words = ["restore", "-i", "key.txt", "-o", "snapshot.db", "--force"];
    sandbox.seal(words).arg(archive).succeed();
    fs::read(sandbox.path("snapshot.db")).unwrap()
}

/// What a stock tool makes of `input`.
fn through(sandbox: &Sandbox, tool: impl AsRef<Path>, words: &[&str], input: Vec<u8>) -> Outcome {
    sandbox.program(tool.as_ref()).args(words).input(input).succeed()
}

/// Every age and zstd give the snapshot, byte for byte; zstd lists and tests what is inside.
fn judge_with_age_and_zstd(sandbox: &Sandbox, archive: &Path, snapshot: &[u8]) {
    let sealed = fs::read(archive).unwrap();
    assert!(!tools("age").is_empty(), "age is needed");
    for age in tools("age") {
        let stream = through(sandbox, &age, &["-d", "-i", "key.txt"], sealed.clone()).stdout;
        let opened = through(sandbox, "zstd", &["-d"], stream.clone()).stdout;
        assert!(opened == snapshot, "{} and zstd give other bytes", age.display());
        sandbox.write("stream.zst", stream);
        sandbox.program("zstd").args(["-t", "stream.zst"]).succeed();
        let listed = sandbox.program("zstd").args(["-lv", "stream.zst"]).succeed();
        let size = format!("({} B)", snapshot.len());
        assert!(listed.text().lines().any(|line| line.starts_with("Decompressed") && line.contains(&size)));
        assert!(listed.text().contains("# Skippable Frames: 3"), "{}", listed.text());
    }
}

fn judge_with_sha256sum(sandbox: &Sandbox, archive: &Path) {
    let sidecar = format!("{}.sha256", archive.file_name().unwrap().to_str().unwrap());
    let checking = sandbox.program("sha256sum").args(["--strict", "-c", &sidecar]);
    checking.working_in(archive.parent().unwrap()).succeed();
    for file in [archive.to_owned(), archive.with_file_name(sidecar)] {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

/// The tools that came with `etcd` accept the snapshot, and make member directories of it; returns one of those.
fn judge_with_etcd_tools(sandbox: &Sandbox, etcd: &Path, report: &Value) -> PathBuf {
    let mut directory = PathBuf::new();
    for tool in snapshot_tools(etcd) {
        let tool = |words: &[&str]| sandbox.program(&tool).args(words).succeed();
        let status = tool(&["snapshot", "status", "snapshot.db", "-w", "json"]).object();
        assert_eq!(status["revision"], report["revision"], "{status} {report}");
        assert!(status["totalKey"].as_u64().unwrap() >= KEYS_LOADED as u64, "{status}");
        directory = sandbox.path(format!("member-{}", sandbox.names(".").len()));
        tool(&["snapshot", "restore", "snapshot.db", "--data-dir", directory.to_str().unwrap()]);
    }
    directory
}

/// A member on a directory that a tool has restored.
fn boot(etcd: &Path, directory: &Path, options: Options) -> Etcd {
    let flags = vec!["--data-dir".to_owned(), directory.to_str().unwrap().to_owned()];
    Etcd::start(etcd, &Options { flags, ..options })
}

/// Everything at once, from a member that `access` leads to, and back.
fn round_trip(
    sandbox: &Sandbox,
    member: &Etcd,
    access: &Access,
    booting: Options,
    again: fn(&Etcd) -> String,
) {
    let before = Client::new(sandbox, member, access.clone()).contents();
    let count = |what: &str| before.lines().filter(|line| line.starts_with(what)).count();
    let counts = ["key: ", "lease ", "role \"reader\": ", "user \"alice\": "].map(count);
    assert_eq!(counts, [KEYS_LOADED, 4, 1, 1], "{before}");
    let recipient = sandbox.keygen("key.txt");
    let (archive, report) = save(sandbox, &recipient, access);
    let archive = sandbox.path("backups").join(archive);
    let snapshot = restore(sandbox, &archive);
    assert_eq!(report["snapshot_size"], snapshot.len());
    judge_with_age_and_zstd(sandbox, &archive, &snapshot);
    judge_with_sha256sum(sandbox, &archive);
    let directory = judge_with_etcd_tools(sandbox, member.binary(), &report);
    let restored = boot(member.binary(), &directory, booting);
    let mut flags = access.clone();
    flags.flags[1] = again(&restored);
    let after = Client::new(sandbox, &restored, flags).contents();
    for (one, other) in before.lines().zip(after.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(before, after);
}

#[test]
fn a_plain_member_comes_back_whole_through_stock_tools() {
    for binary in etcds() {
        let sandbox = Sandbox::new();
        let member = Etcd::start(&binary, &Options::default());
        let access = Access::new::<&str>(&member.address(), &[]);
        Client::new(&sandbox, &member, access.clone()).load();
        round_trip(&sandbox, &member, &access, Options::default(), Etcd::address);
    }
}

/// A member that wants certificates and users, with what opens it.
struct Guarded {
    sandbox: Sandbox,
    pki: Pki,
    member: Etcd,
    options: Options,
    /// The certificates alone.
    certificates: Access,
}

impl Guarded {
    /// Loaded, and with authentication on.
    fn start(binary: &Path) -> Self {
        let (sandbox, pki) = (Sandbox::new(), Pki::new());
        let server = pki.issue("server", LOOPBACK_NAMES);
        let tls = Some(ServerTls { leaf: server, client_authority: Some(pki.authority()) });
        let options = Options { tls, ..Options::default() };
        let member = Etcd::start(binary, &options);
        let client = pki.issue("client", LOOPBACK_NAMES);
        let certificates = Access::new(&secure(&member), &pki.flags(&client));
        let administrator = Client::new(&sandbox, &member, certificates.clone());
        administrator.load();
        administrator.run(&["user", "add", "root:pass:word"]);
        administrator.run(&["user", "grant-role", "root", "root"]);
        administrator.run(&["auth", "enable"]);
        Self { sandbox, pki, member, options, certificates }
    }
}

fn secure(member: &Etcd) -> String {
    format!("https://{}", member.address())
}

#[test]
fn a_member_with_client_certificates_and_users_comes_back_whole_through_stock_tools() {
    for binary in etcds() {
        let Guarded { sandbox, pki: _pki, member, options, certificates } = Guarded::start(&binary);
        let access = certificates.with(&["--user", "root:pass:word"]);
        round_trip(&sandbox, &member, &access, options, secure);
    }
}

#[test]
fn the_snapshot_is_what_etcdctl_saves() {
    for binary in etcds() {
        let sandbox = Sandbox::new();
        let member = Etcd::start(&binary, &Options::default());
        let access = Access::new::<&str>(&member.address(), &[]);
        Client::new(&sandbox, &member, access.clone()).load();
        let by_etcdctl = |name: &str| {
            etcdctl(&sandbox, &member).args(&access.flags).args(["snapshot", "save", name]).succeed();
            fs::read(sandbox.path(name)).unwrap()
        };
        let recipient = sandbox.keygen("key.txt");
        let first = by_etcdctl("first.db");
        let (archive, _) = save(&sandbox, &recipient, &access);
        let ours = restore(&sandbox, &sandbox.path("backups").join(archive));
        let second = by_etcdctl("second.db");
        for tool in snapshot_tools(&binary) {
            let status = |name| {
                let words = ["snapshot", "status", name, "-w", "json"];
                sandbox.program(&tool).args(words).succeed().object()
            };
            // Its hash is over all keys and values of the database.
            assert_eq!(status("snapshot.db"), status("first.db"));
        }
        assert_eq!(ours.len(), first.len());
        // Newer versions may commit an empty transaction between two snapshots.
        if first == second {
            assert!(ours == first, "etcdctl gets other bytes than we do");
        }
    }
}

#[test]
fn standard_streams_carry_archive_and_snapshot() {
    for binary in etcds() {
        let sandbox = Sandbox::new();
        let member = Etcd::start(&binary, &Options::default());
        let access = Access::new::<&str>(&member.address(), &[]);
        Client::new(&sandbox, &member, access.clone()).load();
        let recipient = sandbox.keygen("key.txt");
        let save = ["save", "-", "--json", "-r", &recipient];
        let saved = sandbox.seal(save).args(&access.flags).succeed();
        assert!(sandbox.names(".").iter().all(|name| name == "key.txt"), "{:?}", sandbox.names("."));
        let report: Value = serde_json::from_str(saved.stderr.lines().last().unwrap()).unwrap();
        assert_eq!((&report["ok"], report["path"].as_str()), (&Value::Bool(true), Some("-")));
        let digest = through(&sandbox, "sha256sum", &[], saved.stdout.clone());
        assert_eq!(digest.text().split(' ').next(), report["archive_sha256"].as_str());

        let restored = sandbox.seal(["restore", "-", "-o", "-", "-i", "key.txt"]).input(saved.stdout.clone());
        let snapshot = restored.succeed().stdout;
        for age in tools("age") {
            let stream = through(&sandbox, age, &["-d", "-i", "key.txt"], saved.stdout.clone()).stdout;
            assert!(through(&sandbox, "zstd", &["-d"], stream).stdout == snapshot);
        }
        for command in ["verify", "info"] {
            sandbox.seal([command, "-", "-i", "key.txt"]).input(saved.stdout.clone()).succeed();
        }
        from_a_file_and_from_standard_input(&sandbox, &recipient, &snapshot);
    }
}

/// `--from FILE` and `--from -` seal what `save` from etcd did, but do not claim to have it from etcd.
fn from_a_file_and_from_standard_input(sandbox: &Sandbox, recipient: &str, snapshot: &[u8]) {
    sandbox.write("existing.db", snapshot);
    let seal = |from: &str, archive: &str| {
        let words = ["save", archive, "--json", "--from", from, "-r", recipient];
        // An etcd that is named in the environment is not asked.
        let sealing = sandbox.seal(words).env("ETCDCTL_ENDPOINTS", dead_address()).input(snapshot);
        let report = sealing.succeed().object();
        assert!(restore(sandbox, &sandbox.path(archive)) == snapshot);
        assert_eq!(report.get("snapshot_started_at"), None, "{report}");
        assert_eq!(report.get("cluster_id"), None, "{report}");
        assert_eq!(report["digest"], "verified");
        report
    };
    let (file, stdin) = (seal("existing.db", "file.age"), seal("-", "stdin.age"));
    assert_eq!((file["source"].as_str(), stdin["source"].as_str()), (Some("file"), Some("stdin")));
    for same in ["snapshot_size", "database_sha256", "recipients", "frame_size"] {
        assert_eq!(file[same], stdin[same]);
    }
    // Into a directory, the name says what is not known.
    sandbox.make_directory("resealed");
    sandbox.seal(["save", "resealed/", "--from", "existing.db", "-r", recipient]).succeed();
    let name = &sandbox.names("resealed")[0];
    assert!(name.starts_with("snapshot-") && name.ends_with("Z-r0.db.zst.age"), "{name}");
}

#[test]
fn dead_endpoints_are_stepped_over_and_sockets_reached() {
    for binary in etcds() {
        let sandbox = Sandbox::new();
        let recipient = sandbox.keygen("key.txt");
        let member = Etcd::start(&binary, &Options::default());
        let dead = dead_address();
        for endpoints in [format!("{dead},{}", member.address()), format!("{},{dead}", member.address())] {
            let saving = sandbox.seal(["save", "-", "--json", "-r", &recipient, "--endpoints", &endpoints]);
            let saved = saving.succeed().says(&dead);
            let report: Value = serde_json::from_str(saved.stderr.lines().last().unwrap()).unwrap();
            assert_eq!(report["endpoint"], member.address());
        }
        let socket = Etcd::start(&binary, &Options { unix: true, ..Options::default() });
        let endpoint = format!("unix://{}", socket.address());
        sandbox.seal(["save", "socket.age", "-r", &recipient, "--endpoints", &endpoint]).succeed();
        assert!(!restore(&sandbox, &sandbox.path("socket.age")).is_empty());
    }
}

#[test]
fn the_environment_of_etcdctl_serves_and_flags_beat_it() {
    for binary in etcds() {
        let Guarded { sandbox, pki, member: _member, certificates, .. } = Guarded::start(&binary);
        let recipient = sandbox.keygen("key.txt");
        let save = |archive: &str| sandbox.seal(["save", archive, "--force", "-r", &recipient]);
        let variables = ["ENDPOINTS", "CACERT", "CERT", "KEY"].iter().zip(certificates.flags.chunks(2));
        let variables: Vec<_> = variables
            .map(|(name, flag)| (format!("ETCDCTL_{name}"), flag[1].clone()))
            .chain([("ETCDCTL_API".to_owned(), "3".to_owned())])
            .collect();
        let with = |archive: &str, wrong: Option<&str>| {
            variables.iter().fold(save(archive), |program, (name, value)| {
                let value = if wrong == Some(name) { "wrong" } else { value };
                program.env(name, value)
            })
        };
        let by_user = with("by-user.age", None).env("ETCDCTL_USER", "root:pass:word").succeed();
        assert!(!by_user.stderr.contains("ETCDCTL"), "{}", by_user.stderr);
        // With a password of its own, all of the user is a name.
        with("by-password.age", None)
            .env("ETCDCTL_USER", "root")
            .env("ETCDCTL_PASSWORD", "pass:word")
            .succeed();
        let flags = &certificates.with(&["--user", "root:pass:word"]).flags;
        for wrong in ["ETCDCTL_ENDPOINTS", "ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY"] {
            with("wrong.age", Some(wrong)).env("ETCDCTL_USER", "root:pass:word").run().fails();
            with("flags.age", Some(wrong)).env("ETCDCTL_USER", "root:wrong").args(flags).succeed();
        }
        assert!(!sandbox.path("wrong.age").exists());

        // A client's certificate in the name of root is a user too, and trusting any certificate works beside it.
        let root = pki.issue("root", LOOPBACK_NAMES);
        let endpoint = certificates.flags[1].as_str();
        let unverified = |word: &str| {
            let by_certificate = save("unverified.age").args(["--endpoints", endpoint, word]);
            by_certificate.arg("--cert").arg(&root.certificate).arg("--key").arg(&root.key)
        };
        unverified("--insecure-skip-tls-verify").succeed();
        unverified("--insecure-skip-tls-verify").env("ETCDCTL_CACERT", &root.certificate).succeed();
        // Not even -q hides it, and the archive remembers.
        let saved = unverified("-q").env("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "true").succeed();
        assert_eq!(saved.stderr.matches("any certificate is accepted").count(), 1, "{}", saved.stderr);
        let info = sandbox.seal(["info", "unverified.age", "-i", "key.txt", "--json"]).succeed();
        assert_eq!(info.object()["tls"], "unverified");
        unverified("-q").run().ends_with(14);
        let refused =
            unverified("--insecure-skip-tls-verify=false").env("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "true");
        refused.run().ends_with(14);
        assert!(!restore(&sandbox, &sandbox.path("unverified.age")).is_empty());
    }
}
