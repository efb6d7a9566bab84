//! The disaster runbook, `man/etcd-seal-recovery.7`, typed in as it stands: its blocks are read from the page, pasted
//! into bash in its order, and what runs in the end must serve what was saved: with this program and with stock tools
//! alone, one member and three, on every etcd found.

use harness::program::{Outcome, etcd_seal};
use harness::sandbox::Sandbox;
use harness::{Etcd, Options, can, dead_address, etcds, release, run, say, skip};
use rustix::process::{getgid, getuid};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const PAGE: &str = include_str!("../../man/etcd-seal-recovery.7");

/// The user of the saved etcd, and so of the restored one.
const USER: &str = "root:right horse";

/// How often a recovery is tried again because another process took its ports.
const ATTEMPTS: u32 = 3;

/// What a terminal of 80 columns leaves for an example: the pages are indented.
const COLUMNS: usize = 80 - 7;

/// A piece of the page to paste.
struct Block {
    name: String,
    /// Why no test can run it, as the page says.
    not_run: Option<String>,
    text: String,
}

/// The blocks of the page, each introduced by a comment with its name.
fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        let Some(title) = line.strip_prefix(r#".\" block: "#) else {
            assert_ne!(line, ".EX", "an example of the page has no name");
            continue;
        };
        assert_eq!(lines.next(), Some(".EX"), "{title}");
        let text: Vec<String> = lines.by_ref().take_while(|&line| line != ".EE").map(unescape).collect();
        let (name, remark) = title.split_once(' ').unwrap_or((title, ""));
        let not_run =
            remark.strip_prefix("(not run by the tests: ").map(|why| why.trim_end_matches(')').to_owned());
        assert!(remark.is_empty() || not_run.is_some(), "{title}");
        blocks.push(Block { name: name.to_owned(), not_run, text: text.join("\n") + "\n" });
    }
    blocks
}

/// One line as it is shown. Only the escapes that the page's examples need.
fn unescape(line: &str) -> String {
    // Elsewhere than on Debian a bare one is shown as a hyphen, which no shell takes for a minus.
    assert!(!line.replace(r"\-", "").contains(['-', '`', '^', '~']), "shown as something else: {line}");
    let shown = line.replace(r"\-", "-").replace(r"\(aq", "'").replace(r"\e", "\x00").replace(r"\&", "");
    assert!(
        !shown.contains('\\') && !line.starts_with(['.', '\'']),
        "not known to be shown as it is: {line}"
    );
    shown.replace('\x00', r"\")
}

fn block(name: &str) -> String {
    let found: Vec<Block> = blocks().into_iter().filter(|block| block.name == name).collect();
    assert_eq!(found.len(), 1, "the page must have one block {name}");
    assert!(found[0].not_run.is_none(), "{name}");
    found[0].text.clone()
}

/// The variables that a block of settings sets, in its order.
fn variables(settings: &str) -> Vec<String> {
    let text = block(settings);
    let mut variables: Vec<String> =
        text.lines().map(|line| line.split_once('=').expect(settings).0.to_owned()).collect();
    variables.dedup();
    variables
}

/// What the page gives as the value of `BUMP` for clients that watch etcd.
fn bump() -> String {
    let (_, rest) = PAGE.split_once(r"BUMP=\(aq").unwrap();
    rest.split_once(r"\(aq").unwrap().0.replace(r"\-", "-")
}

/// One archive of a real etcd with users and leases, and all that is needed to recover it.
struct Disaster {
    etcd: PathBuf,
    sandbox: Sandbox,
    archive: PathBuf,
    contents: Value,
}

impl Disaster {
    /// Fills an etcd, saves it, and loses it.
    fn new(etcd: &Path) -> Self {
        let sandbox = Sandbox::new();
        let source = Etcd::start(etcd, &Options::default());
        source.fill("/registry/pods", 250, 400);
        run(source.etcdctl().args(["del", "/registry/pods/000007"]));
        run(source.etcdctl().args(["put", "/registry/pods/000008", "again"]));
        let lease = run(source.etcdctl().args(["lease", "grant", "86400"]));
        let lease = lease.split(' ').nth(1).unwrap();
        run(source.etcdctl().args(["put", "--lease", lease, "/registry/leases/node", "held"]));
        let (_, password) = USER.split_once(':').unwrap();
        source.enable_authentication(password, &[]);
        let contents = contents(source.etcdctl().args(["--user", USER]));

        sandbox.make_directory("backups");
        let recipient = sandbox.seal(["keygen", "-o", "key.txt"]).succeed();
        for cluster in ["other", "prod"] {
            let save = ["save", "backups/", "-q", "--cluster-name", cluster, "-r", recipient.text().trim()];
            sandbox.seal(save).args(["--user", USER, "--endpoints", &source.address()]).succeed();
        }
        let archive = fs::read_dir(sandbox.path("backups"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                name.starts_with("prod-") && name.ends_with(".db.zst.age")
            })
            .unwrap();
        Self { etcd: etcd.to_owned(), sandbox, archive, contents }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path(name)
    }

    /// Begins a shell session on the bare host; `program` is what `etcd-seal` is there.
    fn host(&self, program: &Path) -> Session<'_> {
        let host = Sandbox::new();
        symlink(program, host.make_directory("bin").join("etcd-seal")).unwrap();
        let mut session = Session { disaster: self, host, script: String::new() };
        let (archive, identity) =
            (self.archive.display().to_string(), self.path("key.txt").display().to_string());
        session.paste("place-to-work");
        session.set_all("settings", &[("ARCHIVE", &archive), ("IDENTITY", &identity)]);
        session
    }

    fn host_with_etcd_seal(&self) -> Session<'_> {
        self.host(Path::new(etcd_seal()))
    }

    /// On this host every call of etcd-seal fails.
    fn host_without_etcd_seal(&self) -> Session<'_> {
        self.host(Path::new("/bin/false"))
    }
}

/// Whether the etcdutl of this etcd can lift the revision.
fn can_bump_revision(etcd: &Path) -> bool {
    let help = Command::new(etcd.with_file_name("etcdutl")).args(["snapshot", "restore", "--help"]).output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--bump-revision"))
}

/// Every key with value, lease and revisions, as etcdctl shows them.
fn contents(etcdctl: &mut Command) -> Value {
    let shown = run(etcdctl.args(["get", "", "--prefix", "-w", "json"]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["kvs"].as_array().is_some_and(|keys| keys.len() > 200), "{shown}");
    shown["kvs"].clone()
}

/// What is pasted into one bash. Every block must succeed, as the page demands, or the session ends there.
struct Session<'a> {
    disaster: &'a Disaster,
    host: Sandbox,
    script: String,
}

impl Session<'_> {
    fn line(&mut self, line: &str) {
        self.script += line;
        self.script.push('\n');
    }

    fn set(&mut self, variable: &str, value: &str) {
        self.line(&format!("{variable}='{value}'"));
    }

    /// Exactly the variables of a block of settings.
    fn set_all(&mut self, settings: &str, values: &[(&str, &str)]) {
        let named: Vec<&str> = values.iter().map(|&(variable, _)| variable).collect();
        assert_eq!(variables(settings), named, "{settings}");
        for (variable, value) in values {
            self.set(variable, value);
        }
    }

    fn paste(&mut self, name: &str) {
        self.script += &block(name);
        self.line(&format!(
            r#"code=$?; [ $code -eq 0 ] || {{ echo "block {name}: exit code $code" >&2; exit $code; }}"#
        ));
    }

    /// The settings of a member called `name`, alone in its cluster unless more is said, whose data are below `directory`.
    fn set_member(&mut self, name: &str, urls: [&str; 2], directory: &Path, bump: &str) {
        let (data_dir, owner) = (directory.join("data").display().to_string(), owner());
        let [peer_url, client_url] = urls;
        let cluster = format!("{name}={peer_url}");
        self.set_all(
            "settings-member",
            &[
                ("NAME", name),
                ("PEER_URL", peer_url),
                ("CLIENT_URL", client_url),
                ("DATA_DIR", &data_dir),
                ("OWNER", &owner),
                ("ETCD_VERSION", &format!("{}.0", release(&self.disaster.etcd))),
                ("CLUSTER", &cluster),
                ("TOKEN", "restored-2026-11-21"),
                ("BUMP", bump),
            ],
        );
    }

    /// What the lost cluster left where the member will be.
    fn leave_old_data(&mut self) {
        self.line(r#"mkdir -p "$DATA_DIR/member/snap" && echo old > "$DATA_DIR/member/snap/db" || exit"#);
    }

    /// The old data must still be there, under a name that begins so.
    fn find_old_data(&mut self, beginning: &str) {
        self.line(&format!(r#"[ "$(cat "$DATA_DIR"{beginning}*/snap/db)" = old ] || exit"#));
    }

    /// Shows what the member at `$CLIENT_URL` serves, as JSON after a marker.
    fn show_contents(&mut self) {
        self.line("echo; echo CONTENTS; etcdctl get '' --prefix -w json || exit");
    }

    /// Runs it all. Servers are children of the shell, which ends them by their process ids; should it not end
    /// itself, `timeout` ends the whole group.
    fn run(&self) -> Outcome {
        let end_servers = r#"
end_servers() {
    code=$? servers=$(jobs -p)
    [ -z "$servers" ] || kill -KILL $servers
    wait
    [ $code -eq 0 ] || cat etcd.log ~/recovery/*/etcd.log >&2
    exit $code
}
trap end_servers EXIT"#;
        self.host.write("script", format!("{end_servers}\n{}", self.script));
        let bash = self.host.program("timeout").args(["--kill-after=5", "120", "bash", "script"]);
        let first = [self.host.path("bin"), self.disaster.etcd.parent().unwrap().to_owned()];
        bash.find_first_in(first).env("ETCDCTL_USER", USER).run()
    }

    /// Runs it to the end, and returns what was shown after each marker.
    fn succeed(&self) -> Vec<Value> {
        let output = self.run();
        assert_eq!(output.code, 0, "{}\n{}", self.script, output.said());
        let shown = output.text().split("\nCONTENTS\n").skip(1);
        shown
            .map(|text| serde_json::Deserializer::from_str(text).into_iter().next().unwrap().unwrap())
            .collect()
    }

    /// Runs it, expecting it to end at this block with this exit code, where it matters.
    fn fails_at(&self, name: &str, code: Option<i32>) {
        let output = self.run();
        let output = output.says(&format!("block {name}: exit code ")).fails();
        assert!(code.is_none() || Some(output.code) == code, "{}\n{}", output.code, output.stderr);
    }

    /// A path in the place to work.
    fn file(&self, name: &str) -> PathBuf {
        self.host.path("recovery").join(name)
    }
}

/// Different URLs at which no server listens.
fn free_urls(count: usize) -> Vec<String> {
    let mut urls = BTreeSet::new();
    while urls.len() < count {
        urls.insert(format!("http://{}", dead_address()));
    }
    urls.into_iter().collect()
}

/// Tries again where another process took a port between our asking for it and etcd's listening on it.
fn with_free_urls(count: usize, mut session: impl FnMut(&[String]) -> Vec<Value>) -> Vec<Value> {
    for _ in 1..ATTEMPTS {
        let urls = free_urls(count);
        let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| session(&urls)));
        match attempt {
            Ok(shown) => return shown,
            Err(why) => {
                let text = why.downcast_ref::<String>().cloned().unwrap_or_default();
                if !text.contains("address already in use") {
                    std::panic::resume_unwind(why);
                }
            }
        }
    }
    session(&free_urls(count))
}

/// Who runs the tests, by number.
fn owner() -> String {
    format!("{}:{}", getuid().as_raw(), getgid().as_raw())
}

/// Steps 5 and 6 for a single member, and what it serves.
fn boot(session: &mut Session) {
    session.paste("start");
    session.paste("check");
    session.show_contents();
    session.line("etcdctl put /after/the/restore 'it takes writes' || exit");
}

#[test]
fn every_block_is_shown_as_it_must_be_typed() {
    let mut names = BTreeSet::new();
    for block in blocks() {
        assert!(names.insert(block.name.clone()), "two blocks are called {}", block.name);
        run(Command::new("bash").args(["-n", "-c", &block.text]));
        if let Some(why) = block.not_run {
            say(&format!("not run: {}: {why}", block.name));
        }
    }
    let printed = run(Command::new(etcd_seal()).arg("recovery"));
    shows_every_block(&printed);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/man/etcd-seal-recovery.7");
    if can("groff", &["-v"]) {
        shows_every_block(&run(
            Command::new("groff").args(["-t", "-man", "-Kutf8", "-Tutf8", "-P-cbou", page])
        ));
    }
}

/// Asserts that each line of a block can be copied from `page`.
#[track_caller]
fn shows_every_block(page: &str) {
    let shown: BTreeSet<&str> = page.lines().map(str::trim).collect();
    for block in blocks() {
        for line in block.text.lines() {
            assert!(line.len() <= COLUMNS, "{}: wraps, and breaks when copied: {line}", block.name);
            assert!(shown.contains(line.trim()), "{}: not shown: {line}", block.name);
        }
    }
}

#[test]
fn every_block_that_can_be_run_is_run() {
    let here = include_str!("runbook.rs");
    for block in blocks().iter().filter(|block| block.not_run.is_none()) {
        assert!(here.contains(&format!("\"{}\"", block.name)), "no test runs {}", block.name);
    }
}

#[test]
fn one_member_comes_back_with_etcd_seal() {
    for etcd in etcds() {
        let disaster = Disaster::new(&etcd);
        let shown = with_free_urls(2, |urls| {
            let mut session = disaster.host_with_etcd_seal();
            for name in ["info", "verify", "verify-all"] {
                session.paste(name);
            }
            let place = session.file("lib");
            session.set_member("etcd-1", [&urls[0], &urls[1]], &place, "");
            session.leave_old_data();
            session.paste("member");
            session.find_old_data("/member.replaced-");
            boot(&mut session);
            session.paste("afterwards");
            session.succeed()
        });
        assert_eq!(shown[0]["kvs"], disaster.contents, "{}", etcd.display());
    }
}

#[test]
fn one_member_comes_back_with_stock_tools_alone() {
    for etcd in etcds() {
        let disaster = Disaster::new(&etcd);
        let shown = with_free_urls(2, |urls| {
            let mut session = disaster.host_without_etcd_seal();
            for name in ["verify-stock", "restore-stock", "status-stock"] {
                session.paste(name);
            }
            let place = session.file("lib");
            session.set_member("etcd-1", [&urls[0], &urls[1]], &place, "");
            session.leave_old_data();
            session.paste("member-stock");
            session.find_old_data("/member.replaced-");
            boot(&mut session);
            session.paste("afterwards-stock");
            session.line("[ ! -e snapshot.db ] || exit");
            session.succeed()
        });
        assert_eq!(shown[0]["kvs"], disaster.contents, "{}", etcd.display());
    }
}

/// How three members are made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    AllOnOneHost,
    EachOnItsOwn,
    StockTools,
}

#[test]
fn three_members_come_back_as_one_cluster() {
    for (index, etcd) in etcds().into_iter().enumerate() {
        let disaster = Disaster::new(&etcd);
        // On every etcd the way that the page advises; the others differ in nothing that a single member does not show.
        let others = [Way::EachOnItsOwn, Way::StockTools];
        let ways = [Way::AllOnOneHost].into_iter().chain(others.into_iter().filter(|_| index == 0));
        for way in ways {
            let shown = with_free_urls(6, |urls| three_members(&disaster, urls, way).succeed());
            assert_eq!(shown.len(), 3, "{}", etcd.display());
            for member in &shown {
                assert_eq!(member["kvs"], disaster.contents, "{way:?} {}", etcd.display());
                assert_eq!(member["header"]["cluster_id"], shown[0]["header"]["cluster_id"]);
                let revision = member["header"]["revision"].as_u64().unwrap();
                assert_eq!(revision > 1_000_000_000, way == Way::EachOnItsOwn, "{way:?}: {revision}");
            }
            let ids: BTreeSet<String> =
                shown.iter().map(|member| member["header"]["member_id"].to_string()).collect();
            assert_eq!(ids.len(), 3, "{ids:?}");
        }
    }
}

/// Each host has a directory of its own; all are children of one shell.
fn three_members<'a>(disaster: &'a Disaster, urls: &[String], way: Way) -> Session<'a> {
    let mut session = disaster.host_with_etcd_seal();
    let cluster: Vec<String> = (1..=3).map(|host| format!("etcd-{host}={}", urls[host - 1])).collect();
    let cluster = cluster.join(",");
    let bump = if way == Way::EachOnItsOwn { bump() } else { String::new() };
    for host in 1..=3 {
        let (name, own_urls) = (format!("etcd-{host}"), [&*urls[host - 1], &*urls[host + 2]]);
        let place = session.file(&name);
        session.line(&format!("mkdir {name} && cd {name} || exit"));
        session.set_member(&name, own_urls, &place, &bump);
        session.set_all("settings-three", &[("CLUSTER", &cluster)]);
        session.leave_old_data();
        match (way, host) {
            (Way::AllOnOneHost, 1) => session.paste("members"),
            // What `carry` does.
            (Way::AllOnOneHost, _) => {
                session.line(&format!("mkdir members && mv ../etcd-1/members/{name} members/ || exit"));
            }
            (Way::EachOnItsOwn, _) => session.paste("member"),
            (Way::StockTools, _) => {
                session.paste("restore-stock");
                session.paste("member-stock");
            }
        }
        if way == Way::AllOnOneHost {
            session.line("[ -s members/$NAME/RESTORE.txt ] || exit");
            session.paste("place");
        }
        session.find_old_data("/member.replaced-");
        session.paste("start");
        session.line("cd ..");
    }
    for client_url in &urls[3..] {
        session.set("CLIENT_URL", client_url);
        session.paste("check");
        session.line(r#"[ "$(etcdctl member list | wc -l)" -eq 3 ] || exit"#);
        session.show_contents();
    }
    session.line("cd etcd-1");
    session.paste("afterwards");
    session.line("[ ! -e members ] || exit");
    session
}

/// As kubeadm writes it, but for addresses, the place and TLS.
fn kubeadm_manifest(etcd: &Path, urls: &[String], data_dir: &Path) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - command:\n    - etcd\n    \
         - --advertise-client-urls={client}\n    - --data-dir={data_dir}\n    \
         - --experimental-initial-corrupt-check=true\n    - --initial-advertise-peer-urls={peer}\n    \
         - --initial-cluster=node-1={peer}\n    - --listen-client-urls={client},https://10.0.0.1:2379\n    \
         - --listen-peer-urls={peer}\n    - --name=node-1\n    - --snapshot-count=10000\n    \
         image: registry.k8s.io/etcd:{version}.0-0\n    imagePullPolicy: IfNotPresent\n",
        peer = urls[0],
        client = urls[1],
        data_dir = data_dir.display(),
        version = release(etcd),
    )
}

#[test]
fn with_kubeadm_no_watch_of_the_past_stays_alive() {
    for etcd in etcds() {
        let disaster = Disaster::new(&etcd);
        let shown = with_free_urls(2, |urls| {
            let mut session = disaster.host_with_etcd_seal();
            let (stopped, data_dir) = (session.file("stopped"), session.file("data"));
            fs::create_dir_all(&stopped).unwrap();
            fs::write(stopped.join("etcd.yaml"), kubeadm_manifest(&etcd, urls, &data_dir)).unwrap();
            session.set_all("settings-kubeadm", &[("STOPPED", &stopped.display().to_string())]);
            session.paste("kubeadm-settings");
            session.line(&format!(r#"[ "$ETCD_VERSION" = {}.0-0 ] || exit"#, release(&etcd)));
            session.set("OWNER", &owner());
            session.leave_old_data();
            session.paste("member");
            session.find_old_data("/member.replaced-");
            boot(&mut session);
            session.line("timeout 20 etcdctl watch '' --prefix --rev 5 >watch.log 2>&1");
            session.line("grep 'required revision has been compacted' watch.log || exit");
            session.succeed()
        });
        let revisions = disaster.contents.as_array().unwrap().iter().map(|key| key["mod_revision"].as_u64());
        let newest = revisions.max().flatten().unwrap();
        let raised = shown[0]["header"]["revision"].as_u64().unwrap();
        assert!(raised >= 2 * newest, "{}: {raised} after {newest}", etcd.display());
        assert_eq!(shown[0]["kvs"], disaster.contents, "{}", etcd.display());
    }
}

#[test]
fn stock_tools_raise_revisions_too() {
    for etcd in etcds() {
        if !can_bump_revision(&etcd) {
            skip::refused(&format!("{} has no etcdutl that bumps revisions", etcd.display()));
            continue;
        }
        let disaster = Disaster::new(&etcd);
        let shown = with_free_urls(2, |urls| {
            let mut session = disaster.host_without_etcd_seal();
            session.paste("restore-stock");
            let place = session.file("lib");
            session.set_member("etcd-1", [&urls[0], &urls[1]], &place, &bump());
            session.line(r#"mkdir "${DATA_DIR%/data}""#);
            session.paste("member-stock");
            boot(&mut session);
            session.succeed()
        });
        assert!(shown[0]["header"]["revision"].as_u64().unwrap() > 1_000_000_000, "{}", etcd.display());
    }
}

/// Of a database whose digest is gone, as after a copy of a member's db file.
#[test]
fn the_last_copy_comes_back_without_a_digest() {
    let Some(etcd) = etcds().into_iter().next() else { return };
    let disaster = Disaster::new(&etcd);
    let shown = with_free_urls(2, |urls| {
        let mut session = disaster.host_with_etcd_seal();
        session.paste("restore");
        session.line("truncate -s -32 snapshot.db");
        let place = session.file("lib");
        session.set_member("etcd-1", [&urls[0], &urls[1]], &place, "");
        session.leave_old_data();
        session.line(
            "etcd-seal restore --from-snapshot snapshot.db --data-dir elsewhere; [ $? -eq 13 ] || exit",
        );
        session.paste("last-copy");
        boot(&mut session);
        session.succeed()
    });
    assert_eq!(shown[0]["kvs"], disaster.contents);
}

/// The disk of a member that was killed, on a host with nothing but that.
#[test]
fn a_disk_that_survived_comes_back() {
    for etcd in etcds() {
        let disaster = Disaster::new(&etcd);
        let mut source = Etcd::start(&etcd, &Options::default());
        source.fill("/registry/pods", 250, 100);
        let (_, password) = USER.split_once(':').unwrap();
        source.enable_authentication(password, &[]);
        run(source.etcdctl().args(["--user", USER, "put", "/last", "acknowledged"]));
        let contents = contents(source.etcdctl().args(["--user", USER]));
        source.kill();
        let disk = source.data_dir().display().to_string();
        fs::write(disaster.path("recipients.txt"), recipient_of(&disaster)).unwrap();
        let recipients = disaster.path("recipients.txt").display().to_string();
        let shown = with_free_urls(2, |urls| {
            let mut session = disaster.host_with_etcd_seal();
            session.set_all("settings-disk", &[("DISK", &disk), ("RECIPIENTS", &recipients)]);
            session.paste("save-disk");
            session.line("ARCHIVE=$(echo ./*.age)");
            session.paste("verify");
            let place = session.file("lib");
            session.set_member("etcd-1", [&urls[0], &urls[1]], &place, "");
            session.line(r#"mkdir "${DATA_DIR%/data}""#);
            session.paste("member");
            boot(&mut session);
            session.succeed()
        });
        assert_eq!(shown[0]["kvs"], contents, "{}", etcd.display());
    }
}

/// The recipient of the identity of a disaster, which its file names in a comment.
fn recipient_of(disaster: &Disaster) -> String {
    let identity = fs::read_to_string(disaster.path("key.txt")).unwrap();
    let line = identity.lines().find_map(|line| line.strip_prefix("# public key: "));
    line.unwrap().to_owned() + "\n"
}

/// The exit codes on which the page's "do not go on then" relies.
#[test]
fn blocks_that_fail_say_so() {
    let Some(etcd) = etcds().into_iter().next() else { return };
    let disaster = Disaster::new(&etcd);
    let whole = fs::read(&disaster.archive).unwrap();
    let damaged = disaster.path("damaged.age");
    let digest = fs::read_to_string(disaster.archive.with_extension("age.sha256")).unwrap();
    let name = disaster.archive.file_name().unwrap().to_str().unwrap();
    fs::write(disaster.path("damaged.age.sha256"), digest.replace(name, "damaged.age")).unwrap();
    for cut in [whole.len() - 1, whole.len() - 1000, whole.len() / 2, 300, 1] {
        fs::write(&damaged, &whole[..cut]).unwrap();
        for (name, code) in [
            ("verify", Some(13)),
            ("verify-stock", None),
            ("restore", Some(13)),
            ("restore-stock", None),
            ("info", None),
            ("member", Some(13)),
            ("members", Some(13)),
        ] {
            // A header that is still whole is still shown, and a trailer that is missing is missed.
            let mut session = disaster.host_with_etcd_seal();
            session.set("ARCHIVE", &damaged.display().to_string());
            let place = session.file("lib");
            session.set_member("etcd-1", ["http://127.0.0.1:1", "http://127.0.0.1:2"], &place, "");
            session.leave_old_data();
            session.paste(name);
            session.fails_at(name, code);
            if name != "restore-stock" {
                assert!(!session.file("snapshot.db").exists(), "cut to {cut} bytes");
            }
            assert!(!session.file("members").exists(), "cut to {cut} bytes");
            let old = fs::read_to_string(session.file("lib/data/member/snap/db")).unwrap();
            assert_eq!(old, "old\n", "cut to {cut} bytes");
        }
    }
    snapshots_that_fail(&disaster);
}

/// What reaches the making of members damaged is refused there.
fn snapshots_that_fail(disaster: &Disaster) {
    for spoil in [
        "truncate -s -512 snapshot.db",
        "printf X | dd of=snapshot.db bs=1 seek=9000 conv=notrunc status=none",
    ] {
        let mut session = disaster.host_with_etcd_seal();
        session.paste("restore");
        session.line(spoil);
        let place = session.file("lib");
        session.set_member("etcd-1", ["http://127.0.0.1:1", "http://127.0.0.1:2"], &place, "");
        session.line(r#"mkdir "${DATA_DIR%/data}""#);
        session.paste("member-stock");
        session.fails_at("member-stock", None);
    }
    let mut session = disaster.host_with_etcd_seal();
    session.set("IDENTITY", "other.txt");
    session.line("etcd-seal keygen -o other.txt");
    session.paste("verify-all");
    session.fails_at("verify-all", Some(12));
}

/// Members made with different numbers are told from those of one making.
#[test]
fn the_check_finds_members_that_are_unequal() {
    let Some(etcd) = etcds().into_iter().next() else { return };
    let disaster = Disaster::new(&etcd);
    let urls = free_urls(6);
    let mut session = three_members(&disaster, &urls, Way::EachOnItsOwn);
    // The third member is made with another number.
    let third = session.script.find("mkdir etcd-3").unwrap();
    let (before, after) = session.script.split_at(third);
    let after = after.replacen("--bump-revision 1000000000", "--bump-revision 2000000000", 1);
    session.script = [before, &after.replace("timeout 120", "timeout 8")].concat();
    session.fails_at("check", Some(124));
}

/// A member that comes late is waited for, and one that is dead is named.
#[test]
fn the_check_waits_for_a_member_that_does_not_answer() {
    let Some(etcd) = etcds().into_iter().next() else { return };
    let disaster = Disaster::new(&etcd);
    let urls = free_urls(6);
    let mut session = three_members(&disaster, &urls, Way::AllOnOneHost);
    session.set("CLIENT_URL", &urls[3]);
    session
        .line("member=$(jobs -p | tail -n 1); kill -STOP $member; (sleep 8; kill -CONT $member) & late=$!");
    session.paste("check");
    session.line("kill -0 $late && exit 1; kill -KILL $member; cd ~/recovery/etcd-1 || exit");
    session.script += &block("check").replace("timeout 120", "timeout 20");
    session.line("[ $? -eq 124 ] || exit 1; exit 7");
    let outcome = session.run().ends_with(7);
    let dead = &urls[5];
    assert!(outcome.stderr.contains(&format!("{dead} is unhealthy")), "{}", outcome.stderr);
}

/// What lies beside each member of a cluster says the same as the page, to the word.
#[test]
fn the_instructions_beside_a_member_are_those_of_the_page() {
    let Some(etcd) = etcds().into_iter().next() else { return };
    let disaster = Disaster::new(&etcd);
    let plan = "etcd-1=https://10.0.0.1:2380,etcd-2=https://10.0.0.2:2380";
    let restore = ["restore", "-i", "key.txt", "--output-dir", "members", "--cluster-plan", plan];
    disaster.sandbox.seal(restore).arg(&disaster.archive).succeed();
    let text = fs::read_to_string(disaster.path("members/etcd-2/RESTORE.txt")).unwrap();
    let pasted: Vec<String> =
        text.split("\n\n").filter(|block| block.starts_with("    ")).map(str::to_owned).collect();
    let named = [
        "stop",
        "stop-by-hand",
        "place",
        "start-service",
        "start",
        "check",
        "kubeadm-stop",
        "kubeadm-stop-by-hand",
        "kubeadm-start-etcd",
        "kubeadm-start-others",
    ];
    let of_page = blocks().into_iter().filter(|block| named.contains(&block.name.as_str()));
    let mut expected: Vec<String> = of_page
        .map(|block| block.text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"))
        .collect();
    let mut found: Vec<String> = pasted[1..].iter().map(|block| block.trim_end().to_owned()).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{text}");
    // The settings are a part of those of step 4, in their order.
    let settings: Vec<&str> = pasted[0].lines().map(|line| line.trim().split_once('=').unwrap().0).collect();
    let page: Vec<String> = variables("settings-member").into_iter().take(settings.len()).collect();
    assert_eq!(settings, page, "{text}");
    for (variable, value) in [("NAME", "etcd-2"), ("PEER_URL", "https://10.0.0.2:2380")] {
        assert!(pasted[0].contains(&format!("    {variable}={value}\n")), "{text}");
    }
}
