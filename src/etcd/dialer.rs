//! Makes a separate client for each endpoint.

use super::connection::Connection;
use super::endpoint::{Address, Endpoint, HostPort};
use super::failure;
use super::flow_control::FlowControl;
use super::link::{Link, Terms};
use super::rate_limit::RateLimit;
use super::tls::{Secure, Tls};
use crate::error::{Error, Kind, Result};
use etcd_client::{Channel, Client, ConnectOptions};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::transport::{Endpoint as Transport, Uri};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt, service_fn};

/// HTTP/2 window of the stream and of the connection: how much a member may send before it hears that this process has read
/// it, which it hears whenever a third has been read. So a link carries two thirds of the window per round trip: with
/// hyper's 2 MiB and 80 ms 22 MB/s, with this more than etcd reads. It does not bound memory: see [`FlowControl`].
const WINDOW: u32 = 64 << 20;

/// etcd's own gRPC clients raise shorter intervals to this; a server drops a client that pings more often than every 5 s.
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(10);

/// Everything needed to dial, owned, so that endpoints can be dialed concurrently.
pub(super) struct Dialer {
    tls: Tls,
    user: Option<(String, SecretString)>,
    token: Option<SecretString>,
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
    /// How its connections are secured; `None` where there is no TLS.
    secure: Option<Secure>,
}

/// What HTTP/2 runs over: a socket under its [`Terms`], and TLS where the endpoint uses it.
type Wire = Box<dyn Stream>;

/// A channel that does more than tonic's own.
type CustomChannel = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// A connection, whatever it is made of.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

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
            tls: Tls::load(connection)?,
            user: connection.user.clone(),
            token: connection.token.clone(),
            dial_timeout: connection.dial_timeout,
            command_timeout: connection.command_timeout,
            keepalive_time: connection.keepalive_time.max(SHORTEST_KEEPALIVE),
            keepalive_timeout: connection.keepalive_timeout.saturating_add(lag),
            rate_limit,
            window,
        })
    }

    pub(super) fn tls(&self) -> &Tls {
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
        let authority = endpoint.authority();
        // tonic connects through this program's connector, which does the TLS, so it sees no https.
        let transport = Transport::from_shared(format!("http://{authority}"))
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
        if !endpoint.tls {
            return Ok(Prepared { endpoint, transport, secure: None });
        }
        // The scheme in the requests is the one that is spoken: some proxies compare them.
        let origin = Uri::builder().scheme("https").authority(authority).path_and_query("/").build();
        let transport = match origin {
            Ok(origin) => transport.origin(origin),
            Err(_) => transport,
        };
        let secure = Some(self.tls.secure(&endpoint)?);
        Ok(Prepared { endpoint, transport, secure })
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
        let channel = match &self.token {
            Some(token) => Channel::Custom(showing(token, channel)?),
            None => Channel::Tonic(channel),
        };
        timeout(self.command_timeout, Client::from_channel(channel, options)).await.map_err(|_| {
            failure::calling_too_long(&prepared.endpoint, "authentication", self.command_timeout)
        })
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
        let connecting = prepared.transport.connect_with_connector(self.connector(prepared, terms));
        timeout(self.dial_timeout, connecting)
            .await
            .map_err(|_| failure::connecting_too_long(&prepared.endpoint, self.dial_timeout))?
            .map_err(|error| failure::connecting(&prepared.endpoint, self.dial_timeout, error))
    }

    fn connector(
        &self,
        prepared: &Prepared,
        terms: Terms,
    ) -> impl Service<Uri, Response = TokioIo<Wire>, Error = BoxError, Future: Send> + Send + use<> {
        let (address, secure) = (prepared.endpoint.address.clone(), prepared.secure.clone());
        let limit = self.dial_timeout;
        service_fn(move |_| {
            let (address, secure, terms) = (address.clone(), secure.clone(), terms.clone());
            async move {
                let wire = match address {
                    Address::Tcp(at) => {
                        secured(Link::new(over_tcp(&at, limit).await?, terms), secure).await?
                    }
                    Address::Unix(path) => {
                        secured(Link::new(UnixStream::connect(path).await?, terms), secure).await?
                    }
                };
                Ok(TokioIo::new(wire))
            }
        })
    }
}

/// `channel`, with the token in every request, where etcd looks for it.
fn showing(token: &SecretString, channel: tonic::transport::Channel) -> Result<CustomChannel> {
    let parsed = HeaderValue::from_str(token.expose_secret());
    let mut token = parsed.map_err(|_| Error::new(Kind::Usage, "the token cannot be sent: it is no text"))?;
    token.set_sensitive(true);
    let showing = channel.map_request(move |mut request: Request<Body>| {
        request.headers_mut().insert("token", token.clone());
        request
    });
    Ok(CustomChannel::new(showing.map_err(BoxError::from)))
}

/// `link`, under TLS where that is wanted. A server that names no protocol by ALPN, such as a proxy that passes on what it
/// decrypts, may speak HTTP/2 all the same.
async fn secured(
    link: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    secure: Option<Secure>,
) -> io::Result<Wire> {
    Ok(match secure {
        Some(secure) => Box::new(secure.connector.connect(secure.name, link).await?),
        None => Box::new(link),
    })
}

/// Connects to any of the addresses of `at`, the fastest of both families.
pub(super) async fn over_tcp(at: &HostPort, limit: Duration) -> Result<TcpStream, BoxError> {
    if at.zone.is_some() {
        // A URI has no place for a zone.
        let stream = TcpStream::connect((at.host_with_zone(), at.port)).await?;
        stream.set_nodelay(true)?;
        return Ok(stream);
    }
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_connect_timeout(Some(limit));
    let uri: Uri = format!("http://{}", at.authority()).parse()?;
    Ok(http.oneshot(uri).await?.into_inner())
}
