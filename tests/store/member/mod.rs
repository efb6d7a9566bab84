//! Where a restored member appears, and that it appears whole or not at all.

mod faults;
mod owners;
mod place;

use etcd_seal::low_level::database::mvcc::Revision;
use harness::program::{Program, etcd_seal};
use harness::sandbox::Sandbox;
use harness::{bolt, snapshots};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A snapshot, and what its restore makes.
struct Scene {
    sandbox: Sandbox,
    /// Every file of `member` but the zeros of the log.
    whole: BTreeMap<PathBuf, Vec<u8>>,
}

const LOG: &str = "0000000000000000-0000000000000000.wal";
/// What keeps etcd from a log that is not published yet.
const MARKER: &str = "ffffffffffffffff-ffffffffffffffff.wal";
/// What a directory being made holds until it is published.
const UNFINISHED: &str = ".etcd-seal-unfinished";
/// A directory being made.
const TEMPORARY: &str = ".etcd-seal-restore-";

impl Deref for Scene {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Scene {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("snapshot.db", snapshot());
        let recipient = sandbox.keygen("key.txt");
        sandbox.seal(["save", "x.age", "--from", "snapshot.db", "-r", &recipient]).succeed();
        let mut scene = Self { sandbox, whole: BTreeMap::new() };
        scene.restore("first").succeed();
        scene.whole = scene.files("first/member");
        assert_eq!(scene.whole.len(), 3);
        scene
    }

    /// A restore of the archive with these words.
    fn restore_with(&self, words: &[&str]) -> Program {
        self.seal(["restore", "x.age", "-i", "key.txt"]).args(words)
    }

    fn restore(&self, directory: &str) -> Program {
        self.restore_with(&["--data-dir", directory])
    }

    /// Into `data`, with its log in `log`.
    fn restore_apart(&self) -> Program {
        self.restore("data").args(["--wal-dir", "log"])
    }

    fn replace_apart(&self) -> Program {
        self.restore_apart().arg("--replace")
    }

    /// `script` in a mount namespace of its own, where `"$@"` is a restore that lacks its target.
    fn in_mounts(&self, script: &str) -> Program {
        let program = self.program("unshare").args(["-m", "bash", "-c", script, "bash"]);
        program.args([etcd_seal(), "restore", "x.age", "-i", "key.txt"])
    }

    /// Under this umask.
    fn under_umask(&self, umask: &str, words: &[&str]) -> Program {
        self.restore_with(words).in_shell(&format!("umask {umask}; exec \"$@\""))
    }

    /// What lies below `directory`, by its path there.
    fn files(&self, directory: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let root = self.path(directory);
        let mut files = BTreeMap::new();
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let mut bytes = fs::read(&path).unwrap();
                    if path.ends_with(LOG) {
                        assert_eq!(bytes.len(), 64_000_000);
                        bytes.truncate(4096);
                    }
                    files.insert(path.strip_prefix(&root).unwrap().to_owned(), bytes);
                }
            }
        }
        files
    }

    #[track_caller]
    fn assert_whole(&self, directory: &str) {
        assert!(self.files(&format!("{directory}/member")) == self.whole, "{directory}");
    }

    /// The same of `data`, with its log in `log` where that is apart.
    #[track_caller]
    fn assert_data_whole(&self, apart: bool, what: &str) {
        let mut found = self.files("data/member");
        if apart {
            found.insert(Path::new("wal").join(LOG), self.files("log")[Path::new(LOG)].clone());
        }
        assert!(found == self.whole, "{what}");
    }

    /// Writes a file, and makes the directories it lies in.
    fn plant(&self, name: &str, content: &str) {
        self.make_directory(Path::new(name).parent().unwrap());
        self.write(name, content);
    }

    /// Nothing but an old member, with a log apart.
    fn leave_old_member(&self) {
        self.reset(&["data", "log"]);
        self.plant("data/member/data", "old");
        self.plant("log/old.wal", "old");
    }

    fn reset(&self, names: &[&str]) {
        for path in names.iter().map(|name| self.path(name)) {
            if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                fs::remove_dir_all(path).unwrap();
            } else {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The directories being made in one.
    fn temporaries(&self, directory: &str) -> Vec<String> {
        self.names(directory).into_iter().filter(|name| name.starts_with(TEMPORARY)).collect()
    }

    /// Makes what is left old enough to be taken for stale.
    fn age_leftovers(&self) {
        for directory in ["data", ".", "log"].into_iter().filter(|name| self.path(name).exists()) {
            for name in self.temporaries(directory) {
                self.age(&format!("{directory}/{name}"));
            }
        }
    }

    fn age(&self, name: &str) {
        self.program("touch").args(["-d", "-2 minutes", name]).succeed();
    }
}

/// A database of etcd's shape with some hundred kilobytes of keys, and etcd's digest.
fn snapshot() -> Vec<u8> {
    let keys = (2..700).map(|main| {
        let pair = [&[0x0A, 3][..], format!("{main:03}").as_bytes(), &[0x2A, 100], &[b'v'; 100]].concat();
        (Revision { main, sub: 0 }.to_bytes().to_vec(), pair, false)
    });
    let index = (b"consistent_index".to_vec(), 700_u64.to_be_bytes().to_vec(), false);
    let old = (b"8e9e05c52164694d".to_vec(), b"{}".to_vec(), false);
    let buckets = [
        (b"key".to_vec(), keys.collect()),
        (b"members".to_vec(), vec![old]),
        (b"meta".to_vec(), vec![index]),
    ];
    snapshots::with_digest(bolt::database(4096, &buckets))
}

/// What a file holds, by its path, as [`Scene::files`] has it.
fn only(path: &str, content: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    BTreeMap::from([(path.into(), content.into())])
}
