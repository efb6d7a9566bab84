//! How to reach a cluster.

use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach a cluster: etcdctl's connection flags, already resolved. Not `Debug`: it holds a password.
pub struct Connection {
    /// As etcdctl takes them: `host:port`, `http://…`, `https://…`, `unix://…`, `unixs://…`.
    pub endpoints: Vec<String>,
    /// `--cacert`.
    pub cacert: Option<PathBuf>,
    /// `--cert`.
    pub cert: Option<PathBuf>,
    /// `--key`.
    pub key: Option<PathBuf>,
    /// `--insecure-skip-tls-verify`.
    pub insecure_skip_tls_verify: bool,
    /// `--insecure-transport`, true by default as in etcdctl.
    pub insecure_transport: bool,
    /// User name and password.
    pub user: Option<(String, SecretString)>,
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
    /// Whether an endpoint without a scheme uses TLS: etcdctl's rule.
    pub(super) fn prefers_tls(&self) -> bool {
        self.cacert.is_some()
            || self.cert.is_some()
            || self.key.is_some()
            || self.insecure_skip_tls_verify
            || !self.insecure_transport
    }
}
