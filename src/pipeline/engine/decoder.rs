//! Decompresses a zstd frame block by block, so that neither the frame nor its content is in memory as a whole.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::buffer::{Buffer, Pool};
use super::delivery::Delivery;
use super::plaintext::Plaintext;
use super::stage::{Stop, no_reason};
use crate::archive::frame::{FrameHeader, ReadExactly, damaged, walk_frame};
use crate::error::{Error, Result};

/// Decompressed bytes passed on at a time: zstd's own block size.
const OUTPUT_SIZE: usize = 128 * 1024;

/// Decompresses one frame after the other. It takes the memory of a frame's window, plus some 300 KiB.
pub(in crate::pipeline) struct FrameDecoder {
    decoder: Decoder<'static>,
    pool: Pool,
    /// Content that was not delivered yet, in the first `filled` bytes.
    content: Buffer,
    filled: usize,
}

impl FrameDecoder {
    /// A decoder of frames whose window is no larger than `window_size_max` bytes, a power of two.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::Kind::Io) where zstd cannot allocate memory.
    pub(in crate::pipeline) fn new(window_size_max: u64) -> Result<Self> {
        let decoder = Decoder::new().and_then(|mut decoder| {
            decoder.set_parameter(DParameter::WindowLogMax(window_size_max.ilog2()))?;
            Ok(decoder)
        });
        let decoder = decoder.map_err(|error| Error::io("prepare", "zstd", error))?;
        let pool = Pool::default();
        Ok(Self { decoder, content: empty_buffer(&pool), pool, filled: 0 })
    }

    /// Decompresses the next frame. Before more packed bytes or bytes of content are passed on, it calls `allow` with the
    /// frame's header and their two counts.
    ///
    /// # Errors
    /// [`Kind::StructureDamaged`](crate::Kind::StructureDamaged) where the bytes are no frame; the errors of `allow`,
    /// `plaintext` and `delivery`.
    pub(in crate::pipeline) fn frame(
        &mut self,
        plaintext: &mut Plaintext,
        delivery: &mut Delivery<'_>,
        mut allow: impl FnMut(&FrameHeader, u64, u64) -> Result<()>,
    ) -> Result<(), Stop> {
        let mut magic = [0; 4];
        plaintext.read_exactly(&mut magic)?;
        let mut closed = false;
        let walked = walk_frame(plaintext, &mut Vec::new(), |header, piece| {
            let fed = self.feed(piece, delivery, |packed, content| allow(header, packed, content));
            piece.clear();
            fed.map_err(|stop| match stop {
                Stop::Failed(error) => error,
                Stop::Closed => {
                    closed = true;
                    no_reason()
                }
            })
        });
        if closed {
            return Err(Stop::Closed);
        }
        Ok(walked.map(drop)?)
    }

    fn feed(
        &mut self,
        piece: &[u8],
        delivery: &mut Delivery<'_>,
        mut allow: impl FnMut(u64, u64) -> Result<()>,
    ) -> Result<(), Stop> {
        // Ask before zstd sees the header and allocates the memory that it names.
        allow(piece.len() as u64, 0)?;
        let mut input = InBuffer::around(piece);
        loop {
            let mut output = OutBuffer::around_pos(&mut self.content[..], self.filled);
            self.decoder
                .run(&mut input, &mut output)
                .map_err(|error| damaged("a zstd frame cannot be decompressed").with_source(error))?;
            let filled = output.pos();
            allow(0, (filled - self.filled) as u64)?;
            self.filled = filled;
            if filled == OUTPUT_SIZE {
                self.finish(delivery)?;
            } else if input.pos() == piece.len() {
                return Ok(());
            }
        }
    }

    /// Delivers what is left of the content. Blocks and frames may hold a byte each, so their ends deliver nothing.
    ///
    /// # Errors
    /// The errors of `delivery`.
    pub(in crate::pipeline) fn finish(&mut self, delivery: &mut Delivery<'_>) -> Result<(), Stop> {
        let mut content = std::mem::replace(&mut self.content, empty_buffer(&self.pool));
        content.truncate(std::mem::take(&mut self.filled));
        if content.is_empty() {
            return Ok(());
        }
        delivery.push(content)
    }
}

/// A buffer to decompress into.
fn empty_buffer(pool: &Pool) -> Buffer {
    pool.take_sized(OUTPUT_SIZE)
}
