//! The content of an archive on one line, and the names that other results share with it.

use super::units::size;
use crate::archive;
use crate::archive::manifest::{Description, Digest, Manifest, StatusAfter, Trailer};
use crate::cli::render::json::contents::{Contents, SealedBy, conditions};
use crate::cli::terminal::printable::{quoted, sanitize};
use std::fmt::Write as _;

/// `; the member reported no leader, …`, with each condition once, or an empty text.
pub(crate) fn reported(manifest: &Manifest, trailer: &Trailer) -> String {
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

/// `574`, the newest revision in the snapshot, and what the member said of its own where that is another:
/// `574 (570 before the stream, 580 after it)`.
pub(crate) fn revision(
    before: Option<u64>,
    contents: Option<&archive::contents::Contents>,
    after: Option<&StatusAfter>,
) -> Option<String> {
    let Some(contents) = contents else { return before.map(|before| format!("{before} or later")) };
    let newest = contents.revision;
    let other = |number: Option<u64>| number.filter(|number| *number != newest);
    let told = match (other(before), other(after.map(|after| after.revision))) {
        (None, None) => String::new(),
        (Some(before), None) => format!(" ({before} before the stream)"),
        (None, Some(after)) => format!(" ({after} after the stream)"),
        (Some(before), Some(after)) => format!(" ({before} before the stream, {after} after it)"),
    };
    Some(format!("{newest}{told}"))
}

/// [`revision`] of an archive that was read to its end.
pub(crate) fn revision_of(manifest: Option<&Manifest>, trailer: &Trailer) -> Option<String> {
    let before = manifest.and_then(|manifest| manifest.description.revision);
    revision(before, trailer.contents.as_ref(), trailer.status_after.as_ref())
}

/// What the database holds of Kubernetes, on a line of its own that is set in; an empty text for nothing.
pub(crate) fn kubernetes(trailer: &Trailer) -> String {
    let found = trailer.contents.as_ref().and_then(|contents| contents.kubernetes.as_ref());
    found.map(|kubernetes| format!("\n  {}", kubernetes.text())).unwrap_or_default()
}

impl Contents {
    /// A one-line summary.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("snapshot of {}", size(self.trailer.snapshot_size));
        if let Some(cluster) = self.manifest.as_ref().and_then(|manifest| cluster(&manifest.description)) {
            let _ = write!(text, ", {cluster}");
        }
        if let Some(revision) = revision_of(self.manifest.as_ref(), &self.trailer) {
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
pub(crate) fn cluster(description: &Description) -> Option<String> {
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

impl SealedBy {
    /// The text after "sealed by".
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Unknown => "unknown (every user with its recipient or passphrase can seal)",
        }
    }
}
