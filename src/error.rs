//! The one error type: what went wrong, where, and what to do about it.
//!
//! A [`Kind`] names a situation of the operator, not a place in the code. Each kind has a default [hint](Kind::hint); code
//! that has a better one sets it with [`Error::with_hint`]. Messages and hints call an option of the library by its name in
//! backticks, such as `` `stall_timeout` ``; the program shows the flag instead. The program maps kinds to exit codes in a table of its own; the
//! library knows no exit codes.

use rustix::io::Errno;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is at fault where an [`Error`] occurs, and so what has to change before it goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The caller: its options, its keys, or a request to stop.
    Caller,
    /// This host: its disks, limits, programs.
    Host,
    /// The archive that was read, or its sidecar.
    Archive,
    /// The snapshot that was read, in an archive or not.
    Snapshot,
    /// The member of etcd, or what stands between it and this host.
    Etcd,
}

/// What an [`Error`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// A file or directory.
    File(PathBuf),
    /// An endpoint of etcd, as the caller named it.
    Endpoint(String),
    /// A stream, such as standard input.
    Stream(String),
}

impl From<&Path> for Subject {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(formatter),
            Self::Endpoint(name) | Self::Stream(name) => formatter.write_str(name),
        }
    }
}

/// Declares every kind once: its documentation, its name in JSON, what it blames, and its default hint.
macro_rules! kinds {
    ($($(#[$documentation:meta])* $kind:ident $name:literal $blame:ident => $hint:expr;)*) => {
        /// The situation an [`Error`] describes.
        ///
        /// The names are stable: the program prints them, in `snake_case`, as `kind` in its JSON.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$documentation])* $kind,)*
        }

        impl Kind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The name in JSON.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// What is at fault.
            #[must_use]
            pub fn blame(self) -> Blame {
                match self {
                    $(Self::$kind => Blame::$blame,)*
                }
            }

            /// The default hint.
            #[must_use]
            pub fn hint(self) -> &'static str {
                match self {
                    $(Self::$kind => $hint,)*
                }
            }
        }
    };
}

/// The hint for a damaged archive.
const ANOTHER_COPY: &str = "do not restore from this file; fetch another copy of it or use another archive";

kinds! {
    /// Flags, environment or arguments that are invalid or contradict each other.
    Usage "usage" Caller => "look at the options of the command in its help";
    /// `save` was given no recipient.
    NoRecipient "no_recipient" Caller =>
        "make a key with etcd-seal keygen or age-keygen, keep that file away from this host, \
         and pass the age1… line it prints as `recipient`";
    /// A recipient that cannot be parsed or used.
    Recipient "recipient" Caller =>
        "a recipient is an age1… string, an ssh-ed25519 or ssh-rsa public key line, or with `recipients_file` a file of them";
    /// An identity that cannot be parsed or used.
    Identity "identity" Caller =>
        "an identity file holds AGE-SECRET-KEY-1… lines, is such a file encrypted with a passphrase, \
         or is an ssh private key";
    /// The output file exists already.
    DestinationExists "destination_exists" Caller => "pass `force` to replace it, or name another file";
    /// A destination that cannot be written: no such directory, no `.age`, a terminal.
    Destination "destination" Caller =>
        "name an existing directory (is it mounted?), a file ending in .age in one, or - for standard output";
    /// A question without a terminal to ask it on.
    NoTerminal "no_terminal" Caller =>
        "run it from a terminal, or put the passphrase in a file named by ETCD_SEAL_PASSPHRASE_FILE";
    /// A local file could not be read or written.
    Io "io" Host =>
        "check that the path exists, its permissions and the health of its disk";
    /// The disk, quota or file size limit is exhausted.
    NoSpace "no_space" Host => "free some space, or name a destination on another filesystem";
    /// An age plugin is missing or failed.
    Plugin "plugin" Host =>
        "check that the age-plugin-… program is on PATH and works with age itself";
    /// There is no etcd to start.
    NoEtcd "no_etcd" Host =>
        "install one (on Debian and Ubuntu: apt install etcd-server), or name one with `etcd`";
    /// A private etcd does not start, does not serve in time, or ended.
    EtcdNotRunning "etcd_not_running" Host =>
        "this says nothing against the archive: look at what etcd says, try another with `etcd`, more time with \
         `timeout`, or another place with `scratch`";
    /// The archive is published, but its sidecar or the directory entry is not known to be durable.
    PartlyPublished "partly_published" Host =>
        "the archive itself is complete; check the disk, then `etcd-seal verify` it with its identity";
    /// There is no such archive, snapshot or key file.
    NotFound "not_found" Caller => "check the path; is its filesystem mounted?";
    /// No identity or passphrase opened the archive.
    NoMatchingIdentity "no_matching_identity" Caller =>
        "pass every identity there is, each with an `identity` of its own; `etcd-seal info` shows the types of its recipients; \
         damage to the header can look the same, so compare another copy of the file";
    /// The file is no age file.
    NotAnArchive "not_an_archive" Archive =>
        "an archive of etcd-seal is an age file; seal a plain snapshot first, with etcd-seal save";
    /// The age header is malformed, too large, or its MAC is wrong.
    HeaderDamaged "header_damaged" Archive => ANOTHER_COPY;
    /// A chunk of the age payload is damaged, missing, or out of place.
    PayloadDamaged "payload_damaged" Archive => ANOTHER_COPY;
    /// The decrypted layers are no version 1 archive, or contradict each other.
    StructureDamaged "structure_damaged" Archive => ANOTHER_COPY;
    /// The archive differs from the digest in the sidecar beside it.
    SidecarMismatch "sidecar_mismatch" Archive => ANOTHER_COPY;
    /// The sidecar is malformed.
    SidecarMalformed "sidecar_malformed" Archive =>
        "a sidecar is one line as sha256sum prints it; remove it and verify with an identity instead";
    /// The bytes are not an etcd snapshot.
    NotASnapshot "not_a_snapshot" Snapshot =>
        "expected what `etcdctl snapshot save` writes: a bbolt database followed by its SHA-256";
    /// The snapshot is shorter or longer than its own first page says.
    SnapshotLength "snapshot_length" Snapshot =>
        "the snapshot was cut short; take it again or use another copy";
    /// The snapshot does not match etcd's digest at its end.
    DigestMismatch "digest_mismatch" Snapshot =>
        "the snapshot changed after etcd wrote it; take it again or use another copy";
    /// The snapshot has no etcd digest, which was not allowed.
    DigestAbsent "digest_absent" Snapshot =>
        "if this is a copy of a member's db file made while etcd was stopped, \
         pass `allow_missing_digest`; the result will say so";
    /// The database contradicts itself, in a way that bbolt and etcd never write.
    DatabaseDamaged "database_damaged" Snapshot =>
        "etcd would not start on it, or lose data: use another archive; the member it came from needs a look, too";
    /// The archive's description of its snapshot contradicts the database in it.
    ContentsMismatch "contents_mismatch" Archive =>
        "do not restore from this file: it was sealed of another member, or of older data, than it says; \
         use another archive, and look at what stands between the members and the host that made this one";
    /// A real etcd, started on the archive's data, does not serve what the archive says, or fails on it.
    DrillFailed "drill_failed" Archive =>
        "do not rely on this archive: drill the one before it, and this one with another etcd (`etcd`) to know which is \
         at fault; the member it came from needs a look, too";
    /// The archive has a newer format than this program knows.
    FormatNewer "format_newer" Archive => "use a newer etcd-seal, or open it with stock age and zstd";
    /// No endpoint could be reached.
    EtcdUnreachable "etcd_unreachable" Etcd =>
        "check `endpoints`, that etcd is running there, and the network between";
    /// TLS with etcd failed.
    EtcdTls "etcd_tls" Etcd =>
        "check `cacert`, `cert` and `key`, and that the endpoint's scheme is the one it serves";
    /// etcd refused the user, password or client certificate, or the user lacks the root role.
    EtcdAuthentication "etcd_authentication" Etcd =>
        "a snapshot needs a user with the root role: pass `user` name[:password], or a client certificate";
    /// etcd did not answer within a time limit.
    EtcdTimeout "etcd_timeout" Etcd =>
        "raise `command_timeout` or `dial_timeout`, or name another member with `endpoints`";
    /// The snapshot stream stalled.
    EtcdStalled "etcd_stalled" Etcd =>
        "look at the member's load and disk, raise `stall_timeout`, or name another member";
    /// The snapshot stream ended early or broke.
    EtcdIncomplete "etcd_incomplete" Etcd =>
        "look at the member's log and try again, or name another member with `endpoints`";
    /// The snapshot stream contradicts itself, its length or its digest.
    EtcdBadSnapshot "etcd_bad_snapshot" Etcd =>
        "the member or something between it and this host is at fault; look at its log and name another member";
    /// Any other error that etcd returned.
    EtcdFault "etcd_fault" Etcd => "look at the member's log, or name another member with `endpoints`";
    /// A signal asked the program to stop.
    Interrupted "interrupted" Caller => "nothing was published; run it again";
}

/// The hint when the limit on file size, and not the disk, is exhausted.
const FILE_TOO_LARGE: &str = "raise the file size limit of this process (ulimit -f, LimitFSIZE= of systemd), or name a destination on a \
     filesystem that takes larger files";

/// The hint when the process can open no more files.
const TOO_MANY_FILES: &str =
    "raise the limit of open files of this process (ulimit -n, LimitNOFILE= of systemd)";

/// The hint when there is no memory, or no room for another thread.
const TOO_LITTLE_MEMORY: &str = "raise the limits of this process (ulimit -u and -v, TasksMax= and MemoryMax= of systemd), or free some memory; \
     `jobs` 1 needs less";

/// The hint where the user of this process lacks a permission.
const NOT_ALLOWED: &str =
    "this user may not: run it as one who may, for example with sudo, or change its owner or mode";

/// The hint when a limit of this process, and not the host, is exhausted, or a permission is missing.
fn limit_hint(action: &str, source: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind;
    match (source.kind(), Errno::from_io_error(source)) {
        (ErrorKind::FileTooLarge, _) => Some(FILE_TOO_LARGE),
        (_, Some(Errno::MFILE | Errno::NFILE)) => Some(TOO_MANY_FILES),
        (ErrorKind::OutOfMemory, _) => Some(TOO_LITTLE_MEMORY),
        (_, Some(Errno::ACCESS)) => Some(NOT_ALLOWED),
        // Only threads are started.
        (_, Some(Errno::AGAIN)) if action == "start" => Some(TOO_LITTLE_MEMORY),
        _ => None,
    }
}

/// An error for the operator: kind, message, hint, cause.
///
/// `Debug` shows all of that on lines of their own, because that is what a `main` that returns a [`Result`] prints.
pub struct Error(Box<Parts>);

struct Parts {
    kind: Kind,
    subject: Option<Subject>,
    /// Whether the subject is shown before the message; otherwise the message names it.
    introduced: bool,
    message: String,
    hint: Option<String>,
    damaged: Option<Range<u64>>,
    source: Option<Box<dyn StdError + Send + Sync + 'static>>,
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subject.as_ref().filter(|_| self.0.introduced) {
            Some(subject) => write!(formatter, "{subject}: {}", self.0.message),
            None => formatter.write_str(&self.0.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self} ({})\nhint: {}", self.0.kind.name(), self.hint())?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(formatter, "\ncause: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Error {
    /// An error of `kind`. The message is lower case, has no full stop, and names the file, endpoint or flag.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Parts {
            kind,
            subject: None,
            introduced: false,
            message,
            hint: None,
            damaged: None,
            source: None,
        }))
    }

    /// A local I/O error on `what` (a path or stream), with the [`Kind`] of the operating system's error code.
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
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the cause, shown under `-v`.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync + 'static>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the first byte range of the archive file that is known to be damaged.
    #[must_use]
    pub fn with_damaged(mut self, range: Range<u64>) -> Self {
        self.0.damaged = Some(range);
        self
    }

    /// Names the subject before the message, unless the error has a subject already: the code closest to the fault knows
    /// it best.
    #[must_use]
    pub fn about(mut self, subject: impl Into<Subject>) -> Self {
        if self.0.subject.is_none() {
            self.0.subject = Some(subject.into());
            self.0.introduced = true;
        }
        self
    }

    /// Records the subject of an error whose message names it.
    #[must_use]
    pub fn naming(mut self, subject: impl Into<Subject>) -> Self {
        self.0.subject.get_or_insert_with(|| subject.into());
        self
    }

    /// Puts the part of the subject, such as a bucket, or the step of the work before the message.
    #[must_use]
    pub fn within(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// Changes the kind, and with it the hint; keeps message and cause.
    #[must_use]
    pub fn into_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self.0.hint = None;
        self
    }

    /// A copy without the cause, for another thread that reports the same error.
    pub(crate) fn repeat(&self) -> Self {
        Self(Box::new(Parts {
            kind: self.0.kind,
            subject: self.0.subject.clone(),
            introduced: self.0.introduced,
            message: self.0.message.clone(),
            hint: self.0.hint.clone(),
            damaged: self.0.damaged.clone(),
            source: None,
        }))
    }

    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What is at fault.
    #[must_use]
    pub fn blame(&self) -> Blame {
        self.0.kind.blame()
    }

    /// What the error is about, where that is known.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        self.0.subject.as_ref()
    }

    /// The hint of this very error, if it has one that is better than that of its kind.
    #[must_use]
    pub fn own_hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The hint: what to do about the error.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.0.hint.as_deref().unwrap_or_else(|| self.0.kind.hint())
    }

    /// The first byte range of the archive file that is known to be damaged, if any.
    #[must_use]
    pub fn damaged(&self) -> Option<Range<u64>> {
        self.0.damaged.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_main_that_fails_shows_the_way_out() {
        let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = Error::new(Kind::NotFound, "there is no x.age").with_source(cause);
        let expected = "there is no x.age (not_found)\n\
                        hint: check the path; is its filesystem mounted?\n\
                        cause: entity not found";
        assert_eq!(format!("{error:?}"), expected);
    }

    #[test]
    fn the_first_subject_counts_and_is_shown_once() {
        let error = || Error::new(Kind::Io, "cannot read it");
        let file = Subject::File("a.age".into());
        let about = error().about(Path::new("a.age")).about(Path::new("b.age"));
        assert_eq!((about.subject(), about.to_string().as_str()), (Some(&file), "a.age: cannot read it"));
        let named = error().naming(Path::new("a.age")).about(Path::new("b.age"));
        assert_eq!((named.subject(), named.to_string().as_str()), (Some(&file), "cannot read it"));
        assert_eq!(about.repeat().to_string(), about.to_string());
    }
}
