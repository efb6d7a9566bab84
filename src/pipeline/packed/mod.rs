//! Snapshots as other tools leave them: plain, or packed by gzip, zip or zstd, and then unpacked while they are read.
//!
//! A packed snapshot has no part that counts before it is whole: a cut, a wrong checksum and any byte behind the end are
//! errors. No more comes out than [`Expansion`] allows, and memory is that of a window, 32 MiB at most.

mod tap;
mod zip;

use std::io::{self, Cursor, ErrorKind, Read};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use self::tap::{Tap, TapState};
use self::zip::ZipReader;
use super::engine::foreign::WINDOW_SIZE_MAX;
use crate::archive::expansion::{Expansion, UNPROMISED_RATIO};
use crate::error::{Error, Kind, Result, Subject};
use crate::magic::{ENOUGH, FileType};

/// Bytes that are read before the type of a file is decided: room for both meta pages of a database.
const BEGINNING: usize = 128 * 1024;

/// A snapshot to be read to its end.
pub(in crate::pipeline) struct Unpacked<'a> {
    /// The snapshot. Of its errors, [`fault`] makes those of this crate.
    pub(in crate::pipeline) reader: Box<dyn Read + Send + 'a>,
    /// What it was unpacked from, if it was packed.
    pub(in crate::pipeline) packing: Option<FileType>,
}

/// Recognises what `reader` gives, and unpacks it if it is packed.
///
/// # Errors
/// [`Kind::NotASnapshot`] for a file of another type, in a packed one, too, [`Kind::SnapshotLength`] where it is cut short,
/// and [`Kind::Io`].
pub(in crate::pipeline) fn unpacked<'a>(
    mut reader: impl Read + Send + 'a,
    subject: &Subject,
) -> Result<Unpacked<'a>> {
    let begin = beginning(&mut reader);
    let begin = begin.map_err(|error| fault(error, |error| unreadable(error, subject)))?;
    let found = FileType::of(&begin);
    let whole = Cursor::new(begin).chain(reader);
    let packing = match found {
        None | Some(FileType::Snapshot) => return Ok(Unpacked { reader: Box::new(whole), packing: None }),
        Some(packing @ (FileType::Gzip | FileType::Zip | FileType::Zstd)) => packing,
        Some(other) => return Err(not_a_snapshot(other.to_string()).with_hint(other.instead_of_snapshot())),
    };
    tracing::debug!("{subject} is {packing}: unpacking it");
    let unpacked = unpack(packing, whole).and_then(|unpacked| inspected(unpacked, packing));
    let reader = unpacked.map_err(|error| fault(error, |error| unreadable(error, subject)))?;
    Ok(Unpacked { reader, packing: Some(packing) })
}

/// The error of this crate in `error`, or what `otherwise` makes of an error of the system.
pub(in crate::pipeline) fn fault(error: io::Error, otherwise: impl FnOnce(io::Error) -> Error) -> Error {
    error.downcast().unwrap_or_else(otherwise)
}

/// The error where `subject` cannot be read.
pub(in crate::pipeline) fn unreadable(error: io::Error, subject: &Subject) -> Error {
    Error::io("read", subject, error).naming(subject.clone())
}

/// What one read gives, or as many as it takes to recognise a file: a fault at its beginning does not wait for more input.
fn beginning(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut begin = vec![0; BEGINNING];
    let mut filled = 0;
    while filled < ENOUGH {
        match reader.read(&mut begin[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    begin.truncate(filled);
    Ok(begin)
}

fn unpack<'a>(packing: FileType, packed: impl Read + Send + 'a) -> io::Result<Unpacker<'a>> {
    let (tap, state) = Tap::new(packed);
    let wrap = |error| explained(error, packing, &state);
    let decoder: Box<dyn Read + Send + 'a> = match packing {
        FileType::Gzip => Box::new(MultiGzDecoder::new(tap)),
        FileType::Zip => Box::new(ZipReader::new(tap).map_err(wrap)?),
        _ => {
            let mut decoder = zstd::Decoder::with_buffer(tap)?;
            decoder.window_log_max(WINDOW_SIZE_MAX.ilog2())?;
            Box::new(decoder)
        }
    };
    Ok(Unpacker { decoder, packing, state, packed: 0, expansion: Expansion::new(None) })
}

/// Refuses a packed file in which there is a file of another type.
fn inspected<'a>(mut unpacker: Unpacker<'a>, packing: FileType) -> io::Result<Box<dyn Read + Send + 'a>> {
    let begin = beginning(&mut unpacker)?;
    match FileType::of(&begin) {
        None | Some(FileType::Snapshot) => Ok(Box::new(Cursor::new(begin).chain(unpacker))),
        Some(inner) => {
            let error = not_a_snapshot(format!("{packing}, and in it is {inner}"));
            // tar itself unpacks all but zip.
            let by_tar = inner == FileType::Tar && packing != FileType::Zip;
            let outermost = if by_tar { inner } else { packing };
            Err(carried(error.with_hint(outermost.instead_of_snapshot())))
        }
    }
}

/// Unpacks, within the bounds, and explains what the decoder finds wrong.
struct Unpacker<'a> {
    decoder: Box<dyn Read + Send + 'a>,
    packing: FileType,
    state: Arc<TapState>,
    /// Packed bytes that the expansion knows of.
    packed: u64,
    expansion: Expansion,
}

impl Read for Unpacker<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer);
        let read = read.map_err(|error| explained(error, self.packing, &self.state))?;
        let packed = self.state.consumed();
        let more = packed - std::mem::replace(&mut self.packed, packed);
        let allowed = self.expansion.add(more, read as u64);
        allowed.map_err(|_| carried(too_expansive(self.packing)))?;
        Ok(read)
    }
}

/// An error of this crate on its way through [`Read`]; [`fault`] takes it out.
fn carried(error: Error) -> io::Error {
    io::Error::other(error)
}

/// What a decoder found wrong, as an error of this crate. An error of the system stays as it is.
fn explained(error: io::Error, packing: FileType, state: &TapState) -> io::Error {
    let is_ours = matches!(error.get_ref(), Some(inner) if inner.is::<Error>());
    if state.has_failed() || is_ours {
        return error;
    }
    if error.kind() == ErrorKind::UnexpectedEof {
        return carried(Error::new(Kind::SnapshotLength, format!("it is {packing}, and cut short")));
    }
    let hint = if packing == FileType::Zstd && error.to_string().contains("too much memory") {
        "unpack it with zstd -d --long=31, and name the snapshot that comes out"
    } else {
        ANOTHER_COPY
    };
    let message = format!("{packing}, and damaged, or something was appended to it: {error}");
    carried(not_a_snapshot(message).with_hint(hint).with_source(error))
}

/// The hint for a packed snapshot that is not whole.
const ANOTHER_COPY: &str = "take the snapshot again, or use another copy of this file";

fn too_expansive(packing: FileType) -> Error {
    let message = format!("{packing}, and unpacks to more than {UNPROMISED_RATIO} times its own size");
    let hint = packing.instead_of_snapshot();
    not_a_snapshot(message)
        .with_hint(format!("no snapshot of etcd shrinks that much; if you know better, {hint}"))
}

fn not_a_snapshot(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::NotASnapshot, format!("not an etcd snapshot: it is {what}"))
}

#[cfg(test)]
mod tests;
