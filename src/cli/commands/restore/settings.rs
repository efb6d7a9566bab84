//! The settings of `restore`.

use crate::cli::settings::data_directory::{DataDirectoryArguments, DataDirectorySettings};
use crate::cli::settings::environment::Environment;
use crate::cli::settings::identities::IdentityArguments;
use crate::cli::settings::opening::OpeningArguments;
use crate::cli::settings::setting::ids_of;
use crate::cli::settings::standard_input::StandardInput;
use crate::cli::settings::values::{parse_duration, parse_etcd_version};
use crate::database::member::Bump;
use crate::database::member::WAL_NAME;
use crate::database::member::{DEFAULT_NAME, DEFAULT_PEER_URL, DEFAULT_TOKEN, Membership};
use crate::database::versions::Release;
use crate::error::{Error, Kind, Result};
use crate::pipeline;
use crate::pipeline::member::WantedBump;
use crate::store::member::{MemberPlace, Owner};
use crate::store::{Purpose, elsewhere};
use clap::Args;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `restore`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("target").required(true).args(["output", "data_dir", "output_dir"])))]
#[command(group(clap::ArgGroup::new("source").required(true).args(["archive", "from_snapshot", "from_data_dir"])))]
pub(crate) struct RestoreArguments {
    /// The archive, - for standard input
    #[arg(value_name = "ARCHIVE")]
    pub(crate) archive: Option<PathBuf>,
    /// Where to write the snapshot; - is standard output, and then a non-zero exit status means that the bytes
    /// must be thrown away
    ///
    /// What is told about members goes with --data-dir or --output-dir instead.
    #[arg(short = 'o', long = "output", value_name = "FILE", conflicts_with_all = ids_of::<MemberArguments>())]
    pub(crate) output: Option<OsString>,
    /// Replace an existing file; with --skip-hash-check, restore in spite of what it passes over
    #[arg(hide_short_help = true, long)]
    pub(crate) force: bool,
    /// Check everything that can be checked before the archive is read, print the plan, write nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Which member to make.
    #[command(flatten)]
    pub(crate) member: MemberArguments,
    /// A data directory instead of an archive.
    #[command(flatten)]
    pub(crate) data_directory: DataDirectoryArguments,
    /// What opens it.
    #[command(flatten)]
    pub(crate) identities: IdentityArguments,
    /// How to read it.
    #[command(flatten)]
    pub(crate) opening: OpeningArguments,
}

/// Which member to make: etcdutl's flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Member")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct MemberArguments {
    /// Make the directory of a member that etcd starts from: an absent or empty one, or a mount point
    ///
    /// What is published, as the last step, is DIR/member. An etcd of the release of the data, or a newer one up to 3.8, starts
    /// from it.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where the member's log goes, if apart: an absent or empty directory
    #[arg(
        hide_short_help = true,
        long,
        value_name = "DIR",
        requires = "data_dir",
        conflicts_with = "output_dir"
    )]
    pub(crate) wal_dir: Option<PathBuf>,
    /// The member's name
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    pub(crate) name: String,
    /// All members of the new cluster, NAME=URL,NAME=URL,…
    #[arg(long, value_name = "MEMBERS", default_value_t = format!("{DEFAULT_NAME}={DEFAULT_PEER_URL}"))]
    pub(crate) initial_cluster: String,
    /// A token of the new cluster
    #[arg(hide_short_help = true, long, value_name = "TOKEN", default_value = DEFAULT_TOKEN)]
    pub(crate) initial_cluster_token: String,
    /// The member's peer URLs, comma separated
    #[arg(hide_short_help = true, long, value_name = "URLS", default_value = DEFAULT_PEER_URL)]
    pub(crate) initial_advertise_peer_urls: String,
    /// Make the directories of all members at once, each with instructions, in a new directory
    #[arg(long, value_name = "DIR", requires = "cluster_plan")]
    pub(crate) output_dir: Option<PathBuf>,
    /// With --output-dir: all members, NAME=URL,NAME=URL,…
    #[arg(long, value_name = "MEMBERS", requires = "output_dir",
          conflicts_with_all = ["data_dir", "name", "initial_cluster", "initial_advertise_peer_urls"])]
    pub(crate) cluster_plan: Option<String>,
    /// Raise the newest revision, that of a compaction included, by this much, so that no watcher sees a revision twice
    #[arg(hide_short_help = true, long, value_name = "NUMBER", requires = "mark_compacted", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) bump_revision: Option<i64>,
    /// With --bump-revision: mark everything up to the raised revision as compacted, so that watchers start anew
    #[arg(hide_short_help = true, long, requires = "bump_revision")]
    pub(crate) mark_compacted: bool,
    /// Raise the revision by what suits a Kubernetes cluster, computed from revision and age, and mark it compacted
    ///
    /// It ends above every revision known of the members that are in DIR, or were moved aside there, too.
    #[arg(long, conflicts_with = "bump_revision")]
    pub(crate) kubernetes: bool,
    /// With --kubernetes: how old the snapshot is, where its own time or the clock of this host cannot tell
    ///
    /// A second restore of the same snapshot needs a greater age than the first, by a second at least.
    #[arg(hide_short_help = true, long, value_name = "DURATION", requires = "kubernetes", value_parser = parse_duration)]
    pub(crate) snapshot_age: Option<Duration>,
    /// The version of etcd that will run the member, such as 3.5.30, to warn if it does not fit the data [default: that of etcd on PATH]
    #[arg(hide_short_help = true, long, value_name = "VERSION", value_parser = parse_etcd_version)]
    pub(crate) etcd_version: Option<Release>,
    /// Restore from a plain snapshot, as etcdctl snapshot save writes it, in place of an archive
    ///
    /// One that is packed by gzip, zip or zstd is unpacked on the way.
    #[arg(hide_short_help = true, long, value_name = "FILE", conflicts_with_all = ["archive", "output"])]
    pub(crate) from_snapshot: Option<PathBuf>,
    /// With --from-snapshot: accept a missing or wrong digest of etcd's, as that of a copied db file; needs --force
    #[arg(hide_short_help = true, long, requires = "from_snapshot", conflicts_with = "archive")]
    pub(crate) skip_hash_check: bool,
    /// Move an existing member aside, under a name with the time in it, instead of refusing
    #[arg(long, requires = "data_dir", conflicts_with = "output_dir")]
    pub(crate) replace: bool,
    /// Who is to own the member: a user, or user and group, by name or number
    #[arg(hide_short_help = true, long, value_name = "USER[:GROUP]")]
    pub(crate) owner: Option<String>,
}

pub(crate) struct RestoreSettings {
    /// The source of the snapshot.
    pub(crate) source: SourceSettings,
    /// The result to make of it.
    pub(crate) target: Target,
    /// Whether to print only the plan.
    pub(crate) dry_run: bool,
    /// How the pipeline runs.
    pub(crate) options: pipeline::open::Options,
}

/// The source of a snapshot.
pub(crate) enum SourceSettings {
    /// An archive, `-` for standard input, and the identities that open it.
    Archive(PathBuf, IdentityArguments),
    /// `--from-snapshot`.
    Snapshot(PathBuf),
    /// `--from-data-dir`.
    DataDirectory(Box<DataDirectorySettings>),
}

impl SourceSettings {
    /// Resolves the source, which must be exactly one of the three.
    ///
    /// # Errors
    /// [`Kind::Usage`], also where no identity is given for an archive.
    pub(crate) fn resolve(
        archive: Option<PathBuf>,
        snapshot: Option<PathBuf>,
        directory: Option<DataDirectorySettings>,
        identities: IdentityArguments,
    ) -> Result<Self> {
        if let Some(directory) = directory {
            return Ok(Self::DataDirectory(Box::new(directory)));
        }
        let mut input = StandardInput::default();
        input.claim_paths("ARCHIVE -", archive.as_slice())?;
        identities.check(&mut input)?;
        match (archive, snapshot) {
            (Some(_), _) if identities.is_empty() => Err(Error::new(
                Kind::Usage,
                "nothing is named to open the archive with: -i and -p are both missing",
            )
            .with_hint("pass the identity file with -i, or -p for an archive with a passphrase")),
            (Some(archive), _) => Ok(Self::Archive(archive, identities)),
            (None, Some(snapshot)) => {
                input.claim_paths("--from-snapshot -", std::slice::from_ref(&snapshot))?;
                Ok(Self::Snapshot(snapshot))
            }
            (None, None) => Err(Error::new(Kind::Usage, "no archive is named")),
        }
    }
}

/// The result to make of a snapshot.
pub(crate) enum Target {
    /// `-o`: the snapshot itself, as named, and whether to replace an existing file.
    Snapshot(OsString, bool),
    /// `--data-dir`: the member of this name.
    Member(Box<ClusterSettings>, String, MemberPlace),
    /// `--output-dir`: all members.
    Cluster(Box<ClusterSettings>, PathBuf, Option<Owner>),
}

/// The new cluster.
pub(crate) struct ClusterSettings {
    /// Its members.
    pub(crate) membership: Membership,
    /// Whether to raise the revision, and by how much.
    pub(crate) bump: WantedBump,
    /// `--skip-hash-check`.
    pub(crate) skip_hash_check: bool,
    /// `--etcd-version`.
    pub(crate) etcd_version: Option<Release>,
}

impl RestoreSettings {
    /// Resolves the arguments.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(crate) fn resolve(arguments: RestoreArguments, environment: &Environment) -> Result<Self> {
        let RestoreArguments { archive, output, force, dry_run, member, data_directory, identities, opening } =
            arguments;
        let options = opening.options()?;
        let directory = data_directory.resolve(environment)?;
        let source = SourceSettings::resolve(archive, member.from_snapshot.clone(), directory, identities)?;
        let target = match output {
            Some(output) => Target::Snapshot(output, force),
            None => to_members(member, force)?,
        };
        Ok(Self { source, target, dry_run, options })
    }
}

/// Refuses `--skip-hash-check` and `--force` without each other.
fn check_force(arguments: &MemberArguments, force: bool) -> Result<()> {
    match (arguments.skip_hash_check, force) {
        (true, false) => Err(Error::new(
            Kind::Usage,
            "--skip-hash-check accepts a snapshot that no digest vouches for, and is only taken together with --force",
        )
        .with_hint("if it is the last copy there is, add --force, and compare what comes of it with what you expect")),
        (false, true) => Err(Error::new(Kind::Usage, "--force says nothing about a member")
            .with_hint("--replace moves an existing member aside")),
        (true, true) | (false, false) => Ok(()),
    }
}

fn to_members(arguments: MemberArguments, force: bool) -> Result<Target> {
    check_force(&arguments, force)?;
    let owner = arguments.owner.as_deref().map(owner).transpose()?;
    let listed = arguments.cluster_plan.as_deref().unwrap_or(&arguments.initial_cluster);
    let membership = Membership::parse(listed, &arguments.initial_cluster_token)?;
    let bump = match (arguments.bump_revision, arguments.kubernetes) {
        (Some(by), _) => WantedBump::By(Bump { by }),
        (None, true) => WantedBump::Kubernetes(arguments.snapshot_age),
        (None, false) => WantedBump::None,
    };
    let cluster = |membership| {
        Box::new(ClusterSettings {
            membership,
            bump,
            skip_hash_check: arguments.skip_hash_check,
            etcd_version: arguments.etcd_version,
        })
    };
    let directory = arguments.data_dir.as_ref().or(arguments.output_dir.as_ref());
    directory.map_or(Ok(()), |directory| refuse_address(directory))?;
    match (arguments.data_dir, arguments.output_dir) {
        (Some(data_dir), _) => {
            membership.member(&arguments.name, Some(&arguments.initial_advertise_peer_urls))?;
            refuse_unequal_members(&membership, arguments.kubernetes)?;
            let now = arguments.replace.then(crate::cli::clock::now).transpose()?;
            let replace = now.map(|now| now.strftime("%Y%m%dT%H%M%SZ").to_string());
            let place =
                MemberPlace { data_dir, wal_dir: arguments.wal_dir, replace, owner, log_name: WAL_NAME };
            Ok(Target::Member(cluster(membership), arguments.name, place))
        }
        (None, Some(directory)) => Ok(Target::Cluster(cluster(membership), directory, owner)),
        (None, None) => Err(Error::new(Kind::Usage, "no target is named: -o, --data-dir or --output-dir")),
    }
}

/// Refuses the address of an object store or another host for a directory; one of this host may have any name.
fn refuse_address(directory: &Path) -> Result<()> {
    let address = elsewhere(directory.as_os_str(), Purpose::DataDirectory);
    address.filter(|_| !directory.exists()).map_or(Ok(()), Err)
}

/// Refuses `--kubernetes` for members that are made separately: its number depends on the time of day, so the members would
/// differ, and etcd would serve one or the other without an error.
fn refuse_unequal_members(membership: &Membership, kubernetes: bool) -> Result<()> {
    if !kubernetes || membership.members().len() == 1 {
        return Ok(());
    }
    let message =
        "--kubernetes computes the number from the time, which is another for each member that is made apart";
    Err(Error::new(Kind::Usage, message).with_hint(
        "make all members at once with --output-dir and --cluster-plan, or give each the same --bump-revision NUMBER \
         --mark-compacted",
    ))
}

/// Parses `USER[:GROUP]`; without a group, the group of the user.
fn owner(text: &str) -> Result<Owner> {
    use nix::unistd::{Group, User};
    let wrong = |what: String| {
        Error::new(Kind::Usage, format!("--owner {text}: {what}"))
            .with_hint("name a user of this host, or user and group by number, such as 998:998")
    };
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let known = match user.parse::<u32>() {
        Ok(number) => User::from_uid(number.into()),
        Err(_) => User::from_name(user),
    };
    let known = known.map_err(|error| wrong(format!("cannot look up {user:?}: {error}")))?;
    let number = known.as_ref().map(|known| known.uid.as_raw()).or_else(|| user.parse().ok());
    let number = number.ok_or_else(|| wrong(format!("there is no user {user:?}")))?;
    let group = match group {
        None => known
            .map(|known| known.gid.as_raw())
            .ok_or_else(|| wrong("no group is known for it".to_owned()))?,
        Some(group) => match group.parse() {
            Ok(number) => number,
            Err(_) => Group::from_name(group)
                .map_err(|error| wrong(format!("cannot look up {group:?}: {error}")))?
                .map(|known| known.gid.as_raw())
                .ok_or_else(|| wrong(format!("there is no group {group:?}")))?,
        },
    };
    Ok(Owner { user: number, group })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line::parsed;
    use crate::cli::commands::Command;

    fn resolve(arguments: &[&str], variables: &[(&str, &str)]) -> Result<RestoreSettings> {
        let Command::Restore(restore) = parsed(&[&["restore"], arguments].concat(), variables)? else {
            panic!("no restore")
        };
        RestoreSettings::resolve(*restore, &Environment::of(variables))
    }

    fn refused(arguments: &[&str]) -> String {
        let error = resolve(arguments, &[]).err().expect("should be refused");
        assert_eq!(error.kind(), Kind::Usage);
        error.to_string()
    }

    #[test]
    fn restore_needs_an_identity() {
        assert!(refused(&["a.age", "-o", "s.db"]).contains("-i and -p"));
        assert!(resolve(&["a.age", "-o", "s.db"], &[("ETCD_SEAL_IDENTITY", "/key.txt")]).is_ok());
        assert!(resolve(&["--from-snapshot", "s.db", "--data-dir", "/d"], &[]).is_ok());
    }

    #[test]
    fn the_defaults_are_etcdutl_s() {
        let settings = resolve(&["--from-snapshot", "s.db", "--data-dir", "/d"], &[]).unwrap();
        let Target::Member(cluster, name, place) = settings.target else { panic!("no member") };
        assert_eq!((name.as_str(), place.data_dir.to_str()), ("default", Some("/d")));
        assert_eq!(cluster.membership.initial_cluster(), "default=http://localhost:2380");
        assert_eq!(cluster.membership.token(), "etcd-cluster");
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        let member = ["a.age", "-i", "k", "--data-dir", "/d"];
        let with = |more: &[&str]| refused(&[&member[..], more].concat());
        assert!(with(&["-o", "s.db"]).contains("cannot be used with"));
        assert!(with(&["--bump-revision", "5"]).contains("--mark-compacted"));
        assert!(with(&["--mark-compacted"]).contains("--bump-revision"));
        assert!(with(&["--bump-revision", "0", "--mark-compacted"]).contains('0'));
        assert!(with(&["--name", "m1"]).contains("does not name the member"));
        assert!(with(&["--force"]).contains("says nothing"));
        assert!(with(&["--cluster-plan", "a=http://b:1"]).contains("--data-dir"));
        assert!(with(&["--owner", "no-user-of-this-name"]).contains("there is no user"));
        assert!(with(&["--skip-hash-check", "--force"]).contains("ARCHIVE"));
        for flag in [&["--kubernetes"][..], &["--name", "x"], &["--wal-dir", "w"], &["--replace"]] {
            let refused = refused(&[&["a.age", "-i", "k", "-o", "s.db"], flag].concat());
            assert!(refused.contains(flag[0]) || refused.contains("--data-dir"), "{refused}");
        }
        let cluster = ["a.age", "-i", "k", "--output-dir", "o", "--cluster-plan", "a=http://b:1"];
        for flag in [&["--wal-dir", "w"][..], &["--replace"], &["--name", "a"]] {
            let refused = refused(&[&cluster[..], flag].concat());
            assert!(refused.contains("--data-dir") || refused.contains("cannot be used"), "{refused}");
        }
        let three = ["--initial-cluster", "default=http://localhost:2380,b=http://b:1", "--kubernetes"];
        assert!(with(&three).contains("another for each member"));
        let plain = ["--from-snapshot", "s.db", "--data-dir", "/d", "--skip-hash-check"];
        assert!(refused(&plain).contains("--force"));
        assert!(resolve(&[&plain[..], &["--force"]].concat(), &[]).is_ok());
    }

    #[test]
    fn owners_are_numbers_or_names() {
        assert_eq!(owner("998:997").unwrap(), Owner { user: 998, group: 997 });
        assert_eq!(owner("root").unwrap(), Owner { user: 0, group: 0 });
        assert_eq!(owner("0:root").unwrap(), Owner { user: 0, group: 0 });
    }
}
