//! The commands. Each has a file, or a directory, with its arguments, what they mean, and what it does.
#![expect(
    clippy::doc_markdown,
    reason = "the comments of arguments are the help, and a terminal shows backticks as they are"
)]

pub(crate) mod drill;
pub(crate) mod generate;
pub(crate) mod info;
pub(crate) mod keygen;
pub(crate) mod recovery;
pub(crate) mod restore;
mod salvage;
pub(crate) mod save;
pub(crate) mod tether;
pub(crate) mod verify;

use super::context::Context;
use super::exit::Exit;
use super::{process, supervise};
use crate::error::Result;
use clap::{Args, Parser, Subcommand};
use std::collections::HashMap;
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
    /// How to report it.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    /// The options whose values come from the environment, with their variables.
    #[arg(skip)]
    pub(crate) from_environment: HashMap<String, String>,
}

/// How to report what a command does.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArguments {
    /// Hide success, never warnings: print no result when all went well, but what was asked for: info, a recipient, JSON
    #[arg(hide_short_help = true, short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more: decisions, retries, the causes of errors
    #[arg(hide_short_help = true, short, long, global = true)]
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
    /// archive. No plaintext touches a disk, but for the copy of --from-data-dir. The archive appears under its final name
    /// only after etcd's own SHA-256 of the snapshot matched and everything was synced; any other end leaves nothing
    /// behind. With - a non-zero exit status means that the bytes on standard output must be thrown away; stock age refuses
    /// them. Keys of the v2 API of an etcd up to 3.5 are in no snapshot, and so in no archive.
    ///
    /// Of a Kubernetes cluster the result says how many Secrets are stored in plain, and which keys of kube-apiserver's
    /// EncryptionConfiguration the others need. No archive contains those keys: keep them beside the key of the backups.
    Save(Box<save::SaveArguments>),
    /// Show what an archive says of itself
    ///
    /// Without a key: the public description, the types of the recipients and the sizes, none of it
    /// authenticated. With a key: the manifest and the trailer too, as they were sealed. That an archive opens does
    /// not prove who sealed it: archives are not signed, and every user with a recipient can seal one. So the JSON says
    /// "opened": true, "sealed_by": "unknown", and never "authenticated": true. An archive in a file is not read as
    /// a whole: etcd-seal verify does that. A file that is no archive is named by its first bytes, with what to do with it.
    ///
    /// "revision" is the newest in the snapshot, with what the member said before and after the stream where that is another.
    /// "Kubernetes" says how many Secrets there are, and which keys of kube-apiserver's EncryptionConfiguration they need.
    Info(info::InfoArguments),
    /// Prove that archives are whole
    ///
    /// Without a key: the SHA-256 in the sidecar beside each archive, and its structure as far as it can be
    /// seen; without a sidecar only the structure, and the exit status is 3. With a key: every chunk, every
    /// frame, the seek table, the lengths and etcd's own digest, in memory: that the archive is whole, not who sealed
    /// it, for archives are not signed. All archives are tried; the worst exit status counts.
    Verify(verify::VerifyArguments),
    /// Bring an archive back: the snapshot, a member or a whole cluster
    ///
    /// With -o the snapshot, byte for byte what etcdctl snapshot save would have written. With --data-dir the
    /// directory of a member that etcd starts from, with the flags of etcdutl snapshot restore and without needing
    /// that. With --output-dir those of all members at once. Everything is written under a temporary name, verified
    /// on the way, and gets its name by a rename only when everything proved right. With -o - the bytes leave before
    /// they are proved: a non-zero exit status means that they must be thrown away.
    Restore(Box<restore::RestoreArguments>),
    /// Prove an archive: restore it, and let a real etcd serve it
    ///
    /// Restores into a private scratch directory, starts the etcd of this host on it, and compares what that serves with
    /// what the data say: HashKV at the revision of the archive, the number of keys, leases, users and roles, the members.
    /// Then it puts, deletes, compacts and defragments, saves and verifies that member with etcd-seal itself, and starts it
    /// once more. The verdict tells the measured time to recovery. Nothing that runs is touched: the members listen on
    /// sockets inside the scratch directory, where no other process can reach them: etcd's own authentication, if it is on in the
    /// data, is turned off in this copy. However it ends, it stops them and removes the directory.
    Drill(Box<drill::DrillArguments>),
    /// Make an age identity
    ///
    /// Writes it as age-keygen does and prints its recipient: on standard output, or on standard error when the
    /// identity itself goes to standard output. Keep the identity away from the hosts that make backups: they
    /// need the recipient only.
    Keygen(keygen::KeygenArguments),
    /// Print the way from an archive to a running etcd, step by step
    ///
    /// That is the manual page etcd-seal-recovery(7), which is part of the program: on the host that has to be brought back
    /// the pages may not be installed.
    Recovery,
    /// Print the version
    Version,
    /// Generate manual pages or completions
    #[command(hide = true)]
    Generate(generate::GenerateArguments),
    /// Become a program that ends with its parent
    #[command(hide = true)]
    Tether(tether::TetherArguments),
}

impl Command {
    /// Whether standard output carries an archive, a snapshot or an identity, so that results must go elsewhere.
    pub(super) fn takes_stdout(&self) -> bool {
        match self {
            Self::Save(arguments) => arguments.names_stdout(),
            Self::Restore(arguments) => arguments.output.as_ref().is_some_and(|output| output == "-"),
            Self::Keygen(arguments) => arguments.output == "-",
            Self::Info(_)
            | Self::Verify(_)
            | Self::Drill(_)
            | Self::Recovery
            | Self::Version
            | Self::Generate(_)
            | Self::Tether(_) => false,
        }
    }

    /// Lowers the priority with `--nice`. A thread inherits the priority of the thread that starts it, so this comes before
    /// the first thread is started.
    pub(super) fn step_aside(&self) -> Result<()> {
        let effort = match self {
            Self::Save(arguments) => &arguments.effort,
            Self::Verify(arguments) => &arguments.opening.effort,
            Self::Restore(arguments) => &arguments.opening.effort,
            Self::Drill(arguments) => &arguments.opening.effort,
            Self::Info(_)
            | Self::Keygen(_)
            | Self::Recovery
            | Self::Version
            | Self::Generate(_)
            | Self::Tether(_) => return Ok(()),
        };
        if effort.nice()? {
            process::lower_priority();
        }
        Ok(())
    }

    /// How long the command may take to stop by itself after a signal.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Self::Drill(_) => supervise::CLEANING_PATIENCE,
            Self::Save(arguments) if arguments.data_directory.from_data_dir.is_some() => {
                supervise::CLEANING_PATIENCE
            }
            Self::Restore(arguments) if arguments.data_directory.from_data_dir.is_some() => {
                supervise::CLEANING_PATIENCE
            }
            _ => supervise::SIGNAL_PATIENCE,
        }
    }

    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::Save(arguments) => save::run(*arguments, context),
            Self::Info(arguments) => info::run(&arguments, context),
            Self::Verify(arguments) => verify::run(&arguments, context),
            Self::Restore(arguments) => restore::run(*arguments, context),
            Self::Drill(arguments) => drill::run(*arguments, context),
            Self::Keygen(arguments) => keygen::run(&arguments, context),
            Self::Generate(arguments) => generate::run(&arguments.what, (context.definition)()),
            // `run` in this module handles these before it prepares a context.
            Self::Recovery | Self::Version | Self::Tether(_) => Ok(Exit::Failure),
        }
    }
}
