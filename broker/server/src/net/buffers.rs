//! Receive buffers that are used again: a large frame finds memory that is mapped already, and often still in the cache.
//!
//! A buffer returns when the last slice of its frame is gone. What the pool keeps is bounded by [`POOL_BYTES_MAX`], whatever
//! came before, and what was not needed between two calls of [`Buffers::trim`] is given back to the system: an idle program
//! owns no buffers. Nobody waits for the pool: a shelf that is busy counts as empty, or full.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

/// Bytes that all shelves together keep.
pub const POOL_BYTES_MAX: usize = SHELVES * SHELF_BYTES_MAX;
/// The smallest buffer that is worth keeping.
pub const BUFFER_BYTES_MIN: usize = 16 << 10;
const SHELVES: usize = 8;
const SHELF_BYTES_MAX: usize = 4 << 20;

thread_local! {
    static SHELF: Cell<Option<usize>> = const { Cell::new(None) };
}

static NEXT_SHELF: AtomicUsize = AtomicUsize::new(0);

/// The pool of all connections.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    shelves: Arc<[Mutex<Shelf>; SHELVES]>,
}

#[derive(Debug, Default)]
struct Shelf {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    /// The fewest buffers that lay here since the last trim: these were not needed.
    unused: usize,
}

impl Buffers {
    /// An empty buffer for a frame of `bytes`; it may be smaller.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        if bytes < BUFFER_BYTES_MIN {
            return Vec::with_capacity(bytes);
        }
        let kept = self.shelf().try_lock().and_then(|mut shelf| shelf.take());
        kept.unwrap_or_else(|| Vec::with_capacity(bytes.min(BUFFER_BYTES_MIN)))
    }

    /// The frame in `buffer`; its memory comes back when all slices of it are gone.
    #[must_use]
    pub fn freeze(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() < BUFFER_BYTES_MIN {
            return Bytes::from(buffer);
        }
        Bytes::from_owner(Lent { buffer, home: self.clone() })
    }

    /// Gives back to the system what was not needed since the last call.
    pub fn trim(&self) {
        for shelf in self.shelves.iter() {
            shelf.lock().trim();
        }
    }

    fn give(&self, buffer: Vec<u8>) {
        if let Some(mut shelf) = self.shelf().try_lock() {
            shelf.give(buffer);
        }
    }

    fn shelf(&self) -> &Mutex<Shelf> {
        let number = SHELF.with(|shelf| {
            let number = shelf.get().unwrap_or_else(|| NEXT_SHELF.fetch_add(1, Ordering::Relaxed) % SHELVES);
            shelf.set(Some(number));
            number
        });
        self.shelves.get(number).expect("it is taken modulo their number")
    }
}

impl Shelf {
    fn take(&mut self) -> Option<Vec<u8>> {
        let buffer = self.buffers.pop()?;
        self.bytes -= buffer.capacity();
        self.unused = self.unused.min(self.buffers.len());
        Some(buffer)
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        if self.bytes + buffer.capacity() <= SHELF_BYTES_MAX {
            buffer.clear();
            self.bytes += buffer.capacity();
            self.buffers.push(buffer);
        }
    }

    fn trim(&mut self) {
        for buffer in self.buffers.drain(..self.unused) {
            self.bytes -= buffer.capacity();
        }
        self.unused = self.buffers.len();
        if self.buffers.is_empty() {
            self.buffers = Vec::new();
        }
    }
}

/// A buffer that is lent to a frame.
struct Lent {
    buffer: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.give(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_the_last_slice_and_goes_when_it_is_not_needed() {
        let buffers = Buffers::default();
        let mut one = buffers.take(1 << 20);
        one.resize(1 << 20, 7);
        let frame = buffers.freeze(one);
        let slice = frame.slice(10..20);
        drop(frame);
        assert_eq!(buffers.take(1 << 20).capacity(), BUFFER_BYTES_MIN, "a slice of it lives");
        drop(slice);
        buffers.trim();
        let again = buffers.take(1 << 20);
        assert!(again.is_empty() && again.capacity() >= 1 << 20);
        drop(buffers.freeze(again));
        buffers.trim();
        buffers.trim();
        assert_eq!(buffers.take(1 << 20).capacity(), BUFFER_BYTES_MIN, "nobody needed it");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let buffers = Buffers::default();
        let frames: Vec<Bytes> = (0..20).map(|_| buffers.freeze(Vec::with_capacity(1 << 20))).collect();
        drop(frames);
        assert_eq!(buffers.shelf().lock().bytes, SHELF_BYTES_MAX);
    }
}
