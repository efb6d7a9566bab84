//! Reused buffers: fresh memory costs a page fault and the zeroing of every 4 KiB.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Idle buffers of one kind, never more than were in use at once. Clones share them.
#[derive(Clone, Default)]
pub(in crate::pipeline) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// A buffer that still holds its previous content.
    pub(in crate::pipeline) fn take(&self) -> Buffer {
        let bytes = self.idle().pop().unwrap_or_default();
        Buffer { bytes, home: Some(self.clone()) }
    }

    /// A buffer of `size` bytes, which still holds its previous content where it has been used.
    pub(in crate::pipeline) fn take_sized(&self, size: usize) -> Buffer {
        let mut buffer = self.take();
        if buffer.capacity() == 0 {
            // The system has zeroed this memory already; `resize` would do it again, in a debug build byte by byte.
            buffer.bytes = vec![0; size];
        }
        buffer.resize(size, 0);
        buffer
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that return to their pool on drop.
pub(in crate::pipeline) struct Buffer {
    bytes: Vec<u8>,
    home: Option<Pool>,
}

impl From<Vec<u8>> for Buffer {
    /// Bytes without a pool, freed on drop.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, home: None }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.idle().push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again_and_one_from_elsewhere_is_not() {
        let pool = Pool::default();
        let mut first = pool.take();
        first.extend([1, 2, 3]);
        let memory = first.as_ptr();
        let second = pool.take();
        assert_ne!(second.as_ptr(), memory);
        drop(first);
        let again = pool.take();
        assert_eq!((again.as_ptr(), &again[..]), (memory, &[1, 2, 3][..]));
        drop(Buffer::from(vec![4]));
        assert!(pool.take().is_empty());
    }
}
