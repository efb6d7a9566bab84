//! The content of an archive, as several commands report it.

use super::units::size;
use crate::archive;
use crate::archive::manifest::{Description, Digest, Manifest, Trailer};
use crate::archive::member::Condition;
use crate::cli::terminal::printable::{quoted, sanitize};
use crate::pipeline::open::{Foreign, Opened, Visible};
use serde::Serialize;
use std::fmt::Write as _;

/// Removes the size, which the trailer repeats and knows best.
pub(super) fn without_size(mut manifest: Manifest) -> Manifest {
    manifest.description.snapshot_size = None;
    manifest
}

/// The newest revision in the snapshot, or otherwise the one that the member reported before it.
pub(super) fn revision(manifest: Option<&Manifest>, trailer: &Trailer) -> Option<u64> {
    let contents = trailer.contents.as_ref().map(|contents| contents.revision);
    contents.or_else(|| manifest?.description.revision)
}

/// The conditions that the member reported before and after the stream.
pub(super) fn conditions<'a>(
    manifest: &'a Manifest,
    trailer: &'a Trailer,
) -> impl Iterator<Item = &'a Condition> {
    let after = trailer.status_after.iter().flat_map(|status| &status.conditions);
    manifest.conditions.iter().chain(after)
}

/// `; the member reported no leader, …`, with each condition once, or an empty text.
pub(super) fn reported(manifest: &Manifest, trailer: &Trailer) -> String {
    let mut told: Vec<String> = Vec::new();
    for condition in conditions(manifest, trailer).map(ToString::to_string) {
        if !told.contains(&condition) {
            told.push(condition);
        }
    }
    if told.is_empty() {
        String::new()
    } else {
        format!("; the member reported {}", sanitize(&told.join(", ")))
    }
}

/// The content of an archive that was read to its end.
#[derive(Serialize)]
pub(super) struct Contents {
    #[serde(flatten)]
    pub(super) manifest: Option<Manifest>,
    #[serde(flatten)]
    pub(super) trailer: Trailer,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frames: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) foreign: Option<ForeignReport>,
}

/// The report on a foreign archive.
#[derive(Serialize)]
pub(super) struct ForeignReport {
    pub(super) armored: bool,
    pub(super) zstd: bool,
    pub(super) lacks: Vec<&'static str>,
}

impl From<Foreign> for ForeignReport {
    fn from(foreign: Foreign) -> Self {
        let mut lacks = vec!["a manifest (cluster, revision, time and recipients are unknown)"];
        if foreign.zstd {
            lacks.push("a seek table (no part of it can be read alone)");
        } else {
            lacks.push("compression and its checksums");
        }
        Self { armored: foreign.armored, zstd: foreign.zstd, lacks }
    }
}

impl Contents {
    pub(super) fn of(opened: Opened) -> Self {
        let seen = Trailer {
            snapshot_size: opened.snapshot_size,
            database_sha256: hex::encode(opened.database_sha256),
            digest: opened.digest,
            contents: opened.facts.as_ref().map(archive::manifest::Contents::from),
            status_after: None,
            stream_open_ms: None,
        };
        Self {
            manifest: opened.manifest.map(without_size),
            trailer: opened
                .trailer
                .map_or(seen.clone(), |trailer| Trailer { contents: seen.contents, ..trailer }),
            frames: opened.foreign.is_none().then_some(opened.frames),
            foreign: opened.foreign.map(ForeignReport::from),
        }
    }

    /// A one-line summary.
    pub(super) fn text(&self) -> String {
        let mut text = format!("snapshot of {}", size(self.trailer.snapshot_size));
        if let Some(cluster) = self.manifest.as_ref().and_then(|manifest| cluster(&manifest.description)) {
            let _ = write!(text, ", {cluster}");
        }
        if let Some(revision) = revision(self.manifest.as_ref(), &self.trailer) {
            let _ = write!(text, ", revision {revision}");
        }
        if self.trailer.digest == Digest::Verified {
            text.push_str(", etcd's digest matches");
        }
        if let Some(manifest) = &self.manifest {
            text.push_str(&reported(manifest, &self.trailer));
        }
        if let Some(foreign) = &self.foreign {
            let _ = write!(text, "; not made by etcd-seal: it lacks {}", foreign.lacks.join(", and "));
        }
        text
    }
}

/// `cluster "prod" (cdf818194e3a8c32)`, as far as it is known. Text by the archive's author is in quotes, so that it cannot
/// be taken for text of the program.
pub(super) fn cluster(description: &Description) -> Option<String> {
    let id = description.cluster_id.as_deref().map(|id| {
        let is_id = id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { id.to_owned() } else { quoted(id) }
    });
    match (&description.cluster_name, id) {
        (Some(name), Some(id)) => Some(format!("cluster {} ({id})", quoted(name))),
        (Some(name), None) => Some(format!("cluster {}", quoted(name))),
        (None, id) => id.map(|id| format!("cluster {id}")),
    }
}

/// The author of an archive. Only a signature would tell, and the format has none yet.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SealedBy {
    /// Opening an archive proves only that it was sealed for the key.
    Unknown,
}

impl SealedBy {
    /// The text after "sealed by".
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Unknown => "unknown (every user with its recipient or passphrase can seal)",
        }
    }
}

/// The part readable without a key; nothing of it is authenticated.
#[derive(Serialize)]
pub(super) struct VisibleReport {
    /// Whether the author of the archive is proved.
    pub(super) authenticated: bool,
    /// Whether a key opened the archive, so that the following fields are as they were sealed.
    pub(super) opened: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sealed_by: Option<SealedBy>,
    #[serde(flatten)]
    pub(super) description: Option<Description>,
    pub(super) stanzas: Vec<String>,
    pub(super) armored: bool,
    pub(super) header_size: u64,
    pub(super) payload_size: u64,
}

impl VisibleReport {
    /// Records that a key opened the archive.
    pub(super) fn set_opened(&mut self) {
        self.opened = true;
        self.sealed_by = Some(SealedBy::Unknown);
    }

    pub(super) fn new(visible: Visible) -> Self {
        let payload_size = visible.payload_size();
        Self {
            authenticated: false,
            opened: false,
            sealed_by: None,
            description: visible.description,
            stanzas: visible.stanzas,
            armored: visible.armored,
            header_size: visible.header_size,
            payload_size,
        }
    }
}
