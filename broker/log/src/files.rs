//! The seam beneath the log: what it asks of a file system.
//!
//! Two implementations run one conformance suite: [`crate::DiskFiles`], and [`crate::MemFiles`], which on a power
//! loss loses, tears and reorders what was not synced. Only the first yields descriptors.
//!
//! The contract:
//! - **Atomicity.** A rename is atomic. A write is not: after an error, or a power loss before `sync`, any part of it
//!   may be there, and of several writes any may. Growing by writing beyond the end fills with zeros.
//! - **Order.** Reads see all earlier writes of the process at once. What is durable, and in which order, only `sync`
//!   says: of a file its content and length; of a directory the names in it (made, renamed, removed). A new file
//!   needs both.
//! - **Errors.** `NotFound` where a path does not exist; `WouldBlock` for a lock that another holds; `StorageFull`
//!   leaves the rest usable. An error of `sync` is final: what was written since the last one may be lost although
//!   later syncs succeed, so the caller stops using the file.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use broker_model::Timestamp;
use bytes::Bytes;

/// A file system, or what plays one.
pub trait Files: Clone + Send + Sync + 'static {
    /// An open file or directory. Stays usable when its name is removed.
    type Handle: Send + Sync + 'static;

    /// Opens a file or directory.
    ///
    /// # Errors
    /// As the mode says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::Handle>;

    /// Length and time of the last change.
    ///
    /// # Errors
    /// When the system fails.
    fn stat(&self, handle: &Self::Handle) -> io::Result<Stat>;

    /// As `stat`, of a file that need not be open.
    ///
    /// # Errors
    /// `NotFound`; else when the system fails.
    fn stat_path(&self, path: &Path) -> io::Result<Stat>;

    /// Fills `into` from `position` on, as far as the file goes; returns how many bytes. Fewer than asked means the
    /// end.
    ///
    /// # Errors
    /// When the system fails. `WouldBlock` [`without_waiting`](crate::without_waiting), where the bytes are not in memory.
    fn read(&self, handle: &Self::Handle, position: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all the slices one after the other at `position`, in as few calls to the system as it takes.
    ///
    /// # Errors
    /// When the system fails; a part may be written.
    fn write(&self, handle: &Self::Handle, position: u64, from: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// So many bytes from `position` on, without copying them where that is possible. They must lie within the file,
    /// and it must not be cut while they are held.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond the end.
    fn map(&self, handle: &Self::Handle, position: u64, bytes: usize) -> io::Result<Bytes>;

    /// Makes content, or a directory's names, durable.
    ///
    /// # Errors
    /// Final, see above.
    fn sync(&self, handle: &Self::Handle) -> io::Result<()>;

    /// What is in a directory, ordered by name.
    ///
    /// # Errors
    /// `NotFound`.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Changes names, or a file's length.
    ///
    /// # Errors
    /// As the change says.
    fn change(&self, change: Change<'_>) -> io::Result<()>;
}

/// How to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Existing,
    /// A file to read and write, made where it is not there.
    Write,
    /// A directory, to sync it.
    Directory,
    /// A file that only one may hold at a time, made where it is not there: `WouldBlock` while another holds it.
    /// Closing it, or the end of the process, lets go.
    Lock,
}

/// A change of names, or of a file's length.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Makes a directory and those above it. It may exist.
    MakeDir(&'a Path),
    /// Moves a file or directory, over what is there.
    Rename(&'a Path, &'a Path),
    /// Removes a file.
    Remove(&'a Path),
    /// Removes an empty directory.
    RemoveDir(&'a Path),
    /// Cuts a file, or lengthens it with zeros.
    Resize(&'a Path, u64),
    /// Reserves room for a file up to a length, without changing the length; nothing where that is not possible.
    /// Resizing it to its length gives the rest back.
    Reserve(&'a Path, u64),
}

/// What is known of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its length.
    pub bytes: u64,
    /// When it was last written.
    pub modified: Timestamp,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The whole path.
    pub path: PathBuf,
    /// The name.
    pub name: String,
    /// True for a directory.
    pub is_dir: bool,
}

/// Reads a whole small file; `None` where it does not exist.
pub(crate) fn read_file<F: Files>(files: &F, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let handle = match files.open(path, OpenMode::Read) {
        Ok(handle) => handle,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = files.stat(&handle)?.bytes;
    let mut content = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    let read = files.read(&handle, 0, &mut content)?;
    content.truncate(read);
    Ok(Some(content))
}

/// Whether what was written must survive a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persist {
    /// It need not: it can be made again.
    Lazily,
    /// It must.
    Now,
}

/// Replaces a small file as a whole: write beside it, rename over it.
pub(crate) fn replace_file<F: Files>(files: &F, path: &Path, content: &[u8], persist: Persist) -> io::Result<()> {
    let beside = path.with_added_extension("tmp");
    remove_if_there(files, &beside)?;
    let handle = files.open(&beside, OpenMode::Write)?;
    files.write(&handle, 0, &mut [IoSlice::new(content)])?;
    if persist == Persist::Now {
        files.sync(&handle)?;
    }
    files.change(Change::Rename(&beside, path))?;
    if persist == Persist::Now {
        sync_dir(files, path.parent().unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

pub(crate) fn remove_if_there<F: Files>(files: &F, path: &Path) -> io::Result<()> {
    match files.change(Change::Remove(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn sync_dir<F: Files>(files: &F, dir: &Path) -> io::Result<()> {
    files.sync(&files.open(dir, OpenMode::Directory)?)
}
