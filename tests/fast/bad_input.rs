//! What cannot be: each is refused with its exit code, in words that name what is wrong and the way out, and leaves
//! nothing behind. The words are held by snapshots, a file for each test.

use harness::program::etcd_seal;
use harness::proxy::{Harm, proxy};
use harness::refusal::{RECIPIENT, Scene, fill_with_noise, scene, snapshot};
use harness::{Etcd, LOOPBACK_NAMES, Options, Pki, ServerTls, can, dead_address, etcds, needs, run};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// `save` of the snapshot, to this destination.
fn save_to(destination: &str) -> String {
    format!("save {destination} --from snapshot.db -r {RECIPIENT}")
}

/// What tests/scenarios cannot say in a line.
#[test]
fn words_of_unusual_length() {
    let mut scene = scene!();
    scene.attempt(&save_to("out")).word("--note").word("n".repeat(9000)).refused(2, "usage");
    scene.attempt(&save_to(&format!("out/{}.age", "x".repeat(300)))).refused(2, "destination");
    let empty = scene.attempt("save").word("").word("--from=snapshot.db").word("-r").word(RECIPIENT);
    empty.refused(2, "destination");
    insta::assert_snapshot!(scene.told());
}

#[test]
fn a_terminal_is_no_destination() {
    needs!(can("script", &["-qec", "true", "/dev/null"]));
    let scene = scene!();
    for words in [save_to("-"), "restore a.age -i key.txt -o -".to_owned()] {
        let program = etcd_seal();
        let line = format!("{program} {words} 2>errors");
        let outcome = scene.sandbox.program("script").args(["-qec", &line, "/dev/null"]).run().ends_with(2);
        let said = fs::read_to_string(scene.sandbox.path("errors")).unwrap();
        assert!(said.contains("error: standard output is a terminal, no place for a"), "{said}");
        assert!(said.contains("\netcd-seal: hint: name a file, or pipe it into something\n"), "{said}");
        assert_eq!(outcome.text(), "", "something went to the terminal");
        assert_eq!(scene.sandbox.names("out"), [""; 0]);
    }
}

/// A script that runs the program with `out` on a tmpfs of its own, and fails otherwise if anything is left there.
fn on_tmpfs(options: &str) -> String {
    format!(
        r#"mount -t tmpfs -o {options} tmpfs out || exit 99
        "$@"; code=$?
        [ -z "$(ls -A out)" ] || {{ ls -A out >&2; exit 98; }}
        exit $code"#
    )
}

/// unshare for a mount namespace: what is mounted there ends with the program.
fn private_mounts() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &["unshare", "-m"] } else { &["unshare", "-r", "-m"] }
}

#[test]
fn destinations_that_cannot_be_written() {
    let mut scene = scene!();
    let mounts = private_mounts();
    if can(mounts[0], &[&mounts[1..], &["sh", "-c", "mount -t tmpfs tmpfs /tmp"]].concat()) {
        for (options, kind) in [("ro", "io"), ("size=128k", "no_space")] {
            let script = on_tmpfs(options);
            let wrapper = [mounts, &["sh", "-c", &script, "sh"]].concat();
            scene.attempt(&save_to("out/x.age")).behind(&wrapper).refused(1, kind);
            scene.attempt("restore a.age -i key.txt -o out/s.db").behind(&wrapper).refused(1, kind);
        }
    }
    let limited = r#"ulimit -f 64; exec "$@""#;
    scene.attempt(&save_to("out/x.age")).in_shell(limited).refused(1, "no_space");
    scene.attempt("restore a.age -i key.txt -o out/s.db").in_shell(limited).refused(1, "no_space");
    let full = r#"exec "$@" >/dev/full"#;
    let told_without_a_reader = |words: &str, code| {
        let program = [env!("CARGO_BIN_EXE_etcd-seal")];
        let words = program.into_iter().chain(words.split_whitespace());
        scene.sandbox.program("sh").args(["-c", full, "sh"]).args(words).run().ends_with(code).stderr
    };
    let said = told_without_a_reader(&save_to("-"), 1);
    assert!(said.contains("cannot write the archive"), "{said}");
    let said = told_without_a_reader("restore a.age -i key.txt -o -", 1);
    assert!(said.contains("cannot write the snapshot"), "{said}");
    let said = told_without_a_reader("verify a.age -i key.txt", 1);
    assert!(said.contains("only this report of it is lost"), "{said}");
    // How large the snapshot is depends on the etcd that made it.
    let told = scene.told().to_owned();
    let size = told.split_once("s.db needs ").and_then(|(_, rest)| rest.split_once(", but only"));
    let told = size.map_or(told.clone(), |(size, _)| told.replace(&format!("needs {size},"), "needs …,"));
    insta::assert_snapshot!(told);
}

#[test]
fn a_directory_without_permission() {
    let mut scene = scene!();
    let other_user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let mut wrapper: &[&str] = &["env"];
    if rustix::process::geteuid().is_root() {
        let program = etcd_seal();
        needs!(can(other_user[0], &[&other_user[1..], &["test", "-x", program]].concat()));
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(scene.sandbox.path("")));
        wrapper = &other_user;
    }
    run(Command::new("chmod").arg("a-w").arg(scene.sandbox.path("out")));
    scene.attempt(&save_to("out")).behind(wrapper).refused(1, "io");
    scene.attempt("restore a.age -i key.txt -o out/s.db").behind(wrapper).refused(1, "io");
    scene.attempt("keygen -o out/key.txt").behind(wrapper).refused(1, "io");
    run(Command::new("chmod").arg("0").arg(scene.sandbox.path("out")));
    scene.attempt(&save_to("out/x.age")).behind(wrapper).refused(1, "io");
    run(Command::new("chmod").arg("700").arg(scene.sandbox.path("out")));
    insta::assert_snapshot!(scene.told());
}

/// What tests/scenarios/recipients.txt cannot say.
#[test]
fn recipients_that_are_none() {
    let mut scene = scene!();
    let to_out = "save out --from snapshot.db ";
    for recipient in ["ssh-dss AAAA", "ssh-ed25519 AAAA", ""] {
        scene.attempt(to_out).word("-r").word(recipient).refused(2, "recipient");
    }
    scene.sandbox.write("bad-line.txt", format!("# ours\n{RECIPIENT}\n\nage1typo\n"));
    scene.attempt(&format!("{to_out}-R bad-line.txt")).refused(2, "recipient");
    ssh_key(&scene, "");
    let ssh = fs::read_to_string(scene.sandbox.path("ssh")).unwrap();
    let inside = ssh.lines().nth(1).unwrap();
    scene.attempt(&format!("{to_out}-R ssh")).never_showing(inside).refused(2, "recipient");
    scene.attempt("verify a.age -i ssh.pub").refused(2, "identity");
    insta::assert_snapshot!(scene.told());
}

/// An ssh key in the files `ssh` and `ssh.pub`.
fn ssh_key(scene: &Scene, passphrase: &str) {
    scene
        .sandbox
        .program("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", passphrase, "-f", "ssh"])
        .succeed();
}

#[test]
fn passphrases_that_are_none() {
    let mut scene = scene!();
    scene.sandbox.write("passphrase", "correct horse\n");
    scene.sandbox.write("wrong", "incorrect horse\n");
    scene.sandbox.write("empty", "\n");
    scene.sandbox.write("binary", b"\xff\xfe");
    let variable = "ETCD_SEAL_PASSPHRASE_FILE";
    let sealed = scene.sandbox.seal(["save", "p.age", "--from", "snapshot.db", "-p"]);
    sealed.env(variable, "passphrase").succeed();
    let to_out = "save out --from snapshot.db -p";
    for file in ["empty", "binary", "missing", "out"] {
        scene.attempt(to_out).env(variable, file).refused(2, "usage");
    }
    scene.attempt(to_out).refused(2, "no_terminal");
    scene.attempt("verify p.age -p").refused(2, "no_terminal");
    scene.attempt("restore p.age -p -o out/s.db").env(variable, "empty").refused(2, "usage");
    scene
        .attempt("restore p.age -p -o out/s.db")
        .env(variable, "wrong")
        .never_showing("incorrect horse")
        .refused(12, "no_matching_identity");
    scene.attempt("verify p.age -i key.txt").refused(12, "no_matching_identity");
    scene.attempt("verify a.age -p").env(variable, "passphrase").refused(12, "no_matching_identity");
    scene
        .attempt("verify p.age -p --max-work-factor 10")
        .env(variable, "passphrase")
        .refused(12, "no_matching_identity");
    ssh_key(&scene, "secret");
    let public = fs::read_to_string(scene.sandbox.path("ssh.pub")).unwrap();
    scene.sandbox.seal(["save", "s.age", "--from", "snapshot.db", "-r", public.trim()]).succeed();
    scene.attempt("verify s.age -i ssh").refused(2, "no_terminal");
    scene.attempt("verify s.age -i ssh").env(variable, "wrong").refused(12, "no_matching_identity");
    scene
        .attempt(&format!("save out -r {RECIPIENT} --user root --endpoints=127.0.0.1:1"))
        .refused(2, "no_terminal");
    insta::assert_snapshot!(scene.told());
}

#[test]
fn files_that_are_no_archives() {
    let mut scene = scene!();
    scene.sandbox.write("empty.age", "");
    scene.sandbox.write("first-line.age", "age-encryption.o");
    scene.sandbox.write("text.age", "Dear Sir or Madam,\n");
    scene.sandbox.write("v2.age", "age-encryption.org/v2\n-> X25519 AAAA\n");
    run(Command::new("zstd")
        .args(["-q", "snapshot.db", "-o", "zstd.age"])
        .current_dir(scene.sandbox.path("")));
    run(Command::new("cp").args(["snapshot.db", "plain.age"]).current_dir(scene.sandbox.path("")));
    for (archive, code, kind) in [
        ("missing.age", 10, "not_found"),
        ("a.age/b.age", 10, "not_found"),
        ("empty.age", 13, "not_an_archive"),
        ("first-line.age", 13, "not_an_archive"),
        ("text.age", 13, "not_an_archive"),
        ("zstd.age", 13, "not_an_archive"),
        ("plain.age", 13, "not_an_archive"),
        ("v2.age", 13, "not_an_archive"),
    ] {
        scene.attempt(&format!("info {archive}")).refused(code, kind);
        scene.attempt(&format!("verify {archive}")).refused(code, kind);
        scene.attempt(&format!("verify {archive} -i key.txt")).refused(code, kind);
        scene.attempt(&format!("restore {archive} -i key.txt -o out/s.db")).refused(code, kind);
        scene.attempt(&format!("restore {archive} -i key.txt -o -")).refused(code, kind);
    }
    scene.attempt("verify -").refused(13, "not_an_archive");
    for output in ["out/s.db", "-"] {
        scene.attempt(&format!("restore out -i key.txt -o {output}")).refused(1, "io");
    }
    insta::assert_snapshot!(scene.told());
}

/// Encrypts a file of the scene with the age program.
fn encrypt(scene: &Scene, words: &[&str], input: &str, output: &str) {
    let mut age = Command::new("age");
    age.args(["-r", RECIPIENT, "-o", output]).args(words).arg(input);
    run(age.current_dir(scene.sandbox.path("")));
}

#[test]
fn age_files_of_something_else() {
    let mut scene = scene!();
    scene.sandbox.write("empty", "");
    scene.sandbox.write("text", "Dear Sir or Madam,\n");
    scene.sandbox.write("cut.db", &snapshot().unwrap()[..100_000]);
    let digestless = snapshot().unwrap();
    scene.sandbox.write("digestless.db", &digestless[..digestless.len() - 32]);
    for (input, code, kind) in [
        ("empty", 13, "not_a_snapshot"),
        ("text", 13, "not_a_snapshot"),
        ("cut.db", 13, "snapshot_length"),
        ("digestless.db", 13, "digest_absent"),
    ] {
        let archive = format!("{input}.age");
        encrypt(&scene, &[], input, &archive);
        encrypt(&scene, &["--armor"], input, &format!("{input}.armor.age"));
        scene.attempt(&format!("verify {archive} -i key.txt")).refused(code, kind);
        scene.attempt(&format!("restore {archive} -i key.txt -o out/s.db")).refused(code, kind);
        scene.attempt(&format!("restore {input}.armor.age -i key.txt -o out/s.db")).refused(code, kind);
    }
    let mut damaged = fs::read(scene.sandbox.path("cut.db.armor.age")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] = b'!';
    scene.sandbox.write("damaged.armor.age", damaged);
    scene.attempt("verify damaged.armor.age -i key.txt").refused(13, "payload_damaged");
    insta::assert_snapshot!(scene.told());
}

#[test]
fn snapshots_that_are_none() {
    let mut scene = scene!();
    let snapshot = snapshot().unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = snapshot.to_vec();
        change(&mut changed);
        changed
    };
    let end = snapshot.len() - 1;
    for (name, content, kind) in [
        ("empty.db", Vec::new(), "not_a_snapshot"),
        ("text.db", b"Dear Sir or Madam,\n".to_vec(), "not_a_snapshot"),
        ("zeros.db", vec![0; 100_000], "not_a_snapshot"),
        ("cut.db", snapshot[..100_000].to_vec(), "snapshot_length"),
        ("cut-in-digest.db", snapshot[..end].to_vec(), "snapshot_length"),
        ("longer.db", with(&|bytes| bytes.push(0)), "snapshot_length"),
        ("flipped.db", with(&|bytes| bytes[50_000] ^= 1), "digest_mismatch"),
        ("flipped-digest.db", with(&|bytes| bytes[end] ^= 1), "digest_mismatch"),
        ("digestless.db", snapshot[..snapshot.len() - 32].to_vec(), "digest_absent"),
    ] {
        scene.sandbox.write(name, &content);
        let words = format!("save out -r {RECIPIENT} --from");
        scene.attempt(&format!("{words} {name}")).refused(13, kind);
        scene.attempt(&format!("{words} -")).input(content).refused(13, kind);
        if kind != "digest_absent" {
            scene.attempt(&format!("{words} {name} --allow-missing-digest")).refused(13, kind);
        }
    }
    scene.attempt(&format!("save out -r {RECIPIENT} --from out")).refused(1, "io");
    scene.attempt(&format!("save out -r {RECIPIENT} --from missing.db")).refused(10, "not_found");
    scene.attempt(&format!("save out -r {RECIPIENT} --from a.age")).refused(13, "not_a_snapshot");
    insta::assert_snapshot!(scene.told());
}

#[test]
fn sidecars_that_do_not_fit() {
    let mut scene = scene!();
    let sidecar = scene.sandbox.path("a.age.sha256");
    for malformed in ["", "nonsense\n", "d41d8cd98f00b204e9800998ecf8427e  a.age\n"] {
        fs::write(&sidecar, malformed).unwrap();
        scene.attempt("verify a.age").refused(13, "sidecar_malformed");
        scene.attempt("verify a.age -i key.txt").refused(13, "sidecar_malformed");
    }
    fs::write(&sidecar, format!("{}  a.age\n", "0".repeat(64))).unwrap();
    scene.attempt("verify a.age").refused(13, "sidecar_mismatch");
    scene.attempt("verify a.age -i key.txt").refused(13, "sidecar_mismatch");
    // That no key opens it may be damage: here the sidecar says that it is.
    scene.attempt("verify a.age -i other.txt").refused(13, "sidecar_mismatch");
    scene.attempt("info a.age -i other.txt").refused(13, "sidecar_mismatch");
    scene.attempt("restore a.age -i other.txt -o out/s.db").refused(13, "sidecar_mismatch");
    insta::assert_snapshot!(scene.told());

    // The sidecar of another archive, brought along under this name.
    scene.seal(["save", "b.age", "--from", "snapshot.db", "-r", RECIPIENT]);
    fs::copy(scene.sandbox.path("b.age.sha256"), &sidecar).unwrap();
    scene.sandbox.seal(["verify", "a.age"]).run().ends_with(13);
    // The right digest under another name: fine, with the command that mends it.
    fs::copy(scene.sandbox.path("b.age"), scene.sandbox.path("c.age")).unwrap();
    fs::copy(scene.sandbox.path("b.age.sha256"), scene.sandbox.path("c.age.sha256")).unwrap();
    let fine = scene.seal(["verify", "c.age"]);
    let mend = "sha256sum -- c.age > c.age.sha256";
    assert!(fine.stderr.contains(mend), "{}", fine.stderr);
    run(Command::new("sh").args(["-c", mend]).current_dir(scene.sandbox.path("")));
    assert_eq!(scene.seal(["verify", "c.age"]).stderr, "");
    // None at all: with a key everything is proved, without one only the structure.
    fs::remove_file(scene.sandbox.path("c.age.sha256")).unwrap();
    scene.seal(["verify", "c.age", "-i", "key.txt"]);
    let outcome = scene.sandbox.seal(["verify", "c.age"]).run().ends_with(3);
    assert!(outcome.text().starts_with("c.age: NOTHING PROVED: "), "{}", outcome.text());
    assert!(outcome.text().contains("structure only"), "{}", outcome.text());
}

/// `save` from etcd with these flags.
fn save_from(endpoint: &str, flags: &str) -> String {
    format!("save out -r {RECIPIENT} --endpoints={endpoint} {flags}")
}

/// Puts a file of the authority's directory into the scene, so that messages name it alike in every run.
fn bring(scene: &Scene, file: &Path, name: &str) {
    fs::copy(file, scene.sandbox.path(name)).unwrap();
}

#[test]
fn no_etcd_there() {
    let mut scene = scene!();
    scene.attempt(&save_from(&dead_address(), "")).refused(14, "etcd_unreachable");
    scene
        .attempt(&save_from(&format!("{},{}", dead_address(), dead_address()), ""))
        .refused(14, "etcd_unreachable");
    scene.attempt(&save_from("unix://missing.sock", "")).refused(14, "etcd_unreachable");
    scene.attempt(&save_from("http://etcd.invalid:2379", "")).refused(14, "etcd_unreachable");
    // A server that accepts connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    scene.attempt(&save_from(&address, "--dial-timeout=1s --command-timeout=1s")).refused(14, "etcd_timeout");
    scene.attempt(&save_from(&format!("https://{address}"), "--dial-timeout=1s")).refused(14, "etcd_timeout");
    insta::assert_snapshot!(scene.told());
}

#[test]
fn tls_that_does_not_fit() {
    for binary in etcds() {
        let mut scene = scene!();
        let (authority, stranger) = (Pki::new(), Pki::new());
        let leaf = authority.issue("server", LOOPBACK_NAMES);
        let tls = ServerTls { leaf, client_authority: Some(authority.authority()) };
        let etcd = Etcd::start(&binary, &Options { tls: Some(tls), ..Options::default() });
        let client = authority.issue("client", LOOPBACK_NAMES);
        let (expired, foreign) =
            (authority.issue_expired("late", LOOPBACK_NAMES), stranger.issue("foreign", LOOPBACK_NAMES));
        bring(&scene, &authority.authority(), "ca.pem");
        bring(&scene, &stranger.authority(), "wrong-ca.pem");
        for (leaf, name) in [(&client, "client"), (&expired, "expired"), (&foreign, "foreign")] {
            bring(&scene, &leaf.certificate, &format!("{name}.pem"));
            bring(&scene, &leaf.key, &format!("{name}.key"));
        }
        let (plain, secure) = (format!("http://{}", etcd.address()), format!("https://{}", etcd.address()));
        let good = "--cacert ca.pem --cert client.pem --key client.key";
        scene.attempt(&save_from(&plain, "")).refused(14, "etcd_tls");
        scene.attempt(&save_from(&etcd.address(), "")).refused(14, "etcd_tls");
        scene.attempt(&save_from(&secure, "")).refused(14, "etcd_tls");
        scene.attempt(&save_from(&secure, &good.replace("ca.pem", "wrong-ca.pem"))).refused(14, "etcd_tls");
        scene.attempt(&save_from(&secure, "--cert client.pem")).refused(2, "usage");
        scene.attempt(&save_from(&secure, "--key client.key")).refused(2, "usage");
        scene.attempt(&save_from(&secure, &good.replace("client.key", "foreign.key"))).refused(2, "usage");
        for (flag, file) in [("--cacert", "ca.pem"), ("--cert", "client.pem"), ("--key", "client.key")] {
            for wrong in ["missing.pem", "snapshot.db", "out"] {
                let flags = good.replace(&format!("{flag} {file}"), &format!("{flag} {wrong}"));
                scene.attempt(&save_from(&secure, &flags)).refused(2, "usage");
            }
        }
        insta::assert_snapshot!("tls_that_does_not_fit", scene.told());

        // In what words the member refuses a client depends on its version.
        scene.forget();
        let (foreign, expired) = (good.replace("client", "foreign"), good.replace("client", "expired"));
        for flags in ["--cacert ca.pem", "--insecure-skip-tls-verify", &foreign, &expired] {
            scene.attempt(&save_from(&secure, flags)).refused(14, "etcd_tls");
        }
        // The one that has expired is warned of, too.
        assert_eq!(scene.told().matches("client certificate").count(), 9, "{}", scene.told());
        // It was not the rest that was wrong.
        scene.sandbox.seal(save_from(&secure, good).split_whitespace()).succeed();
    }
}

/// `text` with a word in place of each date.
fn without_dates(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n', ',', ';']);
    let masked =
        words.map(|word| match word.trim_end_matches([' ', '\n', ',', ';']).parse::<jiff::civil::Date>() {
            Ok(date) => word.replace(&date.to_string(), "DATE"),
            Err(_) => word.to_owned(),
        });
    masked.collect()
}

#[test]
fn servers_with_bad_certificates() {
    for binary in etcds() {
        let mut scene = scene!();
        let authority = Pki::new();
        bring(&scene, &authority.authority(), "ca.pem");
        let expired = authority.issue_expired("server", LOOPBACK_NAMES);
        let elsewhere = authority.issue("elsewhere", "DNS:etcd.example.org");
        for leaf in [expired, elsewhere] {
            let tls = ServerTls { leaf, client_authority: None };
            let etcd = Etcd::start(&binary, &Options { tls: Some(tls), ..Options::default() });
            let secure = format!("https://{}", etcd.address());
            scene.attempt(&save_from(&secure, "--cacert ca.pem")).refused(14, "etcd_tls");
        }
        insta::assert_snapshot!("servers_with_bad_certificates", without_dates(scene.told()));
    }
}

#[test]
fn users_who_may_not() {
    for binary in etcds() {
        let mut scene = scene!();
        let etcd = Etcd::start(&binary, &Options::default());
        run(etcd.etcdctl().args(["user", "add", "reader:secret"]));
        run(etcd.etcdctl().args(["role", "add", "reader"]));
        run(etcd.etcdctl().args(["role", "grant-permission", "reader", "readwrite", "--prefix", "/"]));
        run(etcd.etcdctl().args(["user", "grant-role", "reader", "reader"]));
        etcd.enable_authentication("hunter2", &[]);
        let endpoint = format!("http://{}", etcd.address());
        scene.attempt(&save_from(&endpoint, "")).refused(14, "etcd_authentication");
        let wrong = "--user=root:hunter3";
        scene
            .attempt(&save_from(&endpoint, wrong))
            .never_showing("hunter3")
            .refused(14, "etcd_authentication");
        let by_variables = save_from(&endpoint, "");
        let attempt =
            scene.attempt(&by_variables).env("ETCDCTL_USER", "root").env("ETCDCTL_PASSWORD", "hunter3");
        attempt.never_showing("hunter3").refused(14, "etcd_authentication");
        scene
            .attempt(&save_from(&endpoint, "--user=nobody:hunter2"))
            .never_showing("hunter2")
            .refused(14, "etcd_authentication");
        scene.attempt(&save_from(&endpoint, "--user=reader:secret")).refused(14, "etcd_authentication");
        scene
            .attempt(&save_from(&format!("https://{}", etcd.address()), "--user=root:hunter2"))
            .never_showing("hunter2")
            .refused(14, "etcd_tls");
        // Until 3.5 every user could read the status, and errors of users had a name of their own.
        let told = scene
            .told()
            .replace(" auth: ", " etcdserver: ")
            .replace("refused the snapshot", "refused the status");
        insta::assert_snapshot!("users_who_may_not", told);
        scene.sandbox.seal(save_from(&endpoint, "--user=root:hunter2").split_whitespace()).succeed();
    }
}

#[test]
fn streams_that_break() {
    for binary in etcds() {
        let mut scene = scene!();
        let etcd = Etcd::start(&binary, &Options::default());
        fill_with_noise(&etcd);
        let through = |harm| format!("http://{}", proxy(&etcd.address(), harm));
        let (stalled, flipped) = (through(Harm::Stall(200_000)), through(Harm::Flip(300_000)));
        scene.attempt(&save_from(&stalled, "--stall-timeout=1s")).refused(14, "etcd_stalled");
        scene.attempt(&save_from(&stalled, "--command-timeout=1s")).refused(14, "etcd_timeout");
        // How the end of a connection shows differs from run to run.
        let cut = save_from(&through(Harm::Cut(200_000)), "--json");
        let outcome = scene.sandbox.seal(cut.split_whitespace()).run().ends_with(14);
        assert_eq!(outcome.object()["kind"], "etcd_incomplete", "{}", outcome.text());
        assert_eq!(scene.sandbox.names("out"), [""; 0]);
        scene.attempt(&save_from(&flipped, "")).refused(14, "etcd_bad_snapshot");
        insta::assert_snapshot!("streams_that_break", scene.told());

        // On standard output the same leaves a file that stock age refuses.
        let words = format!("save - -r {RECIPIENT} --endpoints={flipped}");
        let outcome = scene.sandbox.seal(words.split_whitespace()).run().ends_with(14);
        assert!(outcome.stdout.starts_with(b"age-encryption.org/v1\n"));
        scene.sandbox.write("torn.age", outcome.stdout);
        scene.sandbox.program("age").args(["-d", "-i", "key.txt", "torn.age"]).run().ends_with(1);
    }
}

/// With no sidecar to help, and by one code. The tests of the pipeline damage every byte and bit, and cut everywhere.
#[test]
fn damage_is_judged_alike_by_every_command_that_opens() {
    let scene = scene!();
    let (sandbox, archive) = (&scene.sandbox, scene.archive());
    fs::remove_file(sandbox.path("a.age.sha256")).unwrap();
    let judged = |bytes: &[u8], what: &str| {
        sandbox.write("a.age", bytes);
        let verify = ["verify", "a.age", "-i", "key.txt"];
        let restore = ["restore", "a.age", "-i", "key.txt", "-o", "out/s.db"];
        let codes = [&verify[..], &restore].map(|words| {
            let ended = sandbox.seal(words).run();
            let last = ended.stderr.lines().last().unwrap_or_default();
            assert!(ended.code == 0 || last.starts_with("etcd-seal: hint: "), "{what}: {}", ended.stderr);
            ended.code
        });
        let left = sandbox.names("out");
        assert!(codes[0] == codes[1] && left.is_empty() == (codes[0] != 0), "{what}: {codes:?} {left:?}");
        for name in left {
            fs::remove_file(sandbox.path("out").join(name)).unwrap();
        }
        codes[0]
    };
    let flipped = |position: usize| {
        let mut bytes = archive.clone();
        bytes[position] ^= 1;
        judged(&bytes, &format!("byte {position} flipped"))
    };
    let find = |text: &str| archive.windows(text.len()).position(|bytes| bytes == text.as_bytes()).unwrap();
    let line_end = |from: usize| from + archive[from..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let (mac, chunk, end) = (find("\n---") + 1, 64 * 1024 + 16, archive.len());
    let (header, payload) = (line_end(mac), line_end(mac) + 16);
    for position in [0, find("etcd-snapshot"), mac + 10, header, payload, payload + chunk, end - 1] {
        assert_eq!(flipped(position), 13, "{position}");
    }
    for length in [21, mac, header, payload, payload + chunk, end - 1] {
        assert_eq!(judged(&archive[..length], "cut"), 13, "cut to {length} bytes");
    }
    let without_a_chunk = [&archive[..payload], &archive[payload + chunk..]].concat();
    for bytes in [[&archive[..], b"\0"].concat(), archive.repeat(2), without_a_chunk] {
        assert_eq!(judged(&bytes, "longer or shorter"), 13, "{} bytes", bytes.len());
    }
    assert_eq!(judged(&archive, "whole"), 0);
    // What wraps the file key for the recipient is only known to be damaged with a sidecar: the MAC needs that key. A letter
    // that stays one when its lowest bit is flipped: else it would be the grammar that is damaged.
    let body = line_end(find("X25519 "));
    let letter = |&position: &usize| (archive[position] ^ 1).is_ascii_alphanumeric();
    let wrapped_key = (body..body + 40).find(letter).unwrap();
    assert_eq!(flipped(wrapped_key), 12);
    let digest = run(Command::new("sha256sum").arg("/dev/null"));
    sandbox.write("a.age.sha256", digest.replace("/dev/null", "a.age"));
    assert_eq!(flipped(wrapped_key), 13);
}
