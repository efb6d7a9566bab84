//! The fields of an X.509 certificate that TLS needs, of every version and form.
//!
//! A certificate that this program only presents, or is told not to verify, is not judged by its form: this reader takes
//! version 1, missing extensions and odd values. What is trusted is decided in `trust`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::pki_types::{ServerName, SubjectPublicKeyInfoDer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The explicit tags of the version and of the extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// The tags of the names in a subject alternative name: a DNS name and an IP address.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
/// What begins the identifier of every extension of X.509 itself, and the numbers of those that may be critical: they are
/// looked at here, or say nothing that matters to a client.
const X509_EXTENSION: &[u8] = &[0x55, 0x1d];
const KNOWN_EXTENSIONS: [u8; 9] = [14, 15, 17, 19, 30, 31, 32, 35, 37];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// The purposes of a certificate by which it may be a server's.
pub(super) const SERVER_PURPOSES: [&[u8]; 2] = [&[0x2b, 6, 1, 5, 5, 7, 3, 1], &[0x55, 0x1d, 0x25, 0]];

/// A certificate, read as far as TLS needs it.
pub(super) struct Certificate<'a> {
    /// The part that the issuer signed.
    pub(super) signed: &'a [u8],
    /// The algorithm of the signature, without the header of the sequence.
    pub(super) signature_algorithm: &'a [u8],
    /// The issuer's signature.
    pub(super) signature: &'a [u8],
    /// The issuer's name, as it is encoded.
    pub(super) issuer: &'a [u8],
    /// The name of the holder, as it is encoded.
    pub(super) subject: &'a [u8],
    /// When it begins to be valid.
    pub(super) begin: Timestamp,
    /// When it expires.
    pub(super) end: Timestamp,
    /// The public key.
    pub(super) key: PublicKey<'a>,
    /// Version 3 has extensions.
    version: u8,
    extensions: &'a [u8],
}

/// A public key and its algorithm.
pub(super) struct PublicKey<'a> {
    whole: &'a [u8],
    /// The algorithm, without the header of the sequence.
    pub(super) algorithm: &'a [u8],
    /// The key itself, encoded as the algorithm says.
    pub(super) bits: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads `der`; `None` where that is no certificate.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut outer = Reader(Reader(der).take(SEQUENCE)?);
        let (signed, content) = outer.take_whole(SEQUENCE)?;
        let signature_algorithm = outer.take(SEQUENCE)?;
        let signature = bits(outer.take(BIT_STRING)?)?;
        let mut fields = Reader(content);
        let version = match fields.take(VERSION) {
            Some(version) => Reader(version).take(INTEGER)?.last()? + 1,
            None => 1,
        };
        fields.take(INTEGER)?;
        fields.take(SEQUENCE)?;
        let issuer = fields.take(SEQUENCE)?;
        let mut validity = Reader(fields.take(SEQUENCE)?);
        let (begin, end) = (time(&mut validity)?, time(&mut validity)?);
        let subject = fields.take(SEQUENCE)?;
        let key = PublicKey::parse(fields.take_whole(SEQUENCE)?.0)?;
        let extensions = fields.skip_to(EXTENSIONS).and_then(|tagged| Reader(tagged).take(SEQUENCE));
        Some(Self {
            signed,
            signature_algorithm,
            signature,
            issuer,
            subject,
            begin,
            end,
            key,
            version,
            extensions: extensions.unwrap_or_default(),
        })
    }

    /// Whether it says that it may issue others.
    pub(super) fn is_authority(&self) -> bool {
        self.extension(BASIC_CONSTRAINTS).is_some_and(|value| {
            let mut constraints = Reader(Reader(value).take(SEQUENCE).unwrap_or_default());
            constraints.take(BOOLEAN).is_some_and(|authority| authority != [0])
        })
    }

    /// Whether it may issue others where it is trusted for itself: before version 3 a certificate could not say so.
    pub(super) fn is_anchor(&self) -> bool {
        self.version < 3 || self.is_authority()
    }

    /// How many authorities may stand between it and the certificate of a server; `None` where it does not say.
    pub(super) fn path_length(&self) -> Option<usize> {
        let mut constraints = Reader(Reader(self.extension(BASIC_CONSTRAINTS)?).take(SEQUENCE)?);
        constraints.take(BOOLEAN)?;
        Some(constraints.take(INTEGER)?.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)))
    }

    /// Whether it limits the names for which it issues.
    pub(super) fn constrains_names(&self) -> bool {
        self.extension(NAME_CONSTRAINTS).is_some()
    }

    /// Whether it may be a server's: where it names purposes, that is one of them.
    pub(super) fn may_serve(&self) -> bool {
        let Some(value) = self.extension(EXTENDED_KEY_USAGE) else { return true };
        let mut purposes = Reader(Reader(value).take(SEQUENCE).unwrap_or_default());
        std::iter::from_fn(|| purposes.take(OBJECT_IDENTIFIER)).any(|one| SERVER_PURPOSES.contains(&one))
    }

    /// The DNS names and IP addresses of its holder, for messages.
    pub(super) fn names(&self) -> Vec<String> {
        self.alternative_names().map(|name| name.to_string()).collect()
    }

    /// Whether `wanted` is one of the names and addresses of its holder.
    pub(super) fn carries(&self, wanted: &ServerName<'_>) -> bool {
        self.alternative_names().any(|name| match (name, wanted) {
            (Name::Dns(pattern), ServerName::DnsName(host)) => covers(pattern, host.as_ref()),
            (Name::Address(address), ServerName::IpAddress(wanted)) => {
                address.to_canonical() == IpAddr::from(*wanted).to_canonical()
            }
            _ => false,
        })
    }

    /// Whether every extension that must be understood is one that is.
    pub(super) fn is_understood(&self) -> bool {
        let mut extensions = Reader(self.extensions);
        std::iter::from_fn(|| extensions.take(SEQUENCE)).all(|extension| {
            let mut fields = Reader(extension);
            let number = fields.take(OBJECT_IDENTIFIER).and_then(|id| id.strip_prefix(X509_EXTENSION));
            let critical = fields.take(BOOLEAN).is_some_and(|critical| critical != [0]);
            !critical || matches!(number, Some([number]) if KNOWN_EXTENSIONS.contains(number))
        })
    }

    fn alternative_names(&self) -> impl Iterator<Item = Name<'a>> {
        let value = self.extension(SUBJECT_ALTERNATIVE_NAME);
        let mut names = Reader(value.and_then(|value| Reader(value).take(SEQUENCE)).unwrap_or_default());
        std::iter::from_fn(move || names.next()).filter_map(|(tag, _, name)| match tag {
            DNS_NAME => std::str::from_utf8(name).ok().map(Name::Dns),
            IP_ADDRESS => address(name).map(Name::Address),
            _ => None,
        })
    }

    fn extension(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        let mut extensions = Reader(self.extensions);
        while let Some(extension) = extensions.take(SEQUENCE) {
            let mut fields = Reader(extension);
            if fields.take(OBJECT_IDENTIFIER) == Some(wanted) {
                return fields.skip_to(OCTET_STRING);
            }
        }
        None
    }
}

impl<'a> PublicKey<'a> {
    /// Reads the `whole` encoded key.
    pub(super) fn parse(whole: &'a [u8]) -> Option<Self> {
        let mut fields = Reader(Reader(whole).take(SEQUENCE)?);
        Some(Self { whole, algorithm: fields.take(SEQUENCE)?, bits: bits(fields.take(BIT_STRING)?)? })
    }

    /// It as rustls takes it.
    pub(super) fn info(&self) -> SubjectPublicKeyInfoDer<'a> {
        SubjectPublicKeyInfoDer::from(self.whole)
    }

    /// How many bits its modulus has; `None` where it is not of RSA.
    pub(super) fn rsa_size(&self) -> Option<usize> {
        if Reader(self.algorithm).take(OBJECT_IDENTIFIER) != Some(RSA) {
            return None;
        }
        let modulus = Reader(Reader(self.bits).take(SEQUENCE)?).take(INTEGER)?;
        let modulus = &modulus[modulus.iter().take_while(|&&byte| byte == 0).count()..];
        Some(modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?)
    }
}

/// The encoded `name` of a holder or an issuer, such as `CN=etcd-1, O=Example`.
pub(super) fn name_text(name: &[u8]) -> String {
    let mut sets = Reader(name);
    let mut parts: Vec<String> = Vec::new();
    while let Some(set) = sets.take(SET) {
        let mut attributes = Reader(set);
        while let Some(attribute) = attributes.take(SEQUENCE) {
            let mut fields = Reader(attribute);
            let label = match fields.take(OBJECT_IDENTIFIER) {
                Some([0x55, 4, 3]) => "CN",
                Some([0x55, 4, 10]) => "O",
                Some([0x55, 4, 11]) => "OU",
                _ => continue,
            };
            let Some((_, _, value)) = fields.next() else { continue };
            parts.push(format!("{label}={}", String::from_utf8_lossy(value)));
        }
    }
    // The common name is last where it is encoded, and first where it is read.
    parts.reverse();
    if parts.is_empty() { "without a name".to_owned() } else { parts.join(", ") }
}

/// The content of a bit string, of which every byte is whole.
fn bits(content: &[u8]) -> Option<&[u8]> {
    content.strip_prefix(&[0])
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
    }
}

/// One of the names of a certificate's holder.
enum Name<'a> {
    /// A DNS name; its first label may be `*`.
    Dns(&'a str),
    Address(IpAddr),
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => formatter.write_str(name),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

/// Whether `host` is the name `pattern`. An asterisk stands for the whole first label, and for no more.
fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(first, rest)| {
            !first.is_empty() && !domain.is_empty() && rest.eq_ignore_ascii_case(domain)
        }),
        None => !pattern.is_empty() && pattern.eq_ignore_ascii_case(host),
    }
}

/// A time in UTC, in seconds. One beyond the year 9999 counts as its end.
fn time(reader: &mut Reader<'_>) -> Option<Timestamp> {
    let (tag, _, content) = reader.next()?;
    let text = std::str::from_utf8(content).ok()?;
    let text = match tag {
        // Two digits of a year from 1950 to 2049.
        UTC_TIME if text < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let number = |at: std::ops::Range<usize>| text.get(at)?.parse::<i8>().ok();
    let civil = DateTime::new(
        text.get(..4)?.parse().ok()?,
        number(4..6)?,
        number(6..8)?,
        number(8..10)?,
        number(10..12)?,
        // Old encoders leave out the seconds.
        number(12..14).unwrap_or(0),
        0,
    );
    let zoned = civil.ok()?.to_zoned(TimeZone::UTC);
    Some(zoned.map_or(Timestamp::MAX, |zoned| zoned.timestamp()))
}

/// Reads one encoded element after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag, the whole of it, and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if bytes.is_empty() || bytes.len() > 4 {
                return None;
            }
            length = bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some((tag, whole, content))
    }

    /// The whole and the content of the next element where it has this tag; else nothing is read.
    fn take_whole(&mut self, wanted: u8) -> Option<(&'a [u8], &'a [u8])> {
        let before = self.0;
        match self.next() {
            Some((tag, whole, content)) if tag == wanted => Some((whole, content)),
            _ => {
                self.0 = before;
                None
            }
        }
    }

    /// The content of the next element where it has this tag; else nothing is read.
    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.take_whole(wanted).map(|(_, content)| content)
    }

    /// The content of the first element with this tag among those left.
    fn skip_to(&mut self, wanted: u8) -> Option<&'a [u8]> {
        std::iter::from_fn(|| self.next()).find_map(|(tag, _, content)| (tag == wanted).then_some(content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        let read = |tag: u8, text: &str| {
            let encoded = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            time(&mut Reader(&encoded)).map(|time| time.to_string())
        };
        assert_eq!(read(UTC_TIME, "261125120000Z").unwrap(), "2026-11-25T12:00:00Z");
        assert_eq!(read(UTC_TIME, "990101000000Z").unwrap(), "1999-01-01T00:00:00Z");
        assert_eq!(read(UTC_TIME, "2611251200Z").unwrap(), "2026-11-25T12:00:00Z");
        assert_eq!(read(GENERALIZED_TIME, "20500101000000Z").unwrap(), "2050-01-01T00:00:00Z");
        assert_eq!(read(GENERALIZED_TIME, "99991231235959Z").unwrap(), Timestamp::MAX.to_string());
        assert_eq!(read(GENERALIZED_TIME, "99991331235959Z"), None);
        assert_eq!(read(UTC_TIME, "26é"), None);
    }

    #[test]
    fn elements_that_are_cut_off_or_huge_are_none() {
        for bytes in
            [&[0x30][..], &[0x30, 1], &[0x30, 0x80, 0], &[0x30, 0x85, 0, 0, 0, 0, 0], &[0x30, 0x82, 1]]
        {
            assert!(Reader(bytes).next().is_none(), "{bytes:?}");
            assert!(Certificate::parse(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn an_asterisk_stands_for_one_whole_label() {
        for (pattern, host) in
            [("a.b", "A.b"), ("*.b.c", "a.b.c"), ("*.b", "a.b"), ("localhost", "localhost")]
        {
            assert!(covers(pattern, host), "{pattern} {host}");
        }
        for (pattern, host) in [
            ("*.b.c", "b.c"),
            ("*.b.c", "a.a.b.c"),
            ("*.b.c", ".b.c"),
            ("a*.b.c", "aa.b.c"),
            ("a.*.c", "a.b.c"),
            ("*", "a"),
            ("*.", "a."),
            ("", ""),
            ("a.b", "a.b.c"),
        ] {
            assert!(!covers(pattern, host), "{pattern} {host}");
        }
    }

    #[test]
    fn a_name_is_told_with_the_common_name_first() {
        let organization = [0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 10, 0x0c, 1, b'O'];
        let common_name = [0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, b'n'];
        assert_eq!(name_text(&[organization, common_name].concat()), "CN=n, O=O");
        assert_eq!(name_text(&[]), "without a name");
    }
}
