//! The meta pages of a database, read from its first bytes.

use super::meta::{META_END, Meta, MetaFault};
use super::page::{META, PageHeader};
use crate::error::{Error, Kind, Result};

/// The first two pages, collected until both meta pages are known.
#[derive(Clone, Debug, Default)]
pub struct FirstPages {
    head: Vec<u8>,
    meta: Option<Meta>,
}

impl FirstPages {
    /// Takes the next bytes of the snapshot; it reads only the first pages.
    ///
    /// # Errors
    /// [`Kind::NotASnapshot`] as soon as the first page is known not to be a bbolt meta page.
    pub fn update(&mut self, bytes: &[u8]) -> Result<()> {
        if self.meta.is_some() {
            return Ok(());
        }
        let wanted = match self.head.len() {
            known if known < META_END => META_END,
            _ => self.second_meta_end()?,
        };
        let (taken, rest) = bytes.split_at(bytes.len().min(wanted - self.head.len()));
        self.head.extend_from_slice(taken);
        if self.head.len() < wanted {
            return Ok(());
        }
        let second_end = self.second_meta_end()?;
        if self.head.len() < second_end {
            return self.update(rest);
        }
        self.meta = Some(self.newest()?);
        self.head = Vec::new();
        Ok(())
    }

    /// The newest meta page, once both are known.
    #[must_use]
    pub fn meta(&self) -> Option<&Meta> {
        self.meta.as_ref()
    }

    /// Bytes of the database, once both meta pages are known.
    #[must_use]
    pub fn database_size(&self) -> Option<u64> {
        self.meta.as_ref().and_then(Meta::database_size)
    }

    /// The meta page `id` at `at`. The checksum does not cover the page header, which bbolt's tools check.
    fn meta_at(&self, at: usize, id: u64) -> Result<(Meta, HeaderState), MetaFault> {
        let page = self.head.get(at..at + META_END).and_then(|page| <&[u8; META_END]>::try_from(page).ok());
        let page = page.ok_or(MetaFault::Magic)?;
        let meta = Meta::parse(page)?;
        let right = PageHeader::parse(page).is_some_and(|header| header.id == id && header.flags == META);
        Ok((meta, if right { HeaderState::Right } else { HeaderState::Wrong }))
    }

    fn first(&self) -> Result<Meta> {
        match self.meta_at(0, 0) {
            Ok((first, HeaderState::Right)) => Ok(first),
            Err(MetaFault::Magic) => Err(not_a_snapshot("it does not begin with a bbolt meta page")),
            Err(MetaFault::Version(version)) => {
                Err(not_a_snapshot(format_args!("its first page is of bbolt file version {version}, not 2")))
            }
            Err(MetaFault::Damaged) | Ok((_, HeaderState::Wrong)) => {
                Err(not_a_snapshot("its first page is damaged"))
            }
        }
    }

    fn second_meta_end(&self) -> Result<usize> {
        Ok(self.first()?.page_size as usize + META_END)
    }

    /// A streamed snapshot has the same state in both; in a copied file the higher transaction is the newer state. Like
    /// bbolt, this ignores a second meta page with a wrong checksum.
    fn newest(&self) -> Result<Meta> {
        let first = self.first()?;
        match self.meta_at(first.page_size as usize, 1) {
            Ok((_, HeaderState::Wrong)) => Err(not_a_snapshot("its second page is damaged")),
            Ok((second, HeaderState::Right))
                if second.page_size == first.page_size && second.transaction > first.transaction =>
            {
                Ok(second)
            }
            _ => Ok(first),
        }
    }
}

/// Whether the header of a valid meta page has the right page number and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderState {
    Right,
    Wrong,
}

fn not_a_snapshot(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::NotASnapshot, format!("not an etcd snapshot: {what}"))
}
