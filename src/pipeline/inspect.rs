//! What an archive says of itself, without reading all of it.

use std::io::{Read, Seek, SeekFrom};

use super::open::{Visible, refuse_armored_ours};
use crate::archive::cannot_read;
use crate::archive::frame::begins_as_manifest;
use crate::archive::header::{Header, is_armored, read_prefix};
use crate::archive::manifest::{Manifest, Trailer};
use crate::archive::payload::Chunks;
use crate::archive::read_at::{ArchiveAt, PayloadAt};
use crate::error::{Error, Kind, Result};
use crate::keys::Identities;

/// Both ends of an archive. What lies between them was not looked at.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// What anybody sees; authentic only where identities were given.
    pub visible: Visible,
    /// What is inside, where identities were given.
    pub inside: Option<Inside>,
}

/// What a key shows.
#[derive(Clone, Debug)]
pub enum Inside {
    /// An archive of ours.
    Ours {
        /// The manifest.
        manifest: Box<Manifest>,
        /// The trailer.
        trailer: Trailer,
        /// zstd frames of the snapshot.
        frames: u64,
    },
    /// Some other age file, which only a full reading can tell more of.
    Foreign,
}

/// Opens both ends of an archive. Without identities only what is visible; with them, manifest and trailer too.
///
/// # Errors
/// Whatever is wrong with the parts that were read.
pub fn inspect(input: &mut (impl Read + Seek + Send), identities: Option<&Identities>) -> Result<Inspected> {
    let file_size = input.seek(SeekFrom::End(0)).map_err(cannot_read)?;
    input.rewind().map_err(cannot_read)?;
    let prefix = read_prefix(input)?;
    if is_armored(&prefix) {
        input.rewind().map_err(cannot_read)?;
        return inspect_armored(input, file_size, identities);
    }
    let header = Header::parse(&prefix)?;
    let visible = Visible { archive_size: file_size, ..Visible::of(&header, false)? };
    if file_size.checked_sub(header.size()).and_then(Chunks::of_payload).is_none() {
        return Err(super::plaintext::cut(file_size));
    }
    let Some(identities) = identities else { return Ok(Inspected { visible, inside: None }) };
    let key = header.unlock(identities)?;
    let mut payload = PayloadAt::new(input, &key, header.size())?;
    let mut first = [0; 9];
    let long_enough = payload.size() >= first.len() as u64;
    if long_enough {
        payload.read_at(0, &mut first)?;
    }
    let manifest_first = begins_as_manifest(&first);
    if !manifest_first && !header.has_description() {
        return Ok(Inspected { visible, inside: Some(Inside::Foreign) });
    }
    if !manifest_first {
        return Err(super::layers::taken_apart());
    }
    let archive = ArchiveAt::new(payload)?;
    if let Some(description) = header.description()?
        && !description.is_part_of(&archive.manifest)
    {
        return Err(Error::new(Kind::StructureDamaged, "the public description and the manifest disagree"));
    }
    let frames = archive.frames();
    let inside =
        Inside::Ours { manifest: Box::new(archive.manifest.content), trailer: archive.trailer, frames };
    Ok(Inspected { visible, inside: Some(inside) })
}

fn inspect_armored(
    input: &mut (impl Read + Seek + Send),
    file_size: u64,
    identities: Option<&Identities>,
) -> Result<Inspected> {
    let prefix = read_prefix(&mut age::armor::ArmoredReader::new(input))?;
    let header = Header::parse(&prefix)?;
    refuse_armored_ours(&header)?;
    if let Some(identities) = identities {
        header.unlock(identities)?;
    }
    let visible = Visible { archive_size: file_size, ..Visible::of(&header, true)? };
    Ok(Inspected { visible, inside: identities.map(|_| Inside::Foreign) })
}
