//! What every implementation of [`Files`] must do. Both run it; power loss only the one in memory can.

use std::io::{self, IoSlice};
use std::path::Path;

use crate::files::{Change, Files, OpenMode, read_file, remove_if_there, sync_dir};
use crate::{DiskFiles, Fault, MemFiles};

fn write<F: Files>(files: &F, handle: &F::Handle, position: u64, parts: &[&[u8]]) {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    files.write(handle, position, &mut slices).unwrap();
}

fn conforms<F: Files>(files: &F, root: &Path) {
    let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
    let missing = root.join("missing");
    assert_eq!(kind(files.open(&missing, OpenMode::Read).map(drop)), Err(io::ErrorKind::NotFound));
    assert_eq!(kind(files.list(&missing).map(drop)), Err(io::ErrorKind::NotFound));
    assert_eq!(kind(files.change(Change::Remove(&missing))), Err(io::ErrorKind::NotFound));
    assert_eq!(kind(files.open(&missing.join("a"), OpenMode::Write).map(drop)), Err(io::ErrorKind::NotFound));
    remove_if_there(files, &missing).unwrap();

    let dir = root.join("a/b");
    files.change(Change::MakeDir(&dir)).unwrap();
    files.change(Change::MakeDir(&dir)).unwrap();
    let path = dir.join("file");
    let handle = files.open(&path, OpenMode::Write).unwrap();
    let many: Vec<&[u8]> = vec![b"x"; 3000];
    write(files, &handle, 0, &[b"one", b"", b"two"]);
    write(files, &handle, 10, &many);
    assert_eq!(files.stat(&handle).unwrap().bytes, 3010);
    let mut bytes = [9; 12];
    assert_eq!(files.read(&handle, 0, &mut bytes).unwrap(), 12);
    assert_eq!(&bytes, b"onetwo\0\0\0\0xx");
    assert_eq!(files.read(&handle, 3005, &mut bytes).unwrap(), 5);
    assert_eq!(files.read(&handle, 9999, &mut bytes).unwrap(), 0);
    assert_eq!(files.map(&handle, 3, 3).unwrap(), "two");
    assert_eq!(files.map(&handle, 0, 0).unwrap(), "");
    assert_eq!(kind(files.map(&handle, 3000, 11).map(drop)), Err(io::ErrorKind::UnexpectedEof));
    files.sync(&handle).unwrap();
    sync_dir(files, &dir).unwrap();

    let again = files.open(&path, OpenMode::Write).unwrap();
    assert_eq!(files.stat(&again).unwrap().bytes, 3010, "opening to write does not empty");
    files.change(Change::Resize(&path, 4)).unwrap();
    assert_eq!(files.stat(&handle).unwrap().bytes, 4);
    files.change(Change::Resize(&path, 6)).unwrap();
    assert_eq!(read_file(files, &path).unwrap().unwrap(), b"onet\0\0");

    let other = dir.join("other");
    files.change(Change::Rename(&path, &other)).unwrap();
    let names: Vec<_> = files.list(&dir).unwrap().into_iter().map(|entry| (entry.name, entry.is_dir)).collect();
    assert_eq!(names, [("other".to_owned(), false)]);
    assert!(kind(files.change(Change::RemoveDir(&dir))).is_err(), "only empty directories go");
    files.change(Change::Remove(&other)).unwrap();
    assert_eq!(files.map(&handle, 0, 3).unwrap(), "one", "an open file outlives its name");
    files.change(Change::RemoveDir(&dir)).unwrap();
    assert!(files.list(&root.join("a")).unwrap().is_empty());

    let lock = root.join("lock");
    let held = files.open(&lock, OpenMode::Lock).unwrap();
    assert_eq!(kind(files.open(&lock, OpenMode::Lock).map(drop)), Err(io::ErrorKind::WouldBlock));
    drop(held);
    files.open(&lock, OpenMode::Lock).unwrap();
}

#[test]
fn the_disk_conforms() {
    let root = tempfile::tempdir().unwrap();
    conforms(&DiskFiles, root.path());
}

#[test]
fn memory_conforms() {
    let files = MemFiles::new();
    let root = Path::new("/data");
    files.change(Change::MakeDir(root)).unwrap();
    conforms(&files, root);
}

#[test]
fn a_power_loss_keeps_what_was_synced_and_may_take_the_rest() {
    let root = Path::new("/data");
    let (mut lost, mut kept, mut torn, mut unnamed) = (0, 0, 0, 0);
    for seed in 0..200 {
        let files = MemFiles::new();
        files.change(Change::MakeDir(root)).unwrap();
        sync_dir(&files, Path::new("/")).unwrap();
        let handle = files.open(&root.join("named"), OpenMode::Write).unwrap();
        write(&files, &handle, 0, &[&[1; 1000]]);
        files.sync(&handle).unwrap();
        sync_dir(&files, root).unwrap();
        write(&files, &handle, 1000, &[&[2; 4000]]);
        let unsynced = files.open(&root.join("unnamed"), OpenMode::Write).unwrap();
        files.sync(&unsynced).unwrap();
        files.power_loss(seed);
        let content = read_file(&files, &root.join("named")).unwrap().expect("its name was synced");
        assert_eq!(content.get(..1000), Some([1; 1000].as_slice()));
        match (content.len(), content.iter().filter(|byte| **byte == 2).count()) {
            (_, 0) => lost += 1,
            (5000, 4000) => kept += 1,
            _ => torn += 1,
        }
        unnamed += usize::from(read_file(&files, &root.join("unnamed")).unwrap().is_none());
    }
    assert!(torn > 50 && lost + kept < 150 && (50..150).contains(&unnamed), "{lost} {kept} {torn} {unnamed}");
}

#[test]
fn injected_faults_strike_once() {
    let files = MemFiles::new();
    files.change(Change::MakeDir(Path::new("/data"))).unwrap();
    let handle = files.open(Path::new("/data/f"), OpenMode::Write).unwrap();
    files.inject(1, Fault::ShortWrite);
    write(&files, &handle, 0, &[b"good"]);
    let error = files.write(&handle, 4, &mut [IoSlice::new(b"half")]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(read_file(&files, Path::new("/data/f")).unwrap().unwrap(), b"goodha");
    files.inject(0, Fault::Io);
    assert!(files.sync(&handle).is_err());
    files.sync(&handle).unwrap();
}
