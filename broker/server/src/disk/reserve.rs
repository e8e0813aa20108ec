//! Room that a directory keeps back, so that a broker also starts on a full disk and serves reads.
//!
//! A start must write a few records: its incarnation into the metadata log, epochs beside logs. [`RESERVE`] is a file that
//! holds blocks and no data; a start that finds less free room than that removes it, and makes it anew, as large as half
//! of what is left, once its metadata is loaded. The file is best effort: nothing depends on it but such a start.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::FallocateFlags;

/// The file.
const RESERVE: &str = "strata-reserve";
/// Its size, and what counts as room.
pub(super) const RESERVE_BYTES: u64 = 1 << 20;
/// Less is not worth a file.
const RESERVE_BYTES_MIN: u64 = 64 << 10;

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Its bytes.
    pub total_bytes: u64,
    /// Those that this process may still write.
    pub free_bytes: u64,
}

/// The file system of a directory; `None` where the system does not tell.
pub(super) fn room(root: &Path) -> Option<Room> {
    let system = rustix::fs::statvfs(root).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
    Some(Room { total_bytes: bytes(system.f_blocks), free_bytes: bytes(system.f_bavail) })
}

/// The bytes that this process may still write there; `None` where the system does not tell.
pub(super) fn free_bytes(root: &Path) -> Option<u64> {
    room(root).map(|room| room.free_bytes)
}

/// Gives the room back.
pub(super) fn release(root: &Path) -> io::Result<()> {
    match std::fs::remove_file(root.join(RESERVE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Keeps room back, where none is kept and there is some.
pub(super) fn keep(root: &Path) -> io::Result<()> {
    let path = root.join(RESERVE);
    if path.exists() {
        return Ok(());
    }
    let bytes = free_bytes(root).map_or(0, |free| RESERVE_BYTES.min(free / 2));
    if bytes < RESERVE_BYTES_MIN {
        return Ok(());
    }
    let file: File = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes).map_err(|error| {
        // Half a reserve would be taken for a whole one.
        let _ = release(root);
        error.into()
    })
}
