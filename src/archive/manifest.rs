//! The three JSON documents of an archive: description, manifest, trailer.
//!
//! [`json`](super::json) has the rules of their text, [`fields`](super::fields) those of their types. Unknown fields are
//! ignored. An unknown value is left out: never null, never 0.

use serde::Serialize;

pub use super::contents::Contents;
use super::fields::{
    FromFields, id, integer, level, list, object, optional, required, sha256, text, time, word,
};
use super::frame::{damaged, is_frame_size};
use super::json::{self, Fault, Object, Value};
use super::member::{Condition, Tls};
use crate::error::{Error, Kind, Result};

/// The value of `format` in every document.
pub const FORMAT: &str = "etcd-seal";
/// The format version that this program writes, and the newest one that it reads.
pub const FORMAT_VERSION: u32 = 1;
/// The most bytes of the description in the header.
pub const DESCRIPTION_SIZE_MAX: usize = 2048;
/// The most bytes of the manifest, and of the trailer.
pub const DOCUMENT_SIZE_MAX: usize = 64 * 1024;

/// Where the snapshot came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// A live etcd.
    Etcd,
    /// `--from FILE`.
    File,
    /// `--from -`.
    Stdin,
}

/// The content of the public stanza of the header, repeated in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Description {
    /// Always [`FORMAT`].
    pub format: String,
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The program and version that sealed it, as `etcd-seal 0.1.0`.
    pub tool: String,
    /// When it was sealed, RFC 3339.
    pub sealed_at: String,
    /// `--cluster-name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Cluster id, 16 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Member id, 16 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_id: Option<String>,
    /// etcd's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_version: Option<String>,
    /// Storage version (3.6 and later).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_version: Option<String>,
    /// From the status of the same member before the stream: a lower bound of the snapshot's revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Bytes of the snapshot with etcd's 32-byte digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_size: Option<u64>,
    /// Snapshot bytes in every frame but the last.
    pub frame_size: u32,
    /// The nominal zstd level.
    pub level: i32,
    /// Where the snapshot came from.
    pub source: Source,
    /// When the program asked etcd for the snapshot, RFC 3339; only from etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_started_at: Option<String>,
}

/// Everything known when sealing began; the first frame inside the encryption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The same description as in the public stanza.
    #[serde(flatten)]
    pub description: Description,
    /// The endpoint that served the snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The member's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_name: Option<String>,
    /// How the member was authenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The conditions that the member reported before the stream.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The host that sealed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `--tag`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `--note`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The public strings of the recipients, as given. Advisory.
    pub recipients: Vec<String>,
}

/// Whether etcd's own digest is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Digest {
    /// Present and right.
    Verified,
    /// Absent, which the operator allowed.
    Absent,
}

/// Status of the member after the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatusAfter {
    /// Newest revision.
    pub revision: u64,
    /// Raft term.
    pub raft_term: u64,
    /// Raft index.
    pub raft_index: u64,
    /// Database file size in bytes; unknown where a defragmentation has made it smaller meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_size: Option<u64>,
    /// The conditions that the member reported.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Facts known only at the end of the stream; the last frame before the seek table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Trailer {
    /// Bytes of the snapshot, including etcd's digest if there is one.
    pub snapshot_size: u64,
    /// SHA-256 of the database: all bytes before etcd's digest, and equal to it.
    pub database_sha256: String,
    /// Whether etcd's digest is present.
    pub digest: Digest,
    /// Facts that the database states about itself; unknown where it could not be read, or an older program sealed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
    /// Status after the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_after: Option<StatusAfter>,
    /// Milliseconds from the request to the end of the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_open_ms: Option<u64>,
}

/// A document and the JSON it was parsed from: a comparison of two documents includes fields this program does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct Document<T> {
    /// The fields that this program knows.
    pub content: T,
    fields: Object,
}

impl<T> Document<T> {
    /// Whether `other` has every field of this document with the same value.
    #[must_use]
    pub fn is_part_of<U>(&self, other: &Document<U>) -> bool {
        self.fields.iter().all(|(name, value)| other.fields.get(name) == Some(value))
    }
}

/// The `format_version` that a document claims, however new; `None` where it is not a document of this format.
#[must_use]
pub fn claimed_version(json: &[u8]) -> Option<u64> {
    let fields = json::parse(json).ok()?;
    let ours = matches!(fields.get("format"), Some(Value::String(format)) if format == FORMAT);
    integer(fields.get("format_version")?).ok().filter(|_| ours)
}

/// Parses a document.
///
/// # Errors
/// [`Kind::StructureDamaged`]; `what` names the document.
pub fn parse<T: FromFields>(json: &[u8], what: &str) -> Result<Document<T>> {
    let read =
        json::parse(json).and_then(|fields| Ok(Document { content: T::from_fields(&fields)?, fields }));
    read.map_err(|fault| damaged(format!("the {what} cannot be read: {fault}")))
}

/// Parses a description or manifest, and checks the fields on which everything else depends.
///
/// # Errors
/// [`Kind::FormatNewer`] for a later version, [`Kind::StructureDamaged`] otherwise.
pub fn parse_versioned<T>(json: &[u8], what: &str) -> Result<Document<T>>
where
    T: FromFields + AsRef<Description>,
{
    if let Some(version) = claimed_version(json).filter(|version| *version > u64::from(FORMAT_VERSION)) {
        return Err(newer(version));
    }
    let document: Document<T> = parse(json, what)?;
    let description = document.content.as_ref();
    if description.format != FORMAT || description.format_version != FORMAT_VERSION {
        return Err(damaged(format!("the {what} is of another format")));
    }
    if !is_frame_size(description.frame_size) {
        return Err(damaged(format!("the {what} names an impossible frame size")));
    }
    Ok(document)
}

/// Parses a manifest, which must repeat the `description` of the header, version included.
///
/// # Errors
/// [`Kind::FormatNewer`] where there is no description and the manifest is of a later version,
/// [`Kind::StructureDamaged`] otherwise.
pub fn parse_manifest(
    json: &[u8],
    description: Option<&Document<Description>>,
) -> Result<Document<Manifest>> {
    let manifest = parse_versioned::<Manifest>(json, "manifest");
    let disagreement = match (&manifest, description) {
        (_, None) => false,
        (Ok(manifest), Some(description)) => !description.is_part_of(manifest),
        (Err(error), Some(_)) => error.kind() == Kind::FormatNewer,
    };
    if disagreement {
        return Err(damaged("the public description and the manifest disagree"));
    }
    manifest
}

/// The error for a format version that this program does not know.
pub(crate) fn newer(version: u64) -> Error {
    Error::new(
        Kind::FormatNewer,
        format!("the archive is of format version {version}, newer than {FORMAT_VERSION}"),
    )
}

/// The JSON of a document.
///
/// # Errors
/// [`Kind::Usage`] where it is larger than `limit`: the operator's text is too long.
pub fn to_json(document: &impl Serialize, limit: usize, what: &str) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(document)
        .map_err(|error| Error::new(Kind::Usage, format!("cannot write the {what}: {error}")))?;
    if json.len() > limit {
        return Err(Error::new(
            Kind::Usage,
            format!("the {what} would be {} bytes, more than {limit}", json.len()),
        )
        .with_hint("shorten `cluster_name`, `note` or the `tag` values, or name fewer recipients"));
    }
    Ok(json)
}

impl AsRef<Self> for Description {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsRef<Description> for Manifest {
    fn as_ref(&self) -> &Description {
        &self.description
    }
}

impl FromFields for Description {
    fn from_fields(fields: &Object) -> Result<Self, Fault> {
        const SOURCES: [(&str, Source); 3] =
            [("etcd", Source::Etcd), ("file", Source::File), ("stdin", Source::Stdin)];
        let number = |value: &Value| {
            integer(value)?.try_into().map_err(|_| "an integer from 0 to 4294967295".to_owned())
        };
        Ok(Self {
            format: required(fields, "format", text)?,
            format_version: required(fields, "format_version", number)?,
            tool: required(fields, "tool", text)?,
            sealed_at: required(fields, "sealed_at", time)?,
            cluster_name: optional(fields, "cluster_name", text)?,
            cluster_id: optional(fields, "cluster_id", id)?,
            member_id: optional(fields, "member_id", id)?,
            etcd_version: optional(fields, "etcd_version", text)?,
            storage_version: optional(fields, "storage_version", text)?,
            revision: optional(fields, "revision", integer)?,
            snapshot_size: optional(fields, "snapshot_size", integer)?,
            frame_size: required(fields, "frame_size", number)?,
            level: required(fields, "level", level)?,
            source: required(fields, "source", |value| word(value, &SOURCES))?,
            snapshot_started_at: optional(fields, "snapshot_started_at", time)?,
        })
    }
}

impl FromFields for Manifest {
    fn from_fields(fields: &Object) -> Result<Self, Fault> {
        Ok(Self {
            description: Description::from_fields(fields)?,
            endpoint: optional(fields, "endpoint", text)?,
            member_name: optional(fields, "member_name", text)?,
            tls: optional(fields, "tls", |value| word(value, &Tls::WORDS))?,
            conditions: conditions(fields)?,
            host: optional(fields, "host", text)?,
            tags: optional(fields, "tags", |value| list(value, text))?.unwrap_or_default(),
            note: optional(fields, "note", text)?,
            recipients: required(fields, "recipients", |value| list(value, text))?,
        })
    }
}

fn conditions(fields: &Object) -> Result<Vec<Condition>, Fault> {
    Ok(optional(fields, "conditions", |value| list(value, object))?.unwrap_or_default())
}

impl FromFields for StatusAfter {
    fn from_fields(fields: &Object) -> Result<Self, Fault> {
        Ok(Self {
            revision: required(fields, "revision", integer)?,
            raft_term: required(fields, "raft_term", integer)?,
            raft_index: required(fields, "raft_index", integer)?,
            database_size: optional(fields, "database_size", integer)?,
            conditions: conditions(fields)?,
        })
    }
}

impl FromFields for Trailer {
    fn from_fields(fields: &Object) -> Result<Self, Fault> {
        const DIGESTS: [(&str, Digest); 2] = [("verified", Digest::Verified), ("absent", Digest::Absent)];
        Ok(Self {
            snapshot_size: required(fields, "snapshot_size", integer)?,
            database_sha256: required(fields, "database_sha256", sha256)?,
            digest: required(fields, "digest", |value| word(value, &DIGESTS))?,
            contents: optional(fields, "contents", object)?,
            status_after: optional(fields, "status_after", object)?,
            stream_open_ms: optional(fields, "stream_open_ms", integer)?,
        })
    }
}

#[cfg(test)]
pub(crate) fn manifest_for_tests() -> Manifest {
    Manifest {
        description: Description {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            tool: "etcd-seal 0.0.0".to_owned(),
            sealed_at: "2026-01-02T03:04:05Z".to_owned(),
            cluster_name: Some("prod".to_owned()),
            cluster_id: Some("0123456789abcdef".to_owned()),
            member_id: None,
            etcd_version: Some("3.5.30".to_owned()),
            storage_version: None,
            revision: None,
            snapshot_size: None,
            frame_size: super::frame::FRAME_SIZE_MIN,
            level: 1,
            source: Source::Etcd,
            snapshot_started_at: None,
        },
        endpoint: Some("127.0.0.1:2379".to_owned()),
        member_name: None,
        tls: None,
        conditions: Vec::new(),
        host: None,
        tags: Vec::new(),
        note: None,
        recipients: vec!["age1…".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn a_description_is_part_of_its_manifest() {
        let manifest = manifest_for_tests();
        let inner: Document<Manifest> = parse_versioned(json(&manifest).as_bytes(), "manifest").unwrap();
        let outer: Document<Description> =
            parse_versioned(json(&manifest.description).as_bytes(), "description").unwrap();
        assert_eq!(inner.content, manifest);
        assert!(outer.is_part_of(&inner));
        assert!(!inner.is_part_of(&outer));
    }

    #[test]
    fn a_changed_or_added_field_is_not_part_of_the_manifest() {
        let manifest = manifest_for_tests();
        let inner: Document<Manifest> = parse(json(&manifest).as_bytes(), "manifest").unwrap();
        let text = json(&manifest.description);
        for other in [text.replace("prod", "test"), text.replace('{', r#"{"later":1,"#)] {
            let outer: Document<Description> = parse(other.as_bytes(), "description").unwrap();
            assert!(!outer.is_part_of(&inner));
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_duplicates_refused_at_any_depth() {
        let text = json(&manifest_for_tests());
        let later = text.replacen('{', r#"{"later":{"a":[1,{"b":2}]},"#, 1);
        assert!(parse::<Manifest>(later.as_bytes(), "manifest").is_ok());
        for duplicate in [r#"{"level":1,"#, r#"{"later":{"a":1,"a":1},"#, r#"{"later":[{"a":1,"a":1}],"#] {
            let twice = text.replacen('{', duplicate, 1);
            let error = parse::<Manifest>(twice.as_bytes(), "manifest").unwrap_err();
            assert_eq!(error.kind(), Kind::StructureDamaged);
            assert!(error.to_string().contains("duplicate"), "{error}");
        }
    }

    #[test]
    fn a_later_version_is_newer_not_damaged() {
        let text = json(&manifest_for_tests()).replace(r#""format_version":1"#, r#""format_version":2"#);
        assert_eq!(claimed_version(text.as_bytes()), Some(2));
        let error = parse_versioned::<Manifest>(text.as_bytes(), "manifest").unwrap_err();
        assert_eq!(error.kind(), Kind::FormatNewer);
    }

    #[test]
    fn impossible_values_are_damage() {
        let text = json(&manifest_for_tests());
        for (from, to) in [
            ("65536", "65537"),
            (r#""format_version":1"#, r#""format_version":0"#),
            (r#""etcd-seal","#, r#""other","#),
        ] {
            let error =
                parse_versioned::<Manifest>(text.replacen(from, to, 1).as_bytes(), "manifest").unwrap_err();
            assert_eq!(error.kind(), Kind::StructureDamaged, "{from} {to}");
        }
    }

    #[test]
    fn the_json_is_a_promise() {
        insta::assert_snapshot!(json(&manifest_for_tests()), @r#"{"format":"etcd-seal","format_version":1,"tool":"etcd-seal 0.0.0","sealed_at":"2026-01-02T03:04:05Z","cluster_name":"prod","cluster_id":"0123456789abcdef","etcd_version":"3.5.30","frame_size":65536,"level":1,"source":"etcd","endpoint":"127.0.0.1:2379","recipients":["age1…"]}"#);
    }
}
