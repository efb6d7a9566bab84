//! The one error type: what went wrong, where, and the way out.
//!
//! A [`Kind`] names a situation an operator can be in, not a place in the code. Each kind carries a
//! default [hint](Kind::hint); a site that knows better replaces it with [`Error::with_hint`]. The
//! program maps kinds to exit codes in one table of its own; the library knows nothing of them.

use rustix::io::Errno;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The situation an [`Error`] describes.
///
/// The names are promises: the program prints them, in `snake_case`, as `kind` in its JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Flags, environment or arguments that make no sense together.
    Usage,
    /// `save` was given nobody to encrypt to.
    NoRecipient,
    /// A recipient that cannot be parsed or used.
    Recipient,
    /// An identity that cannot be parsed or used.
    Identity,
    /// The file to be written exists already.
    DestinationExists,
    /// A destination that cannot be written to as named: no such directory, no `.age`, a terminal.
    Destination,
    /// Something has to be asked and there is no terminal to ask on.
    NoTerminal,
    /// A local file could not be read or written.
    Io,
    /// The disk, quota or file size limit is exhausted.
    NoSpace,
    /// An age plugin is missing or failed.
    Plugin,
    /// There is no etcd to drill with.
    NoEtcd,
    /// The etcd to drill with does not start, does not serve in time, or did not go on running.
    EtcdNotRunning,
    /// The archive is published, but its sidecar or the directory entry is not known to be durable.
    PartlyPublished,
    /// There is no such archive, snapshot or key file.
    NotFound,
    /// No identity or passphrase opened the archive.
    NoMatchingIdentity,
    /// Not an age file at all.
    NotAnArchive,
    /// The age header is malformed, too large, or its MAC is wrong.
    HeaderDamaged,
    /// A chunk of the age payload is damaged, missing, or out of place.
    PayloadDamaged,
    /// The decrypted layers inside are not a version 1 archive, or contradict each other.
    StructureDamaged,
    /// The archive differs from the digest in the sidecar beside it.
    SidecarMismatch,
    /// The sidecar itself cannot be read as one.
    SidecarMalformed,
    /// The bytes are not an etcd snapshot.
    NotASnapshot,
    /// The snapshot is shorter or longer than its own first page says.
    SnapshotLength,
    /// The snapshot does not match etcd's digest at its end.
    DigestMismatch,
    /// The snapshot carries no digest of etcd's and that was not allowed.
    DigestAbsent,
    /// The database inside contradicts itself, as bbolt or etcd would never write it.
    DatabaseDamaged,
    /// What an archive says of its snapshot is not what the database in it says.
    ContentsMismatch,
    /// A real etcd, started on what the archive held, does not serve what the archive says, or breaks on it.
    DrillFailed,
    /// The archive was written by a newer format than this program knows.
    FormatNewer,
    /// No endpoint could be reached.
    EtcdUnreachable,
    /// TLS with etcd failed.
    EtcdTls,
    /// etcd refused the user, password or client certificate, or the user lacks the root role.
    EtcdAuthentication,
    /// etcd did not answer within a time limit.
    EtcdTimeout,
    /// The snapshot stream stood still.
    EtcdStalled,
    /// The snapshot stream ended early or broke.
    EtcdIncomplete,
    /// The snapshot stream contradicts itself, its length or its digest.
    EtcdBadSnapshot,
    /// Any other error answered by etcd.
    EtcdFault,
    /// A signal asked the program to stop.
    Interrupted,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: &'static [Self] = &[
        Self::Usage,
        Self::NoRecipient,
        Self::Recipient,
        Self::Identity,
        Self::DestinationExists,
        Self::Destination,
        Self::NoTerminal,
        Self::Io,
        Self::NoSpace,
        Self::Plugin,
        Self::NoEtcd,
        Self::EtcdNotRunning,
        Self::PartlyPublished,
        Self::NotFound,
        Self::NoMatchingIdentity,
        Self::NotAnArchive,
        Self::HeaderDamaged,
        Self::PayloadDamaged,
        Self::StructureDamaged,
        Self::SidecarMismatch,
        Self::SidecarMalformed,
        Self::NotASnapshot,
        Self::SnapshotLength,
        Self::DigestMismatch,
        Self::DigestAbsent,
        Self::DatabaseDamaged,
        Self::ContentsMismatch,
        Self::DrillFailed,
        Self::FormatNewer,
        Self::EtcdUnreachable,
        Self::EtcdTls,
        Self::EtcdAuthentication,
        Self::EtcdTimeout,
        Self::EtcdStalled,
        Self::EtcdIncomplete,
        Self::EtcdBadSnapshot,
        Self::EtcdFault,
        Self::Interrupted,
    ];

    /// The name as it appears in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::NoRecipient => "no_recipient",
            Self::Recipient => "recipient",
            Self::Identity => "identity",
            Self::DestinationExists => "destination_exists",
            Self::Destination => "destination",
            Self::NoTerminal => "no_terminal",
            Self::Io => "io",
            Self::NoSpace => "no_space",
            Self::Plugin => "plugin",
            Self::NoEtcd => "no_etcd",
            Self::EtcdNotRunning => "etcd_not_running",
            Self::PartlyPublished => "partly_published",
            Self::NotFound => "not_found",
            Self::NoMatchingIdentity => "no_matching_identity",
            Self::NotAnArchive => "not_an_archive",
            Self::HeaderDamaged => "header_damaged",
            Self::PayloadDamaged => "payload_damaged",
            Self::StructureDamaged => "structure_damaged",
            Self::SidecarMismatch => "sidecar_mismatch",
            Self::SidecarMalformed => "sidecar_malformed",
            Self::NotASnapshot => "not_a_snapshot",
            Self::SnapshotLength => "snapshot_length",
            Self::DigestMismatch => "digest_mismatch",
            Self::DigestAbsent => "digest_absent",
            Self::DatabaseDamaged => "database_damaged",
            Self::ContentsMismatch => "contents_mismatch",
            Self::DrillFailed => "drill_failed",
            Self::FormatNewer => "format_newer",
            Self::EtcdUnreachable => "etcd_unreachable",
            Self::EtcdTls => "etcd_tls",
            Self::EtcdAuthentication => "etcd_authentication",
            Self::EtcdTimeout => "etcd_timeout",
            Self::EtcdStalled => "etcd_stalled",
            Self::EtcdIncomplete => "etcd_incomplete",
            Self::EtcdBadSnapshot => "etcd_bad_snapshot",
            Self::EtcdFault => "etcd_fault",
            Self::Interrupted => "interrupted",
        }
    }

    /// The way out that fits most errors of this kind.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Usage => "see etcd-seal --help for the flags of each command",
            Self::NoRecipient => {
                "make a key with `etcd-seal keygen -o key.txt`, keep that file away from this host, \
                 and pass the age1… line it prints with -r"
            }
            Self::Recipient => {
                "a recipient is an age1… string, an ssh-ed25519 or ssh-rsa public key line, or with -R a file of them"
            }
            Self::Identity => {
                "an identity file holds AGE-SECRET-KEY-1… lines, is such a file encrypted with a passphrase, \
                 or is an ssh private key"
            }
            Self::DestinationExists => "pass --force to replace it, or name another file",
            Self::Destination => {
                "name an existing directory (is it mounted?), a file ending in .age in one, or - for standard output"
            }
            Self::NoTerminal => {
                "run it from a terminal, or put the passphrase in a file named by ETCD_SEAL_PASSPHRASE_FILE"
            }
            Self::Io => "check that the path exists, its permissions and the health of its disk",
            Self::NoSpace => "free some space, or name a destination on another filesystem",
            Self::Plugin => "check that the age-plugin-… program is on PATH and works with age itself",
            Self::NoEtcd => {
                "install one (on Debian and Ubuntu: apt install etcd-server), or name one with --etcd"
            }
            Self::EtcdNotRunning => {
                "this says nothing against the archive: look at what etcd says, try another with --etcd, more time with \
                 --timeout, or another place with --scratch"
            }
            Self::PartlyPublished => {
                "the archive itself is complete; check the disk, then `etcd-seal verify` it with its identity"
            }
            Self::NotFound => "check the path; is its filesystem mounted?",
            Self::NoMatchingIdentity => {
                "`etcd-seal info` shows the types of its recipients; damage to the header can look the same, \
                 so compare another copy of the file"
            }
            Self::NotAnArchive => {
                "an archive of etcd-seal is an age file; for a plain snapshot use `etcd-seal save --from`"
            }
            Self::HeaderDamaged | Self::PayloadDamaged | Self::StructureDamaged | Self::SidecarMismatch => {
                "do not restore from this file; fetch another copy of it or use another archive"
            }
            Self::SidecarMalformed => {
                "a sidecar is one line as sha256sum prints it; remove it and verify with an identity instead"
            }
            Self::NotASnapshot => {
                "expected what `etcdctl snapshot save` writes: a bbolt database followed by its SHA-256"
            }
            Self::SnapshotLength => {
                "the snapshot was cut short or appended to; take it again or use another copy"
            }
            Self::DigestMismatch => {
                "the snapshot changed after etcd wrote it; take it again or use another copy"
            }
            Self::DigestAbsent => {
                "if this is a copy of a member's db file made while etcd was stopped, \
                 pass --allow-missing-digest; the result will say so"
            }
            Self::DatabaseDamaged => {
                "etcd would not start on it, or lose data: use another archive; the member it came from needs a look, too"
            }
            Self::ContentsMismatch => {
                "do not restore from this file: it was sealed of another member, or of older data, than it says; \
                 use another archive, and look at what stands between the members and the host that made this one"
            }
            Self::DrillFailed => {
                "do not rely on this archive: drill the one before it, and this one with another etcd (--etcd) to know which is \
                 at fault; the member it came from needs a look, too"
            }
            Self::FormatNewer => "use a newer etcd-seal, or open it with stock age and zstd",
            Self::EtcdUnreachable => "check --endpoints, that etcd is running there, and the network between",
            Self::EtcdTls => {
                "check --cacert, --cert and --key, and that the endpoint's scheme is the one it serves"
            }
            Self::EtcdAuthentication => {
                "a snapshot needs a user with the root role: pass --user name[:password], or a client certificate"
            }
            Self::EtcdTimeout => {
                "raise --command-timeout or --dial-timeout, or name another member with --endpoints"
            }
            Self::EtcdStalled => {
                "look at the member's load and disk, raise --stall-timeout, or name another member"
            }
            Self::EtcdIncomplete => {
                "look at the member's log and try again, or name another member with --endpoints"
            }
            Self::EtcdBadSnapshot => {
                "the member or something between it and this host is at fault; look at its log and name another member"
            }
            Self::EtcdFault => "look at the member's log, or name another member with --endpoints",
            Self::Interrupted => "nothing was published; run it again",
        }
    }
}

/// The way out when the file, and not the disk, is full.
const FILE_TOO_LARGE: &str = "raise the file size limit of this process (ulimit -f, LimitFSIZE= of systemd), or name a destination on a \
     filesystem that takes larger files";

/// The way out when no file can be opened any more.
const TOO_MANY_FILES: &str =
    "raise the limit of open files of this process (ulimit -n, LimitNOFILE= of systemd)";

/// The way out when there is no memory for something, or for a thread.
const TOO_LITTLE_MEMORY: &str = "raise the limits of this process (ulimit -u and -v, TasksMax= and MemoryMax= of systemd), or free some memory; \
     --jobs 1 needs less";

/// The way out when a limit of this process, and not the host, is exhausted.
fn limit_hint(action: &str, source: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind;
    match (source.kind(), Errno::from_io_error(source)) {
        (ErrorKind::FileTooLarge, _) => Some(FILE_TOO_LARGE),
        (_, Some(Errno::MFILE | Errno::NFILE)) => Some(TOO_MANY_FILES),
        (ErrorKind::OutOfMemory, _) => Some(TOO_LITTLE_MEMORY),
        // What is started here are threads.
        (_, Some(Errno::AGAIN)) if action == "start" => Some(TOO_LITTLE_MEMORY),
        _ => None,
    }
}

/// What went wrong, in the words of the operator: kind, sentence, way out, cause.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    damaged: Option<Range<u64>>,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync + 'static>>,
}

impl Error {
    /// An error of `kind`. The message is lower case, has no full stop, and names the file, endpoint or flag.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, damaged: None, source: None }
    }

    /// A local I/O error on `what` (a path or stream), with [`Kind`] chosen from the operating system's code.
    pub fn io(action: &str, what: impl fmt::Display, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let kind = match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Kind::NoSpace,
            _ => Kind::Io,
        };
        let hint = limit_hint(action, &source);
        let error = Self::new(kind, format!("cannot {action} {what}: {source}")).with_source(source);
        hint.into_iter().fold(error, Self::with_hint)
    }

    /// Replaces the default hint of the kind.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause, shown under `-v`.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync + 'static>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the byte range of the archive file that is the first known to be damaged.
    #[must_use]
    pub fn with_damaged(mut self, range: Range<u64>) -> Self {
        self.damaged = Some(range);
        self
    }

    /// Puts what was being worked on, such as a file name, before the message.
    #[must_use]
    pub fn within(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Turns the error into one of another kind, keeping message and cause; the hint becomes the new kind's.
    #[must_use]
    pub fn into_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self.hint = None;
        self
    }

    /// The same error once more, without its cause, for somebody else who has to know.
    pub(crate) fn repeat(&self) -> Self {
        Self {
            kind: self.kind,
            message: self.message.clone(),
            hint: self.hint.clone(),
            damaged: self.damaged.clone(),
            source: None,
        }
    }

    /// The situation.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The way out.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.hint.as_deref().unwrap_or_else(|| self.kind.hint())
    }

    /// The first byte range of the archive file known to be damaged, where one is.
    #[must_use]
    pub fn damaged(&self) -> Option<Range<u64>> {
        self.damaged.clone()
    }
}
