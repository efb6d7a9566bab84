//! How to reach a cluster.

use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach a cluster, with the options and the defaults of etcdctl. Not `Debug`: it holds a password.
#[derive(Clone)]
#[non_exhaustive]
pub struct Connection {
    /// As etcdctl takes them: `host:port`, `http://…`, `https://…`, `unix://…`, `unixs://…`.
    pub endpoints: Vec<String>,
    /// The file of the authorities that verify the members' certificates; by default those that this host trusts.
    pub cacert: Option<PathBuf>,
    /// The file of the client certificate.
    pub cert: Option<PathBuf>,
    /// The file of the private key of that certificate.
    pub key: Option<PathBuf>,
    /// Accepts any certificate of a member.
    pub insecure_skip_tls_verify: bool,
    /// Uses plaintext for endpoints without a scheme where nothing else asks for TLS; true by default, as in etcdctl.
    pub insecure_transport: bool,
    /// User name and password.
    pub user: Option<(String, SecretString)>,
    /// A token to show in place of a user and password.
    pub(crate) token: Option<SecretString>,
    /// Bounds the connection attempt.
    pub dial_timeout: Duration,
    /// Bounds each unary call.
    pub command_timeout: Duration,
    /// Bounds the whole stream; `None` unless the user asked for a bound.
    pub stream_timeout: Option<Duration>,
    /// Longest time without a byte of progress on the stream.
    pub stall_timeout: Duration,
    /// Bytes per second that are read from etcd at most, counting everything it sends; a value below
    /// [`LOWEST_RATE`](super::LOWEST_RATE) is raised to it.
    pub limit_rate: Option<u64>,
    /// Bytes per second that a member must send at least, averaged over the stall timeout; 0 means no bound.
    pub min_rate: u64,
    /// HTTP/2 keepalive interval; values under 10 s become 10 s.
    pub keepalive_time: Duration,
    /// HTTP/2 keepalive timeout.
    pub keepalive_timeout: Duration,
}

/// How a member proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// By a certificate that this program verifies.
    Verified,
    /// By any certificate, unverified.
    Unverified,
    /// Not at all: there is no TLS.
    None,
}

impl Connection {
    /// Reaches the members at `endpoints`, with the defaults of the program.
    pub fn new<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            cacert: None,
            cert: None,
            key: None,
            insecure_skip_tls_verify: false,
            insecure_transport: true,
            user: None,
            token: None,
            // etcdctl's defaults (`etcdctl/ctlv3/ctl.go`).
            dial_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(5),
            stream_timeout: None,
            stall_timeout: Duration::from_secs(30),
            limit_rate: None,
            min_rate: 64 * 1024,
            keepalive_time: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(6),
        }
    }

    /// Whether an endpoint without a scheme uses TLS: etcdctl's rule.
    pub(super) fn prefers_tls(&self) -> bool {
        self.cacert.is_some()
            || self.cert.is_some()
            || self.key.is_some()
            || self.insecure_skip_tls_verify
            || !self.insecure_transport
    }
}
