//! A member that is written, and published whole or not at all.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::aside::Aside;
use super::marker::{marker_in, remove_marker};
use super::old_log::OldLog;
use super::part::{Placement, UnpublishedPart};
use super::place::{MemberPlace, member_of};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::contract::Published;
use crate::store::local::directory::Directory;
use crate::store::local::growing::GrowingFile;
use crate::store::local::layout::{LOG_DIRECTORY, MARKER, MEMBER, SNAPSHOT_DIRECTORY};

/// A member being written; removed on drop unless published.
#[derive(Debug)]
pub struct UnpublishedMember {
    place: MemberPlace,
    data: UnpublishedPart,
    log: Option<UnpublishedPart>,
}

impl MemberPlace {
    /// Begins to write the member.
    ///
    /// # Errors
    /// The errors of [`Self::check`], [`Kind::NoSpace`].
    pub fn begin(self) -> Result<UnpublishedMember> {
        let (data, log) = self.find()?;
        let data = data.begin(self.owner)?;
        let log = log.map(|log| log.begin(self.owner)).transpose()?;
        Ok(UnpublishedMember { place: self, data, log })
    }
}

impl UnpublishedMember {
    /// Creates a file in the directory of snapshots.
    ///
    /// # Errors
    /// [`Kind::NoSpace`], [`Kind::Io`].
    pub fn create_snapshot(&self, name: &str) -> Result<GrowingFile> {
        let path: PathBuf = [MEMBER, SNAPSHOT_DIRECTORY, name].iter().collect();
        self.data.tree.create_file(&path).map(GrowingFile::new)
    }

    /// Creates a file in the directory of the log.
    ///
    /// # Errors
    /// [`Kind::NoSpace`], [`Kind::Io`].
    pub fn create_log(&self, name: &str) -> Result<GrowingFile> {
        let inside: PathBuf = [MEMBER, LOG_DIRECTORY, name].iter().collect();
        let apart = self.log.as_ref().map(|log| log.tree.create_file(Path::new(name)));
        apart.unwrap_or_else(|| self.data.tree.create_file(&inside)).map(GrowingFile::new)
    }

    /// Free bytes where the database goes; and where the log goes, if that is another filesystem.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn free_space(&self) -> Result<(u64, Option<u64>)> {
        let free = self.data.tree.free_space()?;
        match &self.log {
            Some(log) if !log.tree.is_beside(&self.data.tree) => Ok((free, Some(log.tree.free_space()?))),
            _ => Ok((free, None)),
        }
    }

    /// Publishes the member. The order is:
    ///
    /// 1. fsync everything, from the files to the directories, and give it to its owner;
    /// 2. [`Interrupt::begin_commit`]: an interrupt before this point leaves everything unchanged;
    /// 3. give `member` its name, in exchange for an old one that is to be replaced: this is the commit;
    /// 4. fsync the directory.
    ///
    /// No single rename can publish a member and a separate log, and etcd would start on one without the other, even if only
    /// to make a new cluster. So for a separate log, before step 3:
    ///
    /// 1. put the marker where the log goes, which keeps every etcd from starting there; it replaces the marker of an
    ///    earlier run in one step, so that there is always one;
    /// 2. move the files of an old log aside, and give the new log its name.
    ///
    /// The marker is removed once the member is durable.
    ///
    /// A failure before the commit is undone. A process killed before it leaves the old member under one name or the other,
    /// and a later run removes the rest; one killed between the two renames of an exchange leaves the new member beside the
    /// old one, under the name for what is moved aside. A failure after the commit is no error but a
    /// [shortfall](Published::shortfall).
    ///
    /// # Errors
    /// With nothing left behind: [`Kind::DestinationExists`], [`Kind::Interrupted`], [`Kind::NoSpace`], [`Kind::Io`].
    pub fn publish(mut self, interrupt: &Interrupt) -> Result<Published> {
        let log = self.log.as_ref().map(UnpublishedPart::part);
        self.place.check_parts(&self.data.part(), log.as_ref())?;
        if let Some(log) = &self.log {
            self.write_marker(log)?;
            log.seal()?;
        }
        self.data.seal()?;
        for part in std::iter::once(&self.data).chain(&self.log) {
            part.tree.check_in_place()?;
        }
        interrupt.begin_commit()?;
        let mut aside = Aside::default();
        let committed = self.commit(&mut aside);
        if let Err(error) = committed {
            let log_is_back = self.log.as_mut().is_none_or(UnpublishedPart::take_back);
            aside.take_back(&mut self.data.tree, self.log.as_mut().map(|log| &mut log.tree), log_is_back);
            return Err(error);
        }
        aside.tell();
        let path = self.data.path().join(MEMBER);
        let shortfall = self.finish().err().map(|error| {
            Error::new(Kind::PartlyPublished, format!("{} is complete, but {error}", path.display()))
                .with_hint("the member itself is complete; check the disk before relying on it")
        });
        Ok(Published { path, shortfall })
    }

    fn commit(&mut self, aside: &mut Aside) -> Result<()> {
        let base = Arc::clone(self.data.tree.base());
        let member = OsStr::new(MEMBER);
        let replaced = match (self.place.replace.clone(), &self.data.placement) {
            (Some(time), Placement::Inside) if member_of(&base)? => Some(time),
            _ => None,
        };
        if let Some(log) = &mut self.log {
            publish_log(&self.place, log, aside)?;
            log.tree.base().check_in_place()?;
        }
        base.check_in_place()?;
        if let Some(time) = &replaced {
            if aside.exchange(&mut self.data.tree, &base, member, time)? {
                return Ok(());
            }
            aside.rename(&base, member, time)?;
        }
        self.data.publish(&[MEMBER])
    }

    /// The steps after the commit.
    fn finish(&mut self) -> Result<()> {
        // The log needs its marker until the member is durable.
        self.data.tree.base().sync()?;
        let Some(log) = &self.log else { return Ok(()) };
        let path = log.path();
        match &log.placement {
            Placement::Inside => remove_marker(log.tree.base()),
            Placement::Beside(_) => {
                log.tree.directory_at(path).and_then(|directory| remove_marker(&directory))
            }
        }
    }

    fn write_marker(&self, log: &UnpublishedPart) -> Result<()> {
        let stat = log.tree.look(OsStr::new(self.place.log_name))?;
        let mut file = log.tree.create_file(Path::new(MARKER))?;
        let written = file.write_all(&self.place.marker().content(&stat)?);
        written.map_err(|error| Error::io("write", log.tree.path().join(MARKER).display(), error))
    }
}

/// Gives the log its name, and moves aside what it replaces.
fn publish_log(place: &MemberPlace, log: &mut UnpublishedPart, aside: &mut Aside) -> Result<()> {
    let Placement::Inside = log.placement else {
        log.publish(&[])?;
        return log.tree.base().sync();
    };
    let base = Arc::clone(log.tree.base());
    let leftover = place.marker().is_leftover(&base)?;
    let of_leftover = |name: &[u8]| leftover && [place.log_name, MARKER].map(str::as_bytes).contains(&name);
    let mut old = match &place.replace {
        Some(time) => OldLog::collect(&base, of_leftover, time, aside)?,
        None => None,
    };
    let earlier = marker_in(&base)?.filter(|_| leftover || old.is_some());
    if let Some(earlier) = &earlier {
        aside.mark_in_place_of(earlier, &mut log.tree)?;
    } else {
        // A file that only has the name of a marker is moved aside.
        if let Some(old) = &mut old {
            old.shift(|name| name == MARKER.as_bytes(), aside)?;
        }
        aside.mark(&log.tree)?;
    }
    base.sync()?;
    if leftover {
        remove_leftover(&base, place.log_name)?;
    }
    if let Some(old) = &mut old {
        old.shift(|name| name != MARKER.as_bytes(), aside)?;
        if earlier.is_some() {
            old.shift_marker(&log.tree, aside)?;
        }
        old.give_to_owner_of_log();
        old.collected.sync()?;
    }
    log.publish(&[place.log_name])?;
    base.sync()
}

/// Removes the log that an unfinished run has left. Its marker is already replaced by that of this run.
fn remove_leftover(directory: &Directory, log_name: &str) -> Result<()> {
    let name = OsStr::new(log_name);
    directory.remove(name).map_err(|error| {
        Error::io("remove what an earlier run left,", directory.join(name).display(), error.into())
    })
}
