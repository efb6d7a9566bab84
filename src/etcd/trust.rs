//! Whether the certificate that a member presents is accepted: the one owner of that decision.
//!
//! webpki verifies chains. It is stricter than etcd's own clients in four points, which are decided here: a certificate that
//! stands in `cacert` is trusted as itself, a server may present a certificate of an authority or one with a critical policy,
//! and a certificate for any purpose may serve. The key of a certificate must sign the handshake in every case, also where nothing else is verified.

use super::certificate::{Certificate, PublicKey, SERVER_PURPOSES, name_text};
use super::distrust::{Distrust, RSA_SIZES, Trusted, called};
use super::expiry::expiry;
use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter};

/// How many signatures may be checked for one chain that webpki does not judge.
const SIGNATURE_CHECKS: usize = 32;

/// The certificates that are trusted.
pub(super) struct Authorities {
    /// Each is trusted as itself.
    certificates: Vec<CertificateDer<'static>>,
    /// Those among them that may issue others.
    anchors: Vec<TrustAnchor<'static>>,
    /// Whether they are those of this host.
    of_this_host: bool,
}

impl Authorities {
    /// Trusts all of `certificates`.
    ///
    /// # Errors
    /// What is wrong with the first of them that is no certificate.
    pub(super) fn named(certificates: Vec<CertificateDer<'static>>) -> Result<Self, &'static str> {
        let mut anchors = Vec::new();
        for der in &certificates {
            let certificate = Certificate::parse(der).ok_or("it holds a certificate that cannot be read")?;
            if certificate.is_anchor() {
                let anchor = webpki::anchor_from_trusted_cert(der);
                let anchor = anchor.map_err(|_| "it holds an authority that cannot be read")?;
                anchors.push(anchor.to_owned());
            }
        }
        Ok(Self { certificates, anchors, of_this_host: false })
    }

    /// Trusts those of `certificates` that can be read, as other programs on this host do; `None` where none can.
    pub(super) fn of_this_host(certificates: &[CertificateDer<'static>]) -> Option<Self> {
        let readable = |der: &CertificateDer<'static>| Self::named(vec![der.clone()]).ok();
        let (mut kept, mut anchors) = (Vec::new(), Vec::new());
        for one in certificates.iter().filter_map(readable) {
            kept.extend(one.certificates);
            anchors.extend(one.anchors);
        }
        (!kept.is_empty()).then_some(Self { certificates: kept, anchors, of_this_host: true })
    }

    /// Whether the chain from `der` ends at one of them.
    fn vouch(
        &self,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        now: UnixTime,
    ) -> Result<(), Distrust> {
        if self.certificates.iter().any(|own| own.as_ref() == der.as_ref()) {
            return Ok(());
        }
        let certificate = Certificate::parse(der).ok_or_else(unreadable)?;
        let judged = EndEntityCert::try_from(der).and_then(|entity| {
            let found =
                entity.verify_for_usage(algorithms, &self.anchors, intermediates, now, Serving, None, None);
            found.map(drop)
        });
        match judged {
            Ok(()) => Ok(()),
            Err(webpki::Error::CaUsedAsEndEntity | webpki::Error::UnsupportedCriticalExtension)
                if certificate.is_understood() =>
            {
                let chain = Chain { authorities: self, intermediates, algorithms, now: timestamp(now) };
                if chain.reaches_authority(&certificate, 0, &mut { SIGNATURE_CHECKS }) {
                    return Ok(());
                }
                Err(self.unknown_issuer(&certificate))
            }
            Err(error) => Err(self.explain(&error, der, intermediates, timestamp(now))),
        }
    }

    fn unknown_issuer(&self, certificate: &Certificate<'_>) -> Distrust {
        let trusted = if self.of_this_host {
            Trusted::OfThisHost
        } else {
            let readable = self.certificates.iter().filter_map(|der| Certificate::parse(der));
            Trusted::Named(readable.map(|one| called(&one)).collect())
        };
        Distrust::Issuer { whose: called(certificate), issuer: name_text(certificate.issuer), trusted }
    }

    /// Names the certificate of the chain that is at fault.
    fn explain(
        &self,
        error: &webpki::Error,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Distrust {
        let Some(certificate) = Certificate::parse(der) else { return unreadable() };
        let chain = || intermediates.iter().filter_map(|der| Certificate::parse(der));
        let involved = || chain().chain(self.certificates.iter().filter_map(|der| Certificate::parse(der)));
        match error {
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
                chain().find_map(|one| in_time(&one, now).err())
            }
            webpki::Error::RequiredEkuNotFoundContext(_) => {
                chain().find(|one| !one.may_serve()).map(|one| Distrust::Purpose { whose: called(&one) })
            }
            webpki::Error::UnknownIssuer => None,
            _ => involved()
                .find(|one| one.subject == certificate.issuer)
                .and_then(|issuer| size_fault(&issuer))
                .or_else(|| signature_or_form(error, &certificate)),
        }
        .unwrap_or_else(|| self.unknown_issuer(&certificate))
    }
}

/// The fault where webpki names neither dates nor an issuer; `None` where an issuer of that name has another key.
fn signature_or_form(error: &webpki::Error, certificate: &Certificate<'_>) -> Option<Distrust> {
    match error {
        webpki::Error::InvalidSignatureForPublicKey => None,
        webpki::Error::UnsupportedSignatureAlgorithmContext(_)
        | webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            Some(Distrust::Algorithm { whose: called(certificate) })
        }
        other => Some(form(other)),
    }
}

fn form(error: &webpki::Error) -> Distrust {
    Distrust::Form(
        match error {
            webpki::Error::UnsupportedCertVersion => "is of X.509 version 1",
            webpki::Error::UnsupportedCriticalExtension => "has a critical extension that is not known here",
            webpki::Error::NameConstraintViolation => "is for a name that its authority may not issue for",
            webpki::Error::PathLenConstraintViolated => {
                "comes through more authorities than the first of them allows"
            }
            webpki::Error::EndEntityUsedAsCa => "was issued by a certificate that is no authority",
            _ => "cannot be verified in the form it has",
        }
        .to_owned(),
    )
}

fn unreadable() -> Distrust {
    Distrust::Form("cannot be read".to_owned())
}

fn in_time(certificate: &Certificate<'_>, now: Timestamp) -> Result<(), Distrust> {
    let whose = || called(certificate);
    if now < certificate.begin {
        return Err(Distrust::Early { whose: whose(), when: certificate.begin, now });
    }
    if certificate.end < now {
        return Err(Distrust::Expired { whose: whose(), when: certificate.end, now });
    }
    Ok(())
}

fn size_fault(certificate: &Certificate<'_>) -> Option<Distrust> {
    let bits = certificate.key.rsa_size().filter(|bits| !RSA_SIZES.contains(bits))?;
    Some(Distrust::KeySize { whose: called(certificate), bits })
}

fn timestamp(time: UnixTime) -> Timestamp {
    i64::try_from(time.as_secs()).ok().and_then(|time| Timestamp::from_second(time).ok()).unwrap_or_default()
}

/// A certificate for servers, or for any purpose.
struct Serving;

impl ExtendedKeyUsageValidator for Serving {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut any = false;
        for purpose in purposes {
            let purpose = purpose?;
            if SERVER_PURPOSES.iter().any(|allowed| KeyPurposeId::new(allowed) == purpose) {
                return Ok(());
            }
            any = true;
        }
        if !any {
            return Ok(());
        }
        Err(webpki::Error::RequiredEkuNotFoundContext(webpki::RequiredEkuNotFoundContext {
            required: webpki::KeyUsage::server_auth(),
            present: Vec::new(),
        }))
    }
}

/// What the chain of a certificate that webpki does not judge may lead through.
struct Chain<'a> {
    authorities: &'a Authorities,
    intermediates: &'a [CertificateDer<'a>],
    algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    now: Timestamp,
}

impl Chain<'_> {
    /// Whether a trusted authority issued `certificate`, or authorities that lead to one. Those that constrain names issue
    /// nothing here: only webpki knows what they allow. `below` is how many authorities stand under the one looked for.
    fn reaches_authority(&self, certificate: &Certificate<'_>, below: usize, checks: &mut usize) -> bool {
        let trusted = self.authorities.certificates.iter().filter_map(|der| Certificate::parse(der));
        for one in trusted.filter(|one| one.is_anchor() && may_issue(one, below)) {
            if self.issued(&one, certificate, checks) {
                return true;
            }
        }
        let presented = self.intermediates.iter().filter_map(|der| Certificate::parse(der));
        for one in presented.filter(|one| one.is_authority() && may_issue(one, below)) {
            let sound = in_time(&one, self.now).is_ok() && one.may_serve() && one.is_understood();
            if sound
                && self.issued(&one, certificate, checks)
                && self.reaches_authority(&one, below + 1, checks)
            {
                return true;
            }
        }
        false
    }

    /// Whether the key of `issuer` signed `certificate`.
    fn issued(&self, issuer: &Certificate<'_>, certificate: &Certificate<'_>, checks: &mut usize) -> bool {
        if issuer.subject != certificate.issuer || *checks == 0 {
            return false;
        }
        *checks -= 1;
        self.algorithms
            .iter()
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == certificate.signature_algorithm)
            .any(|algorithm| is_signed(*algorithm, &issuer.key, certificate.signed, certificate.signature))
    }
}

fn may_issue(certificate: &Certificate<'_>, below: usize) -> bool {
    !certificate.constrains_names() && certificate.path_length().is_none_or(|most| below <= most)
}

fn is_signed(
    algorithm: &dyn SignatureVerificationAlgorithm,
    key: &PublicKey<'_>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    algorithm.public_key_alg_id().as_ref() == key.algorithm
        && algorithm.verify_signature(key.bits, message, signature).is_ok()
}

/// Verifies the member at one endpoint.
pub(super) struct MemberVerifier {
    /// `None` accepts any certificate.
    authorities: Option<Arc<Authorities>>,
    algorithms: WebPkiSupportedAlgorithms,
    endpoint: String,
    warned: AtomicBool,
}

impl MemberVerifier {
    /// Verifies the member at `endpoint` against `authorities`, or accepts any certificate where there are none.
    pub(super) fn new(
        endpoint: &str,
        authorities: Option<Arc<Authorities>>,
        provider: &CryptoProvider,
    ) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self { authorities, algorithms, endpoint: endpoint.to_owned(), warned: AtomicBool::new(false) }
    }

    fn judge(
        &self,
        authorities: &Authorities,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Distrust> {
        let certificate = Certificate::parse(der).ok_or_else(unreadable)?;
        in_time(&certificate, timestamp(now))?;
        let whose = || called(&certificate);
        if let Some(fault) = size_fault(&certificate) {
            return Err(fault);
        }
        let presented = certificate.names();
        if presented.is_empty() {
            return Err(Distrust::NoNames { whose: whose() });
        }
        if !certificate.may_serve() {
            return Err(Distrust::Purpose { whose: whose() });
        }
        authorities.vouch(der, intermediates, self.algorithms.all, now)?;
        if !certificate.carries(name) {
            return Err(Distrust::Names { reached: name.to_str().into_owned(), presented });
        }
        self.warn_of_end(&certificate, timestamp(now));
        Ok(())
    }

    /// Warns once of a certificate that expires soon: one save connects more than once.
    fn warn_of_end(&self, certificate: &Certificate<'_>, now: Timestamp) {
        let Some(when) = expiry(certificate.end, now) else { return };
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("the certificate of the member at {} {when}", self.endpoint);
        }
    }
}

impl ServerCertVerifier for MemberVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(authorities) = &self.authorities {
            self.judge(authorities, end_entity, intermediates, server_name, now).map_err(distrusted)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let certificate = holder(certificate)?;
        let mut fitting = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signature.scheme);
        let signed = fitting.any(|(_, algorithms)| {
            algorithms
                .iter()
                .any(|algorithm| is_signed(*algorithm, &certificate.key, message, signature.signature()))
        });
        if signed { Ok(HandshakeSignatureValid::assertion()) } else { Err(distrusted(Distrust::Proof)) }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let certificate = holder(certificate)?;
        verify_tls13_signature_with_raw_key(message, &certificate.key.info(), signature, &self.algorithms)
            .map_err(|_| distrusted(Distrust::Proof))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The certificate whose key has to sign the handshake.
fn holder<'a>(der: &'a CertificateDer<'_>) -> Result<Certificate<'a>, rustls::Error> {
    let certificate = Certificate::parse(der).ok_or_else(|| distrusted(unreadable()))?;
    match size_fault(&certificate) {
        Some(fault) => Err(distrusted(fault)),
        None => Ok(certificate),
    }
}

fn distrusted(fault: Distrust) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(fault))))
}

impl fmt::Debug for MemberVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemberVerifier").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
