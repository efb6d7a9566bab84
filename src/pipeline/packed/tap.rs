//! The packed bytes on their way into a decoder.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Packed bytes per read.
const READ_SIZE: usize = 128 * 1024;

/// Counts the bytes that a decoder takes, and remembers whether it was the system that failed to read them.
pub(super) struct Tap<'a> {
    input: BufReader<Box<dyn Read + Send + 'a>>,
    state: Arc<TapState>,
}

/// What is known of a [`Tap`] while its decoder has it.
#[derive(Default)]
pub(super) struct TapState {
    consumed: AtomicU64,
    failed: AtomicBool,
}

impl TapState {
    /// Bytes that the decoder took.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    /// Whether the packed bytes could not be read.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

impl<'a> Tap<'a> {
    pub(super) fn new(input: impl Read + Send + 'a) -> (Self, Arc<TapState>) {
        let state = Arc::<TapState>::default();
        let input = BufReader::with_capacity(READ_SIZE, Box::new(input) as Box<dyn Read + Send + 'a>);
        (Self { input, state: Arc::clone(&state) }, state)
    }
}

impl BufRead for Tap<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        loop {
            match self.input.fill_buf() {
                Ok(_) => return Ok(self.input.buffer()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.state.failed.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }

    fn consume(&mut self, amount: usize) {
        self.state.consumed.fetch_add(amount as u64, Ordering::Relaxed);
        self.input.consume(amount);
    }
}

impl Read for Tap<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
