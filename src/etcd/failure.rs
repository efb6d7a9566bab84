//! Derives the error of a connection to a member from the errors of the layers below.
//!
//! tonic reports little more than "transport error". The cause lies further down its chain of sources, and partly inside an
//! [`io::Error`], where `source()` does not look.

use super::endpoint::Endpoint;
use crate::error::{Error, Kind};
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use std::error::Error as StdError;
use std::io;
use std::iter::successors;
use std::time::Duration;
use tonic::{Code, Status};

/// How h2 words bytes that are not HTTP/2: read as a frame header, text announces a frame larger than any limit.
const NOT_HTTP2_TEXT: &str = "frame with invalid size";

/// How rustls words an alert. h2 passes it on as text only.
const ALERT_TEXT: &str = "received fatal alert";

/// The error of a connection that could not be established.
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
        .naming(endpoint.subject())
        .with_source(error)
}

/// A server that closes a connection with unread bytes resets it, so a server without TLS often answers the first message of
/// a handshake with a reset. TCP itself refuses a connection; it never resets one that is not established.
fn reset_handshake(endpoint: &Endpoint, error: &(dyn StdError + 'static)) -> Option<Error> {
    let reset = causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe));
    (endpoint.tls && reset).then(|| tls_error(&endpoint.given, &innermost(error)).with_hint(RESET_HINT))
}

/// The error of a call that failed on an established connection. `call` is a noun, as in "refused the status".
pub(super) fn calling(endpoint: &Endpoint, call: &str, error: etcd_client::Error) -> Error {
    let given = &endpoint.given;
    let told = match &error {
        etcd_client::Error::GRpcStatus(status) if status.source().is_none() => answered(given, call, status),
        etcd_client::Error::GRpcStatus(status) => broken(given, call, status),
        etcd_client::Error::TransportError(transport) => broken(given, call, transport),
        other => Error::new(Kind::EtcdFault, format!("the {call} from {given} failed: {other}")),
    };
    told.naming(endpoint.subject()).with_source(error)
}

/// The error of a handshake that failed with `fault`, such as an alert.
pub(super) fn refused_handshake(endpoint: &Endpoint, fault: &rustls::Error) -> Error {
    with_tls_hint(&endpoint.given, fault).naming(endpoint.subject())
}

/// The error of plaintext sent to an endpoint that serves TLS.
pub(super) fn plaintext_to_tls(endpoint: &Endpoint) -> Error {
    Error::new(Kind::EtcdTls, format!("{} serves TLS, but was spoken to without", endpoint.given))
        .naming(endpoint.subject())
        .with_hint("give the endpoint as https:// (or unixs://), and the cluster's authority with `cacert`")
}

/// The error of a connection that was not established within the dial timeout.
pub(super) fn connecting_too_long(endpoint: &Endpoint, limit: Duration) -> Error {
    Error::new(Kind::EtcdTimeout, format!("could not connect to {} within {limit:?}", endpoint.given))
        .naming(endpoint.subject())
        .with_hint("raise `dial_timeout`, or name another member with `endpoints`")
}

/// The error of a call that was not answered within the command timeout.
pub(super) fn calling_too_long(endpoint: &Endpoint, call: &str, limit: Duration) -> Error {
    Error::new(Kind::EtcdTimeout, format!("{} did not answer the {call} within {limit:?}", endpoint.given))
        .naming(endpoint.subject())
        .with_hint("raise `command_timeout`, or name another member with `endpoints`")
}

/// Whether etcd says that its authentication is off, so that credentials are superfluous.
pub(super) fn authentication_is_off(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message().contains("authentication is not enabled"))
}

/// Whether a message was too large or malformed. tonic has no code of its own for that, so this matches its text.
pub(super) fn is_malformed_message(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message().contains("decoded message length too large")
            || status.message().contains("failed to decode Protobuf message"))
}

/// The core of the error: etcd's own message, or else the cause at the bottom of the chain.
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

/// The error at the bottom of the chain, which is the most specific one.
pub(super) fn innermost<'error>(error: &'error (dyn StdError + 'static)) -> &'error (dyn StdError + 'static) {
    causes(error).last().unwrap_or(error)
}

/// The chain of causes, including the errors wrapped in I/O errors.
fn causes<'error>(
    error: &'error (dyn StdError + 'static),
) -> impl Iterator<Item = &'error (dyn StdError + 'static)> {
    successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    })
}

/// Whether this is a timeout of the system, or of hyper, whose limit is as long as ours and may fire first.
fn is_timeout(cause: &(dyn StdError + 'static)) -> bool {
    cause.is::<tokio::time::error::Elapsed>()
        || cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// The error of a connection that broke under a call, before etcd answered.
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

/// For a server that answers, but not as etcd does.
const NOT_ETCD_HINT: &str = "is this etcd? check that `endpoints` names its client port";

/// The error that etcd itself answered with.
fn answered(given: &str, call: &str, status: &Status) -> Error {
    let message = status.message();
    let said = if message.is_empty() { status.code().description() } else { message };
    let error = Error::new(answered_kind(status), format!("{given} refused the {call}: {said}"));
    if message.contains("permission denied") {
        return error.with_hint(
            "etcd gives snapshots to the root role alone: pass `user` root, \
             or grant it with `etcdctl user grant-role NAME root`",
        );
    }
    if message.contains("authentication failed") {
        return error.with_hint(
            "check the name in `user` and its password, that in ETCDCTL_PASSWORD too; it must be a user with the root role",
        );
    }
    if status.code() == Code::Unimplemented {
        return error.with_hint(NOT_ETCD_HINT);
    }
    error
}

fn answered_kind(status: &Status) -> Kind {
    /// etcd's messages about users. Their codes vary between its versions (`rpctypes/error.go`).
    const AUTHENTICATION: [&str; 6] = [
        "authentication failed",
        "user name is empty",
        "user name not found",
        "permission denied",
        "invalid auth token",
        "revision of auth store is old",
    ];
    let message = status.message();
    // On streams etcd passes on the errors of its auth store unchanged.
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

/// A [`Kind::EtcdTls`] error if any error of the chain is one of TLS.
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

/// For a server that answered without TLS, or closed the connection at the first TLS message.
const PLAINTEXT_HINT: &str = "the endpoint seems not to serve TLS: try it as http://";

/// The hint for a server that reset the connection when the client began TLS.
const RESET_HINT: &str = "if the endpoint serves no TLS, try it as http://; else check that `endpoints` names a member's client port";

/// For a server that refused the client certificate.
const CLIENT_CERTIFICATE_HINT: &str = "the member did not accept the client certificate: pass one of its own authority that has not expired, \
     with `cert` and `key`";

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
            "pass the authority that signed the member's certificate with `cacert`; \
             `insecure_skip_tls_verify` goes without, and trusts any server",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some(
            "renew the member's certificate (and check the clock of this host); \
             `insecure_skip_tls_verify` goes without, and trusts any server",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Some("check the clocks of this host and of the member")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some("name the member in `endpoints` by a name or address its certificate carries")
        }
        _ => None,
    }
}

/// The most telling of the errors that kept every endpoint from serving; its message names each of them.
pub(super) fn most_telling(mut failures: Vec<Error>) -> Error {
    failures.sort_by_key(|error| rank(error.kind()));
    if failures.len() == 1 {
        return failures.remove(0);
    }
    let Some(first) = failures.first() else {
        return Error::new(Kind::EtcdUnreachable, "only learners answered, whose data may lag behind")
            .with_hint(
                "name a voting member with `endpoints`, or one learner alone to take it all the same",
            );
    };
    let (kind, hint) = (first.kind(), first.hint().to_owned());
    let list: Vec<String> = failures.iter().map(ToString::to_string).collect();
    let error =
        Error::new(kind, format!("no endpoint could serve a snapshot: {}", list.join("; "))).with_hint(hint);
    error.with_source(failures.swap_remove(0))
}

/// Errors that an operator must fix come first; those that may be a mere absence come last.
fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::EtcdAuthentication => 0,
        Kind::EtcdTls => 1,
        Kind::EtcdTimeout | Kind::EtcdStalled => 3,
        Kind::EtcdUnreachable => 4,
        _ => 2,
    }
}
