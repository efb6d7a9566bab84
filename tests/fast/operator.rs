//! What an operator is told, and what a dry run finds, seen from outside the program.

use harness::refusal::{IDENTITY, RECIPIENT, scene, snapshot};
use harness::sandbox::Sandbox;
use harness::{Etcd, LOOPBACK_NAMES, Options, Pki, ServerTls, dead_address, etcds, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_dry_run_checks_what_it_can() {
    let sandbox = Sandbox::new();
    sandbox.make_directory("out");
    let certificate = sandbox.write("c.pem", "no certificate");
    let certificate = certificate.to_str().unwrap();
    let dead = dead_address();
    for (words, wrong) in [
        (&["--endpoints", "ftp://h:1"][..], "unknown scheme"),
        (&["--endpoints", &dead, "--cacert", certificate], "cannot use --cacert"),
        (&["--endpoints", &dead, "--cert", certificate], "--cert is given without --key"),
    ] {
        for dry in [&[][..], &["-n"]] {
            let save = ["save", "out", "-r", RECIPIENT];
            let outcome = sandbox.seal(save.iter().chain(words).chain(dry)).run();
            outcome.ends_with(2).says(wrong);
            assert!(sandbox.names("out").is_empty());
        }
    }
    sandbox.seal(["save", "-n", "out", "-r", RECIPIENT, "--endpoints", &dead]).succeed();
    // No question for a passphrase or password comes before that.
    let save = ["save", "out", "-p", "--endpoints", "ftp://h:1"];
    sandbox.seal(save).fails_with(2, "unknown scheme");
}

/// Under cron no user looks at certificates: the end of the client's is told two weeks before, also with -q.
#[test]
fn a_client_certificate_that_ends_soon_is_warned_of() {
    let (sandbox, pki) = (Sandbox::new(), Pki::new());
    sandbox.make_directory("out");
    for (days, told) in [(30, None), (5, Some("expires in ")), (-1, Some("has expired, "))] {
        let leaf = pki.issue_for_days("client", LOOPBACK_NAMES, days);
        let save = ["save", "-n", "-q", "out", "-r", RECIPIENT, "--endpoints", "https://127.0.0.1:1"];
        let save = sandbox.seal(save).arg("--cert").arg(&leaf.certificate).arg("--key").arg(&leaf.key);
        let outcome = save.succeed();
        let warnings: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains("warning: ")).collect();
        assert_eq!(warnings.len(), usize::from(told.is_some()), "{days}: {warnings:?}");
        assert!(told.is_none_or(|told| warnings[0].contains(told)), "{days}: {warnings:?}");
    }
}

#[test]
fn a_member_s_certificate_that_ends_soon_is_warned_of_once() {
    let (sandbox, pki) = (Sandbox::new(), Pki::new());
    sandbox.make_directory("out");
    let binary = etcds().swap_remove(0);
    for (days, told) in [(30, 0), (5, 1)] {
        let leaf = pki.issue_for_days("server", LOOPBACK_NAMES, days);
        let tls = Some(ServerTls { leaf, client_authority: None });
        let member = Etcd::start(&binary, &Options { tls, ..Options::default() });
        let endpoint = format!("https://{}", member.address());
        let save = ["save", "-q", "out", "-r", RECIPIENT, "--endpoints", &endpoint, "--cacert"];
        let outcome = sandbox.seal(save).arg(pki.authority()).succeed();
        let warnings: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains("warning: ")).collect();
        assert_eq!(warnings.len(), told, "{days}: {warnings:?}");
        let words = format!("the certificate of the member at {endpoint} expires in ");
        assert!(warnings.iter().all(|warning| warning.contains(&words)), "{days}: {warnings:?}");
    }
}

#[test]
fn a_dry_restore_reads_the_identities() {
    let scene = scene!();
    let restore =
        |identity| scene.sandbox.seal(["restore", "-n", "a.age", "-o", "x.db", "-i", identity]).run();
    restore("key.txt").ends_with(0);
    restore("missing.txt").ends_with(2).says("missing.txt");
    restore("snapshot.db").ends_with(2);
}

#[test]
fn an_identity_comes_from_standard_input() {
    let scene = scene!();
    let verify = scene.sandbox.seal(["verify", "a.age", "-i", "-"]);
    // Longer than any buffer, so that memory has to grow.
    let long = format!("{}{IDENTITY}\n", "# a comment\n".repeat(10_000));
    verify.input(long).succeed();
}

#[test]
fn a_malformed_sidecar_does_not_hide_that_the_content_is_whole() {
    let scene = scene!();
    scene.sandbox.write("a.age.sha256", "nonsense\n");
    let verify = || scene.sandbox.seal(["verify", "a.age", "-i", "key.txt"]).run();
    verify().ends_with(13).says("a.age: the content is whole, but a.age.sha256 is no sidecar");
    let mut archive = scene.archive();
    let middle = archive.len() / 2;
    archive[middle] ^= 1;
    scene.sandbox.write("a.age", archive);
    let damaged = verify().ends_with(13);
    assert!(!damaged.stderr.contains("whole"), "{}", damaged.stderr);
}

/// Whatever is said of a later format is said of the archive, not of what stands beside it.
#[test]
fn a_malformed_sidecar_does_not_hide_a_later_format() {
    let sandbox = Sandbox::new();
    sandbox.write("x.age", include_bytes!("../vectors/version-2.age"));
    sandbox.write("x.age.sha256", "nonsense\n");
    sandbox.seal(["verify", "x.age"]).run().ends_with(15);
}

/// `DIR/*`, as a shell spells it out: the files beside an archive are no archives, and the last line counts.
#[test]
fn all_files_of_a_directory_are_verified_without_their_companions() {
    let scene = scene!();
    for name in ["b.age", "c.age"] {
        scene.seal(["save", &format!("out/{name}"), "--from", "snapshot.db", "-r", RECIPIENT]);
    }
    scene.sandbox.write("out/b.age.sig", "a signature");
    scene.sandbox.write("out/b.age.sha256.sig", "a signature");
    let all = [
        "out/b.age",
        "out/b.age.sha256",
        "out/b.age.sha256.sig",
        "out/b.age.sig",
        "out/c.age",
        "out/c.age.sha256",
    ];
    let run = |first: &[&str], names: &[&str]| scene.sandbox.seal(first.iter().chain(names)).run();
    for names in [&all[..], &["out"], &["out/"]] {
        for first in [&["verify"][..], &["verify", "-i", "key.txt"]] {
            let outcome = run(first, names).ends_with(0);
            let lines: Vec<&str> = outcome.text().lines().collect();
            assert_eq!(lines.len(), 3, "{lines:?}");
            assert!(lines[0].starts_with("out/b.age: ") && lines[1].starts_with("out/c.age: "), "{lines:?}");
            assert_eq!((lines[2], outcome.stderr.as_str()), ("2 archives: 2 passed", ""));
        }
        let json = run(&["verify", "--json"], names).ends_with(0);
        let paths = json.text().lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        assert_eq!(paths.map(|told| told["path"].clone()).collect::<Vec<_>>(), ["out/b.age", "out/c.age"]);
        assert_eq!(run(&["verify", "-q"], names).ends_with(0).text(), "");
        let info = run(&["info"], names).ends_with(0);
        assert!(info.text().contains("out/c.age") && !info.text().contains("archives: "), "{}", info.text());
    }
    // The signature of an archive that is gone is no archive, and is not passed over; nor is damage.
    fs::remove_file(scene.sandbox.path("out/b.age")).unwrap();
    scene.sandbox.write("out/c.age", "damaged");
    scene.sandbox.make_directory("empty");
    let outcome = run(&["verify"], &["a.age", "out/b.age.sig", "out", "empty"]).ends_with(13);
    assert!(outcome.text().ends_with("\n4 archives: 1 passed, 3 failed\n"), "{}", outcome.text());
    outcome.says("name out/b.age").says("out/c.age: ").says("there is no archive in empty");
}

#[test]
fn no_passphrase_is_called_wrong_that_was_not_tried() {
    let scene = scene!();
    scene.sandbox.write("passphrase", "correct horse");
    let save = ["save", "p.age", "--from", "snapshot.db", "-p"];
    scene.sandbox.seal(save).env("ETCD_SEAL_PASSPHRASE_FILE", "passphrase").succeed();
    let outcome = scene.sandbox.seal(["verify", "p.age", "-i", "key.txt"]).run().ends_with(12);
    assert!(!outcome.stderr.contains("wrong"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("pass -p"), "{}", outcome.stderr);
    scene.sandbox.write("passphrase", "wrong donkey");
    let verify = scene.sandbox.seal(["verify", "p.age", "-p"]);
    let verify = verify.env("ETCD_SEAL_PASSPHRASE_FILE", "passphrase").run();
    verify.ends_with(12).says("the passphrase is wrong");
}

#[test]
fn wrong_words_do_not_go_where_an_archive_was_to_go() {
    let sandbox = Sandbox::new();
    for words in [&["save", "--json", "--levle=3"][..], &["save", "--json"]] {
        let outcome = sandbox.seal(words).env("ETCD_SEAL_DESTINATION", "-").run().ends_with(2);
        assert_eq!(outcome.text(), "", "{words:?}");
        assert!(outcome.stderr.contains("\"ok\":false"), "{}", outcome.stderr);
    }
}

#[test]
fn a_save_tells_how_long_the_stream_was_open_and_when_it_was_sealed() {
    let Some(etcd) = etcds().first().map(|etcd| Etcd::start(etcd, &Options::default())) else { return };
    let sandbox = Sandbox::new();
    sandbox.make_directory("out");
    let save = || sandbox.seal(["save", "out", "-r", RECIPIENT, "--force", "--endpoints", &etcd.address()]);
    assert!(save().succeed().text().contains(" (stream "));
    let told = save().arg("--json").succeed().object();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    assert!(text("sealed_at") >= text("snapshot_started_at"), "{told}");
}

#[test]
fn a_sealed_file_has_one_time() {
    let scene = scene!();
    let told = scene.seal(["save", "out", "--from", "snapshot.db", "-r", RECIPIENT, "--json"]).object();
    let in_name = told["sealed_at"].as_str().unwrap().replace(['-', ':'], "");
    assert!(told["path"].as_str().unwrap().contains(&in_name), "{told}");
    assert_eq!(fs::read_dir(scene.sandbox.path("out")).unwrap().count(), 2);
}

#[test]
fn a_snapshot_without_a_digest_is_told_the_way_in() {
    let scene = scene!();
    let snapshot = snapshot().unwrap();
    scene.sandbox.write("absent.db", &snapshot[..snapshot.len() - 32]);
    let mut wrong = snapshot.to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    scene.sandbox.write("wrong.db", wrong);
    let database = &snapshot[..snapshot.len() - 32];
    scene.sandbox.write("copied.db", [database, &[0; 2048]].concat());
    scene.sandbox.write("copied-and-a-byte.db", [database, &[0; 2049]].concat());
    scene.sandbox.write("a-byte.db", [snapshot, &[0]].concat());
    for name in ["absent.db", "wrong.db", "copied.db", "copied-and-a-byte.db", "a-byte.db"] {
        let restore = || scene.sandbox.seal(["restore", "--from-snapshot", name, "--data-dir", "d"]);
        let refused = restore().fails_with(13, "--skip-hash-check --force");
        assert!(!refused.stderr.contains("--allow-missing-digest"), "{}", refused.stderr);
        assert!(!scene.sandbox.path("d").exists());
        restore().args(["--skip-hash-check", "--force"]).run().ends_with(3);
        fs::remove_dir_all(scene.sandbox.path("d")).unwrap();
    }
}

#[test]
fn a_copied_database_is_told_the_way_into_an_archive() {
    let scene = scene!();
    let snapshot = snapshot().unwrap();
    scene.sandbox.write("copied.db", [&snapshot[..snapshot.len() - 32], &[0; 2048]].concat());
    let save = || scene.sandbox.seal(["save", "out/copied.age", "--from", "copied.db", "-r", RECIPIENT]);
    let _ = save().run().ends_with(13).says("as the db file of a member does").says("--allow-missing-digest");
    let _ = save().args(["--allow-missing-digest"]).run().ends_with(3);
    let restored = scene.sandbox.seal(["restore", "out/copied.age", "-i", "key.txt", "--data-dir", "d"]);
    let _ = restored.args(["--allow-missing-digest"]).run().ends_with(3);
}

/// What would be refused on the bad day is refused while the original still exists.
#[test]
fn a_database_that_no_restore_would_take_is_not_sealed() {
    let scene = scene!();
    let snapshot = snapshot().unwrap();
    let mut damaged = snapshot[..snapshot.len() - 32].to_vec();
    let page_size = usize::try_from(u32::from_le_bytes(damaged[24..28].try_into().unwrap())).unwrap();
    let root = usize::try_from(u64::from_le_bytes(damaged[32..40].try_into().unwrap())).unwrap();
    damaged[root * page_size..][..page_size].fill(0);
    scene.sandbox.write("damaged.db", damaged);
    let save = ["save", "out", "--from", "damaged.db", "-r", RECIPIENT, "--allow-missing-digest"];
    let _ =
        scene.sandbox.seal(save).run().ends_with(13).says("damaged.db: ").says("copy member/snap/db again");
    assert_eq!(fs::read_dir(scene.sandbox.path("out")).unwrap().count(), 0);
}

#[test]
fn a_packed_snapshot_is_taken_and_half_of_one_is_not() {
    use std::io::Write;
    let scene = scene!();
    let snapshot = snapshot().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(snapshot).unwrap();
    let zstd = zstd::encode_all(snapshot, 1).unwrap();
    for (name, packed) in [("snapshot.gz", gzip.finish().unwrap()), ("snapshot.zst", zstd)] {
        scene.sandbox.write(name, &packed);
        let words = ["save", "out/a.age", "--force", "-r", RECIPIENT, "--from"];
        let _ = scene.sandbox.seal(words).args([name]).run().ends_with(0);
        let _ = scene.sandbox.seal(words).args(["-"]).input(packed.clone()).run().ends_with(0);
        let restore = ["restore", "out/a.age", "-i", "key.txt", "-o", "back.db", "--force"];
        let _ = scene.sandbox.seal(restore).run().ends_with(0);
        assert_eq!(fs::read(scene.sandbox.path("back.db")).unwrap(), snapshot[..], "{name}");
        let restore =
            |name| scene.sandbox.seal(["restore", "--from-snapshot", name, "--data-dir", "d"]).run();
        let _ = restore(name).ends_with(0);
        fs::remove_dir_all(scene.sandbox.path("d")).unwrap();
        let _ = scene.sandbox.seal(["verify", name]).run().ends_with(13).says("etcd-seal save --from FILE");

        scene.sandbox.write("half", &packed[..packed.len() / 2]);
        let _ =
            scene.sandbox.seal(["save", "out/b.age", "-r", RECIPIENT, "--from", "half"]).run().ends_with(13);
        let _ = restore("half").ends_with(13).says("cut short");
        assert!(!scene.sandbox.path("out/b.age").exists() && !scene.sandbox.path("d").exists());
    }
}

#[test]
fn a_new_cluster_with_the_id_of_the_lost_one_is_warned_of() {
    let Some(etcd) = etcds().first().map(|etcd| Etcd::start(etcd, &Options::default())) else { return };
    let sandbox = Sandbox::new();
    sandbox.write("key.txt", format!("{IDENTITY}\n"));
    sandbox.seal(["save", "a.age", "-r", RECIPIENT, "--endpoints", &etcd.address()]).succeed();
    let members = run(etcd.etcdctl().args(["member", "list"]));
    let member: Vec<&str> = members.trim().split(", ").collect();
    let (name, peer_url) = (member[2], member[3]);
    for (token, warned) in [("etcd-cluster", true), ("another", false)] {
        let restore = ["restore", "a.age", "-i", "key.txt", "--data-dir", token, "--name", name];
        let restore = sandbox.seal(restore).args(["--initial-cluster-token", token]);
        let restore = restore.args(["--initial-cluster", &format!("{name}={peer_url}")]);
        let restored = restore.args(["--initial-advertise-peer-urls", peer_url]).succeed();
        assert_eq!(restored.stderr.contains("has the id of the lost one"), warned, "{}", restored.stderr);
    }
}

/// Neither may be what the operator wanted, and neither shows otherwise.
#[test]
fn a_key_that_all_can_read_and_a_password_that_ends_in_a_line_break_are_warned_of() {
    let sandbox = Sandbox::new();
    let key = sandbox.write("key.txt", IDENTITY);
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let outcome = sandbox.seal(["info", "-i", "key.txt", "absent.age"]).run();
        let all = "every user of this host can read the identity file key.txt";
        assert_eq!(outcome.stderr.contains(all), warned, "{mode:o}: {}", outcome.stderr);
    }
    sandbox.make_directory("out");
    for (password, warned) in [("secret", false), ("secret\n", true), ("secret\r\n", true)] {
        let save = ["save", "-n", "out", "-r", RECIPIENT, "--user", "root", "--endpoints", "127.0.0.1:1"];
        let outcome = sandbox.seal(save).env("ETCDCTL_PASSWORD", password).succeed();
        let told = outcome.stderr.contains("the password ends in a line break");
        assert_eq!(told, warned, "{password:?}: {}", outcome.stderr);
    }
}
