//! One endpoint as etcdctl understands it: its address, and whether it uses TLS.

use super::connection::Connection;
use crate::address::{self, Flaw};
use crate::error::{Error, Kind, Result, Subject};
use rustls::pki_types::ServerName;
use std::net::Ipv6Addr;
use std::path::PathBuf;

/// The port on which etcd listens for clients by default.
const USUAL_PORT: u16 = 2379;

/// The name that the certificate of a member at a Unix socket has to carry: a socket has no host.
const UNIX_SERVER_NAME: &str = "localhost";

/// Where a member listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A port of a host.
    Tcp(HostPort),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPort {
    /// A name, or an address without brackets and zone, in one spelling.
    pub(super) host: String,
    /// The zone of a link-local address: a network interface.
    pub(super) zone: Option<String>,
    pub(super) port: u16,
}

impl HostPort {
    /// `host:port`, with brackets where they belong, and without the zone, which concerns this host alone.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The host as the resolver takes it.
    pub(super) fn host_with_zone(&self) -> String {
        let zone = self.zone.as_ref().map(|zone| format!("%{zone}")).unwrap_or_default();
        format!("{}{zone}", self.host)
    }
}

/// A parsed endpoint.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// As given, for messages and for the record of the member that served.
    pub(super) given: String,
    pub(super) address: Address,
    /// Whether it uses TLS.
    pub(super) tls: bool,
}

impl Endpoint {
    /// Parses every endpoint of `connection`; one given twice counts once, in whatever spelling.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there is none, or one is not an endpoint.
    pub(super) fn parse_all(connection: &Connection) -> Result<Vec<Self>> {
        let mut endpoints: Vec<Self> = Vec::new();
        for given in &connection.endpoints {
            let endpoint = Self::parse(given, connection.prefers_tls())?;
            let same = |other: &Self| other.address == endpoint.address && other.tls == endpoint.tls;
            if !endpoints.iter().any(same) {
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

    /// The host and port that HTTP/2 names in its requests.
    pub(super) fn authority(&self) -> String {
        match &self.address {
            Address::Tcp(at) => at.authority(),
            Address::Unix(_) => UNIX_SERVER_NAME.to_owned(),
        }
    }

    /// The name or address that the member's certificate has to carry.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a host that no certificate can carry.
    pub(super) fn server_name(&self) -> Result<ServerName<'static>> {
        let host = match &self.address {
            // Certificates carry names without the dot that ends an absolute one.
            Address::Tcp(at) => at.host.trim_end_matches('.'),
            Address::Unix(_) => UNIX_SERVER_NAME,
        };
        let host = match host.parse::<Ipv6Addr>().ok().and_then(|address| address.to_ipv4_mapped()) {
            Some(address) => address.to_string(),
            None => host.to_owned(),
        };
        ServerName::try_from(host).map_err(|_| {
            unusable(&self.given, "has a host that no certificate can carry")
                .with_hint("name the member by a DNS name or an address")
        })
    }

    /// etcdctl's rules: `https` and `unixs` force TLS, `http` disables it even where certificates are given, and without a
    /// scheme the flags decide. `unix` disables it too: etcd never serves TLS under that scheme, though etcdctl would try it
    /// in vain if certificates were given.
    fn parse(given: &str, prefers_tls: bool) -> Result<Self> {
        let given = given.trim();
        refuse_credentials(given)?;
        if let Some(plain) = address::unquoted(given) {
            return Err(unusable(given, "has quotes or brackets, as a configuration file has them")
                .with_hint(format!("such as {plain}")));
        }
        if let Some(plain) = with_whole_scheme(given) {
            return Err(unusable(given, "has a misspelled scheme").with_hint(format!("such as {plain}")));
        }
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

/// `given` with `://`, where it has only a part of that behind `http` or `https`.
fn with_whole_scheme(given: &str) -> Option<String> {
    let (scheme, rest) = ["https", "http"]
        .iter()
        .find_map(|scheme| given.strip_prefix(scheme).map(|rest| (scheme, rest)))
        .filter(|(_, rest)| rest.starts_with([':', '/']) && !rest.starts_with("://"))?;
    let rest = rest.trim_start_matches([':', '/']);
    // A host may be called http, and then its port follows.
    address::split(rest.trim_end_matches('/'), USUAL_PORT).ok().map(|_| format!("{scheme}://{rest}"))
}

fn tcp(given: &str, rest: &str) -> Result<Address> {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        let bare = authority.split(['/', '?', '#']).next().unwrap_or_default();
        return Err(unusable(given, "has a path; an endpoint has none").with_hint(instead(given, rest, bare)));
    }
    let (host, port) = address::split(authority, USUAL_PORT).map_err(|Flaw { what, instead: right }| {
        let hint = right.map_or_else(|| "such as host:2379".to_owned(), |right| instead(given, rest, &right));
        unusable(given, what).with_hint(hint)
    })?;
    let (host, zone) = address::zoned(host);
    Ok(Address::Tcp(HostPort { host: address::canonical(host), zone: zone.map(str::to_owned), port }))
}

/// `given`, with `right` in place of what follows its scheme.
fn instead(given: &str, rest: &str, right: &str) -> String {
    format!("such as {}{right}", given.strip_suffix(rest).unwrap_or_default())
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

    fn tcp_at(host: &str, port: u16) -> Address {
        Address::Tcp(HostPort { host: host.to_owned(), zone: None, port })
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
            assert_eq!(parse(given, false), (tcp_at("h", 2379), without_flags), "{given}");
            assert_eq!(parse(given, true), (tcp_at("h", 2379), with_flags), "{given}");
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
            token: None,
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
    fn one_address_has_one_spelling() {
        assert_eq!(parse("https://10.0.0.1:1", false).0, tcp_at("10.0.0.1", 1));
        for spelling in ["[fd00::1]:2379", "[FD00:0:0::1]:2379"] {
            assert_eq!(parse(spelling, false).0, tcp_at("fd00::1", 2379), "{spelling}");
        }
        let twice = ["https://[fd00::1]:1", "https://[fd00:0::1]:1/", "http://[fd00::1]:1"];
        let parsed = Endpoint::parse_all(&Connection::new(twice)).unwrap();
        let given: Vec<_> = parsed.iter().map(|endpoint| endpoint.given.as_str()).collect();
        assert_eq!(given, ["https://[fd00::1]:1", "http://[fd00::1]:1"]);
    }

    #[test]
    fn zones_concern_this_host_alone() {
        for given in ["https://[fe80::1%25eth0]:2379", "https://[fe80::1%eth0]:2379"] {
            let endpoint = Endpoint::parse(given, false).unwrap();
            assert_eq!(endpoint.authority(), "[fe80::1]:2379");
            assert_eq!(endpoint.server_name().unwrap().to_str(), "fe80::1");
            let Address::Tcp(at) = endpoint.address else { panic!("{given}") };
            assert_eq!(at.host_with_zone(), "fe80::1%eth0");
        }
    }

    #[test]
    fn a_certificate_is_asked_for_the_name_it_can_carry() {
        for (given, name) in [
            ("https://Host.:1", "host"),
            ("https://10.0.0.1:1", "10.0.0.1"),
            ("https://[::ffff:10.0.0.1]:1", "10.0.0.1"),
            ("unixs:///run/etcd.sock", "localhost"),
        ] {
            assert_eq!(
                Endpoint::parse(given, true).unwrap().server_name().unwrap().to_str(),
                name,
                "{given}"
            );
        }
        let error = Endpoint::parse("https://-:1", true).unwrap().server_name().unwrap_err();
        assert!(error.to_string().contains("no certificate"), "{error}");
    }

    #[test]
    fn what_is_not_an_endpoint_is_named_with_a_way_out() {
        for (given, hint) in [
            ("host", "such as host:2379"),
            ("http://host", "such as http://host:2379"),
            ("[::1]", "such as [::1]:2379"),
            ("host:0", "such as host:2379"),
            ("::1:2379", "such as [::1]:2379"),
            ("https://fd00::1:2379", "such as https://[fd00::1]:2379"),
            ("https://[10.0.0.1]:2379", "such as https://10.0.0.1:2379"),
            ("\"https://host:2379\"", "such as https://host:2379"),
            ("[https://host:2379", "such as https://host:2379"),
            ("https:/host:2379", "such as https://host:2379"),
            ("https//host:2379", "such as https://host:2379"),
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
