//! The running members of a drill.
//!
//! They listen on sockets in the scratch directory, which other users cannot enter: the restored data are as secret as the
//! archive, and every user of the host could connect to a port of the loopback device.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::runtime::Handle;

use super::host::{blamed_on_host, host_fault};
use super::process::{Process, Program};
use crate::database::member::Membership;
use crate::error::{Error, Kind, Result};
use crate::etcd::{Client, Connection};
use crate::interrupt::Interrupt;
use crate::store::scratch::Scratch;
use crate::watch::Watch;

/// The token of the new cluster.
const TOKEN: &str = "etcd-seal-drill";
/// How often to ask a member that does not serve yet.
const POLL: Duration = Duration::from_millis(50);
/// The time limit of one such attempt.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The time limit of a call to a member that serves: one call may read or rewrite all of a large database.
const CALL_LIMIT: Duration = Duration::from_secs(30 * 60);

/// What the members run with, and where.
pub(super) struct Site<'a> {
    pub(super) program: &'a Program,
    pub(super) scratch: &'a Scratch,
    pub(super) runtime: &'a Handle,
    /// How long the members may take until they serve.
    pub(super) timeout: Duration,
    pub(super) watch: &'a Watch,
}

impl Site<'_> {
    /// The request to stop.
    pub(super) fn interrupt(&self) -> &Interrupt {
        &self.watch.interrupt
    }

    /// Tells the step that begins.
    pub(super) fn step(&self, step: &str) {
        self.watch.progress.step(step);
    }
}

/// Why the members do not serve.
pub(super) enum Trouble {
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
    pub(super) fn into_error(self) -> Error {
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
pub(super) fn membership(members: usize) -> Result<Membership> {
    let listed: Vec<String> =
        (0..members).map(|number| format!("{}=unix://{}", name(number), peer_socket(number))).collect();
    Membership::parse(&listed.join(","), TOKEN)
}

/// The processes of a cluster's members; dropping it ends them.
pub(super) struct Cluster<'a> {
    site: &'a Site<'a>,
    processes: Vec<Process>,
}

/// A cluster in which all members serve.
pub(super) struct Served<'a> {
    pub(super) cluster: Cluster<'a>,
    /// A connection to each member, in the order of their numbers.
    pub(super) clients: Vec<Client>,
    /// The time until the first member served a read.
    pub(super) after: Duration,
}

impl<'a> Cluster<'a> {
    /// Starts every member in its directory in the scratch directory, and waits until all of them serve.
    pub(super) fn boot(site: &'a Site<'a>, membership: &Membership) -> Result<Served<'a>, Trouble> {
        let began = Instant::now();
        let mut cluster = Self { site, processes: Vec::new() };
        for number in 0..membership.members().len() {
            remove_sockets(number, site.scratch)?;
            let name = name(number);
            let arguments = arguments(number, &name, membership)?;
            let log = site.scratch.create_log(&format!("{name}.log"))?;
            let directory = site.scratch.path();
            cluster.processes.push(Process::start(site.program, &name, &directory, log, &arguments)?);
        }
        let mut clients = Vec::new();
        let mut after = None;
        for number in 0..membership.members().len() {
            clients.push(cluster.wait_for(number, began)?.bounded_by(CALL_LIMIT));
            after.get_or_insert_with(|| began.elapsed());
        }
        Ok(Served { cluster, clients, after: after.unwrap_or_default() })
    }

    /// Waits until the member serves a linearizable read.
    fn wait_for(&mut self, number: usize, began: Instant) -> Result<Client, Trouble> {
        let connection = connection(&self.socket(number), ATTEMPT);
        loop {
            self.site.watch.check()?;
            self.check_running()?;
            let attempt: Result<Client> = self.site.runtime.block_on(async {
                let client = Client::connect(&connection, self.site.interrupt()).await?;
                match client.read().await {
                    // A corruption alarm in the data has the same effect; later checks find real corruption.
                    Err(error) if error.to_string().contains("corrupt cluster") => {
                        client.disarm().await?;
                        client.read().await?;
                    }
                    other => other?,
                }
                Ok(client)
            });
            match attempt {
                Ok(client) => return Ok(client),
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
    pub(super) fn is_interrupted(&self) -> bool {
        self.site.watch.check().is_err_and(|error| error.kind() == Kind::Interrupted)
    }

    /// Fails if a member has ended.
    pub(super) fn check_running(&mut self) -> Result<(), Trouble> {
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
    pub(super) fn connection(&self, number: usize) -> Connection {
        connection(&self.socket(number), CALL_LIMIT)
    }

    fn socket(&self, number: usize) -> PathBuf {
        self.site.scratch.path().join(client_socket(number))
    }

    /// Stops one member after the other, as an operator would, so that a leader can hand over to a running member.
    pub(super) fn stop(self) -> Result<()> {
        let Self { site, processes } = self;
        processes.into_iter().try_for_each(|process| process.stop(site.interrupt()))
    }
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
        endpoints: vec![format!("unix://{}", socket.display())],
        cacert: None,
        cert: None,
        key: None,
        insecure_skip_tls_verify: false,
        insecure_transport: true,
        user: None,
        dial_timeout: ATTEMPT,
        command_timeout: limit,
        stream_timeout: None,
        stall_timeout: limit,
        limit_rate: None,
        min_rate: 0,
        keepalive_time: limit,
        keepalive_timeout: limit,
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
