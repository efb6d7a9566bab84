//! Reads the files of recipients and identities.

use crate::cli::input::standard_input;
use crate::cli::terminal::secret::read_secret;
use crate::error::{Error, Kind, Result};
use crate::keys::{KEY_FILE_SIZE_LIMIT, KeyFile, is_private_key};
use crate::store::shell::left_by_the_shell;
use crate::store::source;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Reads key files; an unreadable one gives an error of `kind`.
pub(crate) fn read_key_files(paths: &[PathBuf], kind: Kind) -> Result<Vec<KeyFile>> {
    paths.iter().map(|path| read_key_file(path, kind)).collect()
}

/// Reads a key file; an unreadable one gives an error of `kind`.
fn read_key_file(path: &Path, kind: Kind) -> Result<KeyFile> {
    let (name, source) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), standard_input()?)
    } else {
        let file = source::open(path).map_err(|error| cannot_open(kind, path, error))?;
        (path.display().to_string(), file)
    };
    let text = read_secret(source, KEY_FILE_SIZE_LIMIT).map_err(|error| unreadable(kind, &name, error))?;
    if text.len() as u64 > KEY_FILE_SIZE_LIMIT {
        return Err(Error::new(kind, format!("{name} is longer than {KEY_FILE_SIZE_LIMIT} bytes")));
    }
    Ok(KeyFile { name, text })
}

/// Warns of identity files that every user of the host can read.
pub(crate) fn warn_of_readers(identities: &[PathBuf]) {
    let is_open_to_all = |metadata: &Metadata| metadata.is_file() && metadata.mode() & 0o004 != 0;
    for path in identities.iter().filter(|path| path.metadata().is_ok_and(|found| is_open_to_all(&found))) {
        let path = path.display();
        tracing::warn!(
            "every user of this host can read the identity file {path}: chmod 600 it, or keep it elsewhere"
        );
    }
}

/// The error for a file that cannot be opened. The name is left out if it may be a key given in place of a file.
fn cannot_open(kind: Kind, path: &Path, error: io::Error) -> Error {
    let name = path.display().to_string();
    if kind == Kind::Identity && error.kind() == io::ErrorKind::NotFound && name.starts_with("age1") {
        return Error::new(kind, "a recipient is named as the identity file").with_hint(
            "a recipient only seals; name the file with the private key, which keygen or age-keygen wrote",
        );
    }
    if !is_private_key(&name) {
        let hint = left_by_the_shell(path.as_os_str());
        return hint.into_iter().fold(unreadable(kind, &name, error), Error::with_hint);
    }
    if kind == Kind::Recipient {
        return Error::new(kind, "a private key is named as the recipients file").with_hint(
            "a private key does not belong on the host that makes backups: pass its recipient with -r; \
             what was on a command line, other users may have seen",
        );
    }
    Error::new(kind, "a private key is named as the identity file").with_hint(
        "put the key into a file that only you can read, and name that; what was on a command line, other users \
         may have seen",
    )
}

fn unreadable(kind: Kind, name: &str, error: io::Error) -> Error {
    let what = if kind == Kind::Recipient { "recipients file" } else { "identity file" };
    if !is_about_the_path(error.kind()) {
        return Error::io("read", format_args!("{what} {name}"), error);
    }
    let hint = match error.kind() {
        io::ErrorKind::IsADirectory => "name the file in it",
        io::ErrorKind::PermissionDenied => {
            "this user may not: run it as one who may, for example with sudo, or change its owner or mode"
        }
        _ => "check its path and permissions, and that its filesystem is mounted",
    };
    Error::new(kind, format!("cannot read {what} {name}: {error}")).with_hint(hint).with_source(error)
}

/// Whether another path would help. Otherwise the disk or the system is at fault, and not the flag.
fn is_about_the_path(error: io::ErrorKind) -> bool {
    use io::ErrorKind::{
        InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied,
    };
    matches!(
        error,
        NotFound | PermissionDenied | NotADirectory | IsADirectory | InvalidFilename | InvalidInput
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_key_file_is_a_usage_error() {
        let error = read_key_file(Path::new("/nowhere/key.txt"), Kind::Identity).err().unwrap();
        assert_eq!(error.kind(), Kind::Identity);
        assert!(error.to_string().starts_with("cannot read identity file /nowhere/key.txt: "), "{error}");
    }
}
