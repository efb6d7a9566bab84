//! Renames that replace no file, and leave another user's file where it is.

use std::ffi::OsStr;
use std::fs::File;

use rustix::fs::{RenameFlags, Stat};
use rustix::io::Errno;

use super::directory::{Directory, is_same};
use super::temporary::{ATTEMPTS, random_name};

/// Exchanges two names in one step.
pub(super) fn exchange(
    one: &Directory,
    name: &OsStr,
    other: &Directory,
    other_name: &OsStr,
) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(one.file(), name, other.file(), other_name, RenameFlags::EXCHANGE)
}

/// Renames from one directory into another, where the name must be free.
pub(super) fn rename_without_replacing(
    from: &File,
    name: &OsStr,
    to: &Directory,
    new_name: &OsStr,
) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(from, name, to.file(), new_name, RenameFlags::NOREPLACE) {
        // A filesystem without rename flags: a rename could replace only an empty directory or a file, and there was none.
        Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => match to.look(new_name)? {
            None => rustix::fs::renameat(from, name, to.file(), new_name),
            Some(_) => Err(Errno::EXIST),
        },
        other => other,
    }
}

/// Moves the file `expected` from one name to another, which must be free. Any other file that has got the first name stays,
/// or is moved out again: under that name or, where that is taken by then, under one beside it.
pub(super) fn move_back(
    from: &Directory,
    name: &OsStr,
    to: &Directory,
    new_name: &OsStr,
    expected: &Stat,
) -> rustix::io::Result<()> {
    let is_at = |directory: &Directory, name: &OsStr| {
        let found = directory.look(name)?;
        Ok::<_, Errno>(found.is_some_and(|found| is_same(&found, expected)))
    };
    if !is_at(from, name)? {
        return Err(Errno::STALE);
    }
    rename_without_replacing(from.file(), name, to, new_name)?;
    // From now on no other user can exchange it, if only this user can write `to`.
    if is_at(to, new_name)? { Ok(()) } else { move_out(to, new_name, from, name).and(Err(Errno::STALE)) }
}

/// Moves a file of another user out again.
pub(super) fn move_out(
    from: &Directory,
    name: &OsStr,
    to: &Directory,
    old_name: &OsStr,
) -> rustix::io::Result<()> {
    let mut free = old_name.to_owned();
    for _ in 0..ATTEMPTS {
        match rename_without_replacing(from.file(), name, to, &free) {
            Err(Errno::EXIST) => free = random_name("not-of-etcd-seal-", "").map_err(|_| Errno::IO)?,
            Ok(()) => {
                tracing::warn!("{} is not what was put there, and stays", to.join(&free).display());
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EXIST)
}
