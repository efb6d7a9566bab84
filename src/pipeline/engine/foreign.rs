//! Foreign archives: age files of a snapshot, with zstd or without, such as talos-backup writes.

use super::decoder::FrameDecoder;
use super::delivery::Delivery;
use super::plaintext::Plaintext;
use super::stage::Stop;
use crate::archive::expansion::Expansion;
use crate::archive::frame::{
    FrameHeader, ReadExactly, SKIPPABLE_HEADER_SIZE, SKIPPABLE_MAGICS, ZSTD_MAGIC, begins_as_document,
    damaged, parse_skippable_header,
};
use crate::error::{Error, Result};

/// The layers of an archive that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Foreign {
    /// Whether it is ASCII-armoured.
    pub armored: bool,
    /// Whether its content is compressed with zstd.
    pub zstd: bool,
}

/// The error for parts of an archive of ours without its beginning.
pub(in crate::pipeline) fn taken_apart() -> Error {
    damaged("an archive of etcd-seal has lost its manifest, or was taken apart")
}

/// The largest window that is accepted, as a frame's window costs memory. Levels below `--ultra` stay within 8 MiB.
pub(in crate::pipeline) const WINDOW_SIZE_MAX: u64 = 32 * 1024 * 1024;

/// Copies a foreign archive without compression.
pub(in crate::pipeline) fn copy_foreign(
    plaintext: &mut Plaintext,
    delivery: &mut Delivery<'_>,
) -> Result<(), Stop> {
    loop {
        let piece = plaintext.available()?.to_vec();
        if piece.is_empty() {
            return Ok(());
        }
        plaintext.consume(piece.len());
        delivery.push(piece.into())?;
    }
}

/// Decompresses a foreign archive with zstd: any frames, any skippable frames between them, but none of ours.
pub(in crate::pipeline) fn decode_foreign(
    plaintext: &mut Plaintext,
    delivery: &mut Delivery<'_>,
) -> Result<(), Stop> {
    let mut decoder = FrameDecoder::new(WINDOW_SIZE_MAX)?;
    let mut expansion = Expansion::new(None);
    loop {
        let first = plaintext.peek()?;
        match first.first_chunk().map(|magic| u32::from_le_bytes(*magic)) {
            None if first.is_empty() => return decoder.finish(delivery),
            Some(ZSTD_MAGIC) => decoder.frame(plaintext, delivery, |header, packed, content| {
                allow_foreign(header)?;
                Ok(expansion.add(packed, content)?)
            })?,
            Some(magic) if SKIPPABLE_MAGICS.contains(&magic) => skip_foreign(plaintext)?,
            _ => return Err(damaged("there is something behind the zstd frames").into()),
        }
    }
}

/// Refuses a frame that needs a dictionary or too large a window.
fn allow_foreign(header: &FrameHeader) -> Result<()> {
    if header.dictionary {
        return Err(damaged("a zstd frame needs a dictionary"));
    }
    if header.window_size > WINDOW_SIZE_MAX {
        let message = format!(
            "a zstd frame needs a window of {} MiB, and is given {} MiB at most",
            header.window_size >> 20,
            WINDOW_SIZE_MAX >> 20
        );
        return Err(damaged(message).with_hint(
            "decompress it with `age -d` and `zstd -d --long=31`, and open the snapshot that comes out",
        ));
    }
    Ok(())
}

fn skip_foreign(plaintext: &mut Plaintext) -> Result<()> {
    if begins_as_document(&plaintext.peek()?) {
        return Err(taken_apart());
    }
    let mut header = [0; SKIPPABLE_HEADER_SIZE];
    plaintext.read_exactly(&mut header)?;
    let (_, mut rest) = parse_skippable_header(header);
    while rest > 0 {
        let length = plaintext.available()?.len().min(rest);
        if length == 0 {
            return Err(damaged("a skippable frame is cut short"));
        }
        plaintext.consume(length);
        rest -= length;
    }
    Ok(())
}

/// Whether foreign content begins with a zstd or skippable frame.
pub(in crate::pipeline) fn begins_as_zstd(first: &[u8]) -> bool {
    let magic = first.first_chunk().map(|magic| u32::from_le_bytes(*magic));
    magic.is_some_and(|magic| magic == ZSTD_MAGIC || SKIPPABLE_MAGICS.contains(&magic))
}
