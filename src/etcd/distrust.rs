//! Why a member's certificate is not accepted, in words for the operator.

use super::certificate::{Certificate, name_text};
use jiff::Timestamp;
use std::error::Error as StdError;
use std::fmt;

/// The smallest and the largest RSA key, in bits.
pub(super) const RSA_SIZES: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The end of a hint.
macro_rules! or_skip {
    ($hint:literal) => {
        concat!($hint, "; `insecure_skip_tls_verify` goes without, and trusts any server")
    };
}

/// Why the certificate of a member is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Distrust {
    /// It is no certificate, or of a form that cannot be verified.
    Form(String),
    /// It expired.
    Expired { whose: String, when: Timestamp, now: Timestamp },
    /// It is not valid yet.
    Early { whose: String, when: Timestamp, now: Timestamp },
    /// It names its holder by nothing that TLS looks at.
    NoNames { whose: String },
    /// It is for other names than the one the member was reached by.
    Names { reached: String, presented: Vec<String> },
    /// None of the authorities issued it.
    Issuer { whose: String, issuer: String, trusted: Trusted },
    /// An authority in its chain, or it itself, is not for servers.
    Purpose { whose: String },
    /// The key that it certifies, or that signed it, is too small or too large.
    KeySize { whose: String, bits: usize },
    /// It is signed in a way that proves nothing any more, or is not known.
    Algorithm { whose: String },
    /// The server does not hold the key of its certificate.
    Proof,
}

/// What is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trusted {
    /// The authorities of `cacert`, by name.
    Named(Vec<String>),
    /// Those of this host.
    OfThisHost,
}

/// How messages call a certificate.
pub(super) fn called(certificate: &Certificate<'_>) -> String {
    name_text(certificate.subject)
}

impl fmt::Display for Distrust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(what) => write!(formatter, "the certificate of the member {what}"),
            Self::Expired { whose, when, now } => write!(
                formatter,
                "the certificate {whose} expired on {}, and the clock of this host says {}",
                day(*when),
                day(*now)
            ),
            Self::Early { whose, when, now } => write!(
                formatter,
                "the certificate {whose} is valid from {} on, and the clock of this host says {}",
                minute(*when),
                minute(*now)
            ),
            Self::NoNames { whose } => write!(
                formatter,
                "the certificate {whose} of the member has no subject alternative name, and a common name alone does not count"
            ),
            Self::Names { reached, presented } => write!(
                formatter,
                "the certificate of the member is for {}, and not for {reached}",
                presented.join(", ")
            ),
            Self::Issuer { whose, issuer, trusted } => untrusted(formatter, whose, issuer, trusted),
            Self::Purpose { whose } => write!(
                formatter,
                "the certificate {whose} is not for servers: its extended key usage lacks serverAuth"
            ),
            Self::KeySize { whose, bits } => write!(
                formatter,
                "the certificate {whose} has an RSA key of {bits} bits, and {} to {} are needed",
                RSA_SIZES.start(),
                RSA_SIZES.end()
            ),
            Self::Algorithm { whose } => write!(
                formatter,
                "the certificate {whose} is signed with an algorithm that is not accepted, such as one with SHA-1"
            ),
            Self::Proof => {
                write!(formatter, "the server does not prove that it holds the key of its certificate")
            }
        }
    }
}

/// An authority of the same name is the usual reason for not seeing the difference: the cluster was made anew.
fn untrusted(
    formatter: &mut fmt::Formatter<'_>,
    whose: &str,
    issuer: &str,
    trusted: &Trusted,
) -> fmt::Result {
    let self_signed = whose == issuer;
    write!(formatter, "the certificate {whose} of the member is ")?;
    match (self_signed, trusted) {
        (true, Trusted::Named(_)) => write!(formatter, "self-signed, and `cacert` does not hold it"),
        (true, Trusted::OfThisHost) => write!(formatter, "self-signed, and this host does not trust it"),
        (false, Trusted::Named(names)) if names.iter().any(|name| name == issuer) => write!(
            formatter,
            "issued by {issuer}, and the authority of this name in `cacert` has another key"
        ),
        (false, Trusted::Named(names)) => {
            write!(formatter, "issued by {issuer}, and `cacert` holds {}", listed(names))
        }
        (false, Trusted::OfThisHost) => {
            write!(formatter, "issued by {issuer}, which this host does not trust")
        }
    }
}

/// At most three names.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names[..names.len().min(SHOWN)].join("; ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

fn day(time: Timestamp) -> String {
    time.to_string().chars().take("2026-11-25".len()).collect()
}

fn minute(time: Timestamp) -> String {
    time.to_string().chars().take("2026-11-25T12:00".len()).collect::<String>() + "Z"
}

impl StdError for Distrust {}

impl Distrust {
    /// The way out.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Form(_) => or_skip!("make the member's certificate anew, as X.509 version 3").to_owned(),
            Self::Expired { .. } => {
                or_skip!("renew that certificate, or set the clock of this host if it is wrong").to_owned()
            }
            Self::Early { .. } => {
                or_skip!("set the clock that is wrong, of this host or of the one that made the certificate").to_owned()
            }
            Self::NoNames { .. } => or_skip!(
                "make the member's certificate anew, with the names and addresses of the member as subjectAltName"
            )
            .to_owned(),
            Self::Names { presented, .. } => match presented.iter().find(|name| !name.contains('*')) {
                Some(name) => format!(
                    "name the member in `endpoints` by a name or address its certificate carries, such as {name}"
                ),
                None => "name the member in `endpoints` by a name or address its certificate carries".to_owned(),
            },
            Self::Issuer { .. } => {
                or_skip!("pass the authority that signed the member's certificate with `cacert`").to_owned()
            }
            Self::Purpose { .. } => {
                or_skip!("make that certificate anew, with serverAuth in its extended key usage").to_owned()
            }
            Self::KeySize { .. } => NEW_KEY_HINT.to_owned(),
            Self::Algorithm { .. } => or_skip!("sign that certificate anew, with SHA-256").to_owned(),
            Self::Proof => "the server is not the holder of that certificate: check what `endpoints` leads to".to_owned(),
        }
    }
}

/// For a key of RSA that is too small or too large.
pub(super) const NEW_KEY_HINT: &str = "make certificate and key anew, the key with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`";
