//! Reading on a thread that must not wait for a disk.
//!
//! A look-up touches a few pages of an index and of a segment. Mostly they are in the page cache, and then it costs less
//! than a change of threads; where one is not, a thread that serves many connections would stand still for as long as
//! the disk takes. So such a thread looks [`without_waiting`]: the first page that is missing ends the look-up with
//! [`ErrorKind::NotResident`](crate::ErrorKind::NotResident), and the caller repeats it on a thread that may wait.
//!
//! This holds for reads only, of this thread, while the look-up runs, and on a system that can tell (Linux, preadv2 with
//! `RWF_NOWAIT`); elsewhere reads wait as ever.

use std::cell::Cell;

thread_local! {
    static MUST_NOT_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// Looks something up, or gives up with `NotResident` where a page would have to come from the disk.
pub fn without_waiting<T>(look: impl FnOnce() -> T) -> T {
    /// Puts it back also when the look-up panics.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            MUST_NOT_WAIT.set(self.0);
        }
    }
    let _before = Before(MUST_NOT_WAIT.replace(true));
    look()
}

/// Whether a read of this thread may wait for the disk now.
pub(crate) fn may_wait() -> bool {
    !MUST_NOT_WAIT.get()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::path::Path;

    use broker_model::Offset;
    use broker_records::Codec;
    use rustix::fs::{Advice, fadvise};

    use super::*;
    use crate::tests::{append, batch, config, hints};
    use crate::{DiskFiles, ErrorKind, FirstBatch, Log};

    fn evict(dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let file = std::fs::File::open(entry.unwrap().path()).unwrap();
            file.sync_all().unwrap();
            fadvise(file.as_fd(), 0, None, Advice::DontNeed).unwrap();
        }
    }

    #[test]
    fn a_look_up_that_needs_the_disk_says_so_and_is_repeated_by_who_may_wait() {
        // A file in memory has no other place: a real directory is needed.
        let root = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let dir = root.path().join("t-0");
        let mut log = Log::open(DiskFiles, dir.clone(), config(), &hints(0)).unwrap().0;
        for at in 0..50 {
            append(&mut log, &batch(Codec::None, at, 1, 1000));
        }
        let reader = log.reader();
        reader.flush().unwrap();
        let slice = || reader.slice(Offset(7), 1500, reader.end(), FirstBatch::Whole);
        let found = without_waiting(slice).unwrap().unwrap();
        assert!(found.base <= Offset(7) && found.next > Offset(7));
        // The kernel takes this for advice: pages that somebody holds just then stay.
        let missing = (0..1_000).find_map(|_| {
            evict(&dir);
            without_waiting(|| reader.slice(Offset(22), 1500, reader.end(), FirstBatch::Whole)).err()
        });
        assert_eq!(missing.expect("the pages go").kind(), ErrorKind::NotResident);
        assert!(may_wait(), "only the look-up must not wait");
        assert!(reader.slice(Offset(22), 1500, reader.end(), FirstBatch::Whole).unwrap().is_some());
        assert!(without_waiting(|| reader.slice(Offset(22), 1500, reader.end(), FirstBatch::Whole)).is_ok());
    }
}
