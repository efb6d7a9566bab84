//! Reads a zip archive with one file in it as a stream.
//!
//! The names and numbers are those of PKWARE's APPNOTE.TXT 6.3: a local header (4.3.7), the data, a data descriptor (4.3.9)
//! where the header did not know the sizes (Go's writer, which k3s and RKE2 use, never does), the central directory (4.3.12),
//! and its end, with the records of zip64 (4.3.14 to 4.3.16) where there are any. Everything is checked up to the last byte.

use std::io::{self, BufRead, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::tap::Tap;
use super::{ANOTHER_COPY, carried, not_a_snapshot};

const LOCAL_HEADER: u32 = 0x0403_4B50;
const DESCRIPTOR: u32 = 0x0807_4B50;
const CENTRAL_HEADER: u32 = 0x0201_4B50;
const ZIP64_END: u32 = 0x0606_4B50;
const ZIP64_LOCATOR: u32 = 0x0706_4B50;
const END: u32 = 0x0605_4B50;

/// Bits of the general purpose flags (4.4.4).
const ENCRYPTED: u16 = 1;
const HAS_DESCRIPTOR: u16 = 1 << 3;
/// Compression methods (4.4.5).
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// The extra field with sizes of 64 bits (4.5.3), which stand there for a size of this value.
const ZIP64_FIELD: u16 = 1;
const IN_ZIP64_FIELD: u32 = u32::MAX;
/// The entries of an archive that tells their number in its zip64 record.
const ENTRIES_IN_ZIP64: u16 = u16::MAX;
/// The largest zip64 record that is skipped; it has 44 bytes.
const ZIP64_END_MAX: u64 = 64 * 1024;

/// The content of the only file in a zip archive.
pub(super) struct ZipReader<'a> {
    input: Tap<'a>,
    header: EntryHeader,
    inflate: Decompress,
    state: State,
    seen: Sums,
    crc: Crc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Data,
    End,
}

/// Checksum and sizes of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    crc: u32,
    packed: u64,
    size: u64,
}

/// What both headers say of the file.
#[derive(Clone, Copy, Debug)]
struct EntryHeader {
    flags: u16,
    method: u16,
    sums: Sums,
}

impl<'a> ZipReader<'a> {
    /// Reads the header of the first file, which must be the only one.
    pub(super) fn new(mut input: Tap<'a>) -> io::Result<Self> {
        if u32_of(&mut input)? != LOCAL_HEADER {
            return Err(refused("and nothing is in it"));
        }
        let header = local_header(&mut input)?;
        if header.flags & ENCRYPTED != 0 {
            return Err(unzip_first("and it is encrypted"));
        }
        match header.method {
            DEFLATED => {}
            STORED if header.flags & HAS_DESCRIPTOR == 0 => {}
            STORED => return Err(unzip_first("and its header does not say how long the file in it is")),
            method => return Err(unzip_first(format_args!("packed by the method {method}, not by deflate"))),
        }
        let inflate = Decompress::new(false);
        Ok(Self { input, header, inflate, state: State::Data, seen: Sums::default(), crc: Crc::new() })
    }

    fn read_data(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.header.method == DEFLATED { self.inflate(buffer) } else { self.copy(buffer) }
    }

    fn copy(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.header.sums.packed - self.seen.packed;
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.input.read(&mut buffer[..wanted])?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.seen.packed += read as u64;
        Ok(read)
    }

    /// Returns 0 only at the end of the data.
    fn inflate(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let packed = self.input.fill_buf()?;
            let at_end = packed.is_empty();
            let (taken_before, given_before) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(packed, buffer, FlushDecompress::None);
            let status = status.map_err(|_| damaged("its data cannot be unpacked"))?;
            let taken = self.inflate.total_in() - taken_before;
            let given = self.inflate.total_out() - given_before;
            self.input.consume(usize::try_from(taken).unwrap_or_default());
            self.seen.packed += taken;
            match status {
                _ if given > 0 => return Ok(usize::try_from(given).unwrap_or_default()),
                Status::StreamEnd => return Ok(0),
                _ if at_end => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ if taken == 0 => return Err(damaged("its data cannot be unpacked")),
                _ => {}
            }
        }
    }

    /// Checks all that follows the data.
    fn finish(&mut self) -> io::Result<()> {
        self.seen.crc = self.crc.sum();
        if self.header.flags & HAS_DESCRIPTOR != 0 {
            read_descriptor(&mut self.input, self.seen)?;
        } else if self.header.sums != self.seen {
            return Err(damaged("its header and the file in it disagree"));
        }
        match u32_of(&mut self.input)? {
            CENTRAL_HEADER => {}
            LOCAL_HEADER => return Err(several()),
            _ => return Err(damaged("there is no directory behind the file in it")),
        }
        if central_header(&mut self.input)?.sums != self.seen {
            return Err(damaged("its directory and the file in it disagree"));
        }
        read_end(&mut self.input)
    }
}

impl Read for ZipReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.state == State::End {
            return Ok(0);
        }
        let read = self.read_data(buffer)?;
        if read == 0 {
            self.finish()?;
            self.state = State::End;
        }
        self.crc.update(&buffer[..read]);
        self.seen.size += read as u64;
        Ok(read)
    }
}

/// The local header behind its signature.
fn local_header(input: &mut Tap<'_>) -> io::Result<EntryHeader> {
    let fields: [u8; 26] = array(input)?;
    let mut header = entry_header(&fields[2..]);
    let name = bytes(input, u16_at(&fields, 22).into())?;
    let extra = bytes(input, u16_at(&fields, 24).into())?;
    if name.ends_with(b"/") {
        return Err(several());
    }
    zip64_sizes(&extra, &mut header.sums);
    Ok(header)
}

/// A header of the central directory, behind its signature.
fn central_header(input: &mut Tap<'_>) -> io::Result<EntryHeader> {
    let fields: [u8; 42] = array(input)?;
    let mut header = entry_header(&fields[4..]);
    skip(input, u16_at(&fields, 24).into())?;
    let extra = bytes(input, u16_at(&fields, 26).into())?;
    skip(input, u16_at(&fields, 28).into())?;
    zip64_sizes(&extra, &mut header.sums);
    Ok(header)
}

/// Flags, method, time and date, checksum, sizes: equal in both headers.
fn entry_header(fields: &[u8]) -> EntryHeader {
    let sums =
        Sums { crc: u32_at(fields, 8), packed: u32_at(fields, 12).into(), size: u32_at(fields, 16).into() };
    EntryHeader { flags: u16_at(fields, 0), method: u16_at(fields, 2), sums }
}

/// Replaces the sizes that are in the zip64 field: first that of the content, then that of the data.
fn zip64_sizes(mut extra: &[u8], sums: &mut Sums) {
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let length = usize::from(u16_at(head, 2)).min(rest.len());
        let (field, behind) = rest.split_at(length);
        if u16_at(head, 0) == ZIP64_FIELD {
            let mut numbers = field.chunks_exact(8).map(|number| u64_at(number, 0));
            for size in [&mut sums.size, &mut sums.packed] {
                if *size == u64::from(IN_ZIP64_FIELD) {
                    *size = numbers.next().unwrap_or(*size);
                }
            }
        }
        extra = behind;
    }
}

/// A descriptor, with or without its signature, with sizes of 32 or 64 bits: nothing tells which, but the sizes are known.
fn read_descriptor(input: &mut Tap<'_>, seen: Sums) -> io::Result<()> {
    let mut crc = u32_of(input)?;
    if crc == DESCRIPTOR {
        crc = u32_of(input)?;
    }
    let first: [u8; 8] = array(input)?;
    let small = [u32::try_from(seen.packed), u32::try_from(seen.size)];
    let fits = small == [Ok(u32_at(&first, 0)), Ok(u32_at(&first, 4))]
        || (u64_at(&first, 0) == seen.packed && u64_at(&array::<8>(input)?, 0) == seen.size);
    if crc == seen.crc && fits { Ok(()) } else { Err(damaged("the checksum of the file in it is wrong")) }
}

/// The end of the central directory, up to the last byte.
fn read_end(input: &mut Tap<'_>) -> io::Result<()> {
    loop {
        match u32_of(input)? {
            CENTRAL_HEADER => return Err(several()),
            ZIP64_END => {
                let length = u64_at(&array::<8>(input)?, 0);
                if length > ZIP64_END_MAX {
                    return Err(damaged("its directory has no end"));
                }
                skip(input, length)?;
            }
            ZIP64_LOCATOR => skip(input, 16)?,
            END => break,
            _ => return Err(damaged("its directory has no end")),
        }
    }
    let fields: [u8; 18] = array(input)?;
    if ![1, ENTRIES_IN_ZIP64].contains(&u16_at(&fields, 6)) {
        return Err(several());
    }
    skip(input, u16_at(&fields, 16).into())?;
    if input.fill_buf()?.is_empty() { Ok(()) } else { Err(damaged("something follows its end")) }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn array<const N: usize>(input: &mut Tap<'_>) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn u32_of(input: &mut Tap<'_>) -> io::Result<u32> {
    array(input).map(u32::from_le_bytes)
}

fn bytes(input: &mut Tap<'_>, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(input: &mut Tap<'_>, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut input.by_ref().take(length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn damaged(what: &str) -> io::Error {
    carried(not_a_snapshot(format_args!("a zip archive, and damaged: {what}")).with_hint(ANOTHER_COPY))
}

fn refused(what: impl std::fmt::Display) -> io::Error {
    carried(not_a_snapshot(format_args!("a zip archive, {what}")).with_hint(ANOTHER_COPY))
}

/// The error for what `unzip` can do and a stream cannot.
fn unzip_first(what: impl std::fmt::Display) -> io::Error {
    let error = not_a_snapshot(format_args!("a zip archive, {what}"));
    carried(error.with_hint(
        "unpack it with unzip, or 7z x where it is encrypted, and name the snapshot that comes out",
    ))
}

fn several() -> io::Error {
    unzip_first("and more than one file is in it")
}
