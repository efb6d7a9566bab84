//! A store in memory, to show that the conformance suite is not about directories.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::conformance::{Subject, conforms};
use super::contract::{Entry, Existing, Object, Published, Store, Terms, Unpublished};
use super::name::first_free;
use super::sidecar::Sidecar;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;

type Objects = BTreeMap<OsString, Vec<u8>>;

#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Objects>>);

struct Draft {
    store: Memory,
    name: Option<(OsString, Terms)>,
    content: Vec<u8>,
    fails: bool,
}

struct Content(Cursor<Vec<u8>>);

fn refused(kind: Kind, name: &OsStr) -> Error {
    Error::new(kind, format!("memory:{}", name.display()))
}

impl Memory {
    fn found(&self, name: &OsStr) -> Result<Vec<u8>> {
        self.0.lock().unwrap().get(name).cloned().ok_or_else(|| refused(Kind::NotFound, name))
    }
}

/// The name under which an object can be published now.
fn free_name(objects: &Objects, name: &OsStr, terms: Terms) -> Result<OsString> {
    let text = name.to_str().filter(|name| !matches!(*name, "" | "." | ".."));
    if text.is_none_or(|name| name.len() > 200 || name.contains(['/', '\0'])) {
        return Err(refused(Kind::Destination, name));
    }
    let free = match terms.existing {
        Existing::Replace => Some(name.to_owned()),
        Existing::Refuse => (!objects.contains_key(name)).then(|| name.to_owned()),
        Existing::Number => first_free(name, |name| Ok(objects.contains_key(name)))?,
    };
    free.ok_or_else(|| refused(Kind::DestinationExists, name))
}

impl Store for Memory {
    fn address(&self, name: &OsStr) -> PathBuf {
        PathBuf::from(format!("memory:{}", name.display()))
    }

    fn check(&self, name: &OsStr, terms: Terms) -> Result<()> {
        free_name(&self.0.lock().unwrap(), name, terms).map(drop)
    }

    fn begin(&self) -> Result<Box<dyn Unpublished>> {
        Ok(Box::new(Draft { store: self.clone(), name: None, content: Vec::new(), fails: false }))
    }

    fn open(&self, name: &OsStr) -> Result<Box<dyn Object>> {
        Ok(Box::new(Content(Cursor::new(self.found(name)?))))
    }

    fn sidecar(&self, name: &OsStr) -> Result<Option<Sidecar>> {
        Ok(self.found(&Sidecar::name_of(name)).ok().and_then(|line| Sidecar::parse(&line)))
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let objects = self.0.lock().unwrap();
        let entry = |(name, content): (&OsString, &Vec<u8>)| Entry {
            name: name.clone(),
            size: content.len() as u64,
            modified: None,
        };
        Ok(objects.iter().map(entry).collect())
    }

    fn stat(&self, name: &OsStr) -> Result<Entry> {
        Ok(Entry { name: name.to_owned(), size: self.found(name)?.len() as u64, modified: None })
    }

    fn remove(&self, name: &OsStr) -> Result<()> {
        self.found(name)?;
        self.0.lock().unwrap().remove(name);
        self.0.lock().unwrap().remove(&Sidecar::name_of(name));
        Ok(())
    }

    fn free_space(&self) -> Result<Option<u64>> {
        Ok(None)
    }
}

impl Write for Draft {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.fails || self.name.is_none() {
            return Err(io::ErrorKind::Other.into());
        }
        self.content.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unpublished for Draft {
    fn name(&mut self, name: &OsStr, terms: Terms) -> Result<PathBuf> {
        let name = free_name(&self.store.0.lock().unwrap(), name, terms)?;
        let address = self.store.address(&name);
        self.name = Some((name, terms));
        Ok(address)
    }

    fn publish(self: Box<Self>, sha256: Option<[u8; 32]>, interrupt: &Interrupt) -> Result<Published> {
        let (name, terms) = self.name.ok_or_else(|| refused(Kind::Destination, OsStr::new("")))?;
        let mut objects = self.store.0.lock().unwrap();
        if self.fails {
            return Err(refused(Kind::NoSpace, &name));
        }
        let name = free_name(&objects, &name, terms)?;
        interrupt.begin_commit()?;
        objects.remove(&Sidecar::name_of(&name));
        objects.insert(name.clone(), self.content);
        if let Some(sha256) = sha256.filter(|_| terms.sidecar) {
            let line = Sidecar { sha256, name: name.clone() }.to_line();
            objects.insert(Sidecar::name_of(&name), line);
        }
        Ok(Published { path: self.store.address(&name), shortfall: None })
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for Content {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.0.seek(position)
    }
}

impl Object for Content {
    fn size(&self) -> Option<u64> {
        Some(self.0.get_ref().len() as u64)
    }

    fn modified(&self) -> Option<Timestamp> {
        None
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let content = self.0.get_ref();
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        (&content[begin..]).read(buffer)
    }
}

impl Subject for Memory {
    fn store(&self) -> &dyn Store {
        self
    }

    fn failing(&self) -> Box<dyn Unpublished> {
        Box::new(Draft { store: self.clone(), name: None, content: Vec::new(), fails: true })
    }

    fn things(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[test]
fn a_store_in_memory_conforms() {
    conforms(Memory::default);
}
