//! One endpoint as etcdctl understands it: its address, and whether it uses TLS.

use super::connection::Connection;
use crate::error::{Error, Kind, Result, Subject};
use std::path::PathBuf;
use tonic::transport::Uri;

/// Where a member listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// `host:port`, the host in brackets if it is an IPv6 address.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A parsed endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// As given, for messages and for the record of the member that served.
    pub(super) given: String,
    pub(super) address: Address,
    /// Whether it uses TLS.
    pub(super) tls: bool,
}

impl Endpoint {
    /// Parses every endpoint of `connection`; one given twice counts once.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there is none, or one is not an endpoint.
    pub(super) fn parse_all(connection: &Connection) -> Result<Vec<Self>> {
        let mut endpoints = Vec::new();
        for given in &connection.endpoints {
            let endpoint = Self::parse(given, connection.prefers_tls())?;
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        if endpoints.is_empty() {
            return Err(Error::new(Kind::Usage, "no endpoint given")
                .with_hint("name at least one with `endpoints`, such as 127.0.0.1:2379"));
        }
        Ok(endpoints)
    }

    /// It as the subject of an error.
    pub(super) fn subject(&self) -> Subject {
        Subject::Endpoint(self.given.clone())
    }

    /// etcdctl's rules: `https` and `unixs` force TLS, `http` disables it even where certificates are given, and without a
    /// scheme the flags decide. `unix` disables it too: etcd never serves TLS under that scheme, though etcdctl would try it
    /// in vain if certificates were given.
    fn parse(given: &str, prefers_tls: bool) -> Result<Self> {
        let given = given.trim();
        refuse_credentials(given)?;
        let (scheme, rest) = match given.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => (String::new(), given),
        };
        let (address, tls) = match scheme.as_str() {
            "" => (tcp(given, rest)?, prefers_tls),
            "http" => (tcp(given, rest)?, false),
            "https" => (tcp(given, rest)?, true),
            "unix" => (unix(given, rest)?, false),
            "unixs" => (unix(given, rest)?, true),
            other => {
                return Err(unusable(given, &format!("has the unknown scheme {other}://"))
                    .with_hint("the schemes are http://, https://, unix:// and unixs://"));
            }
        };
        Ok(Self { given: given.to_owned(), address, tls })
    }
}

/// etcd takes no passwords in URLs, and one given there would end up in logs: the error does not repeat it.
fn refuse_credentials(given: &str) -> Result<()> {
    let authority = given.split_once("://").map_or(given, |(_, rest)| rest);
    if given.starts_with("unix") || !authority.split('/').next().is_some_and(|host| host.contains('@')) {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, "an endpoint carries a user name or password before its host")
        .with_hint("pass the user with `user` and the password with ETCDCTL_PASSWORD"))
}

fn tcp(given: &str, rest: &str) -> Result<Address> {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err(unusable(given, "has a path; an endpoint has none").with_hint("such as host:2379"));
    }
    let uri: Uri = format!("http://{authority}").parse().map_err(|error| {
        unusable(given, &format!("is not host:port: {error}")).with_hint(bracket_hint(authority))
    })?;
    let host = uri.host().unwrap_or_default();
    if host.is_empty() || host == "[]" {
        return Err(unusable(given, "has no host").with_hint("such as host:2379"));
    }
    if uri.port_u16().is_none_or(|port| port == 0) {
        return Err(unusable(given, "has no port").with_hint(format!("such as {host}:2379")));
    }
    Ok(Address::Tcp(authority.to_owned()))
}

/// Without brackets, an IPv6 address cannot be told from its port.
fn bracket_hint(authority: &str) -> &'static str {
    if authority.matches(':').count() > 1 {
        "an IPv6 address stands in brackets, such as [::1]:2379"
    } else {
        "such as host:2379"
    }
}

fn unix(given: &str, path: &str) -> Result<Address> {
    if path.is_empty() {
        return Err(unusable(given, "names no socket").with_hint("such as unix:///run/etcd.sock"));
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

fn unusable(given: &str, what: &str) -> Error {
    if given.is_empty() {
        return Error::new(Kind::Usage, "an endpoint is empty").with_hint("such as host:2379");
    }
    let subject = Subject::Endpoint(given.to_owned());
    Error::new(Kind::Usage, format!("endpoint {given} {what}")).naming(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &str, prefers_tls: bool) -> (Address, bool) {
        let endpoint = Endpoint::parse(given, prefers_tls).unwrap();
        assert_eq!(endpoint.given, given);
        (endpoint.address, endpoint.tls)
    }

    fn tcp_at(host_and_port: &str) -> Address {
        Address::Tcp(host_and_port.to_owned())
    }

    fn refused(given: &str) -> Error {
        let error = Endpoint::parse(given, false).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        error
    }

    #[test]
    fn the_scheme_decides_and_without_one_the_flags() {
        for (given, without_flags, with_flags) in [
            ("h:2379", false, true),
            ("http://h:2379", false, false),
            ("https://h:2379", true, true),
            ("HTTPS://h:2379/", true, true),
        ] {
            assert_eq!(parse(given, false), (tcp_at("h:2379"), without_flags), "{given}");
            assert_eq!(parse(given, true), (tcp_at("h:2379"), with_flags), "{given}");
        }
        let socket = Address::Unix(PathBuf::from("/run/etcd.sock"));
        assert_eq!(parse("unix:///run/etcd.sock", true), (socket.clone(), false));
        assert_eq!(parse("unixs:///run/etcd.sock", false), (socket, true));
        assert_eq!(parse("unix://localhost:2379", false).0, Address::Unix(PathBuf::from("localhost:2379")));
    }

    #[test]
    fn each_tls_flag_alone_turns_tls_on() {
        let plain = || Connection {
            endpoints: vec!["h:2379".to_owned()],
            cacert: None,
            cert: None,
            key: None,
            insecure_skip_tls_verify: false,
            insecure_transport: true,
            user: None,
            dial_timeout: std::time::Duration::ZERO,
            command_timeout: std::time::Duration::ZERO,
            stream_timeout: None,
            stall_timeout: std::time::Duration::ZERO,
            limit_rate: None,
            min_rate: 0,
            keepalive_time: std::time::Duration::ZERO,
            keepalive_timeout: std::time::Duration::ZERO,
        };
        assert!(!plain().prefers_tls());
        assert!(Connection { cacert: Some("c".into()), ..plain() }.prefers_tls());
        assert!(Connection { cert: Some("c".into()), ..plain() }.prefers_tls());
        assert!(Connection { key: Some("k".into()), ..plain() }.prefers_tls());
        assert!(Connection { insecure_skip_tls_verify: true, ..plain() }.prefers_tls());
        assert!(Connection { insecure_transport: false, ..plain() }.prefers_tls());
    }

    #[test]
    fn addresses_keep_their_brackets() {
        assert_eq!(parse("[::1]:2379", false).0, tcp_at("[::1]:2379"));
        assert_eq!(parse("https://10.0.0.1:1", false).0, tcp_at("10.0.0.1:1"));
    }

    #[test]
    fn what_is_not_an_endpoint_is_named_with_a_way_out() {
        for (given, hint) in [
            ("host", "such as host:2379"),
            ("http://host", "such as host:2379"),
            ("[::1]", "such as [::1]:2379"),
            ("host:0", "such as host:2379"),
            ("::1:2379", "an IPv6 address stands in brackets, such as [::1]:2379"),
            ("host:99999", "such as host:2379"),
            ("host:2379/v3", "such as host:2379"),
            (":2379", "such as host:2379"),
            ("ftp://host:2379", "the schemes are http://, https://, unix:// and unixs://"),
            ("unix://", "such as unix:///run/etcd.sock"),
        ] {
            let error = refused(given);
            assert!(error.to_string().contains(given), "{given}: {error}");
            assert_eq!(error.hint(), hint, "{given}");
        }
        assert_eq!(refused("").to_string(), "an endpoint is empty");
    }

    #[test]
    fn a_password_in_an_endpoint_is_not_repeated() {
        assert!(!refused("http://root:hunter2@host:2379").to_string().contains("hunter2"));
        assert!(!refused("root:hunter2@host:2379").to_string().contains("hunter2"));
    }
}
