//! Real etcd members and clusters, on loopback at ports that the system chose.

use super::pki::Leaf;
use super::program::tools;
use super::run;
use etcd_client::{Client, DowngradeOptions, Error};
use etcd_seal::low_level::database::versions::Release;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tonic::Code;

/// How long a member may take to serve, or a tool to finish, before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a start is tried again: another process may take a port between our asking for it and etcd's listening on it.
const START_ATTEMPTS: u32 = 5;

/// Every etcd executable to test with: the one on `PATH`, and one in each directory of `ETCD_SEAL_TEST_ETCDS`, a list
/// with colons, some of which may hold only other tools.
pub fn etcds() -> Vec<PathBuf> {
    tools("etcd")
}

/// Each of them started with nothing special, in its turn.
pub fn each_etcd() -> impl Iterator<Item = Etcd> {
    etcds().into_iter().map(|binary| Etcd::start(&binary, &Options::default()))
}

/// The first of them started so, where there is one.
pub fn an_etcd() -> Option<Etcd> {
    each_etcd().next()
}

/// The release of an etcd.
pub fn release(etcd: &Path) -> Release {
    let told = run(Command::new(etcd).arg("--version"));
    let version = told.lines().find_map(|line| line.strip_prefix("etcd Version: "));
    Release::of(version.unwrap()).unwrap()
}

/// The tools that came with this etcd and know `snapshot status` and `snapshot restore`, or the etcdctl on `PATH`: etcdutl since
/// 3.5, etcdctl before 3.6.
pub fn snapshot_tools(etcd: &Path) -> Vec<PathBuf> {
    let names = if release(etcd).minor < 6 { &["etcdutl", "etcdctl"][..] } else { &["etcdutl"] };
    let beside = names.iter().map(|tool| etcd.with_file_name(tool));
    let found: Vec<_> = beside.filter(|tool| tool.is_file()).collect();
    if found.is_empty() { vec!["etcdctl".into()] } else { found }
}

/// How to start a member.
#[derive(Clone, Default)]
pub struct Options {
    /// Serve clients over TLS.
    pub tls: Option<ServerTls>,
    /// Serve clients at a Unix socket instead of a port. TLS applies to it too.
    pub unix: bool,
    /// More flags for etcd.
    pub flags: Vec<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// Words before the commands of etcd and etcdctl, such as those that enter a namespace.
    pub within: Vec<String>,
    /// What etcdctl needs to be let in.
    pub etcdctl_flags: Vec<String>,
    /// Where the member keeps its data, if not in a directory of its own.
    pub data_dir: Option<PathBuf>,
}

impl Options {
    /// `program`, to be run where the member runs.
    fn command(&self, program: &Path) -> Command {
        let mut words: Vec<&OsStr> = self.within.iter().map(OsStr::new).collect();
        words.push(program.as_os_str());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    }
}

/// The server's side of TLS.
#[derive(Clone)]
pub struct ServerTls {
    /// The server's certificate.
    pub leaf: Leaf,
    /// Clients must show a certificate of this authority.
    pub client_authority: Option<PathBuf>,
}

/// A running etcd member. Killed when dropped.
pub struct Etcd {
    child: Child,
    dir: TempDir,
    binary: PathBuf,
    plan: Plan,
    /// The value of `--initial-cluster`.
    cluster: String,
    options: Options,
}

/// What one member is called and where it listens.
#[derive(Clone)]
struct Plan {
    name: String,
    client_url: String,
    peer_url: String,
    metrics_address: String,
}

impl Etcd {
    /// Starts a cluster of one and waits until it serves.
    pub fn start(binary: &Path, options: &Options) -> Self {
        Self::start_cluster(binary, 1, options).remove(0)
    }

    /// Starts a cluster of `size` members and waits until all of them serve.
    pub fn start_cluster(binary: &Path, size: usize, options: &Options) -> Vec<Self> {
        for _ in 1..START_ATTEMPTS {
            if let Ok(members) = Self::try_cluster(binary, size, options) {
                return members;
            }
        }
        Self::try_cluster(binary, size, options).unwrap_or_else(|log| panic!("etcd does not start:\n{log}"))
    }

    fn try_cluster(binary: &Path, size: usize, options: &Options) -> Result<Vec<Self>, String> {
        let dirs: Vec<TempDir> = (0..size).map(|_| tempfile::tempdir().unwrap()).collect();
        let plans = plan(&dirs, options);
        let cluster: Vec<String> =
            plans.iter().map(|plan| format!("{}={}", plan.name, plan.peer_url)).collect();
        let mut members: Vec<Self> = dirs
            .into_iter()
            .zip(plans)
            .map(|(dir, plan)| Self::spawn(binary, dir, plan, &cluster.join(","), options))
            .collect();
        for member in &mut members {
            member.wait_until_it_serves()?;
        }
        Ok(members)
    }

    /// Starts a cluster of `size` members on directories that `restore` makes: it is told the name and peer URL of each,
    /// and says for each where its data are, with more flags. `binaries` take turns.
    pub fn start_restored(
        binaries: &[PathBuf],
        size: usize,
        options: &Options,
        restore: impl Fn(&[(String, String)]) -> Vec<Vec<String>>,
    ) -> Vec<Self> {
        let mut log = String::new();
        for _ in 0..START_ATTEMPTS {
            let dirs: Vec<TempDir> = (0..size).map(|_| tempfile::tempdir().unwrap()).collect();
            let plans = plan(&dirs, options);
            let names: Vec<_> = plans.iter().map(|plan| (plan.name.clone(), plan.peer_url.clone())).collect();
            let cluster: Vec<String> = names.iter().map(|(name, url)| format!("{name}={url}")).collect();
            let flags = restore(&names);
            let members = dirs.into_iter().zip(plans).zip(flags).zip(binaries.iter().cycle());
            let mut members: Vec<Self> = members
                .map(|(((dir, plan), flags), binary)| {
                    let options = Options { flags: [&options.flags[..], &flags].concat(), ..options.clone() };
                    Self::spawn(binary, dir, plan, &cluster.join(","), &options)
                })
                .collect();
            match members.iter_mut().try_for_each(Self::wait_until_it_serves) {
                Ok(()) => return members,
                Err(said) => log = said,
            }
        }
        panic!("etcd does not start on what was restored:\n{log}")
    }

    /// Starts a member on the directory that `restore` makes, as [`Self::start_restored`] does, and waits until it is ready
    /// for clients, whatever alarms it has. What it said, where it ended instead.
    pub fn try_restored(
        binary: &Path,
        options: &Options,
        restore: impl Fn(&(String, String)) -> Vec<String>,
    ) -> Result<Self, String> {
        for _ in 0..START_ATTEMPTS {
            let dir = tempfile::tempdir().unwrap();
            let plan = plan(std::slice::from_ref(&dir), options).remove(0);
            let flags = restore(&(plan.name.clone(), plan.peer_url.clone()));
            let options = Options { flags: [&options.flags[..], &flags].concat(), ..options.clone() };
            let cluster = format!("{}={}", plan.name, plan.peer_url);
            let mut member = Self::spawn(binary, dir, plan, &cluster, &options);
            if member.wait_until_it_is_ready() {
                return Ok(member);
            }
            let said = member.log();
            if !said.contains("address already in use") {
                return Err(said);
            }
        }
        panic!("etcd finds no port");
    }

    /// Whether it is ready for clients, and lives on for a moment; it has ended where it is not.
    fn wait_until_it_is_ready(&mut self) -> bool {
        let started = Instant::now();
        while self.is_alive() {
            if self.log().contains("ready to serve client requests") {
                sleep(Duration::from_millis(100));
                return self.is_alive();
            }
            assert!(started.elapsed() < PATIENCE, "etcd neither serves nor ends:\n{}", self.log());
            sleep(Duration::from_millis(20));
        }
        false
    }

    fn spawn(binary: &Path, dir: TempDir, plan: Plan, cluster: &str, options: &Options) -> Self {
        let child = Self::spawn_child(binary, &dir, &plan, cluster, options);
        let (cluster, options) = (cluster.to_owned(), options.clone());
        Self { child, dir, binary: binary.to_owned(), plan, cluster, options }
    }

    fn spawn_child(binary: &Path, dir: &TempDir, plan: &Plan, cluster: &str, options: &Options) -> Child {
        let log = File::options().create(true).append(true).open(dir.path().join("log")).unwrap();
        let data_dir = options.data_dir.as_deref().unwrap_or(Path::new("data"));
        let mut command = options.command(binary);
        command
            // Old versions take the socket's path for relative, whatever it looks like.
            .current_dir(dir.path())
            .env_clear()
            .args(["--name", &plan.name, "--data-dir"])
            .arg(data_dir)
            .args(["--listen-client-urls", &plan.client_url, "--advertise-client-urls", &plan.client_url])
            .args(["--listen-peer-urls", &plan.peer_url, "--initial-advertise-peer-urls", &plan.peer_url])
            .args(["--initial-cluster", cluster])
            .args(["--listen-metrics-urls", &format!("http://{}", plan.metrics_address)])
            .args(&options.flags)
            .envs(options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if help(binary).contains("--unsafe-no-fsync") {
            command.arg("--unsafe-no-fsync");
        }
        if let Some(tls) = &options.tls {
            command.arg("--cert-file").arg(&tls.leaf.certificate).arg("--key-file").arg(&tls.leaf.key);
            if let Some(authority) = &tls.client_authority {
                command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(authority);
            }
        }
        command.spawn().unwrap()
    }

    /// Polls etcd's own health page, which needs neither TLS nor a user and is true once there is a leader.
    fn wait_until_it_serves(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return Err(self.log());
            }
            if self.is_healthy() {
                return Ok(());
            }
            sleep(Duration::from_millis(50));
        }
        Err(self.log())
    }

    fn is_healthy(&self) -> bool {
        if self.options.within.is_empty() {
            return health(&self.plan.metrics_address).is_ok_and(|page| page.contains(r#""health":"true""#));
        }
        // From here it may be out of reach.
        let asked =
            self.etcdctl().args(["endpoint", "health", "--command-timeout", "500ms"]).output().unwrap();
        asked.status.success()
    }

    /// The endpoint without a scheme: `127.0.0.1:PORT`, or the absolute path of the socket.
    pub fn address(&self) -> String {
        let (scheme, address) = self.plan.client_url.split_once("://").unwrap();
        if scheme.starts_with("unix") {
            return self.dir.path().join(address).display().to_string();
        }
        address.to_owned()
    }

    /// Its executable.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        let own = || self.dir.path().join("data");
        self.options.data_dir.clone().unwrap_or_else(own)
    }

    /// All it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// An etcdctl for this member, the one beside its executable, with a bare environment and `--endpoints` set.
    pub fn etcdctl(&self) -> Command {
        let beside = self.binary.with_file_name("etcdctl");
        let etcdctl = if beside.is_file() { beside } else { PathBuf::from("etcdctl") };
        let mut command = self.options.command(&etcdctl);
        command.env_clear().arg("--endpoints").arg(self.address());
        command.args(&self.options.etcdctl_flags);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }

    /// Puts `count` keys `PREFIX/000001`… of `value_size` bytes each, in few transactions.
    pub fn fill(&self, prefix: &str, count: usize, value_size: usize) {
        let value = "v".repeat(value_size);
        // Up to 128 operations a transaction by default, and 1.5 MiB a request.
        let batch = (1_000_000 / value_size.max(1)).clamp(1, 100);
        let keys: Vec<usize> = (1..=count).collect();
        for keys in keys.chunks(batch) {
            let puts: Vec<String> = keys.iter().map(|key| format!("put {prefix}/{key:06} {value}")).collect();
            let puts = puts.join("\n");
            let mut child =
                self.etcdctl().arg("txn").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(format!("\n{puts}\n\n\n").as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
        }
    }

    /// Puts `value`, of any bytes, under `key`.
    pub fn put(&self, key: &str, value: &[u8]) {
        let mut put = self.etcdctl();
        let put = put.args(["put", key]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = put.spawn().unwrap();
        child.stdin.take().unwrap().write_all(value).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Begins a downgrade to the minor version before its own, and returns that; `None` where etcd knows no downgrades.
    pub fn begin_downgrade(&self) -> Option<String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = Client::connect([self.address()], None).await.unwrap();
            let version = client.status().await.unwrap().version().to_owned();
            let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
            let target = format!("3.{}.0", minor - 1);
            let mut client = client.maintenance_client();
            let began = Instant::now();
            loop {
                match client.downgrade(DowngradeOptions::Enable(target.clone())).await {
                    Ok(_) => return Some(target),
                    Err(Error::GRpcStatus(status)) if status.code() == Code::Unimplemented => return None,
                    // An attempt that was answered with an error may have begun one.
                    Err(Error::GRpcStatus(status))
                        if status.message().contains("downgrade job in progress") =>
                    {
                        return Some(target);
                    }
                    // At first the members have not agreed on a version.
                    Err(error) => assert!(began.elapsed() < PATIENCE, "no downgrade: {error}"),
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    }

    /// Makes a root user with this password and turns authentication on.
    pub fn enable_authentication(&self, root_password: &str, etcdctl_flags: &[&str]) {
        let user = format!("root:{root_password}");
        run(self.etcdctl().args(etcdctl_flags).args(["user", "add", &user]));
        run(self.etcdctl().args(etcdctl_flags).args(["user", "grant-role", "root", "root"]));
        run(self.etcdctl().args(etcdctl_flags).args(["auth", "enable"]));
    }

    /// Kills the member, leaving its data and log for inspection.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops the member as an operator would.
    pub fn stop(&mut self) {
        run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        self.child.wait().unwrap();
    }

    /// Kills the member if it is still there, and starts it again as it was: the same data, the same ports.
    pub fn restart(&mut self) {
        for _ in 0..START_ATTEMPTS {
            let _ = self.child.kill();
            self.child.wait().unwrap();
            self.child = Self::spawn_child(&self.binary, &self.dir, &self.plan, &self.cluster, &self.options);
            if self.wait_until_it_serves().is_ok() {
                return;
            }
        }
        panic!("etcd does not start again:\n{}", self.log());
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Names and ports for members that will live in `dirs`.
fn plan(dirs: &[TempDir], options: &Options) -> Vec<Plan> {
    let mut ports = free_ports(3 * dirs.len()).into_iter();
    let mut port = || ports.next().unwrap();
    let secure = if options.tls.is_some() { "s" } else { "" };
    (0..dirs.len())
        .map(|index| Plan {
            name: format!("member-{index}"),
            client_url: if options.unix {
                // 3.4 wants host:port even of a socket, and makes a file of that name.
                format!("unix{secure}://localhost:{}", port())
            } else {
                format!("http{secure}://127.0.0.1:{}", port())
            },
            peer_url: format!("http://127.0.0.1:{}", port()),
            metrics_address: format!("127.0.0.1:{}", port()),
        })
        .collect()
}

/// Ports without a listener. They are all held until all are known, so they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// An address without a listener.
pub fn dead_address() -> String {
    format!("127.0.0.1:{}", free_ports(1)[0])
}

fn help(etcd: &Path) -> String {
    let output = Command::new(etcd).arg("--help").env_clear().output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn health(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}
