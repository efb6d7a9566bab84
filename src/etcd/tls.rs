//! TLS according to the flags. Every file is read and checked here, before the first connection.

use super::connection::Connection;
use super::expiry::end_of;
use super::failure;
use super::verifier::{AnyCertificate, TrustedCertificate};
use crate::error::{Error, Kind, Result, Subject};
use jiff::Timestamp;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use tonic::transport::{ClientTlsConfig, Endpoint as Transport, Identity};
use zeroize::Zeroizing;

/// The files of `--cacert`, `--cert` and `--key`, read and found usable.
pub(super) struct TlsFiles {
    authorities: Option<RootCertStore>,
    identity: Option<ClientIdentity>,
    skip_verify: bool,
}

/// A client certificate chain and its key: as PEM, the form that tonic takes, and parsed.
struct ClientIdentity {
    certificates: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    parsed: CertifiedKey,
}

impl TlsFiles {
    /// Reads and checks all files that the flags name, even if no endpoint uses them.
    ///
    /// # Errors
    /// [`Kind::Usage`] naming the flag and the file.
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        let authorities = match &connection.cacert {
            Some(path) => Some(load_authorities(path)?),
            None => None,
        };
        let identity = match (&connection.cert, &connection.key) {
            (Some(certificate), Some(key)) => Some(load_identity(certificate, key)?),
            (Some(_), None) => return Err(lonely("`cert`", "`key`", "ETCDCTL_KEY")),
            (None, Some(_)) => return Err(lonely("`key`", "`cert`", "ETCDCTL_CERT")),
            (None, None) => None,
        };
        Ok(Self { authorities, identity, skip_verify: connection.insecure_skip_tls_verify })
    }

    /// TLS that accepts any certificate and presents ours: for a handshake after which nothing else is sent.
    ///
    /// # Errors
    /// Only if the built-in cryptography had no TLS version in common with rustls.
    pub(super) fn unverified_config(&self) -> Result<ClientConfig, rustls::Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::new()));
        let mut config = match &self.identity {
            Some(identity) => {
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.parsed.clone())))
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// Makes `transport` speak TLS to `server_name`, verified against `--cacert` or else the system's roots.
    ///
    /// # Errors
    /// [`Kind::EtcdTls`], for example when the system has no roots.
    pub(super) fn apply(&self, transport: Transport, given: &str) -> Result<Transport> {
        let mut config = ClientTlsConfig::new();
        if let Some(identity) = &self.identity {
            config = config.identity(Identity::from_pem(&identity.certificates, identity.key.as_slice()));
        }
        let verifier: Arc<dyn ServerCertVerifier> = if self.skip_verify {
            Arc::new(AnyCertificate::new())
        } else {
            let roots = self.authorities.clone().map_or_else(system_roots, Ok);
            let verifier = roots.and_then(|roots| TrustedCertificate::new(given, roots));
            Arc::new(verifier.map_err(|cause| cannot_prepare(given, &cause))?)
        };
        transport
            .tls_config_with_verifier(config, verifier)
            .map_err(|error| cannot_prepare(given, failure::innermost(&error)).with_source(error))
    }
}

fn cannot_prepare(given: &str, cause: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::EtcdTls, format!("cannot prepare TLS for {given}: {cause}"))
        .naming(Subject::Endpoint(given.to_owned()))
        .with_hint(
            "pass the cluster's authority with `cacert` if this host trusts none of its own, \
         and name the member as its certificate does",
        )
}

/// The authorities that this host trusts. Like other programs, it skips those that cannot be used.
fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let cause = found.errors.first().map(|error| format!(": {error}"));
    Err(format!("this host trusts no authority{}", cause.unwrap_or_default()))
}

impl Connection {
    /// When the client certificate expires; `None` where there is no certificate, or its expiry cannot be read.
    ///
    /// # Errors
    /// [`Kind::Usage`] where its file cannot be read, or holds no certificate.
    pub fn client_certificate_end(&self) -> Result<Option<Timestamp>> {
        let Some(path) = &self.cert else { return Ok(None) };
        let chain = certificates("`cert`", path, &read("`cert`", path)?)?;
        Ok(chain.first().and_then(end_of))
    }
}

/// A certificate and its key are of no use without each other.
fn lonely(given: &str, missing: &str, variable: &str) -> Error {
    Error::new(Kind::Usage, format!("{given} is given without {missing}"))
        .with_hint(format!("add {missing}, or {variable} in the environment"))
}

fn load_authorities(path: &Path) -> Result<RootCertStore> {
    let pem = read("`cacert`", path)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates("`cacert`", path, &pem)? {
        roots.add(certificate).map_err(|error| unusable("`cacert`", path, &error))?;
    }
    Ok(roots)
}

fn load_identity(certificate_path: &Path, key_path: &Path) -> Result<ClientIdentity> {
    let pem = read("`cert`", certificate_path)?;
    let chain = certificates("`cert`", certificate_path, &pem)?;
    let key_pem = Zeroizing::new(read("`key`", key_path)?);
    let key = private_key(key_path, &key_pem)?;
    let parsed =
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Error::new(
                Kind::Usage,
                format!(
                    "`cert` {} and `key` {} do not belong together",
                    certificate_path.display(),
                    key_path.display()
                ),
            )
            .with_hint("name the key the certificate was made for"),
            rustls::Error::InvalidCertificate(_) => unusable("`cert`", certificate_path, &error),
            _ => unusable("`key`", key_path, &error),
        })?;
    Ok(ClientIdentity { certificates: pem, key: key_pem, parsed })
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Error::new(Kind::Usage, format!("cannot read {flag} {}: {error}", path.display()))
            .naming(path)
            .with_hint("check the path and its permissions; etcd's certificates often belong to root")
            .with_source(error)
    })
}

fn certificates(flag: &str, path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(flag, path, &error))?;
    if found.is_empty() {
        return Err(unusable(flag, path, &"no PEM certificate in it"));
    }
    Ok(found)
}

/// The message never quotes the file: even a file that is not the right one may be a secret.
fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let encrypted = pem.windows(b"ENCRYPTED".len()).any(|window| window == b"ENCRYPTED");
        if encrypted {
            unusable("`key`", path, &"it is encrypted with a passphrase")
                .with_hint("decrypt it with `openssl pkey`, and keep the result to yourself with mode 0600")
        } else {
            unusable("`key`", path, &"no PEM private key in it")
        }
    })
}

fn unusable(flag: &str, path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Usage, format!("cannot use {flag} {}: {why}", path.display()))
        .naming(path)
        .with_hint("`cacert` and `cert` hold PEM certificates, `key` a PEM private key without passphrase")
}
