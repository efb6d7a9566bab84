//! The fields of the result of `info`.

use super::contents::{Contents, ForeignReport, VisibleReport};

use super::Report;
use crate::archive::manifest::{self, Digest, Manifest, StatusAfter, Trailer};
use crate::archive::member::{Condition, Tls};
use crate::cli::render::path::shown;
use crate::cli::render::verdict::{Proved, Verdict};
use crate::pipeline::inspect::{Inside, Inspected};
use crate::pipeline::open::{Foreign, Opened, Visible};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
pub(crate) struct InfoReport {
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) path: String,
    pub(crate) archive_size: u64,
    #[serde(flatten)]
    pub(crate) visible: VisibleReport,
    #[serde(flatten)]
    pub(crate) manifest: Option<ManifestRest>,
    #[serde(flatten)]
    pub(crate) trailer: Option<TrailerRest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) frames: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) foreign: Option<ForeignReport>,
    /// Whether the whole archive was read with a key.
    #[serde(skip)]
    pub(crate) read: bool,
}

/// The fields of the manifest beyond the description.
#[derive(Serialize)]
pub(crate) struct ManifestRest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) member_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Tls>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    pub(crate) recipients: Vec<String>,
}

/// The fields of the trailer; the size moves into the description where there is one.
#[derive(Serialize)]
pub(crate) struct TrailerRest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot_size: Option<u64>,
    pub(crate) database_sha256: String,
    pub(crate) digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contents: Option<manifest::Contents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_after: Option<StatusAfter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stream_open_ms: Option<u64>,
}

impl InfoReport {
    /// The report on an archive of which only the ends were read, with or without a key.
    #[must_use]
    pub(crate) fn inspected(inspected: Inspected, path: Option<&Path>) -> Self {
        match inspected.inside {
            None => Self::new(inspected.visible, None, None, None, path),
            Some(Inside::Ours { manifest, trailer, frames }) => {
                Self::new(inspected.visible, Some(*manifest), Some(*trailer), Some(frames), path)
            }
            Some(Inside::Foreign(foreign)) => {
                Self::new(inspected.visible, None, None, None, path).of_foreign(foreign)
            }
        }
    }

    /// The report on an archive read to its end with a key.
    #[must_use]
    pub(crate) fn opened(opened: Opened, path: Option<&Path>) -> Self {
        let (contents, foreign) = (Contents::of(opened.clone()), opened.foreign);
        let frames = foreign.is_none().then_some(opened.frames);
        let mut report = Self::new(opened.visible, opened.manifest, Some(contents.trailer), frames, path);
        report.read = true;
        match foreign {
            Some(foreign) => report.of_foreign(foreign),
            None => report,
        }
    }

    /// Marks it as a foreign archive that was opened with a key.
    pub(crate) fn of_foreign(mut self, foreign: Foreign) -> Self {
        self.visible.set_opened();
        self.foreign = Some(foreign.into());
        self
    }

    /// The report on an archive read to its end without a key.
    #[must_use]
    pub(crate) fn seen(visible: Visible, path: Option<&Path>) -> Self {
        Self::new(visible, None, None, None, path)
    }

    /// The target of a downgrade of etcd that is in progress in the database.
    pub(crate) fn downgrade(&self) -> Option<&str> {
        self.trailer.as_ref()?.contents.as_ref()?.downgrade.as_deref()
    }

    pub(crate) fn new(
        visible: Visible,
        manifest: Option<Manifest>,
        trailer: Option<Trailer>,
        frames: Option<u64>,
        path: Option<&Path>,
    ) -> Self {
        let archive_size = visible.archive_size;
        let mut visible = VisibleReport::new(visible);
        let manifest = manifest.map(|manifest| {
            visible.set_opened();
            visible.description = Some(manifest.description);
            ManifestRest {
                endpoint: manifest.endpoint,
                member_name: manifest.member_name,
                tls: manifest.tls,
                conditions: manifest.conditions,
                host: manifest.host,
                tags: manifest.tags,
                note: manifest.note,
                recipients: manifest.recipients,
            }
        });
        let trailer = trailer.map(|trailer| {
            let mut snapshot_size = Some(trailer.snapshot_size);
            if let Some(description) = &mut visible.description {
                description.snapshot_size = snapshot_size.take();
            }
            TrailerRest {
                snapshot_size,
                database_sha256: trailer.database_sha256,
                digest: trailer.digest,
                contents: trailer.contents,
                status_after: trailer.status_after,
                stream_open_ms: trailer.stream_open_ms,
            }
        });
        Self {
            verdict: Verdict::new("info", Proved::AsAsked),
            path: shown(path),
            archive_size,
            visible,
            manifest,
            trailer,
            frames,
            foreign: None,
            read: false,
        }
    }
}

impl Report for InfoReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn verdict_mut(&mut self) -> &mut Verdict {
        &mut self.verdict
    }

    fn is_the_answer(&self) -> bool {
        true
    }
}
