//! What can be written on the command line, and nothing about what it means: that is [`super::settings`].
//!
//! Help, manual pages and completions all come from here.
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help, and a terminal shows backticks as they are"
)]

use super::settings::environment::{self, Environment};
use super::settings::values::{
    DEFAULT_FRAME_SIZE, parse_bool, parse_duration, parse_etcd_version, parse_frame_size, parse_min_rate,
    parse_rate,
};
use super::{exit, report};
use crate::database::member::{DEFAULT_NAME, DEFAULT_PEER_URL, DEFAULT_TOKEN};
use crate::error::{Error, Kind};
use crate::keys::{DEFAULT_MAX_WORK_FACTOR, HIGHEST_WORK_FACTOR};
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use secrecy::SecretString;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Encrypted, verified etcd backups in one stream, and the restore that goes with them
///
/// Takes a snapshot of a live etcd and turns it, in one pass, into one encrypted, verified, self-describing
/// file, and brings that file back. The file is a standard age file of a standard zstd stream: stock age and
/// zstd open it too. On a bad day, etcd-seal recovery prints the way from such a file to a running etcd.
#[derive(Debug, Parser)]
#[command(name = "etcd-seal", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How to tell about it.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// How to tell about it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArguments {
    /// Hide success, never warnings: print no result when all went well, but what was asked for: info, a recipient, JSON
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more: decisions, retries, the causes of errors
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Print the result, or the failure, as JSON: one object on one line for each archive
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Seal a snapshot of a live etcd, or an existing snapshot
    ///
    /// Asks one member for a snapshot, checks every byte of it as it streams by, and writes one encrypted
    /// archive. No plaintext touches a disk. The archive appears under its final name only after etcd's own
    /// SHA-256 of the snapshot matched and everything was synced; any other end leaves nothing behind. With - a
    /// non-zero exit status means that the bytes on standard output must be thrown away; stock age refuses them.
    Save(Box<SaveArguments>),
    /// Show what an archive says of itself
    ///
    /// Without a key: the public description, the types of the recipients and the sizes, none of it
    /// authenticated. With a key: the manifest and the trailer too, as they were sealed. That an archive opens does
    /// not prove who sealed it: archives are not signed, and every user with a recipient can seal one. So the JSON says
    /// "opened": true, "sealed_by": "unknown", and never "authenticated": true. An archive in a file is not read as
    /// a whole: etcd-seal verify does that.
    Info(InfoArguments),
    /// Prove that archives are whole
    ///
    /// Without a key: the SHA-256 in the sidecar beside each archive, and its structure as far as it can be
    /// seen; without a sidecar only the structure, and the exit status is 3. With a key: every chunk, every
    /// frame, the seek table, the lengths and etcd's own digest, in memory: that the archive is whole, not who sealed
    /// it, for archives are not signed. All archives are tried; the worst exit status counts.
    Verify(VerifyArguments),
    /// Bring an archive back: the snapshot, a member, or a whole cluster
    ///
    /// With -o the snapshot, byte for byte what etcdctl snapshot save would have written. With --data-dir the
    /// directory of a member that etcd starts from, with the flags of etcdutl snapshot restore and without needing
    /// that. With --output-dir those of all members at once. Everything is written under a temporary name, verified
    /// on the way, and gets its name by a rename only when everything proved right. With -o - the bytes leave before
    /// they are proved: a non-zero exit status means that they must be thrown away.
    Restore(Box<RestoreArguments>),
    /// Prove an archive: restore it, and let a real etcd serve it
    ///
    /// Restores into a private scratch directory, starts the etcd of this host on it, and compares what that serves with
    /// what the data say: HashKV at the revision of the archive, the number of keys, leases, users and roles, the members.
    /// Then it puts, deletes, compacts and defragments, saves and verifies that member with etcd-seal itself, and starts it
    /// once more. The verdict tells the measured time to recovery. Nothing that runs is touched: the members listen on
    /// sockets inside the scratch directory, where no other process can reach them: etcd's own authentication, if it is on in the
    /// data, is turned off in this copy. However it ends, it stops them and removes the directory.
    Drill(Box<DrillArguments>),
    /// Make an age identity
    ///
    /// Writes it as age-keygen does and prints its recipient: on standard output, or on standard error when the
    /// identity itself goes to standard output. Keep the identity away from the hosts that make backups: they
    /// need the recipient only.
    Keygen(KeygenArguments),
    /// Print the way from an archive to a running etcd, step by step
    ///
    /// That is the manual page etcd-seal-recovery(7), which is part of the program: on the host that has to be brought back
    /// the pages may not be installed.
    Recovery,
    /// Print the version
    Version,
    /// Generate manual pages or completions
    #[command(hide = true)]
    Generate(GenerateArguments),
    /// Become a program that ends with its parent
    #[command(hide = true)]
    Tether(TetherArguments),
}

/// The words of `save`.
#[derive(Debug, Args)]
pub(crate) struct SaveArguments {
    /// Where to write the archive: an existing directory, a new file ending in .age, or - for standard output
    /// [env: ETCD_SEAL_DESTINATION]
    ///
    /// In a directory the archive gets the name CLUSTER-TIME-rREVISION.db.zst.age, and its SHA-256 is put beside
    /// it in a file with .sha256 appended. A directory must exist: an unmounted /backups must not become a file.
    #[arg(value_name = "DEST")]
    pub(crate) destination: Option<OsString>,
    /// Replace an existing archive
    #[arg(long)]
    pub(crate) force: bool,
    /// Parse and check everything, print the plan, ask for nothing and touch nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Seal this existing snapshot, - for standard input, instead of asking etcd
    #[arg(long, value_name = "FILE", conflicts_with_all = CONNECTION_FLAGS)]
    pub(crate) from: Option<PathBuf>,
    /// With --from: accept a snapshot without etcd's digest, such as a copy of a member's db file
    ///
    /// The archive and the result say so, and the exit status is 3. A digest that is there and wrong is never
    /// accepted.
    #[arg(long, requires = "from")]
    pub(crate) allow_missing_digest: bool,
    /// The recipients.
    #[command(flatten)]
    pub(crate) recipients: RecipientArguments,
    /// How to seal.
    #[command(flatten)]
    pub(crate) seal: SealArguments,
    /// How much of this host to take.
    #[command(flatten)]
    pub(crate) effort: EffortArguments,
    /// How to reach etcd.
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// How to seal.
#[derive(Debug, Args)]
#[command(next_help_heading = "Archive")]
pub(crate) struct SealArguments {
    /// zstd level, from 1 to 19
    #[arg(long, value_name = "LEVEL", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(crate) level: i32,
    /// Snapshot bytes in each independent frame: a multiple of 64KiB up to 16MiB
    ///
    /// Larger frames pack a little better, and take more memory to seal: some frames for each job. To open them takes no
    /// more than others do: frames of more than 4MiB are unpacked by one thread.
    #[arg(long, value_name = "SIZE", default_value = DEFAULT_FRAME_SIZE, value_parser = parse_frame_size)]
    pub(crate) frame_size: u32,
    /// A name for the cluster, in the file name and the public description
    #[arg(long, value_name = "NAME", value_parser = parse_cluster_name)]
    pub(crate) cluster_name: Option<String>,
    /// A tag to record inside the encryption; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// A note to record inside the encryption
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Leave the public description out of the header
    ///
    /// Without it no reader learns cluster, version, time or size of the snapshot without a key; what counts
    /// archives by cluster leaves such an archive alone.
    #[arg(long)]
    pub(crate) no_description: bool,
}

/// How much of this host to take.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Effort")]
pub(crate) struct EffortArguments {
    /// Threads of each parallel stage [default: as many as processors, 4 at most; with --nice 1]
    ///
    /// Each one takes 5 to 10 MiB of memory. The default keeps up with etcd; more are of use to save with a high
    /// --level.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAXIMUM_JOBS))]
    pub(crate) jobs: Option<u16>,
    /// Let all other processes on this host go first, such as the members of a control plane [env: ETCD_SEAL_NICE]
    ///
    /// Runs at the lowest CPU priority (nice 19) and, from which Linux derives it, the lowest best-effort I/O priority,
    /// with one thread for each parallel stage unless --jobs says otherwise. On a busy host it takes longer, and a save
    /// then keeps etcd's read transaction open for longer: etcd cannot reuse the pages it frees meanwhile, and its
    /// database may grow. Priorities count among the processes of one control group: where a unit or a container has
    /// shares of its own, set those.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = parse_bool)]
    pub(crate) nice: Option<bool>,
}

/// The recipients.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipients")]
pub(crate) struct RecipientArguments {
    /// A recipient: age1..., an ssh-ed25519 or ssh-rsa public key; may be repeated [env: ETCD_SEAL_RECIPIENTS]
    ///
    /// A recipient of an age plugin may ask for a touch or a PIN. It does so when sealing begins: while etcd holds
    /// the snapshot stream open.
    #[arg(short = 'r', long = "recipient", value_name = "RECIPIENT")]
    pub(crate) recipients: Vec<String>,
    /// A file of recipients, one on a line, - for standard input; may be repeated
    /// [env: ETCD_SEAL_RECIPIENTS_FILE]
    #[arg(short = 'R', long = "recipients-file", value_name = "FILE")]
    pub(crate) recipients_files: Vec<PathBuf>,
    /// Encrypt to a passphrase, asked for twice or read from the file named by ETCD_SEAL_PASSPHRASE_FILE
    ///
    /// Such an archive has no public description and can have no other recipient: both are rules of age.
    #[arg(short = 'p', long, conflicts_with_all = ["recipients", "recipients_files"])]
    pub(crate) passphrase: bool,
}

/// How to reach etcd: etcdctl's flags.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    /// Members to choose from, separated by commas [default: 127.0.0.1:2379]
    ///
    /// Each is asked for its status; learners and those that cannot be reached are skipped, a follower is
    /// preferred to the leader.
    #[arg(long, value_name = "ENDPOINTS", value_delimiter = ',')]
    pub(crate) endpoints: Vec<String>,
    /// Verify the server's certificate with this CA bundle
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Identify with this TLS client certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of --cert
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// User name and password; the password is asked for when it is left out
    #[arg(long, value_name = "NAME[:PASSWORD]", value_parser = secret)]
    pub(crate) user: Option<SecretString>,
    /// The password of --user; visible to every user of this host while the command runs
    ///
    /// Prefer ETCDCTL_PASSWORD, the prompt, or best a client certificate. When it is given, all of --user is the
    /// user's name.
    #[arg(long, value_name = "PASSWORD", value_parser = secret)]
    pub(crate) password: Option<SecretString>,
    /// Do not verify the server's certificate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = parse_bool)]
    pub(crate) insecure_skip_tls_verify: Option<bool>,
    /// Talk plaintext to endpoints without a scheme when nothing else asks for TLS [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = parse_bool)]
    pub(crate) insecure_transport: Option<bool>,
    /// The longest a connection may take [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) dial_timeout: Option<Duration>,
    /// The longest a call may take [default: 5s]
    ///
    /// The default does not bound the snapshot stream, which --stall-timeout guards; a value that is given bounds
    /// the whole stream too.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) command_timeout: Option<Duration>,
    /// Interval of keepalive pings; below 10s becomes 10s [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) keepalive_time: Option<Duration>,
    /// The longest a keepalive ping may go unanswered [default: 6s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) keepalive_timeout: Option<Duration>,
    /// The longest the snapshot stream may stand still [default: 30s]
    ///
    /// So may the output, which keeps etcd waiting just the same: a pipe that takes not a byte for as long ends the save.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) stall_timeout: Option<Duration>,
    /// The most bytes a second to take from etcd, such as 512KiB or 20MiB: of all it sends, TLS included
    ///
    /// Spares the member's disk and network. But etcd keeps the old pages of its database for as long as the snapshot takes,
    /// so the slower it is, the more a busy database file may grow. To hold etcd back counts as no standstill.
    #[arg(long, value_name = "SIZE", value_parser = parse_rate)]
    pub(crate) limit_rate: Option<u64>,
    /// The fewest bytes a second the member must send, averaged over the stall timeout; 0 for no bound [default: 64KiB]
    ///
    /// Only the time counts in which the member is waited for: not that in which --limit-rate or the output holds it back. A
    /// member that sends a byte now and then never stands still, and would keep the snapshot open for ever.
    #[arg(long, value_name = "SIZE", value_parser = parse_min_rate)]
    pub(crate) min_rate: Option<u64>,
    /// Not supported yet: name the members with --endpoints
    #[arg(short = 'd', long, value_name = "DOMAIN")]
    pub(crate) discovery_srv: Option<String>,
    /// Not supported yet: name the members with --endpoints
    #[arg(long, value_name = "NAME")]
    pub(crate) discovery_srv_name: Option<String>,
    /// Not supported yet: name the members with --endpoints
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = parse_bool)]
    pub(crate) insecure_discovery: Option<bool>,
}

/// Who opens archives.
#[derive(Debug, Args)]
#[command(next_help_heading = "Identities")]
pub(crate) struct IdentityArguments {
    /// An identity file, - for standard input; may be repeated [env: ETCD_SEAL_IDENTITY]
    ///
    /// An age identity file, such a file encrypted with a passphrase, or an ssh private key.
    #[arg(short = 'i', long = "identity", value_name = "FILE", conflicts_with = "passphrase")]
    pub(crate) identities: Vec<PathBuf>,
    /// Open with a passphrase, asked for or read from the file named by ETCD_SEAL_PASSPHRASE_FILE
    #[arg(short = 'p', long)]
    pub(crate) passphrase: bool,
    /// The most work, as a power of two, a passphrase may cost to try
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_WORK_FACTOR,
          value_parser = clap::value_parser!(u8).range(1..=i64::from(HIGHEST_WORK_FACTOR)))]
    pub(crate) max_work_factor: u8,
}

/// The words of `info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    /// Archives to show, - for standard input
    #[arg(value_name = "ARCHIVE", required = true)]
    pub(crate) archives: Vec<PathBuf>,
    /// Who opens them.
    #[command(flatten)]
    pub(crate) identities: IdentityArguments,
}

/// The words of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Archives to verify, - for standard input
    #[arg(value_name = "ARCHIVE", required = true)]
    pub(crate) archives: Vec<PathBuf>,
    /// Who opens them.
    #[command(flatten)]
    pub(crate) identities: IdentityArguments,
    /// How to read them.
    #[command(flatten)]
    pub(crate) opening: OpeningArguments,
}

/// How to read archives to their end.
#[derive(Debug, Args)]
pub(crate) struct OpeningArguments {
    /// Accept a foreign archive whose snapshot has no digest of etcd's; the exit status is then 3
    #[arg(long)]
    pub(crate) allow_missing_digest: bool,
    /// How much of this host to take.
    #[command(flatten)]
    pub(crate) effort: EffortArguments,
}

/// The words of `restore`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("target").required(true).args(["output", "data_dir", "output_dir"])))]
#[command(group(clap::ArgGroup::new("source").required(true).args(["archive", "from_snapshot"])))]
pub(crate) struct RestoreArguments {
    /// The archive, - for standard input
    #[arg(value_name = "ARCHIVE")]
    pub(crate) archive: Option<PathBuf>,
    /// Where to write the snapshot; - is standard output, and then a non-zero exit status means that the bytes
    /// must be thrown away
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) output: Option<OsString>,
    /// Replace an existing file; with --skip-hash-check, restore in spite of what it passes over
    #[arg(long)]
    pub(crate) force: bool,
    /// Check everything that can be checked before the archive is read, print the plan, write nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Which member to make.
    #[command(flatten)]
    pub(crate) member: MemberArguments,
    /// Who opens it.
    #[command(flatten)]
    pub(crate) identities: IdentityArguments,
    /// How to read it.
    #[command(flatten)]
    pub(crate) opening: OpeningArguments,
}

/// Which member to make, in etcdutl's words.
#[derive(Debug, Args)]
#[command(next_help_heading = "Member")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct MemberArguments {
    /// Make the directory of a member that etcd 3.4 to 3.7 starts from: an absent or empty one, or a mount point
    ///
    /// What is published, as the last step, is DIR/member.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where the member's log goes, if apart: an absent or empty directory
    #[arg(long, value_name = "DIR", requires = "data_dir")]
    pub(crate) wal_dir: Option<PathBuf>,
    /// The member's name
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    pub(crate) name: String,
    /// All members of the new cluster, NAME=URL,NAME=URL,…
    #[arg(long, value_name = "MEMBERS", default_value_t = format!("{DEFAULT_NAME}={DEFAULT_PEER_URL}"))]
    pub(crate) initial_cluster: String,
    /// A token of the new cluster
    #[arg(long, value_name = "TOKEN", default_value = DEFAULT_TOKEN)]
    pub(crate) initial_cluster_token: String,
    /// The member's peer URLs, comma separated
    #[arg(long, value_name = "URLS", default_value = DEFAULT_PEER_URL)]
    pub(crate) initial_advertise_peer_urls: String,
    /// Make the directories of all members at once, each with instructions, in a new directory
    #[arg(long, value_name = "DIR", requires = "cluster_plan")]
    pub(crate) output_dir: Option<PathBuf>,
    /// With --output-dir: all members, NAME=URL,NAME=URL,…
    #[arg(long, value_name = "MEMBERS", requires = "output_dir", conflicts_with_all = ["name", "initial_cluster", "initial_advertise_peer_urls"])]
    pub(crate) cluster_plan: Option<String>,
    /// Raise the newest revision, that of a compaction included, by this much, so that no watcher sees a revision twice
    #[arg(long, value_name = "NUMBER", requires = "mark_compacted", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) bump_revision: Option<i64>,
    /// With --bump-revision: mark everything up to the raised revision as compacted, so that watchers start anew
    #[arg(long, requires = "bump_revision")]
    pub(crate) mark_compacted: bool,
    /// Raise the revision by what suits a Kubernetes cluster, computed from revision and age, and mark it compacted
    ///
    /// It ends above every revision known of the members that are in DIR, or were moved aside there, too.
    #[arg(long, conflicts_with = "bump_revision")]
    pub(crate) kubernetes: bool,
    /// With --kubernetes: how old the snapshot is, where its own time or the clock of this host cannot tell
    ///
    /// A second restore of the same snapshot needs a greater age than the first, by a second at least.
    #[arg(long, value_name = "DURATION", requires = "kubernetes", value_parser = parse_duration)]
    pub(crate) snapshot_age: Option<Duration>,
    /// The version of etcd that will run the member, such as 3.5.30, to warn if the data are newer
    #[arg(long, value_name = "VERSION", value_parser = parse_etcd_version)]
    pub(crate) etcd_version: Option<(u64, u64)>,
    /// Restore from a plain snapshot, as etcdctl snapshot save writes it, in place of an archive
    #[arg(long, value_name = "FILE", conflicts_with_all = ["archive", "output"])]
    pub(crate) from_snapshot: Option<PathBuf>,
    /// With --from-snapshot: accept a missing or wrong digest of etcd's, as that of a copied db file; needs --force
    #[arg(long, requires = "from_snapshot")]
    pub(crate) skip_hash_check: bool,
    /// Move an existing member aside, under a name with the time in it, instead of refusing
    #[arg(long, requires = "data_dir")]
    pub(crate) replace: bool,
    /// Who is to own the member: a user, or user and group, by name or number
    #[arg(long, value_name = "USER[:GROUP]")]
    pub(crate) owner: Option<String>,
}

/// The words of `drill`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["archive", "from_snapshot"])))]
pub(crate) struct DrillArguments {
    /// The archive, - for standard input
    #[arg(value_name = "ARCHIVE")]
    pub(crate) archive: Option<PathBuf>,
    /// Drill a plain snapshot, as etcdctl snapshot save writes it, in place of an archive
    #[arg(long, value_name = "FILE", conflicts_with = "archive")]
    pub(crate) from_snapshot: Option<PathBuf>,
    /// Look for etcd and a place, print the plan, start and write nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// The etcd to start [default: etcd on PATH]
    ///
    /// Best the version that would run on a bad day. Debian has it in the package etcd-server.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) etcd: Option<PathBuf>,
    /// How many members the cluster has, each with a copy of the data: from 1 to 7
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=7))]
    pub(crate) members: u8,
    /// An existing directory to make the private scratch directory in [default: that of TMPDIR, else /var/tmp]
    ///
    /// It holds the data in plaintext as long as the drill takes (mode 0700, never published, always removed), and needs
    /// room for a few copies of them. What a killed drill left there is removed by the next. The time to recovery is that
    /// of its disk: where it is in memory, no disk is measured. A directory that other users can write is refused, unless it is
    /// sticky, as /tmp is.
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// How long etcd may take until it serves
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// Write the outcome, good or bad, for node_exporter's textfile collector: a file ending in .prom
    ///
    /// It is replaced as a whole, and every user may read it. Without a drill that got as far as its archive it stays as it
    /// is: alert on the age of etcd_seal_drill_timestamp_seconds, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,
    /// Who opens it.
    #[command(flatten)]
    pub(crate) identities: IdentityArguments,
    /// How to read it.
    #[command(flatten)]
    pub(crate) opening: OpeningArguments,
}

/// The words of `tether`.
#[derive(Debug, Args)]
pub(crate) struct TetherArguments {
    /// The process it is to end with
    #[arg(value_name = "ID")]
    pub(crate) owner: i32,
    /// Become the program instead of watching it
    #[arg(long)]
    pub(crate) directly: bool,
    /// The program and its words
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<OsString>,
}

/// The words of `keygen`.
#[derive(Debug, Args)]
pub(crate) struct KeygenArguments {
    /// Where to write the identity, for you alone to read (mode 0600); never replaced; - for standard output
    #[arg(short = 'o', long = "output", value_name = "FILE", required = true)]
    pub(crate) output: OsString,
}

/// The words of `generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// What to generate.
    #[command(subcommand)]
    pub(crate) what: Generate,
}

/// What to generate.
#[derive(Debug, Subcommand)]
pub(crate) enum Generate {
    /// Write the manual page of every command into a directory
    Man {
        /// The directory, which must exist
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The heading of etcdctl's flags.
pub(crate) const CONNECTION_HEADING: &str = "Connection";

/// The flags under [`CONNECTION_HEADING`], none of which makes sense with `--from`.
const CONNECTION_FLAGS: [&str; 18] = [
    "endpoints",
    "cacert",
    "cert",
    "key",
    "user",
    "password",
    "insecure_skip_tls_verify",
    "insecure_transport",
    "dial_timeout",
    "command_timeout",
    "keepalive_time",
    "keepalive_timeout",
    "stall_timeout",
    "limit_rate",
    "min_rate",
    "discovery_srv",
    "discovery_srv_name",
    "insecure_discovery",
];

/// More threads than any machine has use for.
const MAXIMUM_JOBS: i64 = 1024;

/// The longest cluster name in bytes: what leaves room for the rest of a description of 2048.
const MAXIMUM_CLUSTER_NAME: usize = 256;

fn parse_cluster_name(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("it is empty".to_owned()),
        1..=MAXIMUM_CLUSTER_NAME => Ok(text.to_owned()),
        length => Err(format!("it has {length} bytes, more than {MAXIMUM_CLUSTER_NAME}")),
    }
}

/// A value that is not shown when arguments are.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a parser that can fail")]
fn secret(text: &str) -> Result<SecretString, String> {
    Ok(text.into())
}

/// The environment variable of one of the connection flags.
#[must_use]
pub(crate) fn variable_of(flag: &str) -> String {
    let flag = flag.replace('-', "_").to_uppercase();
    let ours = ["STALL_TIMEOUT", "LIMIT_RATE", "MIN_RATE"].contains(&flag.as_str());
    if ours { format!("ETCD_SEAL_{flag}") } else { format!("ETCDCTL_{flag}") }
}

/// The whole definition, with what every command has in common.
#[must_use]
pub(crate) fn command() -> clap::Command {
    let with_common = |command: clap::Command| command.mut_args(name_variable).after_long_help(exit::help());
    with_common(Arguments::command()).mut_subcommands(with_common)
}

/// Adds the environment variable to the help of a connection flag.
fn name_variable(argument: Arg) -> Arg {
    if argument.get_help_heading() != Some(CONNECTION_HEADING) {
        return argument;
    }
    let Some(flag) = argument.get_long().map(variable_of) else { return argument };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let long_help = argument.get_long_help().map(|text| format!("{text}\n\n[env: {flag}]"));
    let argument = argument.help(format!("{help} [env: {flag}]"));
    if let Some(long_help) = long_help { argument.long_help(long_help) } else { argument }
}

/// A command line that is not one: asked for help, or wrong.
pub(crate) enum Unparsed {
    /// Help or version, asked for.
    Shown(String),
    /// Wrong.
    Wrong(Error),
}

/// What `--version` prints.
pub(crate) fn version() -> String {
    command().render_version()
}

/// Parses a command line, program name first.
///
/// # Errors
/// [`Unparsed`].
pub(crate) fn parse(words: &[OsString]) -> Result<Arguments, Unparsed> {
    let mut command = command();
    let parsed = command.try_get_matches_from_mut(words).and_then(|mut found| {
        Arguments::from_arg_matches_mut(&mut found).map_err(|error| error.format(&mut command))
    });
    parsed.map_err(|error| {
        use clap::error::ErrorKind;
        command.build();
        let named = words.iter().skip(1).find_map(|word| command.find_subcommand(word));
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Unparsed::Shown(error.render().to_string()),
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Unparsed::Wrong(no_command(named.unwrap_or(&command)))
            }
            _ => Unparsed::Wrong(in_our_voice(&error.render().to_string(), named.unwrap_or(&command))),
        }
    })
}

/// Whether words that could not be parsed want standard output for an archive, a snapshot or an identity, as far as
/// can be seen: then that they are wrong is told elsewhere.
#[must_use]
pub(crate) fn name_stdout(words: &[OsString], environment: &Environment) -> bool {
    let follow = |flags: &[&str]| {
        let after = |pair: &[OsString]| flags.iter().any(|flag| pair[0] == *flag) && pair[1] == "-";
        words.windows(2).filter(|pair| after(pair)).count()
    };
    match words.iter().skip(1).find(|word| ["save", "restore", "keygen"].iter().any(|name| word == name)) {
        None => false,
        Some(save) if save == "save" => {
            let dashes = words.iter().filter(|word| *word == "-").count();
            dashes > follow(&["--from", "-R", "--recipients-file"])
                || environment.get(environment::DESTINATION).is_some_and(|destination| destination == "-")
        }
        Some(_) => {
            follow(&["-o", "--output"]) > 0 || words.iter().any(|word| word == "-o-" || word == "--output=-")
        }
    }
}

fn no_command(command: &clap::Command) -> Error {
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    let names: Vec<&str> = commands.map(clap::Command::get_name).collect();
    Error::new(Kind::Usage, "no command was given").with_hint(format!(
        "one of {}; see {}",
        names.join(", "),
        help_of(command)
    ))
}

/// How to ask for the help of `command`.
fn help_of(command: &clap::Command) -> String {
    format!("{} --help", command.get_bin_name().unwrap_or("etcd-seal"))
}

/// clap's paragraphs as one sentence and the way out.
fn in_our_voice(rendered: &str, command: &clap::Command) -> Error {
    let paragraphs: Vec<String> =
        rendered.split("\n\n").map(|paragraph| report::words(paragraph.lines())).collect();
    let usage = paragraphs.iter().find(|paragraph| paragraph.starts_with("Usage: "));
    let first = paragraphs.first().map(String::as_str).unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first);
    let tip = paragraphs.iter().find_map(|paragraph| paragraph.strip_prefix("tip: "));
    let help = help_of(command);
    let hint = match (tip, usage) {
        (Some(tip), _) => format!("{tip}; see {help}"),
        (None, Some(usage)) => format!("{}; see {help}", usage.replacen("Usage", "usage", 1)),
        (None, None) => format!("see {help}"),
    };
    Error::new(Kind::Usage, message.trim_end_matches('.')).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(words: &[&str]) -> Error {
        match parse(&["etcd-seal"].iter().chain(words).map(Into::into).collect::<Vec<_>>()) {
            Err(Unparsed::Wrong(error)) => error,
            Err(Unparsed::Shown(text)) => panic!("shown: {text}"),
            Ok(arguments) => panic!("parsed: {arguments:?}"),
        }
    }

    fn shown(words: &[&str]) -> String {
        match parse(&["etcd-seal"].iter().chain(words).map(Into::into).collect::<Vec<_>>()) {
            Err(Unparsed::Shown(text)) => text,
            _ => panic!("not shown: {words:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_help_ends_with_the_exit_codes() {
        let table = exit::help();
        let last = table.lines().last().unwrap();
        for command in
            [&[][..], &["save"], &["info"], &["verify"], &["restore"], &["drill"], &["keygen"], &["generate"]]
        {
            let help = shown(&[command, &["--help"]].concat());
            assert!(help.trim_end().ends_with(last), "{command:?}: {help}");
            assert!(help.contains("Exit status:"), "{command:?}");
        }
    }

    /// As a terminal of 80 columns shows it. The others differ in nothing that no other test looks at.
    #[test]
    fn the_help_of_restore_stays() {
        let program = command();
        let restore = program.find_subcommand("restore").unwrap().clone();
        insta::assert_snapshot!(restore.term_width(80).render_long_help());
    }

    #[test]
    fn every_connection_flag_names_its_variable() {
        let help = shown(&["save", "-h"]).split_whitespace().collect::<Vec<_>>().join(" ");
        let program = command();
        let save = program.find_subcommand("save").unwrap();
        let flags: Vec<_> = save
            .get_arguments()
            .filter(|argument| argument.get_help_heading() == Some(CONNECTION_HEADING))
            .filter_map(Arg::get_long)
            .collect();
        assert_eq!(flags.iter().map(|flag| flag.replace('-', "_")).collect::<Vec<_>>(), CONNECTION_FLAGS);
        for flag in flags {
            assert!(help.contains(&format!("[env: {}]", variable_of(flag))), "{flag}");
        }
    }

    #[test]
    fn help_of_a_password_says_why_not() {
        let help = shown(&["save", "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("visible to every user of this host while the command runs"), "{help}");
    }

    #[test]
    fn secrets_are_not_shown_with_arguments() {
        let words = ["etcd-seal", "save", "--user=root:hunter2", "--password=hunter3"].map(Into::into);
        let Ok(arguments) = parse(&words) else { panic!("should parse") };
        let shown = format!("{arguments:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn words_that_make_no_sense_are_told_in_our_voice() {
        let told = [
            &[][..],
            &["--json"],
            &["generate"],
            &["frobnicate"],
            &["sav"],
            &["save", "--levle=3"],
            &["save", "--level=20"],
            &["save", "--frame-size=65KiB"],
            &["save", "--dial-timeout=soon"],
            &["save", "--insecure-transport=maybe"],
            &["save", "--cacert="],
            &["save", "-p", "-rage1x"],
            &["save", "--from=x", "--endpoints=y:1"],
            &["save", "--allow-missing-digest"],
            &["verify"],
            &["verify", "-i", "k", "-p", "x"],
            &["restore", "x.age"],
            &["info", "-q", "-v", "x"],
            &["keygen"],
        ]
        .map(|words| {
            let error = wrong(words);
            assert_eq!(error.kind(), Kind::Usage);
            format!("{}\n  {error}\n  {}\n", words.join(" "), error.hint())
        })
        .concat();
        insta::assert_snapshot!(told);
    }
}
