//! A bounded number of open files, shared by many logs.
//!
//! Every file that a log may hold open has a slot. A slot opens its file when it is asked for it and keeps it until
//! the hand of a clock finds that it was not used again since the last time. Whoever was given a handle keeps it as long as it likes, so the bound is
//! on what lies idle, not on what is in use. Invariant: an open file's slot is in the ring once.
//!
//! Closing a file before it is synced loses no error of its writes: the kernel tells the next who opens it (since
//! Linux 4.16), as long as it has the inode in memory.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::disk::DiskFiles;
use crate::files::Files;

/// Files that are open, and the most that may be. Clones share them.
pub struct OpenFiles<F: Files = DiskFiles> {
    ring: Arc<Ring<F::Handle>>,
}

impl<F: Files> Clone for OpenFiles<F> {
    fn clone(&self) -> Self {
        OpenFiles { ring: Arc::clone(&self.ring) }
    }
}

impl<F: Files> OpenFiles<F> {
    /// At most `limit` files stay open while nobody uses them.
    #[must_use]
    pub fn new(limit: usize) -> OpenFiles<F> {
        OpenFiles { ring: Arc::new(Ring { limit: limit.max(1), slots: Mutex::default() }) }
    }

    /// How many files are held open.
    #[must_use]
    pub fn open(&self) -> usize {
        let slots = self.ring.slots.lock();
        slots.iter().filter_map(Weak::upgrade).filter(|slot| slot.held.lock().handle.is_some()).count()
    }

    /// The file of a slot, opened where it is not.
    pub(crate) fn get(
        &self,
        slot: &Arc<Slot<F::Handle>>,
        open: impl Fn() -> io::Result<F::Handle>,
    ) -> io::Result<Arc<F::Handle>> {
        let (handle, is_new) = {
            let mut held = slot.held.lock();
            if let Some(handle) = &held.handle {
                if !slot.used.load(Ordering::Relaxed) {
                    slot.used.store(true, Ordering::Relaxed);
                }
                return Ok(Arc::clone(handle));
            }
            let handle = Arc::new(self.ring.open(open)?);
            held.handle = Some(Arc::clone(&handle));
            (handle, !std::mem::replace(&mut held.in_ring, true))
        };
        if is_new {
            self.ring.enter(slot);
        }
        Ok(handle)
    }

    /// Gives a slot a file that is open already.
    pub(crate) fn put(&self, slot: &Arc<Slot<F::Handle>>, handle: F::Handle) {
        let is_new = {
            let mut held = slot.held.lock();
            held.handle = Some(Arc::new(handle));
            !std::mem::replace(&mut held.in_ring, true)
        };
        if is_new {
            self.ring.enter(slot);
        }
    }
}

struct Ring<H> {
    limit: usize,
    slots: Mutex<VecDeque<Weak<Slot<H>>>>,
}

impl<H> Ring<H> {
    /// Opens a file, and closes others first where the process may not have more.
    fn open(&self, open: impl Fn() -> io::Result<H>) -> io::Result<H> {
        match open() {
            Err(error) if is_out_of_descriptors(&error) => {
                (0..64).for_each(|_| drop(self.turn(&mut self.slots.lock())));
                open()
            }
            other => other,
        }
    }

    fn enter(&self, slot: &Arc<Slot<H>>) {
        let mut closed = None;
        {
            let mut slots = self.slots.lock();
            // Two rounds at most: in the second nobody is used but who is being used just now.
            let mut turns = 2 * slots.len();
            while slots.len() >= self.limit && turns > 0 {
                turns -= 1;
                closed = self.turn(&mut slots).or(closed);
            }
            slots.push_back(Arc::downgrade(slot));
        }
        // Closing may take its time.
        drop(closed);
    }

    /// Moves the hand by one: a slot that was used stays, another leaves the ring and gives its file.
    fn turn(&self, slots: &mut VecDeque<Weak<Slot<H>>>) -> Option<Arc<H>> {
        let slot = slots.pop_front()?.upgrade()?;
        let taken = if slot.used.swap(false, Ordering::Relaxed) { None } else { slot.held.try_lock() };
        if let Some(mut held) = taken {
            held.in_ring = false;
            return held.handle.take();
        }
        slots.push_back(Arc::downgrade(&slot));
        None
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(code, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

/// A place for one open file.
#[derive(Debug)]
pub(crate) struct Slot<H> {
    held: Mutex<Held<H>>,
    used: AtomicBool,
}

#[derive(Debug)]
struct Held<H> {
    handle: Option<Arc<H>>,
    in_ring: bool,
}

impl<H> Slot<H> {
    pub(crate) fn new() -> Arc<Slot<H>> {
        Arc::new(Slot { held: Mutex::new(Held { handle: None, in_ring: false }), used: AtomicBool::new(false) })
    }

    /// Closes the file, as soon as nobody uses it.
    pub(crate) fn close(&self) {
        let closed = self.held.lock().handle.take();
        drop(closed);
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::{Change, MemFiles, OpenMode};

    #[test]
    fn idle_files_are_closed_at_the_limit_and_used_ones_stay() {
        let files = MemFiles::new();
        files.change(Change::MakeDir(Path::new("/d"))).unwrap();
        let open_files: OpenFiles<MemFiles> = OpenFiles::new(4);
        let slots: Vec<_> = (0..20).map(|_| Slot::new()).collect();
        let get = |at: usize| {
            let path = PathBuf::from(format!("/d/{at}"));
            open_files.get(&slots[at], || files.open(&path, OpenMode::Write)).unwrap()
        };
        let first = get(0);
        for at in 1..20 {
            get(at);
            assert!(Arc::ptr_eq(&first, &get(0)), "what is used between all others stays open");
            assert!(open_files.open() <= 4);
        }
        let third = get(3);
        assert_eq!(files.stat(&third).unwrap().bytes, 0, "what was closed is opened again");
        slots[3].close();
        assert!(!Arc::ptr_eq(&third, &get(3)));
        drop(slots);
        assert_eq!(open_files.open(), 0, "slots that are gone hold nothing");
    }
}
