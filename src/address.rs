//! `HOST:PORT` as operators spell it, in endpoints and in peer URLs.

use std::net::Ipv6Addr;

/// What is wrong with an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// It, as in "endpoint X has no port".
    pub(crate) what: &'static str,
    /// The corrected address, where it can be guessed.
    pub(crate) instead: Option<String>,
}

/// The host, without brackets but with its zone, and the port of `authority`; `usual_port` is the one that hints name.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn split(authority: &str, usual_port: u16) -> Result<(&str, u16), Flaw> {
    if let Some(inside) = authority.strip_prefix('[') {
        return split_bracketed(inside, usual_port);
    }
    if authority.matches(':').count() > 1 {
        let instead = bracketed(authority, usual_port);
        return Err(Flaw { what: "has an IPv6 address without brackets", instead });
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if host.is_empty() {
        return Err(Flaw { what: "has no host", instead: Some(format!("host:{usual_port}")) });
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) {
        return Err(Flaw { what: "has a character that no host has", instead: None });
    }
    Ok((host, number(port, host, usual_port)?))
}

fn split_bracketed(inside: &str, usual_port: u16) -> Result<(&str, u16), Flaw> {
    let Some((host, rest)) = inside.split_once(']') else {
        return Err(Flaw { what: "has a bracket that is not closed", instead: None });
    };
    if host.is_empty() {
        return Err(Flaw { what: "has no host", instead: Some(format!("host:{usual_port}")) });
    }
    if !is_ipv6(host) {
        let instead = Some(format!("{host}{rest}")).filter(|instead| split(instead, usual_port).is_ok());
        return Err(Flaw { what: "has brackets, but no IPv6 address in them", instead });
    }
    let port = rest.strip_prefix(':');
    if port.is_none() && !rest.is_empty() {
        return Err(Flaw { what: "has more than a port behind its brackets", instead: None });
    }
    Ok((host, number(port, &format!("[{host}]"), usual_port)?))
}

/// The port of `host`.
fn number(port: Option<&str>, host: &str, usual_port: u16) -> Result<u16, Flaw> {
    let instead = Some(format!("{host}:{usual_port}"));
    let Some(port) = port.filter(|port| !port.is_empty()) else {
        return Err(Flaw { what: "has no port", instead });
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits && number > 0 => Ok(number),
        _ => Err(Flaw { what: "has a port that is no number from 1 to 65535", instead }),
    }
}

/// The address that `text` means, an IPv6 address without brackets and perhaps a port.
fn bracketed(text: &str, usual_port: u16) -> Option<String> {
    let with_port = text.rsplit_once(':').filter(|(host, port)| is_ipv6(host) && port.parse::<u16>().is_ok());
    match with_port {
        Some((host, port)) => Some(format!("[{host}]:{port}")),
        None => is_ipv6(text).then(|| format!("[{text}]:{usual_port}")),
    }
}

/// Whether `host` is an IPv6 address, with or without a zone.
fn is_ipv6(host: &str) -> bool {
    let (address, zone) = zoned(host);
    address.parse::<Ipv6Addr>().is_ok() && zone != Some("")
}

/// The address and the zone of `host`. In a URL, the percent sign between them is written `%25`.
pub(crate) fn zoned(host: &str) -> (&str, Option<&str>) {
    match host.split_once('%') {
        Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (host, None),
    }
}

/// The one spelling of `host`: IPv6 addresses and names have several.
pub(crate) fn canonical(host: &str) -> String {
    host.parse::<Ipv6Addr>().map_or_else(|_| host.to_ascii_lowercase(), |address| address.to_string())
}

/// Quotes that a configuration file puts around a value.
const QUOTES: [char; 5] = ['"', '\'', '`', '“', '”'];

/// `text` without the quotes and brackets that a list has in a configuration file around it, or around the URL in
/// `NAME=URL`; `None` where it has none. A quote inside a name is part of it.
pub(crate) fn unquoted(text: &str) -> Option<String> {
    let (name, address) = match text.split_once('=') {
        Some((name, address)) if !name.contains("://") => (Some(name), address),
        _ => (None, text),
    };
    // No address ends in a bracket or a semicolon: a port comes last. At its beginning a bracket is of an IPv6 address.
    let is_end = |end: char| end.is_whitespace() || QUOTES.contains(&end) || [']', ';'].contains(&end);
    let is_begin = |begin: char| {
        begin.is_whitespace() || QUOTES.contains(&begin) || (begin == '[' && address.contains("://"))
    };
    let inside = address.trim_end_matches(is_end).trim_start_matches(is_begin);
    let plain = match name {
        Some(name) => format!("{}={inside}", name.trim_start_matches(is_begin).trim_end_matches(QUOTES)),
        None => inside.to_owned(),
    };
    (plain != text && !inside.is_empty() && !is_bare_address(text)).then_some(plain)
}

/// An IPv6 address that lacks its port ends in a bracket, too.
fn is_bare_address(text: &str) -> bool {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    authority.starts_with('[') && authority.find(']') == Some(authority.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_split() {
        for (authority, host, port) in [
            ("h:1", "h", 1),
            ("10.0.0.1:65535", "10.0.0.1", 65535),
            ("[::1]:2379", "::1", 2379),
            ("[fe80::1%eth0]:2379", "fe80::1%eth0", 2379),
            ("[fe80::1%25eth0]:2379", "fe80::1%25eth0", 2379),
        ] {
            assert_eq!(split(authority, 2379), Ok((host, port)), "{authority}");
        }
        assert_eq!(zoned("fe80::1%25eth0"), ("fe80::1", Some("eth0")));
        assert_eq!(zoned("fe80::1%eth0"), ("fe80::1", Some("eth0")));
        assert_eq!(canonical("FD00:0:0::1"), "fd00::1");
        assert_eq!(canonical("Host"), "host");
    }

    #[test]
    fn a_flaw_comes_with_the_corrected_address() {
        for (authority, what, instead) in [
            ("h", "no port", Some("h:2379")),
            ("h:", "no port", Some("h:2379")),
            ("[::1]", "no port", Some("[::1]:2379")),
            ("h:0", "no number", Some("h:2379")),
            ("h:+1", "no number", Some("h:2379")),
            ("h:65536", "no number", Some("h:2379")),
            (":1", "no host", Some("host:2379")),
            ("[]:1", "no host", Some("host:2379")),
            ("::1", "without brackets", Some("[::1]:2379")),
            ("fd00::1:2380", "without brackets", Some("[fd00::1]:2380")),
            ("fe80::1%eth0:2380", "without brackets", Some("[fe80::1%eth0]:2380")),
            ("a:b:c", "without brackets", None),
            ("[10.0.0.1]:1", "no IPv6 address in them", Some("10.0.0.1:1")),
            ("[::1:1", "not closed", None),
            ("[::1]1", "more than a port", None),
            ("[fe80::1%]:1", "no IPv6 address in them", None),
            ("h h:1", "a character", None),
        ] {
            let flaw = split(authority, 2379).unwrap_err();
            assert!(flaw.what.contains(what), "{authority}: {flaw:?}");
            assert_eq!(flaw.instead.as_deref(), instead, "{authority}");
        }
    }

    #[test]
    fn quotes_and_brackets_of_a_list_are_taken_off() {
        for (text, plain) in [
            ("\"https://h:1\"", "https://h:1"),
            ("'h:1'", "h:1"),
            ("[https://h:1", "https://h:1"),
            ("[\"https://[::1]:1\"]", "https://[::1]:1"),
            ("h:1;", "h:1"),
            ("h:1]", "h:1"),
            ("a=\"https://h:1\"", "a=https://h:1"),
            ("\"a=https://h:1", "a=https://h:1"),
            ("[\"a=https://h:1", "a=https://h:1"),
        ] {
            assert_eq!(unquoted(text).as_deref(), Some(plain), "{text}");
        }
        assert_eq!(unquoted("e'1;$(x)=http://h:1"), None);
        for text in ["h:1", "[::1]:1", "https://[::1]:1", "[::1]", "https://[::1]", "unix:///run/e.sock"] {
            assert_eq!(unquoted(text), None, "{text}");
        }
    }
}
