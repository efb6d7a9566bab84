//! Archives of another make: an age file of a snapshot, with zstd or without, such as talos-backup writes.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::delivery::Delivery;
use super::plaintext::Plaintext;
use super::stage::{Stop, no_reason};
use crate::archive::expansion::Expansion;
use crate::archive::frame::{
    MANIFEST_MAGIC, ReadExactly, SKIPPABLE_HEADER_SIZE, SKIPPABLE_MAGICS, TRAILER_MAGIC, ZSTD_MAGIC, damaged,
    parse_skippable_header, walk_frame,
};
use crate::archive::manifest::{DOCUMENT_SIZE_MAX, Trailer, claimed_version, parse};
use crate::error::{Error, Result};

/// What an archive that is not ours is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// ASCII-armoured.
    pub armored: bool,
    /// Compressed with zstd inside.
    pub zstd: bool,
}

/// There are parts of an archive of ours, but not its beginning.
pub(super) fn taken_apart() -> Error {
    damaged("an archive of etcd-seal has lost its manifest, or was taken apart")
}

/// Decompressed bytes handed on at a time: zstd's own block size.
const OUTPUT_SIZE: usize = 128 * 1024;
/// The largest window that is decompressed, 128 MiB, which is what zstd's own command allows unless asked otherwise.
const WINDOW_LOG_MAX: u32 = 27;

/// A foreign archive without compression.
pub(super) fn copy_foreign(plaintext: &mut Plaintext, delivery: &mut Delivery<'_>) -> Result<(), Stop> {
    loop {
        let piece = plaintext.available()?.to_vec();
        if piece.is_empty() {
            return Ok(());
        }
        plaintext.consume(piece.len());
        delivery.push(piece.into())?;
    }
}

/// A foreign archive with zstd inside: any frames, any skippable frames between them, but none of ours.
pub(super) fn decode_foreign(plaintext: &mut Plaintext, delivery: &mut Delivery<'_>) -> Result<(), Stop> {
    let mut decoder = ForeignDecoder::new()?;
    loop {
        let first = plaintext.peek()?;
        match first.first_chunk().map(|magic| u32::from_le_bytes(*magic)) {
            None if first.is_empty() => return Ok(()),
            Some(ZSTD_MAGIC) => decoder.frame(plaintext, delivery)?,
            Some(magic) if SKIPPABLE_MAGICS.contains(&magic) => skip_foreign(plaintext, magic)?,
            _ => return Err(damaged("there is something behind the zstd frames").into()),
        }
    }
}

fn skip_foreign(plaintext: &mut Plaintext, magic: u32) -> Result<()> {
    let mut header = [0; SKIPPABLE_HEADER_SIZE];
    plaintext.read_exactly(&mut header)?;
    let (_, mut rest) = parse_skippable_header(header);
    let mut content = Vec::new();
    while rest > 0 {
        let available = plaintext.available()?;
        let length = available.len().min(rest);
        if length == 0 {
            return Err(damaged("a skippable frame is cut short"));
        }
        if content.len() + length <= DOCUMENT_SIZE_MAX {
            content.extend_from_slice(&available[..length]);
        }
        plaintext.consume(length);
        rest -= length;
    }
    let ours = match magic {
        MANIFEST_MAGIC => claimed_version(&content).is_some(),
        TRAILER_MAGIC => parse::<Trailer>(&content, "trailer").is_ok(),
        _ => false,
    };
    if ours {
        return Err(taken_apart());
    }
    Ok(())
}

struct ForeignDecoder {
    decoder: Decoder<'static>,
    output: Vec<u8>,
    expansion: Expansion,
}

impl ForeignDecoder {
    fn new() -> Result<Self> {
        let decoder = Decoder::new().and_then(|mut decoder| {
            decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
            Ok(decoder)
        });
        let decoder = decoder.map_err(|error| Error::io("prepare", "zstd", error))?;
        Ok(Self { decoder, output: vec![0; OUTPUT_SIZE], expansion: Expansion::new(None) })
    }

    fn frame(&mut self, plaintext: &mut Plaintext, delivery: &mut Delivery<'_>) -> Result<(), Stop> {
        let mut magic = [0; 4];
        plaintext.read_exactly(&mut magic)?;
        let mut stopped = None;
        let walked = walk_frame(plaintext, &mut Vec::new(), |header, piece| {
            if header.dictionary {
                return Err(damaged("a zstd frame needs a dictionary"));
            }
            let fed = self.feed(piece, delivery);
            piece.clear();
            match fed {
                Err(Stop::Failed(error)) => Err(error),
                Err(Stop::Closed) => {
                    stopped = Some(Stop::Closed);
                    Err(no_reason())
                }
                Ok(()) => Ok(()),
            }
        });
        match (stopped, walked) {
            (Some(stop), _) => Err(stop),
            (None, walked) => Ok(walked.map(drop)?),
        }
    }

    fn feed(&mut self, piece: &[u8], delivery: &mut Delivery<'_>) -> Result<(), Stop> {
        let mut input = InBuffer::around(piece);
        let mut packed = piece.len() as u64;
        loop {
            let mut output = OutBuffer::around(&mut self.output[..]);
            self.decoder
                .run(&mut input, &mut output)
                .map_err(|error| damaged("a zstd frame cannot be decompressed").with_source(error))?;
            let written = output.as_slice().to_vec();
            let full = written.len() == self.output.len();
            self.expansion.add(std::mem::take(&mut packed), written.len() as u64).map_err(Error::from)?;
            if !written.is_empty() {
                delivery.push(written.into())?;
            }
            if input.pos() == piece.len() && !full {
                return Ok(());
            }
        }
    }
}

/// Whether foreign content is compressed.
pub(super) fn begins_as_zstd(first: &[u8]) -> bool {
    let magic = first.first_chunk().map(|magic| u32::from_le_bytes(*magic));
    magic.is_some_and(|magic| magic == ZSTD_MAGIC || SKIPPABLE_MAGICS.contains(&magic))
}
