//! The report of `info`, the only one with many lines.

use super::contents::{Contents, ForeignReport, VisibleReport};
use super::units::{exact_size, seconds};
use super::verdict::{Proved, Verdict};
use super::{Report, shown};
use crate::archive::manifest::{self, Description, Digest, Manifest, Source, StatusAfter, Trailer};
use crate::archive::member::{Condition, Tls};
use crate::cli::terminal::printable::sanitize;
use crate::pipeline::inspect::{Inside, Inspected};
use crate::pipeline::open::{Foreign, Opened, Visible};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

#[derive(Serialize)]
pub(crate) struct InfoReport {
    #[serde(flatten)]
    verdict: Verdict,
    path: String,
    archive_size: u64,
    #[serde(flatten)]
    visible: VisibleReport,
    #[serde(flatten)]
    manifest: Option<ManifestRest>,
    #[serde(flatten)]
    trailer: Option<TrailerRest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    foreign: Option<ForeignReport>,
    /// Whether the whole archive was read with a key.
    #[serde(skip)]
    read: bool,
}

/// The fields of the manifest beyond the description.
#[derive(Serialize)]
pub(super) struct ManifestRest {
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    recipients: Vec<String>,
}

/// The fields of the trailer; the size moves into the description where there is one.
#[derive(Serialize)]
pub(super) struct TrailerRest {
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_size: Option<u64>,
    database_sha256: String,
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    contents: Option<manifest::Contents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_after: Option<StatusAfter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_open_ms: Option<u64>,
}

impl InfoReport {
    /// The report on an archive of which only the ends were read, with or without a key.
    #[must_use]
    pub(crate) fn inspected(inspected: Inspected, path: Option<&Path>) -> Self {
        match inspected.inside {
            None => Self::new(inspected.visible, None, None, None, path),
            Some(Inside::Ours { manifest, trailer, frames }) => {
                Self::new(inspected.visible, Some(*manifest), Some(trailer), Some(frames), path)
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
    pub(super) fn of_foreign(mut self, foreign: Foreign) -> Self {
        self.visible.set_opened();
        self.foreign = Some(foreign.into());
        self
    }

    /// The report on an archive read to its end without a key.
    #[must_use]
    pub(crate) fn seen(visible: Visible, path: Option<&Path>) -> Self {
        Self::new(visible, None, None, None, path)
    }

    pub(super) fn new(
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

    fn is_the_answer(&self) -> bool {
        true
    }

    fn text(&self) -> String {
        let mut facts = Facts(sanitize(&self.path).into_owned());
        facts.visible(&self.visible, self.archive_size);
        if let Some(manifest) = &self.manifest {
            facts.manifest(manifest);
        }
        if let Some(trailer) = &self.trailer {
            facts.trailer(trailer, self.read);
        }
        facts.some("frames", self.frames);
        for lack in self.foreign.iter().flat_map(|foreign| &foreign.lacks) {
            facts.add("lacks", lack);
        }
        facts.0
    }
}

/// How the member was authenticated, as text.
fn of_tls(tls: Tls) -> &'static str {
    match tls {
        Tls::Verified => "the member's certificate was verified",
        Tls::Unverified => "the member's certificate was not verified",
        Tls::None => "none",
    }
}

/// The lines of `info`, each with a name and a value.
pub(super) struct Facts(String);

impl Facts {
    pub(super) fn add(&mut self, what: &str, which: impl std::fmt::Display) {
        let _ = write!(self.0, "\n  {what:<20} {}", sanitize(&which.to_string()));
    }

    pub(super) fn some(&mut self, what: &str, which: Option<impl std::fmt::Display>) {
        if let Some(which) = which {
            self.add(what, which);
        }
    }

    pub(super) fn visible(&mut self, visible: &VisibleReport, archive_size: u64) {
        match visible.sealed_by {
            Some(sealed_by) => {
                self.add("opened by this key", "yes");
                self.add("sealed by", sealed_by.text());
            }
            None => self.add("authenticated", "no: what the header says, without a key"),
        }
        match &visible.description {
            Some(description) => self.description(description),
            None => self.add("description", "none"),
        }
        self.add("recipient types", visible.stanzas.join(", "));
        if visible.armored {
            self.add("armored", "yes");
        }
        self.add("archive size", exact_size(archive_size));
        self.add("header size", exact_size(visible.header_size));
        self.add("payload size", exact_size(visible.payload_size));
    }

    pub(super) fn description(&mut self, description: &Description) {
        self.add("format", format_args!("{} {}", description.format, description.format_version));
        self.add("tool", &description.tool);
        self.add("sealed at", &description.sealed_at);
        self.some("snapshot started at", description.snapshot_started_at.as_ref());
        let source = match description.source {
            Source::Etcd => "a live etcd",
            Source::File => "an existing file",
            Source::Stdin => "standard input",
        };
        self.add("source", source);
        self.some("cluster name", description.cluster_name.as_ref());
        self.some("cluster id", description.cluster_id.as_ref());
        self.some("member id", description.member_id.as_ref());
        self.some("etcd version", description.etcd_version.as_ref());
        self.some("storage version", description.storage_version.as_ref());
        self.some("revision", description.revision);
        self.some("snapshot size", description.snapshot_size.map(exact_size));
        self.add("frame size", exact_size(description.frame_size.into()));
        self.add("level", description.level);
    }

    pub(super) fn manifest(&mut self, manifest: &ManifestRest) {
        self.some("endpoint", manifest.endpoint.as_ref());
        self.some("member name", manifest.member_name.as_ref());
        self.some("tls", manifest.tls.map(of_tls));
        for condition in &manifest.conditions {
            self.add("condition", condition);
        }
        self.some("host", manifest.host.as_ref());
        for tag in &manifest.tags {
            self.add("tag", tag);
        }
        self.some("note", manifest.note.as_ref());
        for recipient in &manifest.recipients {
            self.add("recipient", recipient);
        }
    }

    /// `read`: the whole archive was read, which confirmed the trailer.
    pub(super) fn trailer(&mut self, trailer: &TrailerRest, read: bool) {
        self.some("snapshot size", trailer.snapshot_size.map(exact_size));
        self.add("database sha256", &trailer.database_sha256);
        let digest = match trailer.digest {
            Digest::Verified if read => "there, and right",
            Digest::Verified => "there, and right when it was sealed",
            Digest::Absent => "absent",
        };
        self.add("etcd's digest", digest);
        if let Some(contents) = &trailer.contents {
            self.add("database revision", contents.revision);
            self.some("compacted at", contents.compact_revision);
            self.some(
                "database members",
                Some(contents.members.join(", ")).filter(|members| !members.is_empty()),
            );
        }
        if let Some(after) = &trailer.status_after {
            self.add("revision after", after.revision);
            self.add("raft term after", after.raft_term);
            self.add("raft index after", after.raft_index);
            self.some("database size after", after.database_size.map(exact_size));
            for condition in &after.conditions {
                self.add("condition after", condition);
            }
        }
        self.some("stream open", trailer.stream_open_ms.map(seconds));
    }
}
