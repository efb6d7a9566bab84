//! TLS according to the flags. Every file is read and checked here, before the first connection.

use super::certificate::{Certificate, name_text};
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::tls_files;
use super::trust::{Authorities, MemberVerifier};
use crate::error::{Error, Kind, Result};
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// What etcd speaks over TLS.
const HTTP2: &[u8] = b"h2";

/// The files of `--cacert`, `--cert` and `--key`, read and found usable.
pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    /// Those of `cacert`; `None` stands for those that this host trusts.
    authorities: Option<Arc<Authorities>>,
    identity: Option<Arc<CertifiedKey>>,
    skip_verify: bool,
}

/// TLS to one endpoint.
#[derive(Clone)]
pub(super) struct Secure {
    pub(super) connector: TlsConnector,
    /// The name that the member's certificate has to carry.
    pub(super) name: ServerName<'static>,
}

impl Tls {
    /// Reads and checks all files that the flags name, even if no endpoint uses them.
    ///
    /// # Errors
    /// [`Kind::Usage`] naming the flag and the file.
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let authorities = match &connection.cacert {
            Some(path) => Some(Arc::new(tls_files::authorities(path)?)),
            None => None,
        };
        let identity = match (&connection.cert, &connection.key) {
            (Some(certificate), Some(key)) => {
                Some(Arc::new(tls_files::identity(certificate, key, &provider)?))
            }
            (Some(_), None) => return Err(lonely("`cert`", "`key`", "ETCDCTL_KEY")),
            (None, Some(_)) => return Err(lonely("`key`", "`cert`", "ETCDCTL_CERT")),
            (None, None) => None,
        };
        Ok(Self { provider, authorities, identity, skip_verify: connection.insecure_skip_tls_verify })
    }

    /// TLS to `endpoint`, verified against `cacert` or else what this host trusts.
    ///
    /// # Errors
    /// [`Kind::EtcdTls`] where this host trusts no authority.
    pub(super) fn secure(&self, endpoint: &Endpoint) -> Result<Secure> {
        let authorities = match (&self.authorities, self.skip_verify) {
            (_, true) => None,
            (Some(authorities), false) => Some(Arc::clone(authorities)),
            (None, false) => Some(Arc::new(of_this_host(endpoint)?)),
        };
        let config = self.config(&endpoint.given, authorities).map_err(|error| {
            Error::new(Kind::EtcdTls, format!("cannot prepare TLS for {}", endpoint.given))
                .naming(endpoint.subject())
                .with_source(error)
        })?;
        Ok(Secure { connector: TlsConnector::from(Arc::new(config)), name: endpoint.server_name()? })
    }

    /// TLS that accepts any certificate and presents ours: for a handshake after which nothing else is sent.
    ///
    /// # Errors
    /// Only if the built-in cryptography had no TLS version in common with rustls.
    pub(super) fn unverified_config(&self) -> Result<ClientConfig, rustls::Error> {
        self.config("", None)
    }

    /// Without `authorities`, any certificate is accepted.
    fn config(
        &self,
        endpoint: &str,
        authorities: Option<Arc<Authorities>>,
    ) -> Result<ClientConfig, rustls::Error> {
        let verifier: Arc<dyn ServerCertVerifier> =
            Arc::new(MemberVerifier::new(endpoint, authorities, &self.provider));
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some(identity) => {
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity))))
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(config)
    }

    /// How messages call the client certificate; `None` where there is none.
    pub(super) fn client(&self) -> Option<ClientCertificate> {
        let leaf = self.identity.as_ref()?.cert.first()?;
        let certificate = Certificate::parse(leaf)?;
        Some(ClientCertificate {
            subject: name_text(certificate.subject),
            issuer: name_text(certificate.issuer),
            end: certificate.end,
        })
    }
}

/// The certificate that this program presents.
pub(super) struct ClientCertificate {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) end: Timestamp,
}

/// The authorities that this host trusts.
fn of_this_host(endpoint: &Endpoint) -> Result<Authorities> {
    let found = rustls_native_certs::load_native_certs();
    Authorities::of_this_host(&found.certs).ok_or_else(|| {
        let given = &endpoint.given;
        Error::new(Kind::EtcdTls, format!("cannot verify {given}: this host trusts no authority"))
            .naming(endpoint.subject())
            .with_hint("pass the authority that signed the member's certificate with `cacert`")
    })
}

impl Connection {
    /// When the client certificate expires; `None` where there is no certificate, or its expiry cannot be read.
    ///
    /// # Errors
    /// [`Kind::Usage`] where its file cannot be read, or holds no certificate.
    pub fn client_certificate_end(&self) -> Result<Option<Timestamp>> {
        let Some(path) = &self.cert else { return Ok(None) };
        let chain = tls_files::certificates("`cert`", path)?;
        Ok(chain.first().and_then(|leaf| Certificate::parse(leaf)).map(|leaf| leaf.end))
    }
}

/// A certificate and its key are of no use without each other.
fn lonely(given: &str, missing: &str, variable: &str) -> Error {
    Error::new(Kind::Usage, format!("{given} is given without {missing}"))
        .with_hint(format!("add {missing}, or {variable} in the environment"))
}
