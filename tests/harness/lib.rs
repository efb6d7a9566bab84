//! What the tests share: the program in a [`Sandbox`](sandbox::Sandbox), real etcds, certificates for them, a fake.
//!
//! Everything listens on loopback at ports the system chose, lives in temporary directories, and is gone when its
//! owner is dropped. The tests run against every etcd found, see [`etcds`].

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "a test fails by panicking, what it calls too"
)]
#![allow(
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "much is done for what it asserts"
)]

pub mod again;
pub mod bolt;
pub mod contents;
pub mod dice;
pub mod etcd;
pub mod fake;
pub mod pki;
pub mod process;
pub mod program;
pub mod proxy;
pub mod pty;
pub mod refusal;
pub mod sandbox;
pub mod skip;
pub mod snapshots;
pub mod trace;
pub mod trial;

pub use etcd::{Etcd, Options, ServerTls, an_etcd, dead_address, each_etcd, etcds, release, snapshot_tools};
pub use pki::{LOOPBACK_NAMES, Leaf, Pki};
pub use skip::{can, say};

use etcd_seal::low_level::etcd::Connection;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a tool to its end and returns its stdout; the test fails if the tool does.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// The connection with a change.
pub fn changed(mut connection: Connection, change: impl FnOnce(&mut Connection)) -> Connection {
    change(&mut connection);
    connection
}

/// What tests change of a connection most.
pub trait ConnectionExt: Sized {
    /// With a change.
    fn with(self, change: impl FnOnce(&mut Connection)) -> Self;

    /// Trusting the authorities in a file.
    fn trusting(self, cacert: impl AsRef<Path>) -> Self {
        self.with(|connection| connection.cacert = Some(cacert.as_ref().to_owned()))
    }

    /// Showing a client certificate.
    fn showing(self, leaf: &Leaf) -> Self {
        self.with(|connection| {
            connection.cert = Some(leaf.certificate.clone());
            connection.key = Some(leaf.key.clone());
        })
    }

    /// Verifying no certificate.
    fn unverified(self) -> Self {
        self.with(|connection| connection.insecure_skip_tls_verify = true)
    }
}

impl ConnectionExt for Connection {
    fn with(self, change: impl FnOnce(&mut Connection)) -> Self {
        changed(self, change)
    }
}

/// A connection to these endpoints with patient timeouts and nothing else set.
pub fn connection<E: AsRef<str>>(endpoints: &[E]) -> Connection {
    Connection::new(endpoints.iter().map(|endpoint| endpoint.as_ref().to_owned()))
}
