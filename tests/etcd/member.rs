//! Members that `restore --data-dir` and `--output-dir` made: what a real etcd does with them.

use etcd_seal::Kind;
use etcd_seal::low_level::database::bolt::Database;
use etcd_seal::low_level::database::bolt::page::LeafEntry;
use etcd_seal::low_level::database::contents::DatabaseContents;
use etcd_seal::low_level::database::hash_kv::read_keys;
use etcd_seal::low_level::database::mvcc::Revision;
use etcd_seal::low_level::database::versions::Start;
use etcd_seal::low_level::interrupt::Interrupt;
use harness::contents::{Access, Client};
use harness::dice::Dice;
use harness::process::{Kept, await_that};
use harness::sandbox::Sandbox;
use harness::{Etcd, Options, bolt, dead_address, etcds, release, run, say, skip};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A cluster that was loaded and lost, and the archive of it.
struct Lost {
    sandbox: Sandbox,
    archive: PathBuf,
    /// All that was in it.
    contents: String,
    /// Its revision, and `HashKV` there.
    revision: i64,
    hash: (u64, i64),
}

impl Lost {
    fn new(binary: &Path) -> Self {
        Self::after(binary, |_| ())
    }

    /// The same, with more done to it before it was saved.
    fn after(binary: &Path, done: impl FnOnce(&Etcd)) -> Self {
        let sandbox = Sandbox::new();
        let member = Etcd::start(binary, &Options::default());
        done(&member);
        let client = Client::new(&sandbox, &member, Access::new::<&str>(&member.address(), &[]));
        client.load();
        client.run(&["compaction", "12"]);
        client.run(&["put", "after", "the compaction"]);
        let contents = client.contents();
        let recipient = sandbox.keygen("key.txt");
        let save = ["save", "lost.age", "--json", "-r", &recipient, "--endpoints", &member.address()];
        let report = sandbox.seal(save).succeed().object();
        let revision = report["revision"].as_i64().unwrap();
        let hash = hash_kv(&member, revision);
        let archive = sandbox.path("lost.age");
        Self { sandbox, archive, contents, revision, hash }
    }

    /// `restore --data-dir` for one of `names`.
    fn restore(&self, names: &[(String, String)], index: usize, directory: &str, more: &[&str]) -> Value {
        let (name, peer_url) = &names[index];
        let cluster: Vec<_> = names.iter().map(|(name, url)| format!("{name}={url}")).collect();
        let words = ["restore", "--json", "-i", "key.txt", "--data-dir", directory, "--name", name];
        let program = self.sandbox.seal(words).arg(&self.archive).args(more);
        let cluster = ["--initial-cluster", &cluster.join(","), "--initial-advertise-peer-urls", peer_url];
        program.args(cluster).succeed().object()
    }

    /// A member of `binary` on what was restored.
    fn boot(&self, binary: &Path, directory: &str, more: &[&str]) -> Etcd {
        let _ = std::fs::remove_dir_all(self.sandbox.path(directory));
        self.boot_told(binary, directory, more).0
    }

    /// The same, where there may be something already, with what the restore told.
    fn boot_told(&self, binary: &Path, directory: &str, more: &[&str]) -> (Etcd, Value) {
        let options = Options { environment: verified(), ..Options::default() };
        let told = RefCell::new(Value::Null);
        let mut members = Etcd::start_restored(&[binary.to_owned()], 1, &options, |names| {
            if !more.contains(&"--replace") {
                let _ = std::fs::remove_dir_all(self.sandbox.path(directory));
            }
            *told.borrow_mut() = self.restore(names, 0, directory, more);
            vec![self.data_dir(directory)]
        });
        (members.remove(0), told.into_inner())
    }

    fn data_dir(&self, directory: &str) -> Vec<String> {
        vec!["--data-dir".to_owned(), self.sandbox.path(directory).display().to_string()]
    }

    fn client<'a>(&'a self, member: &'a Etcd) -> Client<'a> {
        Client::new(&self.sandbox, member, Access::new(&member.address(), &PATIENT))
    }

    fn assert_contents(&self, member: &Etcd) {
        let contents = self.client(member).contents();
        for (one, other) in self.contents.lines().zip(contents.lines()) {
            assert_eq!(one, other);
        }
        assert_eq!(self.contents, contents);
    }
}

/// For etcdctl: a cluster between two leaders answers when it has the next one.
const PATIENT: [&str; 1] = ["--command-timeout=60s"];

/// etcd's own checks of itself, all of them; it ends where one fails.
fn verified() -> Vec<(String, String)> {
    vec![("ETCD_VERIFY".to_owned(), "all".to_owned())]
}

/// `HashKV` of a member at a revision, and the compaction it was computed after.
fn hash_kv(member: &Etcd, revision: i64) -> (u64, i64) {
    let output = run(member.etcdctl().args(PATIENT).args([
        "endpoint",
        "hashkv",
        "-w",
        "json",
        "--rev",
        &revision.to_string(),
    ]));
    let answer: Value = serde_json::from_str(&output).unwrap();
    let answer = &answer[0]["HashKV"];
    (answer["hash"].as_u64().unwrap(), answer["compact_revision"].as_i64().unwrap_or(-1))
}

/// What the database in a data directory holds, read by ourselves.
fn contents(data_dir: &Path) -> DatabaseContents {
    let file = File::open(data_dir.join("member/snap/db")).unwrap();
    DatabaseContents::read(&Database::open(&file).unwrap(), &Interrupt::new()).unwrap()
}

#[test]
fn a_restored_member_holds_what_the_lost_one_did_and_lives_on() {
    for binary in etcds() {
        let lost = Lost::new(&binary);
        let mut member = lost.boot(&binary, "restored", &[]);
        lost.assert_contents(&member);
        assert_eq!(hash_kv(&member, lost.revision), lost.hash);
        let client = lost.client(&member);
        client.run(&["put", "new", "life"]);
        client.run(&["del", "new"]);
        client.run(&["compaction", &lost.revision.to_string()]);
        client.run(&["defrag"]);
        lost.assert_contents(&member);
        member.stop();
        member.restart();
        lost.assert_contents(&member);

        // What was restored is saved, and restored again.
        let again = Lost { archive: lost.sandbox.path("again.age"), ..lost };
        let both = format!("{}\n{}\n", recipient(&again.sandbox), again.sandbox.keygen("other.txt"));
        let save = ["save", "again.age", "-R", "/dev/stdin", "--endpoints", &member.address()];
        again.sandbox.seal(save).input(both).succeed();
        again.sandbox.seal(["verify", "again.age", "-i", "key.txt"]).succeed();
        drop(member);
        let member = again.boot(&binary, "restored-again", &[]);
        again.assert_contents(&member);
    }
}

/// A member that an etcd runs on is never moved from under it.
#[test]
fn a_running_member_is_not_replaced() {
    for binary in etcds() {
        let lost = Lost::new(&binary);
        let mut member = lost.boot(&binary, "restored", &[]);
        let words = ["restore", "-i", "key.txt", "--data-dir", "restored", "--replace"];
        for more in [&[][..], &["-n"]] {
            let restore = lost.sandbox.seal(words).arg(&lost.archive).args(more);
            restore.fails_with(2, "is in use: an etcd runs on it");
        }
        assert_eq!(lost.sandbox.names("restored"), ["member"]);
        // Nor through a link, nor its log alone.
        symlink("../restored/member", lost.sandbox.make_directory("linked").join("member")).unwrap();
        lost.sandbox.make_directory("other");
        symlink("restored/member/wal", lost.sandbox.path("log")).unwrap();
        for place in [&["--data-dir", "linked"][..], &["--data-dir", "other", "--wal-dir", "log"]] {
            let restore = lost.sandbox.seal(["restore", "-i", "key.txt", "--replace"]).arg(&lost.archive);
            restore.args(place).fails_with(2, "is in use: an etcd runs on it");
        }
        assert_eq!(lost.sandbox.names("linked"), ["member"]);
        lost.assert_contents(&member);
        member.stop();
        lost.sandbox.seal(words).arg(&lost.archive).succeed();
        assert_eq!(lost.sandbox.names("restored").len(), 2);
    }
}

#[test]
fn each_etcd_starts_on_the_data_of_each_other_or_refuses_them_as_the_table_says() {
    let binaries = etcds();
    for from in &binaries {
        let lost = Lost::new(from);
        for on in binaries.iter().filter(|on| *on != from) {
            lost.starts_as_told(on);
        }
    }
}

#[test]
fn data_with_a_pending_downgrade_start_as_the_table_says() {
    let binaries = etcds();
    for from in binaries.iter().filter(|from| release(from).minor >= 6) {
        let target = format!("3.{}", release(from).minor - 1);
        let lost = Lost::after(from, |member| {
            // It takes none before the members agree on a version.
            await_that("the downgrade is taken", || {
                let downgrade = member.etcdctl().args(["downgrade", "enable", &target]).output().unwrap();
                downgrade.status.success()
            });
        });
        for on in &binaries {
            lost.starts_as_told(on);
        }
    }
}

impl Lost {
    /// Starts `on` on the data, where it has to start by what is said of their versions, or sees it refuse them.
    fn starts_as_told(&self, on: &Path) {
        let words = ["restore", "-i", "key.txt", "-o", "lost.db", "--force"];
        self.sandbox.seal(words).arg(&self.archive).succeed();
        let file = File::open(self.sandbox.path("lost.db")).unwrap();
        let contents = DatabaseContents::read(&Database::open(&file).unwrap(), &Interrupt::new()).unwrap();
        let told = contents.versions().start(release(on));
        say(&format!("{:?} on {}: {told:?}", contents.versions(), on.display()));
        if matches!(told, Start::Starts | Start::Unchecked(_)) {
            let member = self.boot(on, "restored", &[]);
            self.assert_contents(&member);
            assert_eq!(hash_kv(&member, self.revision), self.hash, "{}", on.display());
            return;
        }
        let started = Etcd::try_restored(on, &Options::default(), |name| {
            let _ = std::fs::remove_dir_all(self.sandbox.path("refused"));
            self.restore(std::slice::from_ref(name), 0, "refused", &[]);
            self.data_dir("refused")
        });
        assert!(started.is_err(), "{} starts: {told:?}", on.display());
    }
}

#[test]
fn a_raised_revision_is_above_all_and_everything_below_is_compacted() {
    for binary in etcds() {
        let lost = Lost::new(&binary);
        for more in [&["--bump-revision", "1000000", "--mark-compacted"][..], &["--kubernetes"]] {
            let (mut member, told) = lost.boot_told(&binary, "restored", more);
            lost.assert_contents(&member);
            let bumped = told["database"]["bumped_to"].as_i64().unwrap();
            assert_eq!(bumped, lost.revision + told["database"]["bumped_by"].as_i64().unwrap());
            assert_eq!(revision(&member), bumped);
            assert!(bumped >= 2 * lost.revision, "{told}");
            // A client that watches from a revision of the lost cluster is told to begin anew.
            let watched =
                member.etcdctl().args(["get", "after", "--rev", &lost.revision.to_string()]).output();
            let said = String::from_utf8(watched.unwrap().stderr).unwrap();
            assert!(said.contains("has been compacted"), "{said}");
            lost.client(&member).run(&["put", "new", "life"]);
            member.stop();
            member.restart();
            lost.client(&member).run(&["del", "new"]);
            lost.assert_contents(&member);
        }
    }
}

/// The revision a member is at.
fn revision(member: &Etcd) -> i64 {
    let answer = run(member.etcdctl().args(PATIENT).args(["get", "after", "-w", "json"]));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["header"]["revision"].as_i64().unwrap()
}

/// Where the newest writes were deletions that a compaction took away, the last key lies far below the revision that clients
/// have seen, and etcd goes on from that of the compaction.
#[test]
fn a_revision_is_raised_above_a_compaction_that_took_the_newest_writes() {
    for binary in etcds() {
        let sandbox = Sandbox::new();
        let source = Etcd::start(&binary, &Options::default());
        source.fill("key", 30, 10);
        for _ in 0..20 {
            run(source.etcdctl().args(["put", "after", "x"]));
            run(source.etcdctl().args(["del", "after"]));
        }
        let reached = revision(&source);
        run(source.etcdctl().args(["compaction", &reached.to_string(), "--physical"]));
        let (recipient, address) = (sandbox.keygen("key.txt"), source.address());
        sandbox.seal(["save", "lost.age", "-r", &recipient, "--endpoints", &address]).succeed();
        let archive = sandbox.path("lost.age");
        let lost = Lost { sandbox, archive, contents: String::new(), revision: reached, hash: (0, 0) };
        for by in [1, 20] {
            let more = ["--bump-revision", &by.to_string(), "--mark-compacted"];
            let (member, told) = lost.boot_told(&binary, "restored", &more);
            assert_eq!(told["database"]["revision"], reached, "{told}");
            assert_eq!(told["database"]["bumped_to"], reached + by, "{told}");
            let found = contents(&lost.sandbox.path("restored"));
            assert!(found.revision >= reached + by && found.last_write == reached + by, "{found:?}");
            // What counts is the revision etcd itself gives out next.
            run(member.etcdctl().args(["put", "after", "the restore"]));
            assert_eq!(revision(&member), reached + by + 1, "{}", binary.display());
        }
    }
}

/// Clients of the first restored cluster must not see its revisions again, with other changes under them.
#[test]
fn a_second_restore_for_kubernetes_goes_beyond_all_that_the_first_gave_out() {
    for binary in etcds() {
        let lost = Lost::new(&binary);
        lost.sandbox.seal(["restore", "-i", "key.txt", "-o", "plain.db"]).arg(&lost.archive).succeed();
        let mut given_out = lost.boot_and_put(&binary, &["--kubernetes"]);
        // Again at once, once more while the log is ahead of the database, and as if the snapshot were as old as before.
        for more in [&["--snapshot-age", "0"][..], &["--snapshot-age", "1h"], &[]] {
            let words = [&["--kubernetes", "--replace"], more].concat();
            let next = lost.boot_and_put(&binary, &words);
            assert!(next.0 > given_out.1, "{more:?}: {next:?} after {given_out:?}");
            given_out = next;
        }
        // What was moved aside counts, too, where its place is free.
        let member = lost.sandbox.path("restored/member");
        std::fs::rename(&member, member.with_file_name("member.replaced-by-hand")).unwrap();
        let words = ["--kubernetes", "--replace", "--snapshot-age", "0"];
        let next = lost.boot_and_put(&binary, &words);
        assert!(next.0 > given_out.1, "{next:?} after {given_out:?}");
    }
}

impl Lost {
    /// Restores with these words, boots it, puts five keys and kills it: the first and the last revision it gave out.
    fn boot_and_put(&self, binary: &Path, words: &[&str]) -> (i64, i64) {
        let (mut member, _) = self.boot_told(binary, "restored", words);
        let first = revision(&member);
        for put in 0..5 {
            run(member.etcdctl().args(PATIENT).args(["put", "after", &put.to_string()]));
        }
        let last = revision(&member);
        assert_eq!(last, first + 5);
        member.kill();
        (first, last)
    }
}

#[test]
fn three_members_agree_and_one_may_be_lost_again() {
    // The releases of one minor version make a cluster together.
    let mut groups: BTreeMap<_, Vec<PathBuf>> = BTreeMap::new();
    for binary in etcds() {
        groups.entry(release(&binary)).or_default().push(binary);
    }
    for group in groups.values() {
        let lost = Lost::new(&group[0]);
        let options =
            Options { flags: corruption_checks(&group[0]), environment: verified(), ..Options::default() };
        let mut members = Etcd::start_restored(group, 3, &options, |names| {
            let _ = std::fs::remove_dir_all(lost.sandbox.path("cluster"));
            let plan: Vec<_> = names.iter().map(|(name, url)| format!("{name}={url}")).collect();
            let words =
                ["restore", "-i", "key.txt", "--output-dir", "cluster", "--cluster-plan", &plan.join(",")];
            lost.sandbox.seal(words).arg(&lost.archive).succeed();
            names.iter().map(|(name, _)| lost.data_dir(&format!("cluster/{name}"))).collect()
        });
        assert_agreement(&lost, &mut members);
    }
}

/// Mixed with members that etcd's own tool has made.
#[test]
fn members_of_ours_and_of_etcdutl_are_one_cluster() {
    for binary in etcds() {
        let etcdutl = binary.with_file_name("etcdutl");
        if !etcdutl.is_file() {
            skip::refused(&format!("no etcdutl beside {}", binary.display()));
            continue;
        }
        let lost = Lost::new(&binary);
        lost.sandbox.seal(["restore", "-i", "key.txt", "-o", "plain.db"]).arg(&lost.archive).succeed();
        let options =
            Options { flags: corruption_checks(&binary), environment: verified(), ..Options::default() };
        let mut members = Etcd::start_restored(std::slice::from_ref(&binary), 3, &options, |names| {
            let cluster: Vec<_> = names.iter().map(|(name, url)| format!("{name}={url}")).collect();
            for (index, (name, peer_url)) in names.iter().enumerate() {
                let directory = format!("mixed-{index}");
                let _ = std::fs::remove_dir_all(lost.sandbox.path(&directory));
                if index == 1 {
                    lost.restore(names, index, &directory, &[]);
                } else {
                    let words = ["snapshot", "restore", "plain.db", "--data-dir", &directory, "--name", name];
                    let cluster =
                        ["--initial-cluster", &cluster.join(","), "--initial-advertise-peer-urls", peer_url];
                    lost.sandbox.program(&etcdutl).args(words).args(cluster).succeed();
                }
            }
            (0..3).map(|index| lost.data_dir(&format!("mixed-{index}"))).collect()
        });
        assert_agreement(&lost, &mut members);
    }
}

/// The flags that have members compare their data, which 3.6 took out of its experiments.
fn corruption_checks(binary: &Path) -> Vec<String> {
    let flags = if release(binary).minor < 6 {
        ["--experimental-initial-corrupt-check=true", "--experimental-corrupt-check-time=2s"]
    } else {
        ["--feature-gates=InitialCorruptCheck=true", "--corrupt-check-time=2s"]
    };
    flags.map(str::to_owned).to_vec()
}

/// All hold the same, take writes, and one that was killed comes back.
fn assert_agreement(lost: &Lost, members: &mut [Etcd]) {
    for member in members.iter() {
        lost.assert_contents(member);
        assert_eq!(hash_kv(member, lost.revision), lost.hash);
    }
    members[0].kill();
    // It may have been the leader: until there is another, no member takes a write.
    let began = Instant::now();
    while !members[1].etcdctl().args(["put", "while", "one is away"]).output().unwrap().status.success() {
        assert!(began.elapsed() < Duration::from_secs(60), "two of three do not take a write");
    }
    members[0].restart();
    let value = run(members[0].etcdctl().args(PATIENT).args(["get", "while", "--print-value-only"]));
    assert_eq!(value.trim_end(), "one is away");
    let listed = run(members[2].etcdctl().args(PATIENT).args(["member", "list"]));
    assert_eq!(listed.lines().filter(|line| line.contains("started")).count(), 3, "{listed}");
    let revision = lost.revision + 1;
    let hashes: Vec<_> = members.iter().map(|member| hash_kv(member, revision)).collect();
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:?}");
    let said = members.iter().map(Etcd::log).collect::<String>();
    assert!(!said.contains("CORRUPT") && !said.contains("panic:"), "{said}");
}

/// The offline hash is what etcd answers, at every revision and after every compaction.
#[test]
fn hash_kv_offline_is_what_etcd_answers() {
    for binary in etcds() {
        let lost = Lost::new(&binary);
        let member = lost.boot(&binary, "restored", &[]);
        let client = lost.client(&member);
        for round in 0..3 {
            client.run(&["del", "registry/pods/000", "--prefix"]);
            client.run(&["put", "registry/pods/0001", &format!("round {round}")]);
            let revision = lost.revision + 2 * (round + 1);
            if round > 0 {
                client.run(&["compaction", &(revision - 2).to_string()]);
            }
            let recipient = recipient(&lost.sandbox);
            let save = ["save", "now.age", "--force", "-r", &recipient, "--endpoints", &member.address()];
            lost.sandbox.seal(save).succeed();
            lost.sandbox.seal(["restore", "now.age", "-i", "key.txt", "-o", "now.db", "--force"]).succeed();
            let file = File::open(lost.sandbox.path("now.db")).unwrap();
            let database = Database::open(&file).unwrap();
            for at in [revision - 1, revision] {
                let (hash, compacted) = hash_kv(&member, at);
                let compacted = (compacted >= 0).then_some(compacted);
                let keys = read_keys(&database, at, compacted, &Interrupt::new()).unwrap();
                assert_eq!(u64::from(keys.hash), hash, "round {round}, revision {at}, {compacted:?}");
            }
            let listed = run(member.etcdctl().args(["get", "", "--prefix", "--keys-only"]));
            let count = listed.lines().filter(|line| !line.is_empty()).count() as u64;
            let keys = read_keys(&database, revision, None, &Interrupt::new()).unwrap();
            assert_eq!(keys.count, count, "round {round}");
        }
    }
}

fn recipient(sandbox: &Sandbox) -> String {
    let key = std::fs::read_to_string(sandbox.path("key.txt")).unwrap();
    key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned()
}

/// With the smallest database there is, whose keys lie in one page or in none.
#[test]
fn the_smallest_databases_become_members_too() {
    for binary in etcds() {
        for keys in [0, 1, 12] {
            let sandbox = Sandbox::new();
            let member = Etcd::start(&binary, &Options::default());
            member.fill("key", keys, 200);
            let (recipient, address) = (sandbox.keygen("key.txt"), member.address());
            sandbox.seal(["save", "lost.age", "-r", &recipient, "--endpoints", &address]).succeed();
            let before = Client::new(&sandbox, &member, Access::new::<&str>(&address, &[])).contents();
            let archive = sandbox.path("lost.age");
            let lost = Lost { sandbox, archive, contents: before, revision: 0, hash: (0, 0) };
            for more in [&[][..], &["--bump-revision", "100", "--mark-compacted"]] {
                let mut member = lost.boot(&binary, "restored", more);
                lost.assert_contents(&member);
                member.stop();
                member.restart();
                lost.client(&member).run(&["put", "key/000001", "new"]);
                member.stop();
                member.restart();
                let found = contents(&lost.sandbox.path("restored"));
                assert!(found.revision > if more.is_empty() { 1 } else { 100 }, "{found:?}");
            }
        }
    }
}

/// Starts that are tried on each etcd.
const STARTS: usize = 30;

/// Values in every bucket are changed at random: where etcd does not start on them, we had refused them.
#[test]
fn whatever_etcd_does_not_start_on_is_refused() {
    let mut dice = Dice::new("values that etcd starts on");
    for binary in etcds() {
        let lost = Lost::new(&binary);
        lost.sandbox.seal(["restore", "lost.age", "-i", "key.txt", "-o", "lost.db"]).succeed();
        let good = with_rare_values(bolt::buckets(&lost.sandbox.path("lost.db")));
        let (mut started, mut refused) = (0, 0);
        while started < STARTS {
            let mut bad = good.clone();
            let what = change(&mut bad, &mut dice);
            let path = lost.sandbox.write("changed.db", bolt::database(4096, &bad));
            let file = File::open(path).unwrap();
            let database = Database::open(&file);
            let read = database.and_then(|database| DatabaseContents::read(&database, &Interrupt::new()));
            let contents = match read {
                Ok(contents) => contents,
                Err(error) => {
                    assert_eq!(error.kind(), Kind::DatabaseDamaged, "{what}: {error}");
                    refused += 1;
                    continue;
                }
            };
            started += 1;
            // Of data for another release restore warns.
            let fits =
                matches!(contents.versions().start(release(&binary)), Start::Starts | Start::Unchecked(_));
            let ended = start_on_copied_file(&lost.sandbox, &binary).err();
            assert_eq!(ended.is_none(), fits, "{} on {what}:\n{ended:?}", binary.display());
        }
        say(&format!("{}: {started} started, {refused} refused", binary.display()));
        assert!(refused > STARTS / 10, "{refused} of {} were refused", started + refused);
    }
}

/// A member on `changed.db`, which runs for a moment.
fn start_on_copied_file(sandbox: &Sandbox, binary: &Path) -> Result<(), String> {
    let flags = ["--heartbeat-interval=20", "--election-timeout=100"].map(str::to_owned).to_vec();
    let options = Options { environment: verified(), flags, ..Options::default() };
    let started = Etcd::try_restored(binary, &options, |(name, peer_url)| {
        let _ = std::fs::remove_dir_all(sandbox.path("changed"));
        let words = ["restore", "--from-snapshot", "changed.db", "--skip-hash-check", "--force"];
        let member = ["--data-dir", "changed", "--name", name, "--initial-cluster"];
        let restore = sandbox.seal(words).args(member).arg(format!("{name}={peer_url}"));
        let restore = restore.args(["--initial-advertise-peer-urls", peer_url]);
        restore.run().ends_with(3);
        vec!["--data-dir".to_owned(), sandbox.path("changed").display().to_string()]
    });
    started.map(drop)
}

/// Buckets by name, with their entries.
type Buckets = Vec<(Vec<u8>, Vec<LeafEntry>)>;

/// Adds what few etcds have, as they write it.
fn with_rare_values(buckets: Buckets) -> Buckets {
    let mut buckets: BTreeMap<_, _> = buckets.into_iter().collect();
    let configuration = br#"{"voters":[7],"auto_leave":false}"#;
    for (bucket, key, value) in [
        // A member with an alarm that no etcd knows: those they know keep a member from serving.
        ("alarm", &b"\x08\x07\x10\x03"[..], &b""[..]),
        ("cluster", b"clusterVersion", b"3.4.0"),
        ("cluster", b"downgrade", br#"{"target-version":"","enabled":false}"#),
        ("meta", b"confState", configuration),
    ] {
        let entries: &mut Vec<LeafEntry> = buckets.entry(bucket.into()).or_default();
        if !entries.iter().any(|(other, ..)| other == key) {
            entries.push((key.to_vec(), value.to_vec(), false));
            entries.sort();
        }
    }
    buckets.into_iter().collect()
}

/// Changes one value that a restore keeps, or a key that is one; says which.
fn change(buckets: &mut Buckets, dice: &mut Dice) -> String {
    loop {
        let index = dice.roll(buckets.len());
        let (bucket, entries) = &mut buckets[index];
        let name = String::from_utf8_lossy(bucket).into_owned();
        let replaced = ["consistent_index", "term"];
        if name.starts_with("members") || entries.is_empty() {
            continue;
        }
        let index = dice.roll(entries.len());
        let before = entries[index].clone();
        let mut after = before.clone();
        if name == "meta" && replaced.iter().any(|replaced| replaced.as_bytes() == before.0) {
            continue;
        }
        let in_key = name == "alarm" || (name == "key" && dice.roll(4) == 0);
        dice.damage(if in_key { &mut after.0 } else { &mut after.1 });
        if before == after || after.0.is_empty() {
            continue;
        }
        entries[index] = after.clone();
        entries.sort();
        entries.dedup_by(|one, other| one.0 == other.0);
        let [before, after] = [before, after].map(|(key, value, _)| {
            format!("{} = {}", key.escape_ascii(), value[..value.len().min(200)].escape_ascii())
        });
        return format!("the bucket {name}, where {before} is now {after}");
    }
}
/// The line that a restore prints last is what a shell needs to start etcd, whatever name and directory are made of; only where
/// clients find it is added, as its configuration would.
#[test]
fn etcd_starts_from_the_printed_line() {
    for binary in etcds() {
        let lost = Lost::new(&binary);
        let odd = lost.sandbox.make_directory("it's a \"data\" $(directory)");
        let served = (0..3).any(|attempt| {
            let (peer, client) = (dead_address(), format!("http://{}", dead_address()));
            let (name, place) = ("etcd'1;$HOME#(x)", format!("data {attempt}"));
            let told = lost
                .sandbox
                .seal(["restore", "-i", "../key.txt", "--name", name, "--data-dir", &place])
                .args(["--wal-dir", &format!("log {attempt}")])
                .args(["--initial-advertise-peer-urls", &format!("http://{peer}")])
                .args(["--initial-cluster", &format!("{name}=http://{peer}")])
                .arg(&lost.archive)
                .working_in(&odd)
                .succeed();
            let line = told.text().lines().last().unwrap().to_owned();
            assert!(line.starts_with("etcd '--data-dir=/") && !line.contains("--initial-cluster"), "{line}");
            let log = File::create(lost.sandbox.path("log")).unwrap();
            let mut shell = Command::new("/bin/sh");
            let _etcd = Kept(
                shell
                    .args(["-c", &format!("exec {line}")])
                    .current_dir("/")
                    .env_clear()
                    .env("PATH", binary.parent().unwrap())
                    .envs([("ETCD_LISTEN_CLIENT_URLS", &client), ("ETCD_ADVERTISE_CLIENT_URLS", &client)])
                    .stderr(log.try_clone().unwrap())
                    .stdout(log)
                    .spawn()
                    .unwrap(),
            );
            let mut etcdctl = Command::new(binary.with_file_name("etcdctl"));
            etcdctl.args(["--endpoints", &client, "--command-timeout=20s"]);
            let answer = etcdctl.args(["get", "after", "-w", "json"]).output().unwrap();
            let answer: Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
            answer["header"]["revision"] == lost.revision && answer["count"] == 1
        });
        let log = std::fs::read_to_string(lost.sandbox.path("log")).unwrap();
        assert!(served, "{}:\n{log}", binary.display());
    }
}

/// Signs that it is the wrong archive, or the wrong directory, are told before and after.
#[test]
fn a_member_that_does_not_fit_the_archive_is_not_replaced_in_silence() {
    let Some(binary) = etcds().into_iter().next() else { return };
    let lost = Lost::new(&binary);
    let words = |archive: &Path, more: &[&str]| {
        let words = ["restore", "-i", "key.txt", "--data-dir", "place"];
        lost.sandbox.seal(words).arg(archive).args(more).succeed()
    };
    let source = Etcd::start(&binary, &Options::default());
    let recipient = recipient(&lost.sandbox);
    let save =
        ["save", "old.age", "--cluster-name", "prod", "-r", &recipient, "--endpoints", &source.address()];
    lost.sandbox.seal(save).succeed();
    source.fill("key", 900, 10_000);
    source.fill("again", 50, 10);
    let save = ["save", "new.age", "-r", &recipient, "--endpoints", &source.address()];
    lost.sandbox.seal(save).succeed();
    words(Path::new("new.age"), &["--initial-cluster-token", "one"]);
    // The same archive again, as part of the same recovery.
    let told = words(Path::new("new.age"), &["--initial-cluster-token", "one", "--replace"]);
    assert!(!told.stderr.contains("that is replaced"), "{}", told.stderr);
    for more in [&["--replace", "-n"][..], &["--replace"]] {
        let told = words(Path::new("old.age"), more).says("is of the cluster ");
        let told = told.says("had reached revision ").says(" has a database of ");
        assert!(told.text().contains("\nfrom cluster \"prod\" ("), "{}", told.text());
        assert!(told.text().contains("snapshot of 2") && told.text().contains(" s old)"), "{}", told.text());
    }
    // What cannot be read does not stop the restore.
    std::fs::write(lost.sandbox.path("place/member/snap/db"), "no database").unwrap();
    let told = words(Path::new("old.age"), &["--replace", "--kubernetes"]);
    let _ = told.says("--kubernetes did not take it into account");
}

/// Bytes of memory that a restore takes at most, whatever it restores.
const MEMORY_MAX: u64 = 96 * 1024 * 1024;

/// Restores `snapshot` and says how much memory that took; it ends with `code`.
fn restore_watched(sandbox: &Sandbox, snapshot: &str, peer_url: Option<(&str, &str)>, code: i32) -> u64 {
    let words =
        ["restore", "--skip-hash-check", "--force", "--data-dir", "restored", "--from-snapshot", snapshot];
    let restore = sandbox.seal(words);
    let restore = peer_url.iter().fold(restore, |restore, (name, peer_url)| {
        let restore = restore.args(["--name", name, "--initial-cluster", &format!("{name}={peer_url}")]);
        restore.args(["--initial-advertise-peer-urls", peer_url])
    });
    let (ended, memory) = restore.start().wait_and_watch();
    assert_eq!(ended.code, code, "{ended:?}");
    memory
}

/// What a page claims to be takes no memory.
#[test]
fn a_path_of_large_branches_takes_no_memory() {
    let sandbox = Sandbox::new();
    // 64 MiB each.
    bolt::chain(&sandbox.path("chain.db"), 4, 16_384);
    let memory = restore_watched(&sandbox, "chain.db", None, 3);
    assert!(memory < MEMORY_MAX, "{memory} bytes of memory");
    assert_eq!(contents(&sandbox.path("restored")).entries, 1);
}

/// Made to fill the memory with what is kept of every bucket.
#[test]
fn a_flood_of_buckets_is_refused() {
    let sandbox = Sandbox::new();
    let name = |number: u32| [b"z", &number.to_be_bytes()[..]].concat();
    let mut buckets: Buckets = (0..100_000).map(|number| (name(number), Vec::new())).collect();
    buckets.insert(0, (b"key".to_vec(), Vec::new()));
    buckets.insert(1, (b"meta".to_vec(), Vec::new()));
    sandbox.write("buckets.db", bolt::database(4096, &buckets));
    let memory = restore_watched(&sandbox, "buckets.db", None, 13);
    assert!(memory < MEMORY_MAX, "{memory} bytes of memory");
}

/// A host that let etcd take requests of any size is served, and values are not taken into memory for it.
#[test]
fn values_of_any_size_are_restored() {
    const SIZES: [usize; 5] = [100, 40_000_000, 1_500_000, 2_200_000, 40_000_000];
    let pair = |(main, size): (i64, usize)| {
        let key = format!("key {main}").into_bytes();
        let mut pair = [&[0x0A, u8::try_from(key.len()).unwrap()], &key[..]].concat();
        // The revisions of its first and its last write, and its version.
        pair.extend([0x10, u8::try_from(main).unwrap(), 0x18, u8::try_from(main).unwrap(), 0x20, 1, 0x2A]);
        let mut rest = size;
        while rest >= 0x80 {
            pair.push(u8::try_from(rest & 0x7F).unwrap() | 0x80);
            rest >>= 7;
        }
        pair.push(u8::try_from(rest).unwrap());
        pair.resize(pair.len() + size, u8::try_from(main).unwrap());
        (Revision { main, sub: 0 }.to_bytes().to_vec(), pair, false)
    };
    let keys: Vec<LeafEntry> = (2..).zip(SIZES).map(pair).collect();
    let buckets = [(b"key".to_vec(), keys), (b"meta".to_vec(), Vec::new())];
    for binary in etcds() {
        let sandbox = Sandbox::new();
        sandbox.write("large.db", bolt::in_one_leaf(4096, &buckets));
        let restored = Etcd::try_restored(&binary, &Options::default(), |(name, peer_url)| {
            let _ = std::fs::remove_dir_all(sandbox.path("restored"));
            let memory = restore_watched(&sandbox, "large.db", Some((name, peer_url)), 3);
            assert!(memory < MEMORY_MAX, "{memory} bytes of memory");
            vec!["--data-dir".to_owned(), sandbox.path("restored").display().to_string()]
        });
        let member = restored.unwrap_or_else(|said| panic!("{} does not start:\n{said}", binary.display()));
        let file = File::open(sandbox.path("restored/member/snap/db")).unwrap();
        let keys = read_keys(&Database::open(&file).unwrap(), 6, None, &Interrupt::new()).unwrap();
        assert_eq!(keys.count, SIZES.len() as u64);
        assert_eq!(hash_kv(&member, 6), (u64::from(keys.hash), -1));
    }
}
