//! What went wrong between us and a member, told from what the layers below report.
//!
//! tonic says little more than "transport error"; the truth lies somewhere down its chain of sources, and part of it
//! inside an [`io::Error`], where `source()` does not look.

use super::endpoint::Endpoint;
use crate::error::{Error, Kind};
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use std::error::Error as StdError;
use std::io;
use std::iter::successors;
use std::time::Duration;
use tonic::{Code, Status};

/// How h2 words bytes that are not HTTP/2: whatever is text instead would be a frame larger than any may be.
const NOT_HTTP2_TEXT: &str = "frame with invalid size";

/// How rustls words an alert. By the time h2 hands it on it is only text.
const ALERT_TEXT: &str = "received fatal alert";

/// A connection that did not come about.
pub(super) fn connecting(endpoint: &Endpoint, limit: Duration, error: tonic::transport::Error) -> Error {
    let given = &endpoint.given;
    if causes(&error).any(is_timeout) {
        return connecting_too_long(endpoint, limit).with_source(error);
    }
    tls_fault(given, &error)
        .or_else(|| reset_handshake(endpoint, &error))
        .unwrap_or_else(|| {
            Error::new(Kind::EtcdUnreachable, format!("cannot connect to {given}: {}", innermost(&error)))
        })
        .with_source(error)
}

/// A server that closes a connection with bytes unread resets it, so a reset is how one without TLS often answers the first
/// message of a handshake. TCP itself refuses a connection, it never resets one that is not there yet.
fn reset_handshake(endpoint: &Endpoint, error: &(dyn StdError + 'static)) -> Option<Error> {
    let reset = causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe));
    (endpoint.tls && reset).then(|| tls_error(&endpoint.given, &innermost(error)).with_hint(PLAINTEXT_HINT))
}

/// A call that failed on a connection that was there. `call` reads as in "refused the status".
pub(super) fn calling(endpoint: &Endpoint, call: &str, error: etcd_client::Error) -> Error {
    let given = &endpoint.given;
    let told = match &error {
        etcd_client::Error::GRpcStatus(status) if status.source().is_none() => answered(given, call, status),
        etcd_client::Error::GRpcStatus(status) => broken(given, call, status),
        etcd_client::Error::TransportError(transport) => broken(given, call, transport),
        other => Error::new(Kind::EtcdFault, format!("the {call} from {given} failed: {other}")),
    };
    told.with_source(error)
}

/// A handshake in which the server complained.
pub(super) fn refused_handshake(endpoint: &Endpoint, fault: &rustls::Error) -> Error {
    with_tls_hint(&endpoint.given, fault)
}

/// An endpoint spoken to without TLS where TLS is served.
pub(super) fn plaintext_to_tls(endpoint: &Endpoint) -> Error {
    Error::new(Kind::EtcdTls, format!("{} serves TLS, but was spoken to without", endpoint.given))
        .with_hint("give the endpoint as https:// (or unixs://), and the cluster's authority with --cacert")
}

/// A connection that did not come about within the dial timeout.
pub(super) fn connecting_too_long(endpoint: &Endpoint, limit: Duration) -> Error {
    Error::new(Kind::EtcdTimeout, format!("could not connect to {} within {limit:?}", endpoint.given))
        .with_hint("raise --dial-timeout, or name another member with --endpoints")
}

/// A call that was not answered within the command timeout.
pub(super) fn calling_too_long(endpoint: &Endpoint, call: &str, limit: Duration) -> Error {
    Error::new(Kind::EtcdTimeout, format!("{} did not answer the {call} within {limit:?}", endpoint.given))
        .with_hint("raise --command-timeout, or name another member with --endpoints")
}

/// Whether etcd says that it knows no users at all, so that credentials are superfluous.
pub(super) fn authentication_is_off(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message().contains("authentication is not enabled"))
}

/// Whether a message was too large or no message at all: tonic's own words, for want of a code of its own.
pub(super) fn is_malformed_message(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message().contains("decoded message length too large")
            || status.message().contains("failed to decode Protobuf message"))
}

/// What the error says at heart: etcd's own message, or the cause at the bottom.
pub(super) fn in_short(error: &etcd_client::Error) -> String {
    match error {
        etcd_client::Error::GRpcStatus(status)
            if status.source().is_none() && !status.message().is_empty() =>
        {
            status.message().to_owned()
        }
        etcd_client::Error::GRpcStatus(status) => innermost(status).to_string(),
        other => innermost(other).to_string(),
    }
}

/// The error at the bottom of the chain, which says most.
pub(super) fn innermost<'error>(error: &'error (dyn StdError + 'static)) -> &'error (dyn StdError + 'static) {
    causes(error).last().unwrap_or(error)
}

/// The chain of causes, into wrapped I/O errors too.
fn causes<'error>(
    error: &'error (dyn StdError + 'static),
) -> impl Iterator<Item = &'error (dyn StdError + 'static)> {
    successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    })
}

/// The system's own timeout, or hyper's, which is set to the same length as ours and may be the first to fire.
fn is_timeout(cause: &(dyn StdError + 'static)) -> bool {
    cause.is::<tokio::time::error::Elapsed>()
        || cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// The connection broke under a call. No answer of etcd's.
fn broken(given: &str, call: &str, error: &(dyn StdError + 'static)) -> Error {
    tls_fault(given, error).unwrap_or_else(|| {
        let cause = innermost(error);
        let what = format!("the connection to {given} broke before the {call}: {cause}");
        if cause.to_string().contains(NOT_HTTP2_TEXT) {
            return Error::new(Kind::EtcdUnreachable, format!("{what}, so it is no HTTP/2"))
                .with_hint(NOT_ETCD_HINT);
        }
        Error::new(Kind::EtcdUnreachable, what)
    })
}

/// Somebody answered, and not as etcd does.
const NOT_ETCD_HINT: &str = "is this etcd? check that --endpoints names its client port";

/// etcd itself answered with an error.
fn answered(given: &str, call: &str, status: &Status) -> Error {
    let message = status.message();
    let said = if message.is_empty() { status.code().description() } else { message };
    let error = Error::new(answered_kind(status), format!("{given} refused the {call}: {said}"));
    if message.contains("permission denied") {
        return error.with_hint(
            "etcd gives snapshots to the root role alone: pass --user root, \
             or grant it with `etcdctl user grant-role NAME root`",
        );
    }
    if message.contains("authentication failed") {
        return error.with_hint(
            "check the name in --user and its password, that in ETCDCTL_PASSWORD too; it must be a user with the root role",
        );
    }
    if status.code() == Code::Unimplemented {
        return error.with_hint(NOT_ETCD_HINT);
    }
    error
}

fn answered_kind(status: &Status) -> Kind {
    /// As etcd words what concerns users; the codes vary between its versions (`rpctypes/error.go`).
    const AUTHENTICATION: [&str; 6] = [
        "authentication failed",
        "user name is empty",
        "user name not found",
        "permission denied",
        "invalid auth token",
        "revision of auth store is old",
    ];
    let message = status.message();
    // On streams etcd passes on the errors of its auth store as they are.
    let of_auth_store = message.starts_with("auth: ");
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => Kind::EtcdAuthentication,
        _ if of_auth_store || AUTHENTICATION.iter().any(|text| message.contains(text)) => {
            Kind::EtcdAuthentication
        }
        Code::DeadlineExceeded => Kind::EtcdTimeout,
        _ if message.contains("request timed out") => Kind::EtcdTimeout,
        _ => Kind::EtcdFault,
    }
}

/// An [`Kind::EtcdTls`] error if TLS is at fault anywhere in the chain.
fn tls_fault(given: &str, error: &(dyn StdError + 'static)) -> Option<Error> {
    if let Some(fault) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return Some(with_tls_hint(given, fault));
    }
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    let alert = texts.iter().rev().find_map(|text| text.find(ALERT_TEXT).map(|at| &text[at..]));
    if let Some(alert) = alert {
        return Some(tls_error(given, &alert).with_hint(CLIENT_CERTIFICATE_HINT));
    }
    texts
        .iter()
        .any(|text| text.contains("tls handshake eof") || text.contains("HTTP/2 was not negotiated"))
        .then(|| tls_error(given, &innermost(error)).with_hint(PLAINTEXT_HINT))
}

/// The server spoke, but not TLS, or closed the connection when TLS was spoken to it.
const PLAINTEXT_HINT: &str = "the endpoint seems not to serve TLS: try it as http://";

/// The server did not like who we are.
const CLIENT_CERTIFICATE_HINT: &str = "the member did not accept the client certificate: pass one of its own authority that has not expired, \
     with --cert and --key";

fn tls_error(given: &str, why: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::EtcdTls, format!("TLS with {given} failed: {why}"))
}

fn with_tls_hint(given: &str, fault: &rustls::Error) -> Error {
    let error = tls_error(given, fault);
    match fault {
        rustls::Error::InvalidCertificate(certificate) => match certificate_hint(certificate) {
            Some(hint) => error.with_hint(hint),
            None => error,
        },
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => error.with_hint(PLAINTEXT_HINT),
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => error.with_hint(CLIENT_CERTIFICATE_HINT),
        _ => error,
    }
}

fn certificate_hint(error: &CertificateError) -> Option<&'static str> {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Some(
            "pass the authority that signed the member's certificate with --cacert; \
             --insecure-skip-tls-verify goes without, and trusts anybody",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some(
            "renew the member's certificate (and check the clock of this host); \
             --insecure-skip-tls-verify goes without, and trusts anybody",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Some("check the clocks of this host and of the member")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some("name the member in --endpoints by a name or address its certificate carries")
        }
        _ => None,
    }
}

/// The error that tells most of those that kept every endpoint from serving; each is named in its message.
pub(super) fn most_telling(mut failures: Vec<Error>) -> Error {
    failures.sort_by_key(|error| rank(error.kind()));
    if failures.len() == 1 {
        return failures.remove(0);
    }
    let Some(first) = failures.first() else {
        return Error::new(Kind::EtcdUnreachable, "only learners answered, whose data may lag behind")
            .with_hint(
                "name a voting member with --endpoints, or one learner alone to take it all the same",
            );
    };
    let (kind, hint) = (first.kind(), first.hint().to_owned());
    let list: Vec<String> = failures.iter().map(ToString::to_string).collect();
    let error =
        Error::new(kind, format!("no endpoint could serve a snapshot: {}", list.join("; "))).with_hint(hint);
    error.with_source(failures.swap_remove(0))
}

/// What an operator must mend comes first, what may be mere absence last.
fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::EtcdAuthentication => 0,
        Kind::EtcdTls => 1,
        Kind::EtcdTimeout | Kind::EtcdStalled => 3,
        Kind::EtcdUnreachable => 4,
        _ => 2,
    }
}
