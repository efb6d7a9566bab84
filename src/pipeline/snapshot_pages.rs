//! The snapshot in an archive as a database that is read in place.

use std::cell::RefCell;
use std::io::{Read, Seek};

use super::engine::claims::hold_ends;
use crate::archive::cannot_read;
use crate::archive::header::{Header, read_prefix};
use crate::archive::read_at::{ArchiveAt, PayloadAt};
use crate::database::bolt::PageSource;
use crate::error::Result;
use crate::keys::Identities;

/// The pages of the snapshot in an open archive. It decrypts and decompresses only the frames that are read.
pub struct SnapshotPages<R>(RefCell<ArchiveAt<R>>);

impl<R: Read + Seek> SnapshotPages<R> {
    /// Opens the archive in `input`, which must be one of this program's.
    ///
    /// # Errors
    /// Any fault of its header, manifest, seek table and trailer; no identity that opens it.
    pub fn open(mut input: R, identities: &Identities) -> Result<Self> {
        input.rewind().map_err(cannot_read)?;
        let header = Header::parse(&read_prefix(&mut input)?)?;
        let key = header.unlock(identities)?;
        let payload = PayloadAt::new(input, &key, header.size())?;
        let archive = ArchiveAt::new(payload, header.description())?;
        hold_ends(&archive.manifest.content.description, &archive.trailer)?;
        Ok(Self(RefCell::new(archive)))
    }
}

impl<R: Read + Seek> PageSource for SnapshotPages<R> {
    fn size(&self) -> Result<u64> {
        Ok(self.0.borrow().trailer.snapshot_size)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.0.borrow_mut().read_at(offset, buffer)
    }
}
