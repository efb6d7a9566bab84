//! Derives the error of a connection to a member from the errors of the layers below.
//!
//! tonic reports little more than "transport error". The cause lies further down its chain of sources, and partly inside an
//! [`io::Error`], where `source()` does not look.

use super::causes::{causes, innermost};
use super::endpoint::Endpoint;
use super::tls_fault;
use crate::error::{Error, Kind};
use std::error::Error as StdError;
use std::io;
use std::time::Duration;
use tonic::{Code, Status};

/// How h2 words bytes that are not HTTP/2: read as a frame header, text announces a frame larger than any limit.
const NOT_HTTP2_TEXT: &str = "frame with invalid size";

/// The error of a connection that could not be established.
pub(super) fn connecting(endpoint: &Endpoint, limit: Duration, error: tonic::transport::Error) -> Error {
    let given = &endpoint.given;
    if causes(&error).any(is_timeout) {
        return connecting_too_long(endpoint, limit).with_source(error);
    }
    tls_fault::find(endpoint, &error)
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
    (endpoint.tls && reset).then(|| tls_fault::no_answer(endpoint))
}

/// The error of a call that failed on an established connection. `call` is a noun, as in "refused the status".
pub(super) fn calling(endpoint: &Endpoint, call: &str, error: etcd_client::Error) -> Error {
    let given = &endpoint.given;
    let told = match &error {
        etcd_client::Error::GRpcStatus(status) if status.source().is_none() => answered(given, call, status),
        etcd_client::Error::GRpcStatus(status) => broken(endpoint, call, status),
        etcd_client::Error::TransportError(transport) => broken(endpoint, call, transport),
        other => Error::new(Kind::EtcdFault, format!("the {call} from {given} failed: {other}")),
    };
    told.naming(endpoint.subject()).with_source(error)
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

/// Whether this is a timeout of the system, or of hyper, whose limit is as long as ours and may fire first.
fn is_timeout(cause: &(dyn StdError + 'static)) -> bool {
    cause.is::<tokio::time::error::Elapsed>()
        || cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// The error of a connection that broke under a call, before etcd answered.
fn broken(endpoint: &Endpoint, call: &str, error: &(dyn StdError + 'static)) -> Error {
    tls_fault::find(endpoint, error).unwrap_or_else(|| {
        let given = &endpoint.given;
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
