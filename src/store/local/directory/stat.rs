//! What the metadata of a file say.

use rustix::fs::{FileType, Stat};

/// Whether both describe the same file.
pub(in crate::store::local) fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// The name of a file type in a message.
pub(in crate::store::local) fn describe(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Directory => "a directory",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::Symlink => "a link to an open file",
        _ => "no regular file",
    }
}

/// Whether it is a link.
pub(in crate::store::local) fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

/// Whether it is a directory.
pub(in crate::store::local) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}
