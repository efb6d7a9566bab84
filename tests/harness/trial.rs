//! The two commands that publish a file, run under adverse conditions, and the one rule for what they leave behind.

use super::program::{Outcome, Program};
use super::sandbox::Sandbox;
use super::snapshots::snapshot;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A command that publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// `save` of a snapshot.
    Save,
    /// `restore` of an archive of the same snapshot.
    Restore,
}

/// Both.
pub const BOTH: [Publishing; 2] = [Publishing::Save, Publishing::Restore];

impl Publishing {
    /// The name it gives its file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Save => "x.age",
            Self::Restore => "x.db",
        }
    }
}

/// A snapshot, an archive of it, and an empty directory to publish into.
pub struct Trial {
    /// Whether a tracer slows the program down. After a signal the program waits 100 ms for its threads; if they need
    /// longer, it leaves its temporary for a later run.
    pub slowed: bool,
    /// Where it takes place; the directory is its `backups`.
    pub sandbox: Sandbox,
    snapshot: Vec<u8>,
    file: PathBuf,
    archive: PathBuf,
    /// The temporaries of those that were killed.
    dead: RefCell<HashSet<String>>,
}

impl Trial {
    /// With a snapshot of this many pages.
    pub fn new(pages: usize) -> Self {
        let (sandbox, snapshot) = (Sandbox::furnished(), snapshot(pages));
        let (file, archive) = (sandbox.write("snapshot.db", &snapshot), sandbox.path("sealed.age"));
        sandbox.save().arg("--from").arg(&file).arg(&archive).succeed();
        Self { slowed: false, sandbox, snapshot, file, archive, dead: RefCell::default() }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &[u8] {
        &self.snapshot
    }

    /// The file that the command reads.
    pub fn input(&self, publishing: Publishing) -> &Path {
        match publishing {
            Publishing::Save => &self.file,
            Publishing::Restore => &self.archive,
        }
    }

    /// The command, publishing into the directory of the trial.
    pub fn command(&self, publishing: Publishing) -> Program {
        self.command_from(publishing, self.input(publishing))
    }

    /// The command, reading its standard input.
    pub fn command_fed(&self, publishing: Publishing) -> Program {
        self.command_from(publishing, Path::new("-"))
    }

    fn command_from(&self, publishing: Publishing, input: &Path) -> Program {
        let output = self.sandbox.backups().join(publishing.name());
        match publishing {
            Publishing::Save => self.sandbox.save().arg("--from").arg(input).arg(output),
            Publishing::Restore => self.sandbox.open("restore").arg(input).arg("-o").arg(output),
        }
    }

    /// The rule: under the final name there is nothing, or what is complete and verifies; who ended by himself, and was not
    /// killed, leaves nothing else. Returns whether it was published.
    pub fn judge(&self, publishing: Publishing, ended: &Outcome, what: &str) -> bool {
        let told = format!("{what}: {publishing:?} ended with {}: {}", ended.code, ended.stderr);
        let left = self.sandbox.published();
        let published = left.iter().any(|name| name == publishing.name());
        let sidecar = format!("{}.sha256", publishing.name());
        let has_sidecar = left.contains(&sidecar);
        let mut dead = self.dead.borrow_mut();
        let others: Vec<&String> = left
            .iter()
            .filter(|&name| name != publishing.name() && *name != sidecar && !dead.contains(name))
            .collect();
        match ended.code {
            0 | 3 => assert!(published, "nothing was published, {told}"),
            1 | 2 | 10..=15 => assert!(!published, "it was published, {told}"),
            // Stopped by a signal, or by the lack of memory.
            130 | 134 | 137 | 143 => {}
            _ => panic!("this code is in no table, {told}"),
        }
        assert!(others.iter().all(|name| is_temporary(name)), "{left:?} {told}");
        let may_leave = [134, 137].contains(&ended.code) || self.slowed && [130, 143].contains(&ended.code);
        assert!(others.is_empty() || may_leave, "{left:?} {told}");
        dead.extend(others.into_iter().cloned());
        assert!(published || !has_sidecar, "a sidecar alone, {told}");
        if ended.code == 0 && publishing == Publishing::Save {
            assert!(has_sidecar, "no sidecar, {told}");
        }
        if published {
            self.assert_whole(publishing, &self.sandbox.backups());
        }
        published
    }

    /// What lies in `directory` under the final name is complete.
    pub fn assert_whole(&self, publishing: Publishing, directory: &Path) {
        let path = directory.join(publishing.name());
        match publishing {
            // With its sidecar, if there is one.
            Publishing::Save => drop(self.sandbox.open("verify").arg(path).succeed()),
            Publishing::Restore => assert!(fs::read(path).unwrap() == self.snapshot, "another snapshot"),
        }
    }

    /// A later run, when whatever is left has become old, succeeds and leaves what it published and nothing else.
    pub fn assert_a_later_run_cleans_up(&self) {
        self.clear();
        self.make_temporaries_old(Duration::from_secs(70));
        self.command_fed(Publishing::Save).input(&self.snapshot).succeed();
        assert_eq!(self.sandbox.published(), ["x.age", "x.age.sha256"]);
        self.assert_whole(Publishing::Save, &self.sandbox.backups());
        self.clear();
    }

    /// Removes what was published.
    pub fn clear(&self) {
        for name in self.sandbox.published().iter().filter(|name| !is_temporary(name)) {
            fs::remove_file(self.sandbox.backups().join(name)).unwrap();
        }
    }

    /// Lets every temporary look as if it had last been written so long ago.
    pub fn make_temporaries_old(&self, age: Duration) {
        let then = SystemTime::now() - age;
        for name in self.sandbox.published().iter().filter(|name| is_temporary(name)) {
            let path = self.sandbox.backups().join(name);
            File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
        }
    }
}

/// Whether `name` is that of a file in the making.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(".etcd-seal-") && Path::new(name).extension().is_some_and(|extension| extension == "tmp")
}
