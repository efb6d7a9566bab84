//! Real etcds, mistreated while a snapshot streams out of them: killed, put to sleep, restarted, left without space,
//! compacted, written to, given other certificates and other users, cut off.
//!
//! Whatever is done to it: either the archive is whole and consistent, or the exit code is 14 and nothing is left. And
//! the next save, once the trouble is over, succeeds. The stream is held in its middle by a proxy that lets no more
//! pass, not by luck; what has not passed is more than all buffers on the way hold.

use harness::process::{Kept, await_that, signal};
use harness::program::{Outcome, Program, Running};
use harness::proxy::{Hold, delaying, holding};
use harness::sandbox::{Sandbox, names};
use harness::snapshots::random;
use harness::{Etcd, LOOPBACK_NAMES, Options, Pki, ServerTls, can, etcds, release, run, say, snapshot_tools};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// After so many bytes the stream is held.
const HELD_AT: usize = 3 << 20;
/// Values that shrink to next to nothing, and so cost little to seal. Together with what may have passed they are more
/// than a socket of Linux buffers, which is 4 MiB.
const VALUES: usize = 90;
const VALUE_SIZE: usize = 100_000;
/// Values that do not shrink, so that something comes out before the stream is over; instead of the others.
const NOISE: usize = 9;
const NOISE_SIZE: usize = 1_000_000;

/// One etcd of each minor version: what is tried here does not change with the last number.
fn versions() -> Vec<PathBuf> {
    let versions: BTreeMap<_, _> = etcds().into_iter().map(|binary| (release(&binary), binary)).collect();
    versions.into_values().collect()
}

/// An etcd with something in it, and a place for archives.
struct Scene {
    sandbox: Sandbox,
    etcd: Etcd,
    /// What the program needs to be let in.
    flags: Vec<String>,
    /// How much of an archive comes out before the stream is held.
    early: usize,
}

/// Where a save goes.
#[derive(Clone, Copy, Debug)]
enum Destination {
    Directory,
    Pipe,
}

const DESTINATIONS: [Destination; 2] = [Destination::Directory, Destination::Pipe];

/// A save whose stream is held in its middle.
struct Held {
    running: Running,
    hold: Hold,
    destination: Destination,
    /// What has come out already.
    early: Vec<u8>,
}

impl Held {
    /// Lets it go on, to its end.
    fn release(self) -> Outcome {
        self.hold.release();
        let mut ended = self.running.wait();
        ended.stdout.splice(..0, self.early);
        ended
    }
}

impl Scene {
    fn new(binary: &Path) -> Self {
        Self::with(binary, &Options::default())
    }

    fn with(binary: &Path, options: &Options) -> Self {
        Self::of(Etcd::start(binary, &quick(options)), &options.etcdctl_flags)
    }

    fn of(etcd: Etcd, flags: &[String]) -> Self {
        etcd.fill("value", VALUES, VALUE_SIZE);
        Self { sandbox: Sandbox::furnished(), etcd, flags: flags.to_vec(), early: 1 }
    }

    /// With an etcd full of what does not shrink.
    fn noisy(binary: &Path) -> Self {
        let etcd = Etcd::start(binary, &quick(&Options::default()));
        for number in 0..NOISE {
            // No byte that a reader of text would take for an end.
            let noise: Vec<u8> = random(NOISE_SIZE).iter().map(|byte| byte | 0x80).collect();
            assert!(put(&etcd, &format!("noise/{number}"), &noise));
        }
        Self { sandbox: Sandbox::furnished(), etcd, flags: Vec::new(), early: NOISE_SIZE }
    }

    fn save_from(&self, endpoint: &str, more: &[&str]) -> Program {
        self.sandbox.save().args(["--endpoints", endpoint]).args(&self.flags).args(more)
    }

    /// Begins to save, and has the stream held in its middle.
    fn held(&self, destination: Destination, more: &[&str]) -> Held {
        self.held_from(&self.etcd.address(), &[], destination, more)
    }

    /// The same from the member at `address`, with other endpoints beside it.
    fn held_from(&self, address: &str, others: &[&str], destination: Destination, more: &[&str]) -> Held {
        let (proxy, hold) = holding(address, HELD_AT);
        let endpoints = [&[proxy.as_str()], others].concat().join(",");
        let save = self.save_from(&endpoints, more);
        let save = match destination {
            Destination::Directory => save.arg(self.sandbox.backups()),
            Destination::Pipe => save.args(["-", "--frame-size", "64KiB"]),
        };
        let mut running = save.start_unread();
        await_that("the stream is held", || {
            assert!(running.is_alive(), "it ended before the middle of its stream");
            hold.is_reached()
        });
        let mut early = Vec::new();
        if matches!(destination, Destination::Pipe) {
            early.resize(self.early, 0);
            running.child.stdout.as_mut().unwrap().read_exact(&mut early).unwrap();
        }
        Held { running, hold, destination, early }
    }

    /// Lets it go on, and asserts that it fails as etcd's fault and leaves nothing that passes for an archive.
    fn fails(&self, held: Held) -> Outcome {
        let destination = held.destination;
        self.failed(destination, held.release())
    }

    fn failed(&self, destination: Destination, ended: Outcome) -> Outcome {
        let ended = ended.ends_with(14).says("etcd-seal: hint: ");
        let left = self.sandbox.published();
        assert!(left.is_empty(), "{destination:?}: {left:?}");
        if matches!(destination, Destination::Pipe) {
            self.sandbox.assert_no_archive(&ended.stdout, "a pipe");
        }
        ended
    }

    /// Lets it go on into the directory, and asserts that a good archive comes of it; returns the snapshot in it.
    fn succeeds(&self, held: Held) -> PathBuf {
        let ended = held.release().ends_with(0);
        self.judged(&ended)
    }

    /// Saves without a proxy; returns the snapshot.
    fn saves(&self) -> PathBuf {
        self.saves_from(&self.etcd.address())
    }

    /// Saves from an etcd that may die at any moment, because it writes to its disk by itself. False when it died;
    /// then the save may have failed.
    fn saves_unless_etcd_died(&mut self) -> bool {
        let ended = self.save_from(&self.etcd.address(), &[]).arg(self.sandbox.backups()).run();
        if ended.code == 0 {
            self.judged(&ended);
            return self.etcd.is_alive();
        }
        self.failed(Destination::Directory, ended);
        await_that("the end of etcd", || !self.etcd.is_alive());
        false
    }

    fn saves_from(&self, endpoint: &str) -> PathBuf {
        let ended = self.save_from(endpoint, &[]).arg(self.sandbox.backups()).succeed();
        self.judged(&ended)
    }

    /// Fails to save without a proxy, and leaves nothing.
    fn fails_from(&self, endpoint: &str, more: &[&str]) -> Outcome {
        let elsewhere = tempfile::tempdir().unwrap();
        let ended = self.save_from(endpoint, more).arg(elsewhere.path()).fails_with(14, "etcd-seal: hint: ");
        assert_eq!(names(elsewhere.path()), [""; 0]);
        ended
    }

    /// The only archive there is whole, and etcd's own tool finds the database in it consistent. Takes it away, and
    /// returns the snapshot.
    fn judged(&self, ended: &Outcome) -> PathBuf {
        assert_eq!(ended.code, 0);
        self.whole()
    }

    /// The same, however the save ended.
    fn whole(&self) -> PathBuf {
        let (archive, snapshot) = (self.sandbox.archive(), self.sandbox.path("snapshot.db"));
        self.sandbox.open("restore").arg(&archive).args(["--force", "-o"]).arg(&snapshot).succeed();
        self.snapshot_tool().args(["snapshot", "status"]).arg(&snapshot).succeed();
        for name in self.sandbox.published() {
            fs::remove_file(self.sandbox.backups().join(name)).unwrap();
        }
        snapshot
    }

    /// A tool for snapshots that came with this etcd.
    fn snapshot_tool(&self) -> Program {
        self.sandbox.program(&snapshot_tools(self.etcd.binary())[0])
    }
}

/// The same, but a member that is alone elects itself soon.
fn quick(options: &Options) -> Options {
    let mut options = options.clone();
    options.flags.extend(["--heartbeat-interval=50", "--election-timeout=250"].map(ToOwned::to_owned));
    options
}

/// Puts a value; whether etcd took it.
fn put(etcd: &Etcd, key: &str, value: &[u8]) -> bool {
    let put = ["put", key, "--command-timeout", "2s", "--dial-timeout", "2s"];
    Program::of(&etcd.etcdctl()).args(put).input(value).run().code == 0
}

/// What a member says of itself.
fn status(member: &Etcd) -> Value {
    let status = run(member.etcdctl().args(["endpoint", "status", "-w", "json"]));
    serde_json::from_str::<Value>(&status).unwrap()[0]["Status"].take()
}

/// Puts a large value that shrinks under one of many keys; whether etcd took it.
fn put_more(etcd: &Etcd, number: usize) -> bool {
    put(etcd, &format!("more/{number}"), &vec![b'v'; NOISE_SIZE])
}

#[test]
fn a_member_killed_leaves_nothing_behind_even_if_it_comes_back_at_once() {
    for binary in versions() {
        let mut scene = Scene::noisy(&binary);
        let broken = "the snapshot stream broke after";
        let held = scene.held(Destination::Directory, &[]);
        scene.etcd.kill();
        scene.fails(held).says(broken);
        scene.fails_from(&scene.etcd.address(), &[]).says("cannot connect");
        scene.etcd.restart();

        // Back at the same port before a client knew, and never a second stream behind the first.
        let held = scene.held(Destination::Pipe, &[]);
        scene.etcd.restart();
        scene.fails(held).says(broken);
        scene.save_from(&scene.etcd.address(), &[]).arg(scene.sandbox.backups()).succeed();
    }
}

/// Wakes a member that was put to sleep, whatever becomes of the test.
struct Asleep(u32);

impl Asleep {
    fn put(etcd: &Etcd) -> Self {
        signal(etcd.process_id(), "STOP");
        Self(etcd.process_id())
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

#[test]
fn a_member_that_falls_asleep_is_waited_for_as_long_as_it_was_said() {
    for binary in versions() {
        let scene = Scene::new(&binary);
        for destination in DESTINATIONS {
            let held = scene.held(destination, &["--stall-timeout", "500ms"]);
            let asleep = Asleep::put(&scene.etcd);
            scene.fails(held).says("stood still").says("--stall-timeout");
            drop(asleep);
        }
        for (destination, name, code) in
            [(Destination::Directory, "INT", 130), (Destination::Pipe, "TERM", 143)]
        {
            let held = scene.held(destination, &[]);
            let asleep = Asleep::put(&scene.etcd);
            held.running.signal(name);
            let ended = held.release().ends_with(code);
            assert_eq!(scene.sandbox.published(), [""; 0]);
            if matches!(destination, Destination::Pipe) {
                scene.sandbox.assert_no_archive(&ended.stdout, "a pipe");
            }
            drop(asleep);
        }
        let asleep = Asleep::put(&scene.etcd);
        let more = ["--command-timeout", "1s", "--dial-timeout", "1s"];
        scene.fails_from(&scene.etcd.address(), &more).says("within 1s");
        drop(asleep);
        let held = scene.held(Destination::Directory, &[]);
        drop(Asleep::put(&scene.etcd));
        scene.succeeds(held);
    }
}

/// A namespace of the system's, kept by a process that does nothing.
struct Namespace {
    _keeper: Kept,
    /// Words before a command that is to run in it.
    enter: Vec<String>,
}

impl Namespace {
    /// A new one of the kind that `unshare` and `nsenter` call `flag`, in which `script` was run first; `None`, and
    /// said loudly, where this system allows no such thing.
    fn new(flag: &str, script: &str) -> Option<Self> {
        if !can("unshare", &[flag, "sh", "-c", script]) {
            return None;
        }
        let script = format!("{script} && echo ready && read -r _");
        let mut keeper = Command::new("unshare")
            .args([flag, "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let process = keeper.id().to_string();
        let enter = ["nsenter", "-t", &process, flag, "--"].map(ToOwned::to_owned).to_vec();
        Some(Self { _keeper: Kept(keeper), enter })
    }

    /// A shell in it.
    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new(&self.enter[0]);
        command.args(&self.enter[1..]).args(["sh", "-c", script]);
        command
    }
}

#[test]
fn a_full_disk_below_etcd_yields_a_consistent_archive_or_none() {
    // Two segments of the log take 128 MiB before anything is in them.
    const DISK: &str = "224m";
    let disk = tempfile::tempdir().unwrap();
    let directory = disk.path().display().to_string();
    for binary in versions() {
        let script = format!("mount -t tmpfs -o size={DISK} tmpfs {directory}");
        let Some(namespace) = Namespace::new("-m", &script) else { return };
        let (within, data_dir) = (namespace.enter.clone(), Some(disk.path().join("data")));
        let mut scene = Scene::with(&binary, &Options { within, data_dir, ..Options::default() });

        let held = scene.held(Destination::Directory, &[]);
        let filled = namespace.shell(&format!("cat /dev/zero >{directory}/filler")).output().unwrap();
        assert!(String::from_utf8_lossy(&filled.stderr).contains("No space left"), "{filled:?}");
        // A member that only reads needs no space.
        scene.succeeds(held);
        if scene.saves_unless_etcd_died() {
            let held = scene.held(Destination::Directory, &[]);
            for number in 0..100 {
                if !scene.etcd.is_alive() {
                    break;
                }
                put_more(&scene.etcd, number);
            }
            assert!(!scene.etcd.is_alive(), "etcd lives on a full disk:\n{}", scene.etcd.log());
            let ended = held.release();
            if ended.code == 0 {
                scene.judged(&ended);
            } else {
                scene.failed(Destination::Directory, ended);
            }
        }

        run(&mut namespace.shell(&format!("rm {directory}/filler")));
        scene.etcd.restart();
        scene.saves();
    }
}

#[test]
fn an_alarm_for_want_of_space_is_no_reason_to_go_without_a_backup() {
    for binary in versions() {
        let flags = vec!["--quota-backend-bytes".to_owned(), (16 << 20).to_string()];
        let scene = Scene::with(&binary, &Options { flags, ..Options::default() });
        let held = scene.held(Destination::Directory, &[]);
        let full = (0..40).any(|number| !put_more(&scene.etcd, number));
        assert!(full, "the quota is kept");
        assert!(run(scene.etcd.etcdctl().args(["alarm", "list"])).contains("NOSPACE"));
        scene.succeeds(held);
        // Not even -q hides it.
        let ended = scene.save_from(&scene.etcd.address(), &["-q"]).arg(scene.sandbox.backups()).succeed();
        assert_eq!(ended.text(), "");
        let warning = format!("{}: the member reports NOSPACE alarm of member ", scene.etcd.address());
        scene.judged(&ended.says(&warning));
    }
}

#[test]
fn compaction_and_defragmentation_under_the_stream_do_no_harm() {
    for binary in versions() {
        let scene = Scene::new(&binary);
        let held = scene.held(Destination::Directory, &[]);
        scene.etcd.fill("value", VALUES, 100);
        let revision = status(&scene.etcd)["header"]["revision"].to_string();
        run(scene.etcd.etcdctl().args(["compact", "--physical", &revision]));
        // It waits for the stream, and everything else in etcd for it.
        let defragment =
            Program::of(&scene.etcd.etcdctl()).args(["defrag", "--command-timeout", "60s"]).start();
        await_that("it defragments", || scene.etcd.log().contains("defragment"));
        let before = scene.succeeds(held);
        defragment.wait().ends_with(0);
        let size = |snapshot: &Path| fs::metadata(snapshot).unwrap().len();
        let before = size(&before);
        let after = size(&scene.saves());
        assert!(before > (VALUES * VALUE_SIZE) as u64 && after < before / 2, "{before} {after}");
    }
}

/// Puts two keys at a time with the same value, again and again, until it is told to stop; counts.
fn write_pairs(address: &str, written: &AtomicU64, stop: &AtomicBool) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = etcd_client::Client::connect([address], None).await.unwrap();
        while !stop.load(Ordering::Relaxed) {
            let number = written.load(Ordering::Relaxed);
            let value = number.to_string().repeat(100);
            let both = ["pair/a", "pair/b"].map(|key| {
                etcd_client::TxnOp::put(format!("{key}/{:03}", number % 500), value.clone(), None)
            });
            client.txn(etcd_client::Txn::new().and_then(both)).await.unwrap();
            written.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// Tells the writer to stop, whatever becomes of the test.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Every key below `prefix`, without that, with its value and the revision it was written at.
fn below(etcd: &Etcd, prefix: &str) -> BTreeMap<String, (Value, Value)> {
    let listed = run(etcd.etcdctl().args(["get", "--prefix", prefix, "-w", "json"]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let keys = listed["kvs"].as_array().unwrap();
    keys.iter()
        .map(|key| {
            // Base64 of as many bytes for either prefix, and whole groups of three.
            let name = key["key"].as_str().unwrap()[8..].to_owned();
            (name, (key["value"].clone(), key["mod_revision"].clone()))
        })
        .collect()
}

#[test]
fn what_is_written_together_under_the_stream_is_saved_together_or_not_at_all() {
    for binary in versions() {
        let scene = Scene::new(&binary);
        let (written, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let address = scene.etcd.address();
        let more = |pairs| {
            let before = written.load(Ordering::Relaxed);
            await_that("more is written", || written.load(Ordering::Relaxed) >= before + pairs);
        };
        let snapshot = std::thread::scope(|scope| {
            let _stopping = Stopping(&stop);
            scope.spawn(|| write_pairs(&address, &written, &stop));
            more(300);
            let held = scene.held(Destination::Directory, &[]);
            more(700);
            scene.succeeds(held)
        });
        let data_dir = snapshot.with_extension("etcd");
        let restore = scene.snapshot_tool().args(["snapshot", "restore"]).arg(&snapshot);
        restore.arg("--data-dir").arg(&data_dir).succeed();
        let restored = Options { data_dir: Some(data_dir), ..Options::default() };
        let restored = Etcd::start(&binary, &quick(&restored));
        let (a, b) = (below(&restored, "pair/a"), below(&restored, "pair/b"));
        assert!(a.len() >= 300);
        assert!(a == b, "a pair was torn");
    }
}

/// Makes `to` what `from` is.
fn install(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

#[test]
fn certificates_may_be_replaced_between_saves_and_under_the_stream() {
    for binary in versions() {
        let place = Sandbox::furnished();
        let file = |name: &str| place.path(name);
        let [cacert, cert, key, old] = ["ca.pem", "client.pem", "client.key", "old.pem"].map(file);
        let leaf = harness::Leaf { certificate: file("server.pem"), key: file("server.key") };
        let pkis = [Pki::new(), Pki::new()];
        let clients = pkis.each_ref().map(|pki| pki.issue("client", LOOPBACK_NAMES));
        let replace_server = |pki: &Pki| {
            let new = pki.issue("server", LOOPBACK_NAMES);
            install(&new.certificate, &leaf.certificate);
            install(&new.key, &leaf.key);
        };
        let replace_client = |number: usize| {
            install(&pkis[number].authority(), &cacert);
            install(&clients[number].certificate, &cert);
            install(&clients[number].key, &key);
        };
        // etcd reads the authorities it trusts once, and its own certificate for each connection.
        let both = file("both.pem");
        let authorities = pkis.each_ref().map(|pki| fs::read(pki.authority()).unwrap());
        fs::write(&both, authorities.concat()).unwrap();
        install(&pkis[0].authority(), &old);
        replace_server(&pkis[0]);
        replace_client(0);

        let flags = [("--cacert", &cacert), ("--cert", &cert), ("--key", &key)];
        let etcdctl_flags: Vec<String> =
            flags.iter().flat_map(|(flag, file)| [(*flag).to_owned(), file.display().to_string()]).collect();
        let tls = Some(ServerTls { leaf: leaf.clone(), client_authority: Some(both) });
        let scene = Scene::with(&binary, &Options { tls, etcdctl_flags, ..Options::default() });
        scene.saves();

        let held = scene.held(Destination::Directory, &[]);
        replace_server(&pkis[1]);
        // Half of it done: a client that knows only the old authority does not get in.
        let ended = scene.fails_from(&scene.etcd.address(), &["--stall-timeout", "5s"]);
        ended.says("has another key").says("--cacert");
        replace_client(1);
        // Who was let in stays in.
        scene.succeeds(held);
        // The same files, read anew.
        scene.saves();
        let ended = scene.fails_from(&format!("http://{}", scene.etcd.address()), &[]);
        ended.says("serves TLS").says("https://");
    }
}

#[test]
fn authentication_may_be_turned_on_and_off_under_the_stream() {
    for binary in versions() {
        let mut scene = Scene::new(&binary);
        let address = scene.etcd.address();
        let as_root = |password: &str| vec!["--user".to_owned(), format!("root:{password}")];
        let held = scene.held(Destination::Directory, &[]);
        scene.etcd.enable_authentication("first", &[]);
        // Who was let in stays in, and who comes after must say who it is.
        scene.succeeds(held);
        scene.fails_from(&address, &[]).says("user name is empty").says("--user");
        scene.flags = as_root("first");
        scene.saves();

        // Another password.
        let held = scene.held(Destination::Directory, &[]);
        let passwd = ["--user", "root:first", "user", "passwd", "root", "--interactive=false"];
        Program::of(&scene.etcd.etcdctl()).args(passwd).input("second\n").succeed();
        scene.succeeds(held);
        scene.fails_from(&address, &[]).says("authentication failed");
        scene.flags = as_root("second");
        scene.saves();

        // And none any more: a superfluous user is no reason to go without a backup.
        let held = scene.held(Destination::Directory, &[]);
        run(scene.etcd.etcdctl().args(["--user", "root:second", "auth", "disable"]));
        scene.succeeds(held);
        scene.saves();
        scene.flags.clear();
        scene.saves();
    }
}

#[test]
fn a_slow_network_is_borne() {
    for binary in versions() {
        let scene = Scene::new(&binary);
        let slow = delaying(&scene.etcd.address(), Duration::from_millis(100));
        scene.saves_from(&slow);
    }
}

#[test]
fn a_network_that_is_cut_is_given_up_and_one_that_comes_back_is_not() {
    for binary in versions() {
        let Some(network) = Namespace::new("-n", "ip link set lo up") else { return };
        let scene = Scene::with(&binary, &Options { within: network.enter.clone(), ..Options::default() });
        let (up, down) = ("ip link set lo up", "ip link set lo down");
        let save = |more: &[&str]| {
            let save = scene.save_from(&scene.etcd.address(), more).arg(scene.sandbox.backups());
            save.behind(&network.enter)
        };
        let begun = |more: &[&str]| {
            let running = save(more).start();
            await_that("something is written", || written(&scene.sandbox.backups()) > 0);
            running
        };
        // Many seconds before the end of its stream.
        let running = begun(&["--limit-rate", "1MiB", "--stall-timeout", "1s"]);
        run(&mut network.shell(down));
        scene.failed(Destination::Directory, running.wait()).says("stood still");
        let unreachable = save(&["--dial-timeout", "1s", "--command-timeout", "1s"]);
        scene.failed(Destination::Directory, unreachable.run()).says("--endpoints");

        run(&mut network.shell(up));
        let running = begun(&["--limit-rate", "4MiB"]);
        run(&mut network.shell(down));
        run(&mut network.shell(up));
        let ended = running.wait().ends_with(0);
        scene.judged(&ended);
    }
}

/// Bytes of all files in a directory.
fn written(directory: &Path) -> u64 {
    // One may go while it is looked at.
    let files = fs::read_dir(directory).unwrap().filter_map(|entry| entry.ok()?.metadata().ok());
    files.map(|metadata| metadata.len()).sum()
}

#[test]
fn of_a_cluster_one_member_serves_from_the_beginning_to_the_end() {
    for binary in versions() {
        let mut members = Etcd::start_cluster(&binary, 3, &Options::default());
        let leads = |member: &Etcd| {
            let status = status(member);
            status["leader"] == status["header"]["member_id"]
        };
        let leader = members.remove(members.iter().position(leads).unwrap());
        let mut other = members.remove(1);
        let mut scene = Scene::of(members.remove(0), &[]);
        let mut leader = leader;

        // The one that serves dies: no other member takes its place in the middle.
        let (here, there) = (scene.etcd.address(), other.address());
        for destination in DESTINATIONS {
            let held = scene.held_from(&here, &[&there, &leader.address()], destination, &[]);
            scene.etcd.kill();
            scene.fails(held).says("broke after");
            // The next save takes another.
            scene.saves_from(&[here.as_str(), &there].join(","));
            scene.etcd.restart();
        }

        // Others die, even so many that there is no quorum: the one that serves goes on, and says so at the end.
        let held = scene.held_from(&here, &[&there], Destination::Directory, &["--json", "-q"]);
        leader.kill();
        other.kill();
        await_that("the member notices", || {
            status(&scene.etcd)["leader"].as_u64().is_none_or(|leader| leader == 0)
        });
        let ended = held.release().ends_with(3);
        let told = ended.object();
        assert_eq!((&told["kind"], &told["conditions"]), (&json!("no_leader"), &Value::Null), "{told}");
        assert_eq!(told["status_after"]["conditions"], json!([{"condition": "no_leader"}]), "{told}");
        ended.says("by the end of the stream the member reports no leader");
        scene.whole();

        // Cut off from the beginning, and the only one that answers.
        let both = [here.as_str(), &there].join(",");
        let ended = scene.save_from(&both, &["-q"]).arg(scene.sandbox.backups()).run().ends_with(3);
        assert!(ended.text().contains("saved, but the member had no leader"), "{}", ended.text());
        let told = scene.sandbox.open("info").arg(scene.sandbox.archive()).succeed().said();
        assert_eq!(told.matches("no leader").count(), 2, "before and after: {told}");
        scene.whole();
        say("saved without a quorum");
    }
}

/// etcd's own gRPC proxy, which sends each call to another of its endpoints, and its address.
fn grpc_proxy(binary: &Path, endpoints: &[String]) -> (Kept, String) {
    // No other server of the tests has this address, so none can take the port before the proxy does.
    let free = std::net::TcpListener::bind("127.0.0.77:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let mut proxy = Command::new(binary);
    proxy.args(["grpc-proxy", "start"]).arg(format!("--endpoints={}", endpoints.join(",")));
    proxy.arg(format!("--listen-addr={address}")).stdout(Stdio::null()).stderr(Stdio::null());
    let proxy = Kept(proxy.spawn().unwrap());
    await_that("the proxy listens", || TcpStream::connect(&address).is_ok());
    (proxy, address)
}

/// Status, snapshot and the status after it may come from different members, even of different clusters: then there is no
/// archive. Where there is one, it is of one member, and says what is in it.
#[test]
fn what_a_proxy_mixes_is_no_archive() {
    const TRIES: usize = 12;
    for binary in versions() {
        let members = [3, 30].map(|keys| {
            let etcd = Etcd::start(&binary, &quick(&Options::default()));
            etcd.fill("value", keys, 100);
            etcd
        });
        let newest = |etcd: &Etcd| {
            let header = &status(etcd)["header"];
            (format!("{:016x}", header["member_id"].as_u64().unwrap()), header["revision"].as_u64().unwrap())
        };
        let newest = members.each_ref().map(newest);
        let addresses = members.each_ref().map(Etcd::address);
        let (_proxy, proxy_address) = grpc_proxy(&binary, &addresses);
        let mut refused = 0;
        for number in 0..TRIES {
            let sandbox = Sandbox::furnished();
            let archive = sandbox.path(format!("{number}.age"));
            let save = sandbox.save();
            let ended = save.args(["--endpoints", &proxy_address, "--json"]).arg(&archive).run();
            let told = ended.object();
            if ended.code == 0 {
                let member = told["member_id"].as_str().unwrap();
                let revision = told["contents"]["revision"].as_u64().unwrap();
                assert!(newest.contains(&(member.to_owned(), revision)), "{told}");
                continue;
            }
            assert_eq!((ended.code, &told["kind"]), (14, &Value::from("etcd_bad_snapshot")), "{told}");
            assert!(told["hint"].as_str().unwrap().contains("proxy"), "{told}");
            assert!(!archive.exists());
            refused += 1;
        }
        assert!(refused > 0, "the proxy has mixed nothing");
        say(&format!("{refused} of {TRIES} saves through the proxy were refused"));
    }
}
