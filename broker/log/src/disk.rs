//! [`Files`] on the operating system's file system.
//!
//! Positioned reads and writes only, so that a handle has no state and may be shared. Syncing is fdatasync(2) for
//! files and fsync(2) for directories. Maps are read-only; a file that is mapped is never cut by the log, only
//! unlinked.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use broker_model::Timestamp;
use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};

use crate::files::{Change, Entry, Files, OpenMode, Stat};
use crate::patience;

/// The most slices that one pwritev(2) takes (`IOV_MAX`).
const SLICES_PER_WRITE_MAX: usize = 1024;

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFiles;

/// An open file or directory; gives its descriptor for sendfile.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    is_dir: bool,
}

impl AsFd for DiskFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Files for DiskFiles {
    type Handle = DiskFile;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        options.read(true);
        if matches!(mode, OpenMode::Write | OpenMode::Lock) {
            options.write(true).create(true).truncate(false);
        }
        if mode == OpenMode::Existing {
            options.write(true);
        }
        let file = options.open(path)?;
        if mode == OpenMode::Lock {
            file.try_lock().map_err(|error| match error {
                TryLockError::WouldBlock => io::Error::from(io::ErrorKind::WouldBlock),
                TryLockError::Error(error) => error,
            })?;
        }
        Ok(DiskFile { file, is_dir: mode == OpenMode::Directory })
    }

    fn stat(&self, handle: &DiskFile) -> io::Result<Stat> {
        stat_of(&handle.file.metadata()?)
    }

    fn stat_path(&self, path: &Path) -> io::Result<Stat> {
        stat_of(&fs::metadata(path)?)
    }

    fn read(&self, handle: &DiskFile, position: u64, into: &mut [u8]) -> io::Result<usize> {
        if patience::may_wait() {
            return read_all(|room, at| handle.file.read_at(room, at), position, into);
        }
        read_all(|room, at| read_resident(&handle.file, room, at), position, into)
    }

    fn write(&self, handle: &DiskFile, position: u64, from: &mut [IoSlice<'_>]) -> io::Result<()> {
        write_all(|slices, at| Ok(rustix::io::pwritev(&handle.file, slices, at)?), position, from)
    }

    fn map(&self, handle: &DiskFile, position: u64, bytes: usize) -> io::Result<Bytes> {
        if position + bytes as u64 > handle.file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if bytes == 0 {
            return Ok(Bytes::new());
        }
        // SAFETY: the range lies within the file (checked above), is mapped read-only, and the contract of `map` says
        // that the file is not cut while the bytes are held. Closed parts of a log are never rewritten.
        let map = unsafe { memmap2::MmapOptions::new().offset(position).len(bytes).map(&handle.file) }?;
        Ok(Bytes::from_owner(map))
    }

    fn sync(&self, handle: &DiskFile) -> io::Result<()> {
        if handle.is_dir { handle.file.sync_all() } else { handle.file.sync_data() }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { path: entry.path(), name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn change(&self, change: Change<'_>) -> io::Result<()> {
        match change {
            Change::MakeDir(path) => fs::create_dir_all(path),
            Change::Rename(from, to) => fs::rename(from, to),
            Change::Remove(path) => fs::remove_file(path),
            Change::RemoveDir(path) => fs::remove_dir(path),
            Change::Resize(path, bytes) => OpenOptions::new().write(true).open(path)?.set_len(bytes),
            Change::Reserve(path, bytes) => reserve(&OpenOptions::new().write(true).open(path)?, bytes),
        }
    }
}

/// Reads what is in the page cache; `WouldBlock` where nothing of it is.
fn read_resident(file: &File, room: &mut [u8], at: u64) -> io::Result<usize> {
    match rustix::io::preadv2(file, &mut [IoSliceMut::new(room)], at, ReadWriteFlags::NOWAIT) {
        // A file system that cannot tell.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.read_at(room, at),
        read => Ok(read?),
    }
}

fn stat_of(metadata: &fs::Metadata) -> io::Result<Stat> {
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let modified = Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    Ok(Stat { bytes: metadata.len(), modified })
}

fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::INTR) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reads until all is there or the file ends: a signal interrupts, and a read may give less than is there.
fn read_all(
    mut pread: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    position: u64,
    into: &mut [u8],
) -> io::Result<usize> {
    let mut read = 0;
    while let Some(room) = into.get_mut(read..)
        && !room.is_empty()
    {
        match pread(room, position + read as u64) {
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Writes until all is written: a signal interrupts, and a write may take less than it was given.
fn write_all(
    mut pwritev: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
    mut position: u64,
    mut from: &mut [IoSlice<'_>],
) -> io::Result<()> {
    IoSlice::advance_slices(&mut from, 0);
    while !from.is_empty() {
        let count = from.len().min(SLICES_PER_WRITE_MAX);
        let now = from.get(..count).expect("the count is at most the length");
        match pwritev(now, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => {
                position += bytes as u64;
                IoSlice::advance_slices(&mut from, bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the system does at each call: so many bytes at most, or an interruption for 0.
    fn calls(seed: u64) -> impl FnMut() -> Option<usize> {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Some((state >> 60) as usize).filter(|bytes| *bytes > 0)
        }
    }

    #[test]
    fn short_and_interrupted_writes_and_reads_go_on() {
        for seed in 0..200 {
            println!("seed {seed}");
            let parts: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; usize::from(n) % 7]).collect();
            let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let (mut file, mut next) = (vec![255; 5], calls(seed));
            write_all(
                |slices, at| {
                    let bytes = next().ok_or(io::ErrorKind::Interrupted)?;
                    let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(bytes).collect();
                    assert_eq!(at as usize, file.len(), "the next write begins where the last one stopped");
                    file.extend_from_slice(&all);
                    Ok(all.len())
                },
                5,
                &mut slices,
            )
            .unwrap();
            assert_eq!(file[5..], parts.concat());
            let mut found = vec![0; file.len() + 3];
            let read = read_all(
                |room, at| {
                    let bytes = next().ok_or(io::ErrorKind::Interrupted)?;
                    let from = file.get(at as usize..).unwrap_or_default();
                    let count = bytes.min(from.len()).min(room.len());
                    room[..count].copy_from_slice(&from[..count]);
                    Ok(count)
                },
                0,
                &mut found,
            );
            assert_eq!((read.unwrap(), &found[..file.len()]), (file.len(), file.as_slice()));
        }
        let no_room = write_all(|_, _| Ok(0), 0, &mut [IoSlice::new(b"x")]);
        assert_eq!(no_room.unwrap_err().kind(), io::ErrorKind::WriteZero);
        let full = write_all(|_, _| Err(Errno::NOSPC.into()), 0, &mut [IoSlice::new(b"x")]);
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
