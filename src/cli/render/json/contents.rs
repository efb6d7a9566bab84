//! The fields of an archive's content, which several results have.

use crate::archive;
use crate::archive::manifest::{Description, Manifest, Trailer};
use crate::archive::member::Condition;
use crate::pipeline::open::{Foreign, Opened, Visible};
use serde::Serialize;

/// Removes the size, which the trailer repeats and knows best.
pub(crate) fn without_size(mut manifest: Manifest) -> Manifest {
    manifest.description.snapshot_size = None;
    manifest
}

/// The conditions that the member reported before and after the stream.
pub(crate) fn conditions<'a>(
    manifest: &'a Manifest,
    trailer: &'a Trailer,
) -> impl Iterator<Item = &'a Condition> {
    let after = trailer.status_after.iter().flat_map(|status| &status.conditions);
    manifest.conditions.iter().chain(after)
}

/// The content of an archive that was read to its end.
#[derive(Serialize)]
pub(crate) struct Contents {
    #[serde(flatten)]
    pub(crate) manifest: Option<Manifest>,
    #[serde(flatten)]
    pub(crate) trailer: Trailer,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) frames: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) foreign: Option<ForeignReport>,
}

/// The report on a foreign archive.
#[derive(Serialize)]
pub(crate) struct ForeignReport {
    pub(crate) armored: bool,
    pub(crate) zstd: bool,
    pub(crate) lacks: Vec<&'static str>,
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
    pub(crate) fn of(opened: Opened) -> Self {
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
}

/// The author of an archive. Only a signature would tell, and the format has none yet.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SealedBy {
    /// Opening an archive proves only that it was sealed for the key.
    Unknown,
}

/// The part readable without a key; nothing of it is authenticated.
#[derive(Serialize)]
pub(crate) struct VisibleReport {
    /// Whether the author of the archive is proved.
    pub(crate) authenticated: bool,
    /// Whether a key opened the archive, so that the following fields are as they were sealed.
    pub(crate) opened: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sealed_by: Option<SealedBy>,
    #[serde(flatten)]
    pub(crate) description: Option<Description>,
    pub(crate) stanzas: Vec<String>,
    pub(crate) armored: bool,
    pub(crate) header_size: u64,
    pub(crate) payload_size: u64,
}

impl VisibleReport {
    /// Records that a key opened the archive.
    pub(crate) fn set_opened(&mut self) {
        self.opened = true;
        self.sealed_by = Some(SealedBy::Unknown);
    }

    pub(crate) fn new(visible: Visible) -> Self {
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
