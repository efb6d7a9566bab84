//! A place of its own for what runs in a test, with nothing else in its environment.

use super::can;
use super::program::{Program, etcd_seal};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory to work in, with a home. Removed when dropped.
pub struct Sandbox {
    root: TempDir,
    /// Whether home, temporaries, working directory and archives are apart, and there is a key.
    furnished: bool,
    /// The recipient of [`Sandbox::identity`], where it is furnished.
    pub recipient: String,
}

impl Sandbox {
    /// An empty directory, which is also the home of what runs there.
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), furnished: false, recipient: String::new() }
    }

    /// One with a home, a directory for temporaries, one to work in and one for archives, and a key.
    pub fn furnished() -> Self {
        let mut sandbox = Self { furnished: true, ..Self::new() };
        for directory in ["home", "tmp", "work", "backups"] {
            sandbox.make_directory(directory);
        }
        sandbox.recipient = sandbox.keygen("../key.txt");
        sandbox
    }

    /// The path of `name` in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(name)
    }

    /// All of it.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where archives go.
    pub fn backups(&self) -> PathBuf {
        self.path("backups")
    }

    /// The identity file.
    pub fn identity(&self) -> PathBuf {
        self.path("key.txt")
    }

    /// Writes a file in it that no other user can read, as a key has to be, and returns its path.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    /// Writes a program in it, such as a shell script that begins with `#!`, and returns its path.
    pub fn write_script(&self, name: impl AsRef<Path>, script: impl AsRef<[u8]>) -> PathBuf {
        let path = self.write(name, script);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// The bytes of a file in it.
    pub fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Makes a directory in it, with those above it, and returns its path.
    pub fn make_directory(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// The names of what is in it, or in a directory in it, sorted.
    pub fn names(&self, directory: impl AsRef<Path>) -> Vec<String> {
        names(&self.path(directory))
    }

    /// The names in the directory of archives, sorted.
    pub fn published(&self) -> Vec<String> {
        self.names("backups")
    }

    /// The only archive there.
    pub fn archive(&self) -> PathBuf {
        let names = self.published();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[0].ends_with(".db.zst.age"), "{names:?}");
        assert_eq!(names[1], format!("{}.sha256", names[0]));
        self.backups().join(&names[0])
    }

    /// Every file in it.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut directories = vec![self.root().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let is_directory = entry.file_type().unwrap().is_dir();
                if is_directory { &mut directories } else { &mut files }.push(entry.path());
            }
        }
        files.sort();
        files
    }

    /// etcd-seal with these words.
    pub fn seal<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Program {
        self.program(etcd_seal()).args(words)
    }

    /// Makes a key in a file, and returns its recipient.
    pub fn keygen(&self, name: &str) -> String {
        self.seal(["keygen", "-o", name]).succeed().text().trim_end().to_owned()
    }

    /// `save` for the sandbox's key.
    pub fn save(&self) -> Program {
        self.seal(["save", "-r", &self.recipient])
    }

    /// One of the commands that open, with the sandbox's key.
    pub fn open(&self, name: &str) -> Program {
        self.seal([name, "-i"]).arg(self.identity())
    }

    /// Asserts that neither stock age nor etcd-seal takes these bytes, which came out before a failure, for an archive.
    #[track_caller]
    pub fn assert_no_archive(&self, bytes: &[u8], what: &str) {
        if can("age", &["--version"]) {
            let age = self.program("age").args(["-o", "/dev/null", "-d", "-i"]).arg(self.identity());
            assert_ne!(age.input(bytes).run().code, 0, "{what}: stock age takes {} bytes", bytes.len());
        }
        let verified = self.open("verify").arg("-").input(bytes).run();
        assert_eq!(verified.code, 13, "{what}: {}", verified.stderr);
    }

    /// Another program in the same surroundings.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Program {
        let place = |name| if self.furnished { self.path(name) } else { self.root().to_owned() };
        let program = Program::new(program.as_ref(), place("work")).env("HOME", place("home"));
        if self.furnished { program.env("TMPDIR", place("tmp")) } else { program }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

/// The names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
