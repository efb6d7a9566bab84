//! The running members of a private cluster.
//!
//! They listen on sockets in the scratch directory, which other users cannot enter: the restored data are as secret as the
//! archive, and every user of the host could connect to a port of the loopback device.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use secrecy::SecretString;
use tokio::runtime::Handle;

use super::host::{blamed_on_host, host_fault};
use super::process::{Process, Program};
use super::root_token::RootToken;
use crate::database::member::Membership;
use crate::error::{Error, Kind, Result};
use crate::etcd::{Client, Connection, MemberStatus};
use crate::interrupt::Interrupt;
use crate::store::scratch::Scratch;
use crate::watch::Watch;

/// The directory of the first member, which has its name.
pub(in crate::pipeline) const DIRECTORY: &str = "m1";
/// The file with the key of a [`RootToken`].
const KEY_FILE: &str = "token.key";
/// The token of the new cluster.
const TOKEN: &str = "etcd-seal-drill";
/// How often to ask a member that does not serve yet.
const POLL: Duration = Duration::from_millis(50);
/// The time limit of one such attempt.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The time limit of a call to a member that serves: one call may read or rewrite all of a large database.
const CALL_LIMIT: Duration = Duration::from_secs(30 * 60);

/// What the members run with, and where.
pub(in crate::pipeline) struct Site<'a> {
    pub(in crate::pipeline) program: &'a Program,
    pub(in crate::pipeline) scratch: &'a Scratch,
    pub(in crate::pipeline) runtime: &'a Handle,
    /// How long the members may take until they serve.
    pub(in crate::pipeline) timeout: Duration,
    pub(in crate::pipeline) watch: &'a Watch,
}

impl Site<'_> {
    /// The request to stop.
    pub(in crate::pipeline) fn interrupt(&self) -> &Interrupt {
        &self.watch.interrupt
    }

    /// Tells the step that begins.
    pub(in crate::pipeline) fn step(&self, step: &str) {
        self.watch.progress.step(step);
    }
}

/// Why the members do not serve.
pub(in crate::pipeline) enum Trouble {
    /// A member ended by itself.
    Ended(Error),
    /// Any other reason.
    Other(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Trouble {
    pub(in crate::pipeline) fn into_error(self) -> Error {
        match self {
            Self::Ended(error) | Self::Other(error) => error,
        }
    }
}

/// The name of member `number`, which counts from 0.
fn name(number: usize) -> String {
    format!("m{}", number + 1)
}

/// The client socket of a member. Its name looks like an address because etcd 3.4 requires one.
fn client_socket(number: usize) -> String {
    format!("localhost:{}", 2 * number + 1)
}

fn peer_socket(number: usize) -> String {
    format!("localhost:{}", 2 * number + 2)
}

/// The membership of a cluster of `members` members.
pub(in crate::pipeline) fn membership(members: usize) -> Result<Membership> {
    let listed: Vec<String> =
        (0..members).map(|number| format!("{}=unix://{}", name(number), peer_socket(number))).collect();
    Membership::parse(&listed.join(","), TOKEN)
}

/// The processes of a cluster's members; dropping it ends them.
pub(in crate::pipeline) struct Cluster<'a> {
    site: &'a Site<'a>,
    processes: Vec<Process>,
}

/// A cluster in which all members serve.
pub(in crate::pipeline) struct Served<'a> {
    pub(in crate::pipeline) cluster: Cluster<'a>,
    /// A connection to each member, in the order of their numbers.
    pub(in crate::pipeline) clients: Vec<Client>,
    /// The time until the first member served a read.
    pub(in crate::pipeline) after: Duration,
}

/// A cluster of one member that came from another cluster.
pub(in crate::pipeline) struct Alone<'a> {
    pub(in crate::pipeline) cluster: Cluster<'a>,
    /// A connection to it, as the user root.
    pub(in crate::pipeline) connection: Connection,
    /// Its status once it had replayed its log.
    pub(in crate::pipeline) status: MemberStatus,
}

impl<'a> Cluster<'a> {
    /// Starts every member in its directory in the scratch directory, and waits until all of them serve.
    pub(in crate::pipeline) fn boot(
        site: &'a Site<'a>,
        membership: &Membership,
    ) -> Result<Served<'a>, Trouble> {
        let began = Instant::now();
        let mut cluster = Self { site, processes: Vec::new() };
        for number in 0..membership.members().len() {
            cluster.start(number, &arguments(number, &name(number), membership)?)?;
        }
        let mut clients = Vec::new();
        let mut after = None;
        for number in 0..membership.members().len() {
            clients.push(cluster.wait_for(number, began)?.bounded_by(CALL_LIMIT));
            after.get_or_insert_with(|| began.elapsed());
        }
        Ok(Served { cluster, clients, after: after.unwrap_or_default() })
    }

    /// Starts one etcd on the data of a member of another cluster, of which it makes a cluster of that member alone, and waits
    /// until it has replayed the log up to the raft index `last`. It asks as the user root.
    pub(in crate::pipeline) fn boot_alone(site: &'a Site<'a>, last: u64) -> Result<Alone<'a>, Trouble> {
        let began = Instant::now();
        let mut cluster = Self { site, processes: Vec::new() };
        let token = RootToken::new()?;
        site.scratch.remove_file(KEY_FILE)?;
        let mut key = site.scratch.create_file(Path::new(KEY_FILE))?;
        let written = key.write_all(token.key()).and_then(|()| key.finish());
        written.map_err(|error| Error::io("write", "the scratch directory", error))?;
        let mut arguments = arguments(0, &name(0), &membership(1)?)?;
        arguments.extend(["--force-new-cluster".to_owned(), RootToken::flag(KEY_FILE)]);
        cluster.start(0, &arguments)?;
        let connection = |cluster: &Self, limit| Connection {
            token: Some(SecretString::from(token.text())),
            ..connection(&cluster.socket(0), limit)
        };
        let asking = connection(&cluster, ATTEMPT);
        let status = cluster.wait_until(0, began, async || {
            let status = Client::connect(&asking, site.interrupt()).await?.status().await?;
            if status.raft_applied_index < last {
                let at = status.raft_applied_index;
                return Err(Error::new(Kind::EtcdNotRunning, format!("it has applied {at} of {last}")));
            }
            Ok(status)
        })?;
        Ok(Alone { connection: connection(&cluster, CALL_LIMIT), status, cluster })
    }

    /// Starts the member with these flags.
    fn start(&mut self, number: usize, flags: &[String]) -> Result<()> {
        let (site, name) = (self.site, name(number));
        remove_sockets(number, site.scratch)?;
        let log = site.scratch.create_log(&format!("{name}.log"))?;
        self.processes.push(Process::start(site.program, &name, &site.scratch.path(), log, flags)?);
        Ok(())
    }

    /// Waits until the member serves a linearizable read.
    fn wait_for(&mut self, number: usize, began: Instant) -> Result<Client, Trouble> {
        let (connection, interrupt) = (connection(&self.socket(number), ATTEMPT), self.site.interrupt());
        self.wait_until(number, began, async || {
            let client = Client::connect(&connection, interrupt).await?;
            match client.read().await {
                // A corruption alarm in the data has the same effect; later checks find real corruption.
                Err(error) if error.to_string().contains("corrupt cluster") => {
                    client.disarm().await?;
                    client.read().await?;
                }
                other => other?,
            }
            Ok(client)
        })
    }

    /// Repeats `attempt` until it succeeds, the member ends, or the time is over.
    fn wait_until<T>(
        &mut self,
        number: usize,
        began: Instant,
        attempt: impl AsyncFn() -> Result<T>,
    ) -> Result<T, Trouble> {
        loop {
            self.site.watch.check()?;
            self.check_running()?;
            match self.site.runtime.block_on(attempt()) {
                Ok(done) => return Ok(done),
                Err(error) if error.kind() == Kind::Interrupted => return Err(error.into()),
                Err(error) => tracing::debug!(%error, "etcd does not serve yet"),
            }
            if began.elapsed() > self.site.timeout {
                let process = &self.processes[number];
                let (name, timeout) = (process.name(), self.site.timeout);
                let message =
                    format!("etcd {name} does not serve within {timeout:?}; {}", process.last_words());
                return Err(Error::new(Kind::EtcdNotRunning, message).into());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether the user asked to stop: a signal to the whole process group also ends etcd, which is not at fault then.
    pub(in crate::pipeline) fn is_interrupted(&self) -> bool {
        self.site.watch.check().is_err_and(|error| error.kind() == Kind::Interrupted)
    }

    /// Fails if a member has ended.
    pub(in crate::pipeline) fn check_running(&mut self) -> Result<(), Trouble> {
        for process in &mut self.processes {
            if let Some(status) = process.ended()? {
                // A signal to the whole process group ends etcd as well, which is not at fault then.
                self.site.watch.check()?;
                let words = process.last_words();
                let message = format!("etcd {} ended by itself ({status}); {words}", process.name());
                // The kernel kills a process this way when memory runs out; etcd never kills itself.
                let killed = status.signal() == Some(Signal::KILL.as_raw());
                let host = host_fault(&words);
                let error = blamed_on_host(message, host);
                let innocent = killed || host.is_some();
                return Err(if innocent { Trouble::Other(error) } else { Trouble::Ended(error) });
            }
        }
        Ok(())
    }

    /// The connection to the member.
    pub(in crate::pipeline) fn connection(&self, number: usize) -> Connection {
        connection(&self.socket(number), CALL_LIMIT)
    }

    fn socket(&self, number: usize) -> PathBuf {
        self.site.scratch.path().join(client_socket(number))
    }

    /// Stops one member after the other, as an operator would, so that a leader can hand over to a running member.
    pub(in crate::pipeline) fn stop(self) -> Result<()> {
        let Self { site, processes } = self;
        processes.into_iter().try_for_each(|process| process.stop(site.interrupt()))
    }
}

/// Decides who is at fault when etcd ended by itself: the data are if it starts without them, and then this returns its version.
/// Moves the data of the first member aside.
pub(in crate::pipeline) fn version_without_data(site: &Site<'_>) -> Result<Option<String>> {
    tracing::info!("etcd ended by itself: trying it without the data");
    match start_without_data(site) {
        Ok(version) => Ok(Some(version)),
        Err(error) if error.kind() == Kind::Interrupted => Err(error),
        // Something other than the data is wrong.
        Err(error) => {
            tracing::debug!(%error, "etcd does not start without the data either");
            Ok(None)
        }
    }
}

fn start_without_data(site: &Site<'_>) -> Result<String> {
    site.scratch.rename(DIRECTORY, "m1.aside")?;
    let served = Cluster::boot(site, &membership(1)?).map_err(Trouble::into_error)?;
    let client =
        served.clients.first().ok_or_else(|| Error::new(Kind::EtcdNotRunning, "there is no member"))?;
    Ok(site.runtime.block_on(client.status())?.version)
}

/// Removes the sockets of a member that was killed: etcd 3.4 takes them for those of a running server.
fn remove_sockets(number: usize, scratch: &Scratch) -> Result<()> {
    let sockets = [client_socket(number), peer_socket(number)];
    sockets.iter().try_for_each(|socket| scratch.remove_file(socket))
}

/// The flags of one member. The quota is off: the quota of the lost cluster is unknown, and etcd's default would refuse
/// writes to a database that was allowed to be larger.
fn arguments(number: usize, name: &str, membership: &Membership) -> Result<Vec<String>> {
    let member = membership.member(name, None)?;
    let (client, peer) = (client_socket(number), peer_socket(number));
    Ok(vec![
        format!("--name={name}"),
        format!("--data-dir={name}"),
        // Needed by an etcd that starts without data.
        format!("--initial-advertise-peer-urls={}", member.peer_urls.join(",")),
        format!("--initial-cluster={}", membership.initial_cluster()),
        format!("--listen-client-urls=unix://{client}"),
        format!("--advertise-client-urls=unix://{client}"),
        format!("--listen-peer-urls=unix://{peer}"),
        "--quota-backend-bytes=-1".to_owned(),
    ])
}

fn connection(socket: &Path, limit: Duration) -> Connection {
    Connection {
        dial_timeout: ATTEMPT,
        command_timeout: limit,
        stall_timeout: limit,
        min_rate: 0,
        keepalive_time: limit,
        keepalive_timeout: limit,
        ..Connection::new([format!("unix://{}", socket.display())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_names_and_sockets_of_their_own() {
        let membership = membership(3).unwrap();
        assert_eq!(
            membership.initial_cluster(),
            "m1=unix://localhost:2,m2=unix://localhost:4,m3=unix://localhost:6"
        );
        let arguments = arguments(1, "m2", &membership).unwrap();
        assert!(arguments.contains(&"--listen-client-urls=unix://localhost:3".to_owned()), "{arguments:?}");
        assert!(arguments.contains(&"--listen-peer-urls=unix://localhost:4".to_owned()), "{arguments:?}");
    }
}
