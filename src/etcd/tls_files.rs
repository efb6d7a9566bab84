//! The files of `cacert`, `cert` and `key`: what they hold, and what to do where they hold something else.
//!
//! The messages never quote a file: even one that is not the right one may be a secret.

use super::certificate::{Certificate, PublicKey};
use super::distrust::{NEW_KEY_HINT, RSA_SIZES};
use super::pem::{Block, Damaged, blocks};
use super::trust::Authorities;
use crate::error::{Error, Kind, Result};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::Path;
use zeroize::Zeroizing;

/// The first byte of every DER file here.
const DER: u8 = 0x30;

/// What follows the outer header of a PKCS#12 file: version 3.
const PKCS12_VERSION: [u8; 3] = [2, 1, 3];

/// The authorities in `path`.
///
/// # Errors
/// [`Kind::Usage`] naming the flag and the file.
pub(super) fn authorities(path: &Path) -> Result<Authorities> {
    let certificates = certificates("`cacert`", path)?;
    Authorities::named(certificates).map_err(|why| unusable("`cacert`", path, why))
}

/// The client certificate in `certificate_path` and its key. The certificate is only presented: what form it may have is
/// the member's decision.
///
/// # Errors
/// [`Kind::Usage`] naming the flag and the file.
pub(super) fn identity(
    certificate_path: &Path,
    key_path: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey> {
    let chain = certificates("`cert`", certificate_path)?;
    let leaf = chain.first().and_then(|leaf| Certificate::parse(leaf));
    let Some(leaf) = leaf else {
        return Err(unusable("`cert`", certificate_path, "its first certificate cannot be read"));
    };
    let key = private_key(key_path)?;
    let key = provider.key_provider.load_private_key(key).map_err(|_| match leaf.key.rsa_size() {
        Some(bits) if !RSA_SIZES.contains(&bits) => {
            let why = format!(
                "it is an RSA key of {bits} bits, and {} to {} are needed",
                RSA_SIZES.start(),
                RSA_SIZES.end()
            );
            unusable("`key`", key_path, &why).with_hint(NEW_KEY_HINT)
        }
        _ => unusable("`key`", key_path, "its kind of key is not supported, or it is damaged").with_hint(
            "a key is of RSA with 2048 to 8192 bits, of ECDSA on P-256, P-384 or P-521, or of Ed25519; \
             look at it with `openssl pkey -noout -text`",
        ),
    })?;
    let public = key.public_key();
    let public = public.as_ref().and_then(|public| PublicKey::parse(public));
    if public.is_some_and(|public| public.bits != leaf.key.bits) {
        let (certificate, key) = (certificate_path.display(), key_path.display());
        return Err(Error::new(
            Kind::Usage,
            format!("`cert` {certificate} and `key` {key} do not belong together"),
        )
        .with_hint("name the key the certificate was made for; where `cert` holds a chain, that of the client comes first"));
    }
    Ok(CertifiedKey::new(chain, key))
}

/// The certificates in `path`, at least one.
///
/// # Errors
/// [`Kind::Usage`] naming the flag and the file.
pub(super) fn certificates(flag: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let file = read(flag, path)?;
    let blocks = blocks(&file);
    let found: Result<Vec<_>, Damaged> = blocks.iter().filter_map(Block::certificate).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(no_certificate(flag, path, &file, &blocks)),
        Err(Damaged) => Err(unusable(flag, path, "the base64 of a certificate in it is damaged")),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let file = read("`key`", path)?;
    let blocks = blocks(&file);
    match blocks.iter().find_map(Block::private_key) {
        Some(Ok(key)) => Ok(key),
        Some(Err(Damaged)) => Err(unusable("`key`", path, "the base64 of the private key in it is damaged")),
        None => Err(no_private_key(path, &file, &blocks)),
    }
}

fn no_certificate(flag: &str, path: &Path, file: &[u8], blocks: &[Block]) -> Error {
    let says = |label: &str| blocks.iter().any(|block| block.label == label);
    let shown = path.display();
    if says("TRUSTED CERTIFICATE") {
        return unusable(
            flag,
            path,
            "it is a TRUSTED CERTIFICATE of openssl, a form that etcd does not read",
        )
        .with_hint(format!("convert it: `openssl x509 -in {shown} -out {shown}.pem`"));
    }
    if says("PKCS7") {
        return unusable(flag, path, "it is PKCS#7")
            .with_hint(format!("convert it: `openssl pkcs7 -print_certs -in {shown} -out {shown}.pem`"));
    }
    if says("CERTIFICATE REQUEST") || says("NEW CERTIFICATE REQUEST") {
        return unusable(flag, path, "it is a request for a certificate, not the certificate").with_hint(
            "name what the authority made of the request, often a file that ends in .crt or .pem",
        );
    }
    if blocks.iter().any(|block| block.private_key().is_some() || block.is_encrypted_key()) {
        return unusable(flag, path, "it holds a private key and no certificate")
            .with_hint(format!("name the certificate with {flag}, and the key of the client with `key`"));
    }
    match binary(file) {
        Some(Binary::Pkcs12) => pkcs12(flag, path),
        Some(Binary::Der) => unusable(flag, path, "it is DER, and PEM is needed")
            .with_hint(format!("convert it: `openssl x509 -inform DER -in {shown} -out {shown}.pem`")),
        None => unusable(flag, path, "no PEM certificate in it"),
    }
}

fn no_private_key(path: &Path, file: &[u8], blocks: &[Block]) -> Error {
    let shown = path.display();
    if blocks.iter().any(Block::is_encrypted_key) {
        return unusable("`key`", path, "it is encrypted with a passphrase").with_hint(format!(
            "decrypt it: `(umask 077; openssl pkey -in {shown} -out {shown}.plain)`, and name that file"
        ));
    }
    if blocks.iter().any(|block| block.label == "OPENSSH PRIVATE KEY") {
        return unusable("`key`", path, "it is a key of ssh")
            .with_hint("name the key of the client certificate");
    }
    if blocks.iter().any(|block| block.certificate().is_some()) {
        return unusable("`key`", path, "it holds a certificate and no private key")
            .with_hint("name the key of the client certificate with `key`, and the certificate with `cert`");
    }
    match binary(file) {
        Some(Binary::Pkcs12) => pkcs12("`key`", path),
        Some(Binary::Der) => unusable("`key`", path, "it is DER, and PEM is needed").with_hint(format!(
            "convert it: `(umask 077; openssl pkey -inform DER -in {shown} -out {shown}.pem)`"
        )),
        None => unusable("`key`", path, "no PEM private key in it"),
    }
}

fn pkcs12(flag: &str, path: &Path) -> Error {
    let shown = path.display();
    unusable(flag, path, "it is PKCS#12, and PEM is needed").with_hint(format!(
        "convert it: `(umask 077; openssl pkcs12 -nodes -in {shown} -out {shown}.pem)`, and name that file with `cert` and `key`"
    ))
}

/// The forms of a file that is not text.
enum Binary {
    Der,
    Pkcs12,
}

fn binary(file: &[u8]) -> Option<Binary> {
    let (&first, rest) = file.split_first()?;
    let (&length, rest) = rest.split_first()?;
    // A text may begin with the same digit, but it has no byte above 0x7f there, nor by chance its own length.
    let content = if length < 0x80 { rest } else { rest.get(usize::from(length & 0x7f)..)? };
    if first != DER || (length < 0x80 && usize::from(length) != rest.len()) {
        return None;
    }
    Some(if content.starts_with(&PKCS12_VERSION) { Binary::Pkcs12 } else { Binary::Der })
}

fn read(flag: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    std::fs::read(path).map(Zeroizing::new).map_err(|error| {
        Error::new(Kind::Usage, format!("cannot read {flag} {}: {error}", path.display()))
            .naming(path)
            .with_hint("check the path and its permissions; etcd's certificates often belong to root")
            .with_source(error)
    })
}

fn unusable(flag: &str, path: &Path, why: &str) -> Error {
    Error::new(Kind::Usage, format!("cannot use {flag} {}: {why}", path.display()))
        .naming(path)
        .with_hint("`cacert` and `cert` hold PEM certificates, `key` a PEM private key without passphrase")
}
