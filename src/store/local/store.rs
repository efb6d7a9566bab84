//! A directory of a local filesystem as a store.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::directory::{Directory, is_file_name};
use super::file::{self, Publication, UnpublishedFile};
use super::source;
use super::space::free_space;
use super::temporary::is_temporary_name;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::contract::{Entry, Object, Published, Store, Terms, Unpublished};
use crate::store::sidecar::Sidecar;

/// A directory that holds archives. Each operation opens it anew, with only the permissions that this operation needs.
#[derive(Clone, Debug)]
pub struct LocalDirectory {
    path: PathBuf,
}

impl LocalDirectory {
    /// The directory at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path to open: the working directory has the path `.`.
    fn path(&self) -> &Path {
        if self.path.as_os_str().is_empty() { Path::new(".") } else { &self.path }
    }

    fn missing(&self, name: &OsStr) -> Error {
        let path = self.address(name);
        Error::new(Kind::NotFound, format!("there is no archive {}", path.display())).naming(&*path)
    }

    fn failed(&self, action: &str, name: &OsStr, error: Errno) -> Error {
        let path = self.address(name);
        Error::io(action, path.display(), error.into()).naming(&*path)
    }
}

impl Store for LocalDirectory {
    fn address(&self, name: &OsStr) -> PathBuf {
        // A bare file name lies in `.`.
        let path = self.path.join(name);
        path.strip_prefix(".").map(Path::to_owned).unwrap_or(path)
    }

    fn check(&self, name: &OsStr, terms: Terms) -> Result<()> {
        file::check(self.path(), name, terms.existing, terms.sidecar)
    }

    fn begin(&self) -> Result<Box<dyn Unpublished>> {
        let file = UnpublishedFile::create(self.path())?;
        Ok(Box::new(NamedFile { file, directory: self.clone(), name: None }))
    }

    fn open(&self, name: &OsStr) -> Result<Box<dyn Object>> {
        if !is_file_name(name) {
            return Err(self.missing(name));
        }
        let file = source::open_file(&self.path.join(name), "archive")?;
        Ok(Box::new(LocalFile::from(file)))
    }

    fn sidecar(&self, name: &OsStr) -> Result<Option<Sidecar>> {
        Sidecar::read_beside(&self.path.join(name))
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let directory = Directory::open(self.path())?;
        let failed = |error: Errno| {
            Error::io("read the directory", self.path().display(), error.into()).naming(self.path())
        };
        let mut entries = Vec::new();
        for name in directory.names_in_it().map_err(failed)? {
            let name = name.map_err(failed)?;
            if is_temporary_name(&name) {
                continue;
            }
            let name = OsString::from_vec(name);
            // A file that was removed meanwhile is left out.
            let stat = directory.look(&name).map_err(|error| self.failed("look at", &name, error))?;
            entries.extend(stat.and_then(|stat| entry(&name, &stat)));
        }
        entries.sort_by(|one, other| one.name.as_bytes().cmp(other.name.as_bytes()));
        Ok(entries)
    }

    fn stat(&self, name: &OsStr) -> Result<Entry> {
        if !is_file_name(name) || is_temporary_name(name.as_bytes()) {
            return Err(self.missing(name));
        }
        let directory = Directory::open(self.path())?;
        let stat = match directory.look(name) {
            Err(Errno::NAMETOOLONG) => None,
            stat => stat.map_err(|error| self.failed("look at", name, error))?,
        };
        stat.and_then(|stat| entry(name, &stat)).ok_or_else(|| self.missing(name))
    }

    /// Makes the removal of the archive durable before it removes the sidecar: after a crash, no archive is left without it.
    fn remove(&self, name: &OsStr) -> Result<()> {
        self.stat(name)?;
        let directory = Directory::open(self.path())?;
        directory.remove(name).map_err(|error| self.failed("remove", name, error))?;
        directory.sync()?;
        let sidecar = Sidecar::name_of(name);
        match directory.look(&sidecar) {
            Ok(Some(stat)) if entry(&sidecar, &stat).is_some() => {}
            _ => return Ok(()),
        }
        directory.remove(&sidecar).map_err(|error| self.failed("remove", &sidecar, error))?;
        directory.sync()
    }

    fn free_space(&self) -> Result<Option<u64>> {
        free_space(self.path()).map(Some)
    }
}

/// The entry of a regular file; `None` for anything else.
fn entry(name: &OsStr, stat: &Stat) -> Option<Entry> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    let modified = Timestamp::new(stat.st_mtime, nanoseconds).ok();
    Some(Entry { name: name.to_owned(), size: u64::try_from(stat.st_size).ok()?, modified })
}

/// A file being written, with the name that it is going to have.
struct NamedFile {
    file: UnpublishedFile,
    directory: LocalDirectory,
    name: Option<(OsString, Terms)>,
}

impl Write for NamedFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.name.is_none() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it has no name yet"));
        }
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Unpublished for NamedFile {
    fn name(&mut self, name: &OsStr, terms: Terms) -> Result<PathBuf> {
        let name = self.file.free_name(name, terms)?;
        let address = self.directory.address(&name);
        self.name = Some((name, terms));
        Ok(address)
    }

    fn publish(self: Box<Self>, sha256: Option<[u8; 32]>, interrupt: &Interrupt) -> Result<Published> {
        let Some((name, terms)) = self.name else {
            let message = format!("a file in {} has no name", self.directory.path().display());
            return Err(Error::new(Kind::Destination, message).naming(self.directory.path()));
        };
        let sha256 = sha256.filter(|_| terms.sidecar);
        let path = self.directory.address(&name);
        let publication = Publication::new(&name, terms.existing, sha256);
        self.file.publish_as(&publication, interrupt).map_err(|error| error.naming(&*path))
    }
}

/// An open file, or another input that the operating system presents as one.
#[derive(Debug)]
pub struct LocalFile(File);

impl From<File> for LocalFile {
    fn from(file: File) -> Self {
        Self(file)
    }
}

impl Read for LocalFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for LocalFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.0.seek(position)
    }
}

impl Object for LocalFile {
    fn size(&self) -> Option<u64> {
        self.0.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
    }

    fn modified(&self) -> Option<Timestamp> {
        let metadata = self.0.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Timestamp::try_from(metadata.modified().ok()?).ok()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Location;
    use crate::store::conformance::{Subject, conforms};

    struct TestDirectory {
        directory: tempfile::TempDir,
        store: LocalDirectory,
    }

    impl TestDirectory {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = LocalDirectory::new(directory.path());
            Self { directory, store }
        }
    }

    impl Subject for TestDirectory {
        fn store(&self) -> &dyn Store {
            &self.store
        }

        fn failing(&self) -> Box<dyn Unpublished> {
            let mut file = UnpublishedFile::create(self.directory.path()).unwrap();
            // A descriptor that is only for reading.
            file.fail_writes(File::open("/dev/null").unwrap());
            Box::new(NamedFile { file, directory: self.store.clone(), name: None })
        }

        fn things(&self) -> usize {
            self.directory.path().read_dir().unwrap().count()
        }
    }

    #[test]
    fn a_local_directory_conforms() {
        conforms(TestDirectory::new);
    }

    #[test]
    fn a_list_leaves_out_what_is_no_archive() {
        let place = TestDirectory::new();
        let path = |name: &str| place.directory.path().join(name);
        std::fs::create_dir(path("directory.age")).unwrap();
        std::os::unix::fs::symlink("x.age", path("link.age")).unwrap();
        std::fs::write(path("x.age"), "content").unwrap();
        std::fs::write(path(".etcd-seal-0123456789abcdef.tmp"), "unpublished").unwrap();
        let store = Location::parse(place.directory.path()).store();
        let names: Vec<_> = store.list().unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["x.age"]);
        for name in ["directory.age", "link.age", ".etcd-seal-0123456789abcdef.tmp"] {
            assert_eq!(store.remove(OsStr::new(name)).unwrap_err().kind(), Kind::NotFound, "{name}");
        }
        // A link to the latest archive can be read.
        assert_eq!(store.open(OsStr::new("link.age")).unwrap().size(), Some(7));
    }

    #[test]
    fn an_address_is_what_an_operator_writes() {
        let address = |directory: &str| LocalDirectory::new(directory).address(OsStr::new("x.age"));
        assert_eq!(address("."), Path::new("x.age"));
        assert_eq!(address("/b"), Path::new("/b/x.age"));
        let missing = LocalDirectory::new("/missing").list().unwrap_err();
        assert_eq!(missing.kind(), Kind::Destination);
    }
}
