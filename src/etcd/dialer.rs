//! Makes a separate client for each endpoint.

use super::connection::Connection;
use super::endpoint::{Address, Endpoint};
use super::failure;
use super::flow_control::FlowControl;
use super::link::{Link, Terms};
use super::rate_limit::RateLimit;
use super::tls::TlsFiles;
use crate::error::{Error, Kind, Result};
use etcd_client::{Channel, Client, ConnectOptions};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tonic::transport::{Endpoint as Transport, Uri};
use tower::{BoxError, Service, ServiceExt, service_fn};

/// HTTP/2 window of the stream and of the connection: how much a member may send before it hears that this process has read
/// it, which it hears whenever a third has been read. So a link carries two thirds of the window per round trip: with
/// hyper's 2 MiB and 80 ms 22 MB/s, with this more than etcd reads. It does not bound memory: see [`FlowControl`].
const WINDOW: u32 = 64 << 20;

/// etcd's own gRPC clients raise shorter intervals to this; a server drops a client that pings more often than every 5 s.
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(10);

/// The server name to verify on a Unix socket, which has no host.
const UNIX_SERVER_NAME: &str = "localhost";

/// Everything needed to dial, owned, so that endpoints can be dialed concurrently.
pub(super) struct Dialer {
    tls: TlsFiles,
    user: Option<(String, SecretString)>,
    dial_timeout: Duration,
    command_timeout: Duration,
    keepalive_time: Duration,
    keepalive_timeout: Duration,
    rate_limit: Option<Arc<RateLimit>>,
    window: u32,
}

/// An endpoint ready to be dialed.
pub(super) struct Prepared {
    pub(super) endpoint: Endpoint,
    transport: Transport,
}

impl Dialer {
    /// Reads the TLS files.
    ///
    /// # Errors
    /// [`Kind::Usage`] for files that cannot be used.
    pub(super) fn new(connection: &Connection) -> Result<Self> {
        let rate_limit = connection.limit_rate.map(RateLimit::new).map(Arc::new);
        let window = rate_limit.as_ref().map_or(WINDOW, |rate_limit| rate_limit.window(WINDOW));
        let lag = rate_limit.as_ref().map_or(Duration::ZERO, |rate_limit| rate_limit.lag(window));
        Ok(Self {
            tls: TlsFiles::load(connection)?,
            user: connection.user.clone(),
            dial_timeout: connection.dial_timeout,
            command_timeout: connection.command_timeout,
            keepalive_time: connection.keepalive_time.max(SHORTEST_KEEPALIVE),
            keepalive_timeout: connection.keepalive_timeout.saturating_add(lag),
            rate_limit,
            window,
        })
    }

    pub(super) fn tls(&self) -> &TlsFiles {
        &self.tls
    }

    /// The limit of a connection attempt.
    pub(super) fn dial_timeout(&self) -> Duration {
        self.dial_timeout
    }

    /// The limit of a unary call.
    pub(super) fn command_timeout(&self) -> Duration {
        self.command_timeout
    }

    /// The rate limit, if there is one.
    pub(super) fn rate_limit(&self) -> Option<&Arc<RateLimit>> {
        self.rate_limit.as_ref()
    }

    /// Configures the transport without touching the network.
    ///
    /// # Errors
    /// [`Kind::EtcdTls`] when TLS cannot be set up, [`Kind::Usage`] when the host is invalid.
    pub(super) fn prepare(&self, endpoint: Endpoint) -> Result<Prepared> {
        let authority = match &endpoint.address {
            Address::Tcp(authority) => authority,
            Address::Unix(_) => UNIX_SERVER_NAME,
        };
        let scheme = if endpoint.tls { "https" } else { "http" };
        let transport = Transport::from_shared(format!("{scheme}://{authority}"))
            .and_then(|transport| transport.user_agent(concat!("etcd-seal/", env!("CARGO_PKG_VERSION"))))
            .map_err(|error| {
                Error::new(Kind::Usage, format!("endpoint {} cannot be used", endpoint.given))
                    .naming(endpoint.subject())
                    .with_source(error)
            })?
            .initial_stream_window_size(self.window)
            .initial_connection_window_size(self.window)
            .http2_keep_alive_interval(self.keepalive_time)
            .keep_alive_timeout(self.keepalive_timeout)
            .connect_timeout(self.dial_timeout);
        let transport = if endpoint.tls { self.tls.apply(transport, &endpoint.given)? } else { transport };
        Ok(Prepared { endpoint, transport })
    }

    /// Connects through `gate` and, where there is a user, authenticates.
    ///
    /// # Errors
    /// The errors that `failure` makes of the cause.
    pub(super) async fn client(&self, prepared: &Prepared, flow_control: &FlowControl) -> Result<Client> {
        let Some((name, password)) = &self.user else {
            return self
                .client_with(prepared, flow_control, None)
                .await?
                .map_err(|error| failure::calling(&prepared.endpoint, "connection", error));
        };
        let options = ConnectOptions::new().with_user(name, password.expose_secret());
        match self.client_with(prepared, flow_control, Some(options)).await? {
            Ok(client) => Ok(client),
            Err(error) if failure::authentication_is_off(&error) => {
                tracing::warn!(
                    endpoint = prepared.endpoint.given,
                    "authentication is off, the user is not needed"
                );
                self.client_with(prepared, flow_control, None)
                    .await?
                    .map_err(|error| failure::calling(&prepared.endpoint, "connection", error))
            }
            Err(error) => Err(failure::calling(&prepared.endpoint, "authentication", error)),
        }
    }

    async fn client_with(
        &self,
        prepared: &Prepared,
        flow_control: &FlowControl,
        options: Option<ConnectOptions>,
    ) -> Result<Result<Client, etcd_client::Error>> {
        let channel = self.connect(prepared, flow_control).await?;
        timeout(self.command_timeout, Client::from_channel(Channel::Tonic(channel), options)).await.map_err(
            |_| failure::calling_too_long(&prepared.endpoint, "authentication", self.command_timeout),
        )
    }

    /// Connects now rather than at the first call: a failure is then known for what it is, and is final.
    async fn connect(
        &self,
        prepared: &Prepared,
        flow_control: &FlowControl,
    ) -> Result<tonic::transport::Channel> {
        let terms = Terms {
            flow_control: flow_control.clone(),
            rate_limit: self.rate_limit.clone(),
            keepalive_time: self.keepalive_time,
            keepalive_timeout: self.keepalive_timeout,
        };
        let connecting = async {
            match &prepared.endpoint.address {
                Address::Tcp(_) => prepared.transport.connect_with_connector(self.over_tcp(terms)).await,
                Address::Unix(path) => {
                    prepared.transport.connect_with_connector(over_unix(path.clone(), terms)).await
                }
            }
        };
        timeout(self.dial_timeout, connecting)
            .await
            .map_err(|_| failure::connecting_too_long(&prepared.endpoint, self.dial_timeout))?
            .map_err(|error| failure::connecting(&prepared.endpoint, self.dial_timeout, error))
    }

    fn over_tcp(
        &self,
        terms: Terms,
    ) -> impl Service<Uri, Response = TokioIo<Link<TcpStream>>, Error = BoxError, Future: Send> + Send + use<>
    {
        let mut http = HttpConnector::new();
        // The URI may be https: tonic does the TLS.
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(self.dial_timeout));
        service_fn(move |uri| {
            let (connecting, terms) = (http.clone().oneshot(uri), terms.clone());
            async move { Ok(TokioIo::new(Link::new(connecting.await?.into_inner(), terms))) }
        })
    }
}

fn over_unix(
    path: PathBuf,
    terms: Terms,
) -> impl Service<Uri, Response = TokioIo<Link<UnixStream>>, Error = io::Error, Future: Send> + Send {
    service_fn(move |_| {
        let (connecting, terms) = (UnixStream::connect(path.clone()), terms.clone());
        async move { Ok(TokioIo::new(Link::new(connecting.await?, terms))) }
    })
}
