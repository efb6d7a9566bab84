//! The result of `info`, the only one with many lines.

use super::Text;
use super::contents::revision;
use super::units::{exact_size, seconds};
use crate::archive::manifest::{Description, Digest, Source};
use crate::archive::member::Tls;
use crate::cli::render::json::contents::VisibleReport;
use crate::cli::render::json::info::{InfoReport, ManifestRest, TrailerRest};
use crate::cli::terminal::printable::sanitize;
use std::fmt::Write as _;

impl Text for InfoReport {
    fn text(&self) -> String {
        let mut facts = Facts(sanitize(&self.path).into_owned());
        let (contents, after) = self
            .trailer
            .as_ref()
            .map_or((None, None), |trailer| (trailer.contents.as_ref(), trailer.status_after.as_ref()));
        let before = self.visible.description.as_ref().and_then(|description| description.revision);
        facts.visible(&self.visible, revision(before, contents, after), self.archive_size);
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
struct Facts(String);

impl Facts {
    fn add(&mut self, what: &str, which: impl std::fmt::Display) {
        let _ = write!(self.0, "\n  {what:<20} {}", sanitize(&which.to_string()));
    }

    fn some(&mut self, what: &str, which: Option<impl std::fmt::Display>) {
        if let Some(which) = which {
            self.add(what, which);
        }
    }

    fn visible(&mut self, visible: &VisibleReport, revision: Option<String>, archive_size: u64) {
        match visible.sealed_by {
            Some(sealed_by) => {
                self.add("opened by this key", "yes");
                self.add("sealed by", sealed_by.text());
            }
            None => self.add("authenticated", "no: what the header says, without a key"),
        }
        if let Some(description) = &visible.description {
            self.description(description, revision);
        } else {
            self.add("description", "none");
            self.some("revision", revision);
        }
        self.add("recipient types", visible.stanzas.join(", "));
        if visible.armored {
            self.add("armored", "yes");
        }
        self.add("archive size", exact_size(archive_size));
        self.add("header size", exact_size(visible.header_size));
        self.add("payload size", exact_size(visible.payload_size));
    }

    fn description(&mut self, description: &Description, revision: Option<String>) {
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
        self.some("revision", revision);
        self.some("snapshot size", description.snapshot_size.map(exact_size));
        self.add("frame size", exact_size(description.frame_size.into()));
        self.add("level", description.level);
    }

    fn manifest(&mut self, manifest: &ManifestRest) {
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
    fn trailer(&mut self, trailer: &TrailerRest, read: bool) {
        self.some("snapshot size", trailer.snapshot_size.map(exact_size));
        self.add("database sha256", &trailer.database_sha256);
        let digest = match trailer.digest {
            Digest::Verified if read => "there, and right",
            Digest::Verified => "there, and right when it was sealed",
            Digest::Absent => "absent",
        };
        self.add("etcd's digest", digest);
        if let Some(contents) = &trailer.contents {
            self.some("compacted at", contents.compact_revision);
            self.some(
                "database members",
                Some(contents.members.join(", ")).filter(|members| !members.is_empty()),
            );
            if let Some(target) = &contents.downgrade {
                self.add("downgrade", format_args!("to {target}, in progress"));
            }
            if let Some(kubernetes) = &contents.kubernetes {
                let text = kubernetes.text();
                self.add("Kubernetes", text.strip_prefix("Kubernetes: ").unwrap_or(&text));
            }
        }
        if let Some(after) = &trailer.status_after {
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
