//! The errors of TLS with a member, in words for the operator: which certificate, which name, which date, what was expected.

use super::causes::causes;
use super::distrust::Distrust;
use super::endpoint::{Address, Endpoint};
use super::tls::ClientCertificate;
use crate::error::{Error, Kind};
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use std::error::Error as StdError;
use std::fmt::Display;

/// How rustls words an alert, before the name of it. h2 passes it on as text only.
const ALERT_TEXT: &str = "received fatal alert: ";

/// How tokio-rustls words a connection that ends within the handshake.
const HANDSHAKE_END_TEXT: &str = "tls handshake eof";

/// The alerts of a member that does not accept the client certificate, or misses one.
const CLIENT_CERTIFICATE_ALERTS: [AlertDescription; 9] = [
    AlertDescription::NoCertificate,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
    AlertDescription::CertificateRequired,
];

/// The certificate that this program showed, as far as it is known where an error is worded.
#[derive(Clone, Copy)]
enum Shown<'a> {
    Unknown,
    Nothing,
    Certificate(&'a ClientCertificate),
}

/// What a failed handshake says.
enum Fault {
    /// The certificate of the member is not accepted.
    Member(Distrust),
    /// The member does not accept the client certificate, or misses one; what its alert says.
    Client(String),
    /// The server has no HTTP/2.
    NoHttp2,
    /// There is no version, cipher suite or key exchange in common.
    NothingInCommon,
    /// The answer is not TLS, or none.
    NoAnswer,
    /// Another alert; what it says.
    Alert(String),
    /// The server breaks the protocol.
    Protocol,
}

/// The error of TLS in the chain of `error`, if there is one.
pub(super) fn find(endpoint: &Endpoint, error: &(dyn StdError + 'static)) -> Option<Error> {
    fault(error).map(|fault| told(endpoint, &fault, Shown::Unknown))
}

/// `error` in more exact words, where its chain says that the server spoke TLS; else `None`.
pub(super) fn refine(
    endpoint: &Endpoint,
    error: &(dyn StdError + 'static),
    client: Option<&ClientCertificate>,
) -> Option<Error> {
    let found = fault(error).filter(|fault| !matches!(fault, Fault::NoAnswer))?;
    Some(told(endpoint, &found, client.map_or(Shown::Nothing, Shown::Certificate)))
}

/// The error of a server that resets the connection, ends it, or does not answer with TLS.
pub(super) fn no_answer(endpoint: &Endpoint) -> Error {
    told(endpoint, &Fault::NoAnswer, Shown::Unknown)
}

/// The error of a server that answers without TLS as etcd does.
pub(super) fn serves_plaintext(endpoint: &Endpoint) -> Error {
    error(endpoint, "the member serves no TLS")
        .with_hint(format!("give the endpoint as {}", with_scheme(endpoint, "http", "unix")))
}

/// The error of a server that answers neither way as etcd does.
pub(super) fn serves_neither(endpoint: &Endpoint) -> Error {
    error(endpoint, "the server does not answer with TLS, and without TLS not as etcd does").with_hint(
        "as https:// and as http:// it is no member of etcd: check that `endpoints` names a member's client port",
    )
}

/// The error of plaintext sent to an endpoint that serves TLS.
pub(super) fn plaintext_to_tls(endpoint: &Endpoint) -> Error {
    Error::new(Kind::EtcdTls, format!("{} serves TLS, but was spoken to without", endpoint.given))
        .naming(endpoint.subject())
        .with_hint(format!(
            "give the endpoint as {}, and the cluster's authority with `cacert`",
            with_scheme(endpoint, "https", "unixs")
        ))
}

/// The endpoint with the scheme that fits.
fn with_scheme(endpoint: &Endpoint, tcp: &str, unix: &str) -> String {
    let rest = endpoint.given.split_once("://").map_or(endpoint.given.as_str(), |(_, rest)| rest);
    let scheme = if matches!(endpoint.address, Address::Unix(_)) { unix } else { tcp };
    format!("{scheme}://{rest}")
}

fn error(endpoint: &Endpoint, why: impl Display) -> Error {
    Error::new(Kind::EtcdTls, format!("TLS with {} failed: {why}", endpoint.given)).naming(endpoint.subject())
}

/// The fault that the chain of `error` tells.
fn fault(error: &(dyn StdError + 'static)) -> Option<Fault> {
    if let Some(fault) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return Some(of_rustls(fault));
    }
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    let alert = texts.iter().rev().find_map(|text| text.split_once(ALERT_TEXT));
    if let Some((_, name)) = alert {
        let name: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
        return Some(of_alert(&name));
    }
    texts.iter().any(|text| text.contains(HANDSHAKE_END_TEXT)).then_some(Fault::NoAnswer)
}

fn of_rustls(fault: &rustls::Error) -> Fault {
    match fault {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            match other.0.downcast_ref::<Distrust>() {
                Some(distrust) => Fault::Member(distrust.clone()),
                None => Fault::Protocol,
            }
        }
        rustls::Error::AlertReceived(alert) => of_alert(&format!("{alert:?}")),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Fault::NoAnswer,
        rustls::Error::PeerIncompatible(_) => Fault::NothingInCommon,
        _ => Fault::Protocol,
    }
}

/// The fault of the alert with this name in rustls.
fn of_alert(name: &str) -> Fault {
    let is = |alert: &AlertDescription| format!("{alert:?}") == name;
    if CLIENT_CERTIFICATE_ALERTS.iter().any(is) {
        return Fault::Client(words(name));
    }
    if is(&AlertDescription::NoApplicationProtocol) {
        return Fault::NoHttp2;
    }
    let in_common = [
        AlertDescription::HandshakeFailure,
        AlertDescription::ProtocolVersion,
        AlertDescription::InsufficientSecurity,
    ];
    if in_common.iter().any(is) { Fault::NothingInCommon } else { Fault::Alert(words(name)) }
}

/// `BadCertificate` as `bad certificate`.
fn words(name: &str) -> String {
    let mut words = String::new();
    let mut before = ' ';
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
        before = letter;
    }
    words
}

/// The error of `fault`. Of the client certificate it says more where what was `shown` is known.
fn told(endpoint: &Endpoint, fault: &Fault, shown: Shown<'_>) -> Error {
    let (why, hint) = match fault {
        Fault::Member(distrust) => (distrust.to_string(), distrust.hint()),
        Fault::Client(alert) => (refusal(alert, shown), CLIENT_CERTIFICATE_HINT.to_owned()),
        Fault::NoHttp2 => ("the server speaks TLS, but not HTTP/2, as etcd does".to_owned(), NOT_ETCD_HINT.to_owned()),
        Fault::NothingInCommon => (
            "the server and this program have no version of TLS or no cipher suite in common".to_owned(),
            "TLS 1.2 or 1.3 with ECDHE and AES-GCM or ChaCha20-Poly1305 is needed: look at --cipher-suites and \
             --tls-max-version of etcd"
                .to_owned(),
        ),
        Fault::NoAnswer => (
            "the server does not answer with TLS".to_owned(),
            format!(
                "if the endpoint serves no TLS, give it as {}; else check that `endpoints` names a member's client port",
                with_scheme(endpoint, "http", "unix")
            ),
        ),
        Fault::Alert(alert) => (format!("the server ended the handshake: {alert}"), NOT_ETCD_HINT.to_owned()),
        Fault::Protocol => {
            ("the server does not keep to the protocol".to_owned(), NOT_ETCD_HINT.to_owned())
        }
    };
    error(endpoint, why).with_hint(hint)
}

/// For a server that speaks TLS, but not as etcd does.
const NOT_ETCD_HINT: &str =
    "is this etcd? `endpoints` has to name a member's client port, or a proxy that passes HTTP/2 on to it";

/// For a member that refused the client certificate.
const CLIENT_CERTIFICATE_HINT: &str = "pass a client certificate that has not expired, of an authority that the member trusts (its --trusted-ca-file), \
     with `cert` and `key`";

fn refusal(alert: &str, shown: Shown<'_>) -> String {
    match shown {
        Shown::Unknown => format!("the member did not accept the client certificate, or wants one: {alert}"),
        Shown::Nothing => format!("the member wants a client certificate, and none was given: {alert}"),
        Shown::Certificate(client) => {
            let end: String = client.end.to_string().chars().take("2026-11-25".len()).collect();
            format!(
                "the member did not accept the client certificate {}, issued by {} and valid until {end}: {alert}",
                client.subject, client.issuer
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_words() {
        assert_eq!(words("BadCertificate"), "bad certificate");
        assert_eq!(words("UnknownCA"), "unknown ca");
    }
}
