//! An archive that is there already.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::contract::{Object, Store};
use super::local::LocalFile;
use super::location::Location;
use super::name::ARCHIVE_SUFFIX;
use super::remote::Purpose;
use super::sidecar::Sidecar;
use super::source::{no_file_of_it, open_file, or_elsewhere};
use crate::error::Result;

/// What errors call an archive that cannot be opened.
const WHAT: &str = "archive";

/// An archive in a store.
#[derive(Debug)]
pub struct StoredArchive {
    /// The path as the operator wrote it, which errors and results show.
    path: PathBuf,
    /// Its store and its name there; `None` where the path can only be that of a directory.
    object: Option<(Box<dyn Store>, OsString)>,
}

impl StoredArchive {
    /// The archive at `path`, as an operator names it. This touches nothing yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let object = Location::of_object(&path).map(|(location, name)| (location.store(), name));
        Self { path, object }
    }

    /// The paths of all archives in `directory`, whose names end in `.age`, in the order of the bytes of their names. A link
    /// is none of them: what it leads to is likely to be in the same directory.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound) where there is none, [`Kind::Io`](crate::Kind::Io).
    pub fn all_in(directory: &Path) -> Result<Vec<PathBuf>> {
        let store = Location::parse(directory).store();
        let names = store.list()?.into_iter().map(|entry| entry.name);
        let archives = names.filter(|name| name.as_bytes().ends_with(ARCHIVE_SUFFIX));
        let paths: Vec<PathBuf> = archives.map(|name| store.address(&name)).collect();
        if paths.is_empty() { Err(no_file_of_it(directory, WHAT, ".age")) } else { Ok(paths) }
    }

    /// The path as the operator wrote it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound), [`Kind::Io`](crate::Kind::Io).
    pub fn open(&self) -> Result<Box<dyn Object>> {
        let opened = match &self.object {
            Some((store, name)) => store.open(name),
            // Only for the words of the refusal: it depends on what is there.
            None => {
                open_file(&self.path, WHAT).map(|file| Box::new(LocalFile::from(file)) as Box<dyn Object>)
            }
        };
        opened.map_err(|error| or_elsewhere(error, &self.path, Purpose::Archive))
    }

    /// Reads the sidecar beside it; `None` where there is none.
    ///
    /// # Errors
    /// [`Kind::SidecarMalformed`](crate::Kind::SidecarMalformed), [`Kind::Io`](crate::Kind::Io).
    pub fn sidecar(&self) -> Result<Option<Sidecar>> {
        self.object.as_ref().map_or(Ok(None), |(store, name)| store.sidecar(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use std::io::Read as _;

    #[test]
    fn an_archive_is_read_with_its_sidecar() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.age");
        std::fs::write(&path, "content").unwrap();
        let archive = StoredArchive::at(&path);
        let mut content = String::new();
        archive.open().unwrap().read_to_string(&mut content).unwrap();
        assert_eq!((content.as_str(), archive.path()), ("content", &*path));
        assert_eq!(archive.sidecar().unwrap(), None);
        let sidecar = Sidecar { sha256: [7; 32], name: "x.age".into() };
        std::fs::write(Sidecar::path_of(&path), sidecar.to_line()).unwrap();
        assert_eq!(archive.sidecar().unwrap(), Some(sidecar));
    }

    #[test]
    fn the_archives_in_a_directory_are_found_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let none = || StoredArchive::all_in(directory.path()).unwrap_err();
        assert_eq!(none().kind(), Kind::NotFound);
        for name in
            ["b.age", "a.age", "a.age.sha256", "a.age.sig", "notes", ".etcd-seal-0123456789abcdef.tmp"]
        {
            std::fs::write(path(name), "").unwrap();
        }
        std::fs::create_dir(path("c.age")).unwrap();
        std::os::unix::fs::symlink("b.age", path("latest.age")).unwrap();
        assert_eq!(StoredArchive::all_in(directory.path()).unwrap(), [path("a.age"), path("b.age")]);
        for name in ["a.age", "b.age"] {
            std::fs::remove_file(path(name)).unwrap();
        }
        assert!(none().to_string().ends_with("ends in .age"), "{}", none());
        std::fs::create_dir_all(path("member/snap")).unwrap();
        std::fs::write(path("member/snap/db"), "").unwrap();
        assert!(none().to_string().contains("a directory of etcd's data"), "{}", none());
    }

    #[test]
    fn a_missing_archive_is_not_found_and_a_directory_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let refusal = |path: PathBuf| {
            let error = StoredArchive::at(&path).open().err().unwrap();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
            error.kind()
        };
        std::fs::write(directory.path().join("x.age"), "").unwrap();
        for missing in ["y.age", "x.age/", "x.age/.", "missing/", "missing/y.age"] {
            assert_eq!(refusal(directory.path().join(missing)), Kind::NotFound, "{missing}");
        }
        for none in ["", ".", "./"] {
            assert_eq!(refusal(directory.path().join(none)), Kind::Io, "{none:?}");
        }
        assert_eq!(refusal(directory.path().to_owned()), Kind::Io);
    }
}
