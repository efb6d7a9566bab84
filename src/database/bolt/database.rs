//! An open database: where its pages are, and its newest meta page.

use std::fmt;

use super::fault::damaged;
use super::first_pages::FirstPages;
use super::meta::{META_END, Meta};
use super::source::PageSource;
use crate::error::{Error, Kind, Result};

/// The largest page of any platform, as in [`Meta::parse`].
const LARGEST_PAGE: usize = 64 * 1024;

/// An open database.
pub struct Database<'a> {
    source: &'a dyn PageSource,
    meta: Meta,
}

impl fmt::Debug for Database<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Database").field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl<'a> Database<'a> {
    /// Reads the meta pages. Bytes behind the high-water mark are not part of the database.
    ///
    /// # Errors
    /// [`Kind::NotASnapshot`], [`Kind::SnapshotLength`] where `source` is shorter than the meta pages say, and the errors of
    /// the source.
    pub fn open(source: &'a dyn PageSource) -> Result<Self> {
        let length = source.size()?;
        let head_size = LARGEST_PAGE + META_END;
        let mut head = vec![0; usize::try_from(length).unwrap_or(head_size).min(head_size)];
        source.read_at(&mut head, 0)?;
        let mut pages = FirstPages::default();
        pages.update(&head)?;
        let meta = *pages.meta().ok_or_else(|| damaged("it ends before its second page"))?;
        match meta.database_size() {
            Some(size) if size <= length => Ok(Self { source, meta }),
            size => Err(Error::new(
                Kind::SnapshotLength,
                format!(
                    "the database is {length} bytes long, but its first page says {}",
                    size.unwrap_or(u64::MAX)
                ),
            )),
        }
    }

    /// The newest valid meta page.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Where the pages are.
    pub(super) fn source(&self) -> &'a dyn PageSource {
        self.source
    }
}
