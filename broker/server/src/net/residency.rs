//! Whether a stretch of a file is in the page cache, and how it gets there without holding up a data thread.
//!
//! sendfile(2) reads what is not resident from disk, and its thread waits. cachestat(2) (Linux 6.5) tells in less than a
//! microsecond whether it would have to; where the kernel has no cachestat, everything counts as resident, and the data
//! threads' number bounds the harm. Pages that are missing are read on a blocking thread.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broker_log::DiskFile;
use rustix::fs::Advice;

/// The number of cachestat(2), the same on all architectures.
const SYS_CACHESTAT: libc::c_long = 451;
/// One page of so many bytes is waited for: the system reads neighbours together.
const WAIT_STEP_BYTES: usize = 32 << 10;

/// `struct cachestat_range`.
#[repr(C)]
struct Range {
    offset: u64,
    bytes: u64,
}

/// `struct cachestat`, in pages.
#[repr(C)]
#[derive(Default)]
struct Counts {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

static IS_MISSING: AtomicBool = AtomicBool::new(false);

/// Whether all pages of the stretch are in the page cache, as far as the kernel tells.
#[must_use]
pub fn is_resident(file: &impl AsFd, position: u64, bytes: usize) -> bool {
    if bytes == 0 || IS_MISSING.load(Ordering::Relaxed) {
        return true;
    }
    let range = Range { offset: position, bytes: bytes as u64 };
    let mut counts = Counts::default();
    // SAFETY: both structures are laid out as the kernel's, and live until the call returns; the kernel only reads the
    // first and only writes the second. Flags must be 0.
    let result =
        unsafe { libc::syscall(SYS_CACHESTAT, file.as_fd().as_raw_fd(), &raw const range, &raw mut counts, 0u32) };
    if result != 0 {
        IS_MISSING.store(true, Ordering::Relaxed);
        return true;
    }
    let page_bytes = rustix::param::page_size() as u64;
    let pages = (position + bytes as u64).div_ceil(page_bytes) - position / page_bytes;
    counts.cached >= pages
}

/// Ends when the stretch is in the page cache. At once where it is.
///
/// # Errors
/// The disk cannot be read.
pub async fn ensure(file: &Arc<DiskFile>, position: u64, bytes: usize) -> io::Result<()> {
    if is_resident(&**file, position, bytes) {
        return Ok(());
    }
    let file = file.clone();
    tokio::task::spawn_blocking(move || bring_in(&file, position, bytes)).await.map_err(io::Error::other)?
}

/// Asks for all pages at once, and waits by touching some of them: nothing is copied.
fn bring_in(file: &DiskFile, position: u64, bytes: usize) -> io::Result<()> {
    let length = std::num::NonZeroU64::new(bytes as u64);
    rustix::fs::fadvise(file.as_fd(), position, length, Advice::WillNeed)?;
    let last = bytes.saturating_sub(1);
    for at in (0..last).step_by(WAIT_STEP_BYTES).chain([last]) {
        // A file that is shorter than its slice reads nothing here: sendfile will say so.
        rustix::io::retry_on_intr(|| rustix::io::pread(file.as_fd(), &mut [0], position + at as u64))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_log::{DiskFiles, Files, OpenMode};

    use super::*;

    #[tokio::test]
    async fn what_was_dropped_from_the_cache_is_brought_in_again() {
        // A file in memory has no other place: a real directory is needed.
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = directory.path().join("pages");
        std::fs::write(&path, vec![1; 1 << 20]).unwrap();
        let file = Arc::new(DiskFiles.open(&path, OpenMode::Read).unwrap());
        assert!(is_resident(&*file, 100, 1 << 19));
        std::fs::File::open(&path).unwrap().sync_all().unwrap();
        rustix::fs::fadvise(file.as_fd(), 0, None, Advice::DontNeed).unwrap();
        ensure(&file, 100, (1 << 20) - 100).await.unwrap();
        assert!(is_resident(&*file, 100, (1 << 20) - 100));
        ensure(&file, 0, 2 << 20).await.unwrap();
    }
}
