//! The age header: which identities can open the archive, and what is public about it.
//!
//! The age crate writes and reads every byte of it. Beside the recipients' stanzas it has one public stanza of this program,
//! `-> etcd-snapshot v1`, whose body is the description. The header's MAC covers it, so a reader that can open the archive
//! can verify it; other readers cannot.
//!
//! The crate does not expose payload keys. So recipients and identities are wrapped: the wrapper sees the file key, and the
//! payload key is derived from it as the specification says. When reading, the file key is used only after the crate has
//! checked the MAC.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, BufRead, Cursor, Read};

use age::{DecryptError, Decryptor, EncryptError, Encryptor};
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::cannot_read;
use super::manifest::{
    DESCRIPTION_SIZE_MAX, Description, Document, FORMAT_VERSION, claimed_version, newer, parse_versioned,
    to_json,
};
use super::payload::{NONCE_SIZE, PayloadKey};
use crate::error::{Error, Kind, Result};
use crate::keys::{AGE_BEGIN, ARMOR_BEGIN, Identities, Recipients};
use crate::magic::FileType;

/// The tag of this program's stanza.
const DESCRIPTION_TAG: &str = "etcd-snapshot";
/// The first line of an age file.
const VERSION_LINE: &[u8] = b"age-encryption.org/v1\n";
/// The same after a transfer that takes every file for text.
const VERSION_LINE_OF_DOS: &[u8] = b"age-encryption.org/v1\r\n";
/// The age crate adds meaningless stanzas, to keep readers tolerant; their tags end so.
const GREASE_SUFFIX: &str = "-grease";
/// The largest header. A larger one is refused before it is parsed.
pub const HEADER_SIZE_MAX: usize = 256 * 1024;
/// The most stanzas. A header with more is refused.
const STANZAS_MAX: usize = 256;

/// The largest prefix of a file that [`Header::parse`] needs.
pub const PREFIX_SIZE: usize = HEADER_SIZE_MAX + NONCE_SIZE;

/// A header ready to be written, and the key of the payload behind it.
pub struct SealedHeader {
    /// Header and nonce.
    pub bytes: Vec<u8>,
    /// The key of the payload, used for this payload alone.
    pub key: PayloadKey,
}

/// Makes the header of one new archive: a fresh file key, wrapped for every recipient, and a fresh nonce.
///
/// With a passphrase, age allows no other stanza, so only the manifest then holds the description.
///
/// # Errors
/// [`Kind::Recipient`] or [`Kind::Plugin`] where the file key cannot be wrapped, [`Kind::Usage`] where the description
/// is too long.
pub fn seal(recipients: &Recipients, description: Option<&Description>) -> Result<SealedHeader> {
    let description = match description.filter(|_| !recipients.is_passphrase()) {
        Some(description) => Some(to_json(description, DESCRIPTION_SIZE_MAX, "description")?),
        None => None,
    };
    let file_key = RefCell::new(None);
    let last = recipients.iter().count().saturating_sub(1);
    let taps: Vec<RecipientTap<'_>> = recipients
        .iter()
        .enumerate()
        .map(|(index, recipient)| RecipientTap {
            recipient,
            file_key: &file_key,
            description: description.as_deref().filter(|_| index == last),
        })
        .collect();
    let mut bytes = Vec::new();
    Encryptor::with_recipients(taps.iter().map(|tap| tap as &dyn age::Recipient))
        .map_err(|error| recipients.explain(&error))?
        .wrap_output(&mut bytes)
        .map_err(|error| Error::io("write", "the age header", error))?;
    drop(taps);
    readable(&bytes)?;
    let file_key = file_key.into_inner();
    let (Some(file_key), Some(nonce)) = (file_key, bytes.last_chunk::<NONCE_SIZE>()) else {
        return Err(Error::new(Kind::NoRecipient, "there is no recipient"));
    };
    let key = PayloadKey::derive(&file_key, nonce);
    Ok(SealedHeader { bytes, key })
}

/// Refuses to write a header that a reader of version 1 cannot open because of its limits.
fn readable(header: &[u8]) -> Result<()> {
    Header::parse(header).map(drop).map_err(|error| {
        Error::new(Kind::Usage, format!("the archive could never be opened: {error}"))
            .with_hint("name fewer recipients: an archive holds 256 stanzas and a header of 256 KiB at most")
    })
}

fn description_stanza(body: &[u8]) -> Stanza {
    Stanza { tag: DESCRIPTION_TAG.to_owned(), args: vec![format!("v{FORMAT_VERSION}")], body: body.to_vec() }
}

/// Wraps a recipient: sees the file key, and adds the public stanza behind that of the last recipient.
struct RecipientTap<'a> {
    recipient: &'a dyn age::Recipient,
    file_key: &'a RefCell<Option<Zeroizing<[u8; 16]>>>,
    description: Option<&'a [u8]>,
}

impl age::Recipient for RecipientTap<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        *self.file_key.borrow_mut() = Some(Zeroizing::new(*file_key.expose_secret()));
        let (mut stanzas, labels) = self.recipient.wrap_file_key(file_key)?;
        stanzas.extend(self.description.map(description_stanza));
        Ok((stanzas, labels))
    }
}

/// The header of an archive, parsed but not yet authenticated.
pub struct Header {
    /// Header and nonce.
    bytes: Vec<u8>,
    /// The content of the public stanza, where there is one.
    description: Option<Box<Document<Description>>>,
    stanzas: Vec<Stanza>,
}

impl Header {
    /// Parses the header at the beginning of a file. `prefix` is the first [`PREFIX_SIZE`] bytes of it, or all of it if
    /// it is smaller.
    ///
    /// # Errors
    /// [`Kind::NotAnArchive`] for anything but an age v1 file, [`Kind::FormatNewer`] for an archive of a later version,
    /// [`Kind::HeaderDamaged`] for a malformed header or one that is beyond the limits of version 1.
    pub fn parse(prefix: &[u8]) -> Result<Self> {
        if !prefix.starts_with(AGE_BEGIN.as_bytes()) {
            return Err(not_an_archive(prefix));
        }
        if let Some(version) = later_version(prefix) {
            return Err(newer(version));
        }
        let mut input = WholeHeader(Cursor::new(prefix));
        let decryptor = Decryptor::new_buffered(&mut input).map_err(|error| malformed(&error, prefix))?;
        let recorder = Recorder::default();
        // No identity matches, so this only shows the stanzas to the recorder.
        let unopened = decryptor.decrypt(std::iter::once(&recorder as &dyn age::Identity));
        drop(unopened);
        let stanzas = recorder.0.into_inner();
        if stanzas.len() > STANZAS_MAX {
            return Err(header_damaged(format!(
                "the header has {} stanzas, more than {STANZAS_MAX}",
                stanzas.len()
            )));
        }
        let size = usize::try_from(input.0.position()).unwrap_or(prefix.len());
        let bytes = prefix[..size].to_vec();
        if !stanzas_end(&bytes) {
            return Err(header_damaged("a stanza in the age header has no end"));
        }
        let (ours, stanzas): (Vec<Stanza>, Vec<Stanza>) =
            stanzas.into_iter().partition(|stanza: &Stanza| stanza.tag == DESCRIPTION_TAG);
        let description = read_description(&ours)?.map(Box::new);
        Ok(Self { bytes, description, stanzas: without_grease(stanzas) })
    }

    /// The number of bytes of header and nonce: where the payload begins.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The types of the recipient stanzas, in order.
    pub fn stanza_types(&self) -> impl Iterator<Item = &str> {
        self.stanzas.iter().map(|stanza| stanza.tag.as_str())
    }

    /// The public description. Where there is one, the archive must be entirely of this format.
    #[must_use]
    pub fn description(&self) -> Option<&Document<Description>> {
        self.description.as_deref()
    }

    /// Opens the header: finds an identity for one of its stanzas, checks the MAC, derives the key of the payload.
    ///
    /// # Errors
    /// [`Kind::NoMatchingIdentity`], [`Kind::HeaderDamaged`] where the MAC is wrong, or the error of an identity.
    pub fn unlock(&self, identities: &Identities) -> Result<PayloadKey> {
        let tap = IdentityTap {
            identities,
            stanzas: &self.stanzas,
            file_key: RefCell::default(),
            error: RefCell::default(),
        };
        let decryptor = Decryptor::new_buffered(WholeHeader(Cursor::new(&self.bytes)))
            .map_err(|error| malformed(&error, &self.bytes))?;
        let authentic = decryptor.decrypt(std::iter::once(&tap as &dyn age::Identity)).map(drop);
        if let Some(error) = tap.error.into_inner() {
            return Err(error);
        }
        match authentic {
            Ok(()) => {}
            Err(DecryptError::NoMatchingKeys) => return Err(self.no_match(identities)),
            Err(DecryptError::InvalidMac) => return Err(header_damaged("the header's MAC is wrong")),
            Err(error) => return Err(malformed(&error, &self.bytes)),
        }
        match (tap.file_key.into_inner(), self.bytes.last_chunk::<NONCE_SIZE>()) {
            (Some(file_key), Some(nonce)) => {
                tracing::debug!("checked: the header and its MAC");
                Ok(PayloadKey::derive(&file_key, nonce))
            }
            _ => Err(self.no_match(identities)),
        }
    }

    fn no_match(&self, identities: &Identities) -> Error {
        let types: Vec<&str> = self.stanza_types().collect();
        match &types[..] {
            ["scrypt"] if !identities.has_passphrase() => {
                Error::new(Kind::NoMatchingIdentity, "no identity opens it; it was sealed with a passphrase")
                    .with_hint("pass `passphrase` instead of `identity`, and type the passphrase")
            }
            ["scrypt"] => Error::new(Kind::NoMatchingIdentity, "the passphrase is wrong")
                .with_hint("it was sealed with a passphrase: pass `passphrase` and type that one; damage to the header can look the same"),
            _ => {
                let types = types.join(", ");
                let message = format!("no identity opens it; it was sealed to recipients of type {types}");
                let error = Error::new(Kind::NoMatchingIdentity, message);
                if identities.has_passphrase() {
                    error.with_hint("it was not sealed with a passphrase: pass `identity` FILE instead of `passphrase`")
                } else {
                    error
                }
            }
        }
    }
}

/// The later version that a line of the header names, whatever else the header holds: nothing more of a later version is
/// known here.
fn later_version(prefix: &[u8]) -> Option<u64> {
    let header = prefix[..prefix.len().min(HEADER_SIZE_MAX)].strip_prefix(VERSION_LINE)?;
    // What is behind the last line break is no whole line.
    let (lines, _) = header.split_at(header.iter().rposition(|byte| *byte == b'\n')?);
    let lines = lines.split(|byte| *byte == b'\n').take_while(|line| !line.starts_with(b"---"));
    let tagged = lines.filter_map(|line| line.strip_prefix(b"-> ")?.strip_prefix(DESCRIPTION_TAG.as_bytes()));
    let arguments = tagged.filter_map(|rest| rest.strip_prefix(b" "));
    let first = arguments.filter_map(|arguments| arguments.split(|byte| *byte == b' ').next());
    let versions = first.filter_map(|version| version_of(std::str::from_utf8(version).ok()?));
    versions.max().filter(|version| *version > u64::from(FORMAT_VERSION))
}

fn read_description(ours: &[Stanza]) -> Result<Option<Document<Description>>> {
    let stanza = match ours {
        [] => return Ok(None),
        [stanza] => stanza,
        _ => return Err(header_damaged(format!("the header has {} {DESCRIPTION_TAG} stanzas", ours.len()))),
    };
    let claimed = match &stanza.args[..] {
        [argument] => version_of(argument),
        _ => None,
    };
    let Some(claimed) = claimed else {
        return Err(header_damaged(format!("the {DESCRIPTION_TAG} stanza names no version")));
    };
    if stanza.body.len() > DESCRIPTION_SIZE_MAX {
        return Err(header_damaged(format!("the description is {} bytes long", stanza.body.len())));
    }
    let inside = claimed_version(&stanza.body);
    if claimed != u64::from(FORMAT_VERSION) || inside.is_some_and(|inside| inside != claimed) {
        return Err(header_damaged(format!(
            "the {DESCRIPTION_TAG} stanza and its description disagree on the version"
        )));
    }
    let description = parse_versioned(&stanza.body, "description");
    Ok(Some(description.map_err(|error| error.into_kind(Kind::HeaderDamaged))?))
}

/// The version that an argument such as `v1` names. Only the canonical form is accepted, so that all readers agree.
fn version_of(argument: &str) -> Option<u64> {
    let version = argument.strip_prefix('v')?.parse::<u64>().ok()?;
    (argument == format!("v{version}")).then_some(version)
}

fn without_grease(stanzas: Vec<Stanza>) -> Vec<Stanza> {
    stanzas.into_iter().filter(|stanza| !stanza.tag.ends_with(GREASE_SUFFIX)).collect()
}

fn header_damaged(message: impl Into<String>) -> Error {
    Error::new(Kind::HeaderDamaged, message)
}

/// Whether every stanza ends as the specification requires, with a line of less than 64 characters, even if that is empty.
/// The age crate accepts stanzas without it, as in files older than the specification; age itself does not.
fn stanzas_end(header: &[u8]) -> bool {
    const FULL_LINE: usize = 64;
    let mut ended = true;
    for line in header.split(|byte| *byte == b'\n') {
        let mac = line.starts_with(b"---");
        if mac || line.starts_with(b"->") {
            if mac || !ended {
                return ended;
            }
            ended = false;
        } else {
            ended = ended || line.len() < FULL_LINE;
        }
    }
    false
}

/// The age crate's error "unknown format" is true only where the first line names another version.
fn malformed(error: &DecryptError, prefix: &[u8]) -> Error {
    let version_1 = prefix.starts_with(VERSION_LINE);
    match error {
        _ if prefix.starts_with(VERSION_LINE_OF_DOS) => header_damaged("its lines end as those of DOS do")
            .with_hint("a transfer took it for text and changed its line ends: fetch it again, as binary"),
        DecryptError::UnknownFormat if !version_1 => {
            Error::new(Kind::NotAnArchive, "it is an age file, but not of age's version 1")
                .with_hint("the file is damaged, or made by a newer age: try the newest age on it")
        }
        DecryptError::Io(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
            header_damaged(if prefix.len() >= PREFIX_SIZE {
                format!("the age header is larger than {HEADER_SIZE_MAX} bytes")
            } else {
                "the file ends inside its age header".to_owned()
            })
        }
        _ => header_damaged("the age header is malformed"),
    }
}

/// Says what the file is instead, if that is known.
fn not_an_archive(prefix: &[u8]) -> Error {
    let (what, hint) = if let Some(file_type) = FileType::of(prefix) {
        (format!("it is {file_type}"), Some(file_type.instead_of_archive()))
    } else if prefix.is_empty() {
        ("it is empty".to_owned(), Some("the backup that made it failed; use another archive".to_owned()))
    } else if prefix.iter().all(|byte| *byte == 0) {
        let hint = "a host that crashed while it wrote, or a download that broke off, leaves such a file: use another archive";
        ("it begins with nothing but zeros".to_owned(), Some(hint.to_owned()))
    } else if AGE_BEGIN.as_bytes().starts_with(prefix) {
        let hint = "the file was cut short; fetch another copy of it or use another archive";
        ("it ends inside its first line".to_owned(), Some(hint.to_owned()))
    } else {
        ("it does not begin as an age file".to_owned(), None)
    };
    let error = Error::new(Kind::NotAnArchive, format!("not an archive: {what}"));
    hint.into_iter().fold(error, Error::with_hint)
}

/// The offset of the ASCII armour in a file that begins with `prefix`: only empty lines may come before it. `None` where
/// there is no armour.
#[must_use]
pub fn armor_begin(prefix: &[u8]) -> Option<usize> {
    let text = prefix.trim_ascii_start();
    let (before, _) = prefix.split_at(prefix.len() - text.len());
    let whole_lines = before.last().is_none_or(|byte| *byte == b'\n');
    (whole_lines && text.starts_with(ARMOR_BEGIN.as_bytes())).then_some(before.len())
}

/// Reads as much of `input` as [`Header::parse`] needs.
///
/// # Errors
/// [`Kind::Io`], or [`Kind::PayloadDamaged`] where the ASCII armour around it is malformed.
pub fn read_prefix(input: &mut dyn Read) -> Result<Vec<u8>> {
    let mut prefix = Vec::new();
    input.take(PREFIX_SIZE as u64).read_to_end(&mut prefix).map_err(cannot_read)?;
    Ok(prefix)
}

/// Passes the whole header to the age crate at once. The crate reads a line and parses everything again, until it has seen
/// the last line, which takes minutes for a header near the limit.
struct WholeHeader<'a>(Cursor<&'a [u8]>);

impl WholeHeader<'_> {
    /// Where the MAC line ends. No line before it can begin like it.
    fn rest(&self) -> &[u8] {
        const MAC: &[u8] = b"\n--- ";
        let at = usize::try_from(self.0.position()).unwrap_or(usize::MAX);
        let rest = self.0.get_ref().get(at..).unwrap_or_default();
        let end = rest.windows(MAC.len()).position(|window| window == MAC).and_then(|mac| {
            let behind = mac + MAC.len();
            rest[behind..].iter().position(|byte| *byte == b'\n').map(|end| behind + end + 1)
        });
        &rest[..end.unwrap_or(rest.len())]
    }
}

impl Read for WholeHeader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl BufRead for WholeHeader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }

    fn read_until(&mut self, _byte: u8, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let rest = self.rest();
        let length = rest.len();
        buffer.extend_from_slice(rest);
        self.0.consume(length);
        Ok(length)
    }
}

/// An identity that matches nothing, and records the stanzas that it sees.
#[derive(Default)]
struct Recorder(RefCell<Vec<Stanza>>);

impl age::Identity for Recorder {
    fn unwrap_stanza(&self, _stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        *self.0.borrow_mut() = stanzas.iter().map(copied).collect();
        None
    }
}

/// The age crate's stanzas do not implement `Clone`.
fn copied(stanza: &Stanza) -> Stanza {
    Stanza { tag: stanza.tag.clone(), args: stanza.args.clone(), body: stanza.body.clone() }
}

/// Wraps the identities: shows them only the recipients' stanzas, and sees the file key.
struct IdentityTap<'a> {
    identities: &'a Identities,
    stanzas: &'a [Stanza],
    file_key: RefCell<Option<Zeroizing<[u8; 16]>>>,
    error: RefCell<Option<Error>>,
}

impl age::Identity for IdentityTap<'_> {
    fn unwrap_stanza(&self, _stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, _stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        match self.identities.unwrap(self.stanzas) {
            Ok(None) => None,
            Ok(Some(file_key)) => {
                *self.file_key.borrow_mut() = Some(Zeroizing::new(*file_key.expose_secret()));
                Some(Ok(file_key))
            }
            Err(error) => {
                *self.error.borrow_mut() = Some(error);
                None
            }
        }
    }
}
