//! What a command tells about its end: the result in one line or as JSON, the failure and its way out.
//!
//! Both renderings of everything live here. Names, notes and whatever else others wrote goes through
//! [`sanitize`]; JSON keeps every value exactly and escapes the same characters in its own way.

use super::exit::Exit;
use super::term::{Console, is_tricky, sanitize, without_private_keys};
use crate::archive::manifest::{Description, Digest, Manifest, Trailer};
use crate::error::{Error, Kind, Result};
use crate::pipeline::inspect::{Inside, Inspected};
use crate::pipeline::open::{Foreign, Opened, Visible};
use crate::pipeline::save::Saved;
use crate::store::local::Published;
use serde::Serialize;
use std::borrow::Cow;
use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// A result that can be told both ways.
pub(crate) trait Report: Serialize {
    /// For people: one line, or a few for `info`, without the final newline.
    fn text(&self) -> String;
    /// What it begins with.
    fn verdict(&self) -> &Verdict;
}

/// Tells results and failures where they belong.
#[derive(Clone)]
pub(crate) struct Reporter {
    /// `--json`.
    pub(crate) json: bool,
    /// `-v`.
    pub(crate) verbose: bool,
    /// Whether standard output carries an archive or a snapshot, so that the result goes to standard error.
    pub(crate) stdout_is_taken: bool,
    /// Standard error.
    pub(crate) console: Console,
}

impl Reporter {
    /// Tells a result, and returns the exit code it means. What failed after the commit is told beside it.
    ///
    /// # Errors
    /// [`Kind::Io`] when standard output cannot take it. A reader that went away is none: what was
    /// asked for is done, and the exit status says so.
    pub(crate) fn result(&self, report: &impl Report) -> Result<Exit> {
        let verdict = report.verdict();
        let told = self.put(&if self.json { json_line(report) } else { report.text() });
        if let Some(error) = verdict.unfinished.as_ref().filter(|_| !self.json) {
            self.console.write(&failure_text(error, self.verbose));
        }
        told.map(|()| verdict.exit_code)
    }

    /// Tells a failure, of the archive at `path` where there are several.
    pub(crate) fn failure(&self, error: &Error, exit: Exit, path: Option<&Path>) {
        if self.json {
            // Standard output may be what failed; there is nobody left to tell.
            let _ = self.put(&json_line(&Failure::new(error, exit, path)));
        } else {
            self.console.write(&failure_text(error, self.verbose));
        }
    }

    fn put(&self, text: &str) -> Result<()> {
        let lines = format!("{text}\n");
        if self.stdout_is_taken {
            self.console.write(&lines);
            return Ok(());
        }
        put_on_stdout(&without_private_keys(&lines)).map_err(|error| error.with_hint(REPORT_LOST))
    }
}

/// The way out when a result cannot be told.
const REPORT_LOST: &str =
    "what was asked for was done, only this report of it is lost; look where standard output goes";

/// Writes to standard output; a reader that went away is no error.
///
/// # Errors
/// [`Kind::Io`].
pub(crate) fn put_on_stdout(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("write the result to", "standard output", error))
        }
        _ => Ok(()),
    }
}

/// `etcd-seal: error: …`, `etcd-seal: hint: …`, and under `-v` the causes.
fn failure_text(error: &Error, verbose: bool) -> String {
    let message = error.to_string();
    let mut text = format!("etcd-seal: error: {}\n", sanitize(&message));
    if verbose {
        let mut said = message;
        let mut cause = error.source();
        while let Some(source) = cause {
            let told = source.to_string();
            // Many errors repeat their cause's words in their own.
            if !said.contains(&told) {
                let _ = writeln!(text, "etcd-seal: cause: {}", sanitize(&told));
            }
            said = told;
            cause = source.source();
        }
    }
    let _ = writeln!(text, "etcd-seal: hint: {}", sanitize(error.hint()));
    text
}

/// A failure as JSON.
#[derive(Serialize)]
struct Failure<'a> {
    ok: bool,
    exit_code: Exit,
    kind: &'a str,
    error: String,
    hint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged_from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged_to: Option<u64>,
}

impl<'a> Failure<'a> {
    fn new(error: &'a Error, exit: Exit, path: Option<&Path>) -> Self {
        let damaged = error.damaged();
        Self {
            ok: false,
            exit_code: exit,
            kind: error.kind().name(),
            error: error.to_string(),
            hint: error.hint(),
            path: path.map(|path| path.display().to_string()),
            damaged_from: damaged.as_ref().map(|range| range.start),
            damaged_to: damaged.as_ref().map(|range| range.end),
        }
    }
}

/// One line of JSON that is safe to look at on a terminal: the characters [`sanitize`] escapes can only stand in
/// strings, and there JSON has its own way to write them.
fn json_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value)
        .unwrap_or_else(|error| format!("{{\"ok\":false,\"error\":\"cannot be told as JSON: {error}\"}}"));
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        if is_tricky(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(character);
        }
    }
    line
}

/// How much a command that did its work has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proved {
    /// What was asked for.
    AsAsked,
    /// All but that the snapshot is what etcd wrote.
    WithoutDigest,
    /// Only what anybody sees, with nothing to compare.
    StructureOnly,
}

impl Proved {
    /// What a snapshot with or without etcd's digest proves.
    #[must_use]
    pub(crate) fn by(digest: Digest) -> Self {
        match digest {
            Digest::Verified => Self::AsAsked,
            Digest::Absent => Self::WithoutDigest,
        }
    }

    /// The exit code.
    #[must_use]
    pub(crate) fn exit(self) -> Exit {
        if self == Self::AsAsked { Exit::Done } else { Exit::Partly }
    }

    /// Why it is less than it could be.
    fn shortfall(self) -> Option<Shortfall> {
        match self {
            Self::AsAsked => None,
            Self::WithoutDigest => Some(Shortfall {
                kind: Kind::DigestAbsent.name(),
                error: "the snapshot has no digest of etcd's: that it is what etcd wrote is not proved"
                    .into(),
                hint: "look into it before you rely on it, for example with etcdutl snapshot status".into(),
            }),
            Self::StructureOnly => Some(Shortfall {
                kind: "structure_only",
                error: "structure only: there is no sidecar beside it, and no identity to open it was given"
                    .into(),
                hint: "pass -i or -p to prove the content, or bring back the .sha256 file".into(),
            }),
        }
    }
}

/// What is said beside a result that proves less.
#[derive(Serialize)]
struct Shortfall {
    kind: &'static str,
    error: Cow<'static, str>,
    hint: Cow<'static, str>,
}

/// What every result begins with.
#[derive(Serialize)]
pub(crate) struct Verdict {
    ok: bool,
    exit_code: Exit,
    command: &'static str,
    #[serde(flatten)]
    shortfall: Option<Shortfall>,
    #[serde(skip)]
    proved: Proved,
    /// What failed after the commit.
    #[serde(skip)]
    unfinished: Option<Error>,
}

impl Verdict {
    /// The end of `command`; `ok` only where everything was proved.
    #[must_use]
    pub(crate) fn new(command: &'static str, proved: Proved) -> Self {
        let (exit_code, shortfall) = (proved.exit(), proved.shortfall());
        Self { ok: exit_code == Exit::Done, exit_code, command, shortfall, proved, unfinished: None }
    }

    /// The end of `command`, which published something, and with it the path to show: `-` for standard output.
    fn of_published(command: &'static str, proved: Proved, published: Option<Published>) -> (Self, String) {
        let mut verdict = Self::new(command, proved);
        let Some(Published { path, shortfall }) = published else { return (verdict, shown(None)) };
        if let Some(error) = shortfall {
            let also = verdict.shortfall.as_ref().map(|other| format!("; {}", other.error));
            verdict.ok = false;
            verdict.exit_code = Exit::of(error.kind());
            verdict.shortfall = Some(Shortfall {
                kind: error.kind().name(),
                error: format!("{error}{}", also.unwrap_or_default()).into(),
                hint: error.hint().to_owned().into(),
            });
            verdict.unfinished = Some(error);
        }
        (verdict, shown(Some(&path)))
    }

    /// `; why it is less`, or nothing. What failed after the commit has lines of its own.
    fn text(&self) -> String {
        self.proved.shortfall().map(|shortfall| format!("; {}", shortfall.error)).unwrap_or_default()
    }
}

/// How `-` and paths are shown in results.
#[must_use]
pub(crate) fn shown(path: Option<&Path>) -> String {
    let Some(path) = path else { return "-".to_owned() };
    // The store speaks of a bare name as of a file in `.`.
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

/// Of `save`.
#[derive(Serialize)]
pub(crate) struct SaveReport {
    #[serde(flatten)]
    verdict: Verdict,
    path: String,
    archive_size: u64,
    archive_sha256: String,
    ratio: f64,
    duration_ms: u64,
    #[serde(flatten)]
    manifest: Manifest,
    #[serde(flatten)]
    trailer: Trailer,
}

impl SaveReport {
    /// What was sealed, and where it is; `None` is standard output.
    #[must_use]
    pub(crate) fn new(saved: Saved, published: Option<Published>, took: Duration) -> Self {
        let proved = Proved::by(saved.trailer.digest);
        let (verdict, path) = Verdict::of_published("save", proved, published);
        let ratio = ratio(saved.trailer.snapshot_size, saved.archive_size);
        Self {
            verdict,
            path,
            archive_size: saved.archive_size,
            archive_sha256: hex::encode(saved.archive_sha256),
            ratio: (ratio * 100.0).round() / 100.0,
            duration_ms: milliseconds(took),
            manifest: without_size(saved.manifest),
            trailer: saved.trailer,
        }
    }
}

impl Report for SaveReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn text(&self) -> String {
        let recipients = self.manifest.recipients.len();
        let mut text = format!(
            "{}: {} of snapshot in {} (ratio {:.2}), for {recipients} {}",
            sanitize(&self.path),
            size(self.trailer.snapshot_size),
            size(self.archive_size),
            self.ratio,
            if recipients == 1 { "recipient" } else { "recipients" },
        );
        if let Some(revision) = self.manifest.description.revision {
            let _ = write!(text, ", revision {revision}");
        }
        let _ = write!(text, ", {}", seconds(self.duration_ms));
        if let Some(open) = self.trailer.stream_open_ms {
            let _ = write!(text, ", stream open {}", seconds(open));
        }
        let _ = write!(text, ", sha256 {}", self.archive_sha256);
        text + &self.verdict.text()
    }
}

/// The same without the size, which the trailer repeats and knows best.
fn without_size(mut manifest: Manifest) -> Manifest {
    manifest.description.snapshot_size = None;
    manifest
}

/// What an archive held, read to its end.
#[derive(Serialize)]
struct Contents {
    #[serde(flatten)]
    manifest: Option<Manifest>,
    #[serde(flatten)]
    trailer: Trailer,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    foreign: Option<ForeignReport>,
}

/// An archive of somebody else's making.
#[derive(Serialize)]
struct ForeignReport {
    armored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    zstd: Option<bool>,
    lacks: Vec<&'static str>,
}

impl From<Foreign> for ForeignReport {
    fn from(foreign: Foreign) -> Self {
        let mut lacks = vec![NO_MANIFEST];
        if foreign.zstd {
            lacks.push("a seek table (no part of it can be read alone)");
        } else {
            lacks.push("compression and its checksums");
        }
        Self { armored: foreign.armored, zstd: Some(foreign.zstd), lacks }
    }
}

/// What every archive of somebody else's making lacks.
const NO_MANIFEST: &str = "a manifest (cluster, revision, time and recipients are unknown)";

impl Contents {
    fn of(opened: Opened) -> Self {
        let seen = Trailer {
            snapshot_size: opened.snapshot_size,
            database_sha256: hex::encode(opened.database_sha256),
            digest: opened.digest,
            status_after: None,
            stream_open_ms: None,
        };
        Self {
            manifest: opened.manifest.map(without_size),
            trailer: opened.trailer.unwrap_or(seen),
            frames: opened.foreign.is_none().then_some(opened.frames),
            foreign: opened.foreign.map(ForeignReport::from),
        }
    }

    /// What of it fits into a line.
    fn text(&self) -> String {
        let mut text = format!("snapshot of {}", size(self.trailer.snapshot_size));
        if let Some(manifest) = &self.manifest {
            let description = &manifest.description;
            if let Some(cluster) = description.cluster_name.as_ref().or(description.cluster_id.as_ref()) {
                let _ = write!(text, ", cluster {}", sanitize(cluster));
            }
            if let Some(revision) = description.revision {
                let _ = write!(text, ", revision {revision}");
            }
        }
        if self.trailer.digest == Digest::Verified {
            text.push_str(", etcd's digest matches");
        }
        if let Some(foreign) = &self.foreign {
            let _ = write!(text, "; not made by etcd-seal: it lacks {}", foreign.lacks.join(", and "));
        }
        text
    }
}

/// Of `restore`.
#[derive(Serialize)]
pub(crate) struct RestoreReport {
    #[serde(flatten)]
    verdict: Verdict,
    path: String,
    archive: String,
    archive_size: u64,
    duration_ms: u64,
    #[serde(flatten)]
    contents: Contents,
}

impl RestoreReport {
    /// What came out of `archive`, and where it is; `None` is a standard stream.
    #[must_use]
    pub(crate) fn new(
        opened: Opened,
        archive: Option<&Path>,
        published: Option<Published>,
        took: Duration,
    ) -> Self {
        let (verdict, path) = Verdict::of_published("restore", Proved::by(opened.digest), published);
        Self {
            verdict,
            path,
            archive: shown(archive),
            archive_size: opened.visible.archive_size,
            duration_ms: milliseconds(took),
            contents: Contents::of(opened),
        }
    }
}

impl Report for RestoreReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn text(&self) -> String {
        let (path, took) = (sanitize(&self.path), seconds(self.duration_ms));
        format!("{path}: {}, {took}{}", self.contents.text(), self.verdict.text())
    }
}

/// How the sidecar beside an archive compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SidecarState {
    /// There is none.
    Absent,
    /// Equal.
    Equal,
    /// Equal, but it names another file.
    EqualUnderAnotherName,
}

/// What `verify` found.
#[derive(Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack of one command")]
enum Proof {
    Opened(Contents),
    Seen(VisibleReport),
}

/// Of `verify`.
#[derive(Serialize)]
pub(crate) struct VerifyReport {
    #[serde(flatten)]
    verdict: Verdict,
    path: String,
    proved: &'static str,
    sidecar: SidecarState,
    archive_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive_sha256: Option<String>,
    duration_ms: u64,
    #[serde(flatten)]
    proof: Proof,
}

impl VerifyReport {
    /// Read to the end with a key.
    #[must_use]
    pub(crate) fn opened(opened: Opened, path: Option<&Path>, sidecar: SidecarState, took: Duration) -> Self {
        Self {
            verdict: Verdict::new("verify", Proved::by(opened.digest)),
            path: shown(path),
            proved: "content",
            sidecar,
            archive_size: opened.visible.archive_size,
            archive_sha256: opened.visible.archive_sha256.map(hex::encode),
            duration_ms: milliseconds(took),
            proof: Proof::Opened(Contents::of(opened)),
        }
    }

    /// Read to the end without a key.
    #[must_use]
    pub(crate) fn seen(visible: Visible, path: Option<&Path>, sidecar: SidecarState, took: Duration) -> Self {
        let (proved, what) = match sidecar {
            SidecarState::Absent => (Proved::StructureOnly, "structure"),
            SidecarState::Equal | SidecarState::EqualUnderAnotherName => (Proved::AsAsked, "sidecar"),
        };
        Self {
            verdict: Verdict::new("verify", proved),
            path: shown(path),
            proved: what,
            sidecar,
            archive_size: visible.archive_size,
            archive_sha256: visible.archive_sha256.map(hex::encode),
            duration_ms: milliseconds(took),
            proof: Proof::Seen(VisibleReport::new(visible)),
        }
    }
}

impl Report for VerifyReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn text(&self) -> String {
        let found = match &self.proof {
            Proof::Opened(contents) => format!("verified: {}", contents.text()),
            Proof::Seen(_) if self.sidecar == SidecarState::Absent => {
                "header and length are well-formed".to_owned()
            }
            Proof::Seen(_) => {
                "equals its sidecar, and header and length are well-formed; not opened".to_owned()
            }
        };
        let (path, took) = (sanitize(&self.path), seconds(self.duration_ms));
        format!("{path}: {found}, {took}{}", self.verdict.text())
    }
}

/// What anybody sees; nothing of it is authenticated.
#[derive(Serialize)]
struct VisibleReport {
    authenticated: bool,
    #[serde(flatten)]
    description: Option<Description>,
    stanzas: Vec<String>,
    armored: bool,
    header_size: u64,
    payload_size: u64,
}

impl VisibleReport {
    fn new(visible: Visible) -> Self {
        let payload_size = visible.payload_size();
        Self {
            authenticated: false,
            description: visible.description,
            stanzas: visible.stanzas,
            armored: visible.armored,
            header_size: visible.header_size,
            payload_size,
        }
    }
}

/// Of `info`.
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
    /// Whether the whole archive was read, with a key.
    #[serde(skip)]
    read: bool,
}

/// What the manifest knows beyond the description.
#[derive(Serialize)]
struct ManifestRest {
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    recipients: Vec<String>,
}

/// What the trailer knows; the size moves into the description where there is one.
#[derive(Serialize)]
struct TrailerRest {
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_size: Option<u64>,
    database_sha256: String,
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_after: Option<crate::archive::manifest::StatusAfter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_open_ms: Option<u64>,
}

impl InfoReport {
    /// Of an archive of which only the ends were read, with a key or without.
    #[must_use]
    pub(crate) fn inspected(inspected: Inspected, path: Option<&Path>) -> Self {
        match inspected.inside {
            None => Self::new(inspected.visible, None, None, 0, path),
            Some(Inside::Ours { manifest, trailer, frames }) => {
                Self::new(inspected.visible, Some(*manifest), Some(trailer), frames, path)
            }
            Some(Inside::Foreign(foreign)) => {
                Self::new(inspected.visible, None, None, 0, path).of_foreign(foreign)
            }
        }
    }

    /// Of an archive read to its end with a key.
    #[must_use]
    pub(crate) fn opened(opened: Opened, path: Option<&Path>) -> Self {
        let (contents, foreign) = (Contents::of(opened.clone()), opened.foreign);
        let frames = opened.frames;
        let mut report = Self::new(opened.visible, opened.manifest, Some(contents.trailer), frames, path);
        report.read = true;
        match foreign {
            Some(foreign) => report.of_foreign(foreign),
            None => report,
        }
    }

    /// Of an archive of somebody else's making, with a key.
    fn of_foreign(mut self, foreign: Foreign) -> Self {
        self.visible.authenticated = true;
        self.foreign = Some(foreign.into());
        self
    }

    /// Of an archive read to its end without a key.
    #[must_use]
    pub(crate) fn seen(visible: Visible, path: Option<&Path>) -> Self {
        Self::new(visible, None, None, 0, path)
    }

    fn new(
        visible: Visible,
        manifest: Option<Manifest>,
        trailer: Option<Trailer>,
        frames: u64,
        path: Option<&Path>,
    ) -> Self {
        let archive_size = visible.archive_size;
        let mut visible = VisibleReport::new(visible);
        let manifest = manifest.map(|manifest| {
            visible.authenticated = true;
            visible.description = Some(manifest.description);
            ManifestRest {
                endpoint: manifest.endpoint,
                member_name: manifest.member_name,
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
                status_after: trailer.status_after,
                stream_open_ms: trailer.stream_open_ms,
            }
        });
        let frames = (frames > 0).then_some(frames);
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

/// Lines of `info`: what and which.
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

    fn visible(&mut self, visible: &VisibleReport, archive_size: u64) {
        let authenticated =
            if visible.authenticated { "yes" } else { "no: what the header says, without a key" };
        self.add("authenticated", authenticated);
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

    fn description(&mut self, description: &Description) {
        self.add("format", format_args!("{} {}", description.format, description.format_version));
        self.add("sealed by", &description.tool);
        self.add("sealed at", &description.sealed_at);
        self.some("snapshot started at", description.snapshot_started_at.as_ref());
        let source = match description.source {
            crate::archive::manifest::Source::Etcd => "a live etcd",
            crate::archive::manifest::Source::File => "an existing file",
            crate::archive::manifest::Source::Stdin => "standard input",
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

    fn manifest(&mut self, manifest: &ManifestRest) {
        self.some("endpoint", manifest.endpoint.as_ref());
        self.some("member name", manifest.member_name.as_ref());
        self.some("host", manifest.host.as_ref());
        for tag in &manifest.tags {
            self.add("tag", tag);
        }
        self.some("note", manifest.note.as_ref());
        for recipient in &manifest.recipients {
            self.add("recipient", recipient);
        }
    }

    /// `read`: the whole archive was, and what the trailer says proved true.
    fn trailer(&mut self, trailer: &TrailerRest, read: bool) {
        self.some("snapshot size", trailer.snapshot_size.map(exact_size));
        self.add("database sha256", &trailer.database_sha256);
        let digest = match trailer.digest {
            Digest::Verified if read => "there, and right",
            Digest::Verified => "there, and right when it was sealed",
            Digest::Absent => "absent",
        };
        self.add("etcd's digest", digest);
        if let Some(after) = &trailer.status_after {
            self.add("revision after", after.revision);
            self.add("raft term after", after.raft_term);
            self.add("raft index after", after.raft_index);
            self.add("database size after", exact_size(after.database_size));
        }
        self.some("stream open", trailer.stream_open_ms.map(seconds));
    }
}

/// Of `keygen`.
#[derive(Serialize)]
pub(crate) struct KeygenReport {
    #[serde(flatten)]
    verdict: Verdict,
    path: String,
    recipient: String,
}

impl KeygenReport {
    /// The recipient of the identity at `path`; `None` is standard output.
    #[must_use]
    pub(crate) fn new(recipient: String, published: Option<Published>) -> Self {
        let (verdict, path) = Verdict::of_published("keygen", Proved::AsAsked, published);
        Self { verdict, path, recipient }
    }
}

impl Report for KeygenReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn text(&self) -> String {
        self.recipient.clone()
    }
}

/// Of `--dry-run`.
#[derive(Serialize)]
pub(crate) struct Plan {
    #[serde(flatten)]
    verdict: Verdict,
    dry_run: bool,
    source: String,
    destination: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recipients: Vec<String>,
}

impl Plan {
    /// What `command` would do.
    #[must_use]
    pub(crate) fn new(
        command: &'static str,
        source: String,
        destination: String,
        recipients: Vec<String>,
    ) -> Self {
        Self {
            verdict: Verdict::new(command, Proved::AsAsked),
            dry_run: true,
            source,
            destination,
            recipients,
        }
    }
}

impl Report for Plan {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn text(&self) -> String {
        let mut text = format!("would {} {} to {}", self.verdict.command, self.source, self.destination);
        if !self.recipients.is_empty() {
            let _ = write!(text, ", for {}", self.recipients.join(", "));
        }
        sanitize(&text).into_owned()
    }
}

/// Bytes for people, in units of 1024.
#[must_use]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: &[&str] = &["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded to 1024.0 belongs into the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Bytes for people, and exactly.
fn exact_size(bytes: u64) -> String {
    if bytes < 1024 { format!("{bytes} bytes") } else { format!("{bytes} bytes ({})", size(bytes)) }
}

/// Bytes in a second.
#[must_use]
pub(crate) fn rate(bytes: u64, elapsed: Duration) -> String {
    let in_a_second = u128::from(bytes) * 1000 / elapsed.as_millis().max(1);
    format!("{}/s", size(u64::try_from(in_a_second).unwrap_or(u64::MAX)))
}

/// How many times smaller the archive is.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
pub(crate) fn ratio(snapshot: u64, archive: u64) -> f64 {
    if archive == 0 { 0.0 } else { snapshot as f64 / archive as f64 }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}

/// Several lines as one.
#[must_use]
pub(crate) fn words<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The error of an interrupted command.
#[must_use]
pub(crate) fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::{FORMAT, FORMAT_VERSION, Source, StatusAfter};

    fn manifest() -> Manifest {
        Manifest {
            description: Description {
                format: FORMAT.to_owned(),
                format_version: FORMAT_VERSION,
                tool: "etcd-seal 0.1.0".to_owned(),
                sealed_at: "2026-01-02T03:04:06Z".to_owned(),
                cluster_name: Some("prod\u{1b}[2J\u{202e}".to_owned()),
                cluster_id: Some("cdf818194e3a8c32".to_owned()),
                member_id: Some("8e9e05c52164694d".to_owned()),
                etcd_version: Some("3.5.30".to_owned()),
                storage_version: None,
                revision: Some(123),
                snapshot_size: Some(624_459_808),
                frame_size: 4 << 20,
                level: 1,
                source: Source::Etcd,
                snapshot_started_at: Some("2026-01-02T03:04:05Z".to_owned()),
            },
            endpoint: Some("https://10.0.0.1:2379".to_owned()),
            member_name: Some("a".to_owned()),
            host: Some("backup".to_owned()),
            tags: vec!["nightly".to_owned(), "two\nlines".to_owned()],
            note: Some("before the upgrade".to_owned()),
            recipients: vec!["age1x".to_owned(), "ssh-ed25519 SHA256:y".to_owned()],
        }
    }

    fn trailer(digest: Digest) -> Trailer {
        Trailer {
            snapshot_size: 624_459_808,
            database_sha256: "ab".repeat(32),
            digest,
            status_after: Some(StatusAfter {
                revision: 125,
                raft_term: 2,
                raft_index: 140,
                database_size: 624_459_776,
            }),
            stream_open_ms: Some(1234),
        }
    }

    fn visible() -> Visible {
        Visible {
            description: Some(manifest().description),
            stanzas: vec!["X25519".to_owned(), "ssh-ed25519".to_owned()],
            armored: false,
            header_size: 900,
            archive_size: 146_000_000,
            archive_sha256: Some([0xcd; 32]),
        }
    }

    fn opened(digest: Digest) -> Opened {
        Opened {
            visible: visible(),
            foreign: None,
            manifest: Some(manifest()),
            trailer: Some(trailer(digest)),
            snapshot_size: 624_459_808,
            database_sha256: [0xab; 32],
            digest,
            frames: 149,
        }
    }

    fn foreign(zstd: bool) -> Opened {
        let seen = Visible { description: None, ..visible() };
        let foreign = Some(Foreign { armored: false, zstd });
        Opened {
            visible: seen,
            foreign,
            manifest: None,
            trailer: None,
            frames: 0,
            ..opened(Digest::Verified)
        }
    }

    fn saved(digest: Digest) -> Saved {
        Saved {
            manifest: manifest(),
            trailer: trailer(digest),
            archive_size: 146_000_000,
            archive_sha256: [0xcd; 32],
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as reports take it")]
    fn published(path: &str, shortfall: Option<Error>) -> Option<Published> {
        Some(Published { path: path.into(), shortfall })
    }

    const TOOK: Duration = Duration::from_millis(1987);

    /// Both renderings; the JSON must be one object without a key twice.
    fn both(report: &impl Report) -> String {
        let json = json_line(report);
        assert!(!json.contains('\n'));
        let keys = serde_json::from_str::<Keys>(&json).expect("one JSON object without duplicate keys");
        assert_eq!(keys.0.first().map(String::as_str), Some("ok"));
        format!("{}\n{json}\n", report.text())
    }

    /// The keys of an object, each once.
    struct Keys(Vec<String>);

    impl<'de> serde::Deserialize<'de> for Keys {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Keys;
                fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    formatter.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                    let mut keys: Vec<String> = Vec::new();
                    while let Some((key, _)) = map.next_entry::<String, serde_json::Value>()? {
                        if keys.contains(&key) {
                            return Err(serde::de::Error::custom(format!("{key} twice")));
                        }
                        keys.push(key);
                    }
                    Ok(Keys(keys))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }

    #[test]
    fn save_is_told() {
        let whole =
            both(&SaveReport::new(saved(Digest::Verified), published("/backups/x.db.zst.age", None), TOOK));
        let partly = both(&SaveReport::new(saved(Digest::Absent), None, TOOK));
        insta::assert_snapshot!(whole + &partly);
    }

    #[test]
    fn what_failed_after_the_commit_is_told_with_the_result() {
        let unfinished = || {
            let error = Error::new(Kind::PartlyPublished, "x.age is complete, but the disk is not");
            published("x.age", Some(error))
        };
        let told = both(&SaveReport::new(saved(Digest::Verified), unfinished(), TOOK))
            + &both(&SaveReport::new(saved(Digest::Absent), unfinished(), TOOK))
            + &both(&RestoreReport::new(opened(Digest::Verified), None, unfinished(), TOOK))
            + &both(&KeygenReport::new("age1x".to_owned(), unfinished()));
        insta::assert_snapshot!(told);
    }

    #[test]
    fn verify_is_told() {
        let path = Some(Path::new("x.db.zst.age"));
        let told = [
            VerifyReport::opened(opened(Digest::Verified), path, SidecarState::Equal, TOOK),
            VerifyReport::opened(opened(Digest::Absent), path, SidecarState::Absent, TOOK),
            VerifyReport::opened(foreign(true), path, SidecarState::EqualUnderAnotherName, TOOK),
            VerifyReport::seen(visible(), path, SidecarState::Equal, TOOK),
            VerifyReport::seen(visible(), None, SidecarState::Absent, TOOK),
        ];
        insta::assert_snapshot!(told.iter().map(both).collect::<String>());
    }

    #[test]
    fn restore_is_told() {
        let archive = Some(Path::new("x.db.zst.age"));
        let told = [
            RestoreReport::new(opened(Digest::Verified), archive, published("snapshot.db", None), TOOK),
            RestoreReport::new(foreign(false), None, None, TOOK),
        ];
        insta::assert_snapshot!(told.iter().map(both).collect::<String>());
    }

    #[test]
    fn info_is_told() {
        let path = Some(Path::new("x.db.zst.age"));
        let ours =
            Inside::Ours { manifest: Box::new(manifest()), trailer: trailer(Digest::Verified), frames: 149 };
        let inspected = |inside| Inspected { visible: visible(), inside };
        let told = [
            InfoReport::inspected(inspected(None), path),
            InfoReport::inspected(inspected(Some(ours)), path),
            InfoReport::inspected(
                inspected(Some(Inside::Foreign(Foreign { armored: true, zstd: true }))),
                path,
            ),
            InfoReport::opened(foreign(true), None),
            InfoReport::seen(Visible { description: None, ..visible() }, None),
        ];
        insta::assert_snapshot!(told.iter().map(both).collect::<String>());
    }

    #[test]
    fn keygen_and_plans_are_told() {
        let key = both(&KeygenReport::new("age1x".to_owned(), published("key.txt", None)));
        let recipients = vec!["age1x".to_owned(), "age1y".to_owned()];
        let plan =
            Plan::new("save", "a snapshot of a:2379".to_owned(), "a new file in /b".to_owned(), recipients);
        insta::assert_snapshot!(key + &both(&plan));
    }

    #[test]
    fn failures_are_told_with_the_way_out() {
        let cause = io::Error::other("the disk\u{1b}[31m burns");
        let error = Error::new(Kind::PayloadDamaged, "x.age: bytes 100 to 200 are damaged")
            .with_damaged(100..200)
            .with_source(cause);
        let json = json_line(&Failure::new(&error, Exit::Damaged, Some(Path::new("x.age"))));
        let told = failure_text(&error, false) + &failure_text(&error, true) + &json;
        insta::assert_snapshot!(told);
    }

    #[test]
    fn json_keeps_values_and_hides_tricks() {
        let text = "a\u{7f}\u{9b}\u{202e}\n\u{1b}é\u{e0001}";
        let line = json_line(&text);
        assert!(!line.contains(is_tricky) && line.contains("\\udb40\\udc01"), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (624_459_808, "595.5 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(exact_size(12), "12 bytes");
        assert_eq!(exact_size(2048), "2048 bytes (2.0 KiB)");
        assert_eq!(seconds(61_987), "61.9 s");
    }
}
