//! Reads both ends of an archive, and nothing between them.

use std::io::{Read, Seek, SeekFrom};

use age::armor::ArmoredReader;

use super::engine::claims::hold_ends;
use super::engine::foreign::{begins_as_zstd, taken_apart};
use super::open::{Foreign, Visible, hold_size, refuse_armored_ours};
use crate::archive::cannot_read;
use crate::archive::frame::begins_as_manifest;
use crate::archive::header::{Header, armor_begin, read_prefix};
use crate::archive::manifest::{Manifest, Trailer};
use crate::archive::read_at::{ArchiveAt, PayloadAt, ends_with_trailer};
use crate::error::{Kind, Result};
use crate::keys::Identities;

/// Both ends of an archive. The bytes between them were not read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspected {
    /// The part readable without a key; with identities it is as it was sealed, by any holder of a recipient.
    pub visible: Visible,
    /// What the key opened, where identities were given.
    pub inside: Option<Inside>,
}

/// What the key of an archive shows.
#[derive(Clone, Debug)]
pub enum Inside {
    /// An archive of ours.
    Ours {
        /// The manifest.
        manifest: Box<Manifest>,
        /// The trailer.
        trailer: Box<Trailer>,
        /// zstd frames of the snapshot.
        frames: u64,
    },
    /// Another age file; only a full read tells more of it, and it may not even hold a snapshot.
    Foreign(Foreign),
}

/// Opens both ends of an archive. Without identities it reads only the visible part, with them manifest and trailer too.
///
/// # Errors
/// Any fault of the parts that were read.
pub fn inspect(input: &mut (impl Read + Seek + Send), identities: Option<&Identities>) -> Result<Inspected> {
    input.rewind().map_err(cannot_read)?;
    let Some(armor) = armor_begin(&read_prefix(input)?) else {
        return inspect_ends(input, false, identities);
    };
    input.seek(SeekFrom::Start(armor as u64)).map_err(cannot_read)?;
    // Finding the end takes a full read, but armoured archives are always foreign, and small.
    inspect_ends(&mut ArmoredReader::new(input), true, identities)
}

fn inspect_ends(
    input: &mut (impl Read + Seek),
    armored: bool,
    identities: Option<&Identities>,
) -> Result<Inspected> {
    let archive_size = input.seek(SeekFrom::End(0)).map_err(cannot_read)?;
    input.rewind().map_err(cannot_read)?;
    let header = Header::parse(&read_prefix(input)?)?;
    if armored {
        refuse_armored_ours(&header)?;
    }
    let key = identities.map(|identities| header.unlock(identities)).transpose()?;
    let visible = Visible { archive_size, ..Visible::of(&header, armored) };
    hold_size(header.size(), archive_size)?;
    let Some(key) = key else { return Ok(Inspected { visible, inside: None }) };
    let mut payload = PayloadAt::new(input, &key, header.size())?;
    let mut first = [0; 9];
    let long_enough = payload.size() >= first.len() as u64;
    if long_enough {
        payload.read_at(0, &mut first)?;
    }
    let inside = if begins_as_manifest(&first) && !armored {
        inspect_ours(&header, payload)?
    } else if begins_as_manifest(&first) {
        // No later version need keep to a rule about armour.
        let newer = ArchiveAt::new(payload, None).err().filter(|error| error.kind() == Kind::FormatNewer);
        return Err(newer.unwrap_or_else(taken_apart));
    } else if header.description().is_some() || ends_with_trailer(&mut payload)? {
        return Err(taken_apart());
    } else {
        Inside::Foreign(Foreign { armored, zstd: begins_as_zstd(&first) })
    };
    Ok(Inspected { visible, inside: Some(inside) })
}

fn inspect_ours(header: &Header, payload: PayloadAt<impl Read + Seek>) -> Result<Inside> {
    let archive = ArchiveAt::new(payload, header.description())?;
    hold_ends(&archive.manifest.content.description, &archive.trailer)?;
    let frames = archive.frames();
    Ok(Inside::Ours {
        manifest: Box::new(archive.manifest.content),
        trailer: Box::new(archive.trailer),
        frames,
    })
}
