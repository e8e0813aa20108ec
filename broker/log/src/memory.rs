//! [`Files`] in memory, for tests: it forgets at a power loss what was not synced, and fails on demand.
//!
//! [`MemFiles::power_loss`] keeps a random prefix of the changes of names that were not synced (a journal is
//! ordered), and of each file's unsynced content a random choice of 512-byte sectors and of the length, so that
//! writes are lost, torn and reordered. The same seed gives the same loss. Handles opened before it see nothing of
//! what follows.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use broker_model::Timestamp;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::files::{Change, Entry, Files, OpenMode, Stat};

const SECTOR_BYTES: usize = 512;

/// A file system in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemFiles {
    world: Arc<Mutex<World>>,
}

/// An open file or directory of [`MemFiles`].
#[derive(Debug)]
pub struct MemHandle {
    node: Node,
    path: PathBuf,
    _lock: Option<Arc<()>>,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO.
    Io,
    /// ENOSPC, with nothing written.
    NoSpace,
    /// ENOSPC, with half of it written.
    ShortWrite,
}

/// Which operations count for an injected fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    WritesAndSyncs,
    Everything,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Fault::Io => rustix::io::Errno::IO.into(),
            Fault::NoSpace | Fault::ShortWrite => rustix::io::Errno::NOSPC.into(),
        }
    }
}

#[derive(Debug, Default)]
struct World {
    live: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<NameChange>,
    locks: BTreeMap<PathBuf, Weak<()>>,
    fault: Option<(u32, Fault, Scope)>,
    /// Bytes that can still be added to files.
    room: Option<u64>,
    now: Timestamp,
}

#[derive(Clone, Debug)]
enum Node {
    Dir,
    File(Arc<Mutex<Inode>>),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    data: Vec<u8>,
    synced: Vec<u8>,
    modified: Timestamp,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl MemFiles {
    /// An empty file system.
    #[must_use]
    pub fn new() -> MemFiles {
        MemFiles::default()
    }

    /// What files written from now on say of their time.
    pub fn set_time(&self, now: Timestamp) {
        self.world.lock().now = now;
    }

    /// Lets the write or sync after the next `skip` of them fail, once.
    pub fn inject(&self, skip: u32, fault: Fault) {
        self.world.lock().fault = Some((skip, fault, Scope::WritesAndSyncs));
    }

    /// Lets the operation after the next `skip` of them fail, once, whatever it is.
    pub fn inject_anywhere(&self, skip: u32, fault: Fault) {
        self.world.lock().fault = Some((skip, fault, Scope::Everything));
    }

    /// From now on so many bytes can be added to files, and none can be made when there is no room; `None` for any.
    pub fn limit_room(&self, bytes: Option<u64>) {
        self.world.lock().room = bytes;
    }

    /// True while an injected fault waits for its operation.
    #[must_use]
    pub fn fault_waits(&self) -> bool {
        self.world.lock().fault.is_some()
    }

    /// The power fails, and comes back. What is kept of the unsynced is chosen by the seed.
    pub fn power_loss(&self, seed: u64) {
        let mut world = self.world.lock();
        let mut random = Random(seed);
        let pending = std::mem::take(&mut world.pending);
        let kept = random.below(pending.len() as u64 + 1) as usize;
        for change in pending.into_iter().take(kept) {
            change.apply(&mut world.durable);
        }
        let mut survivors = BTreeMap::new();
        for (path, node) in std::mem::take(&mut world.durable) {
            // A name whose directory was lost cannot be reached.
            if !path.parent().is_none_or(|dir| is_root(dir) || survivors.contains_key(dir)) {
                continue;
            }
            let node = match node {
                Node::Dir => Node::Dir,
                Node::File(inode) => Node::File(Arc::new(Mutex::new(inode.lock().torn(&mut random)))),
            };
            survivors.insert(path, node);
        }
        world.live = survivors.clone();
        world.durable = survivors;
        world.locks.clear();
        world.fault = None;
    }

    /// Another file system with the same content, all of it durable.
    #[must_use]
    pub fn copy(&self) -> MemFiles {
        let world = self.world.lock();
        let copied = |node: &Node| match node {
            Node::Dir => Node::Dir,
            Node::File(inode) => {
                let Inode { data, modified, .. } = inode.lock().clone();
                Node::File(Arc::new(Mutex::new(Inode { synced: data.clone(), data, modified })))
            }
        };
        let live: BTreeMap<PathBuf, Node> =
            world.live.iter().map(|(path, node)| (path.clone(), copied(node))).collect();
        let (durable, now) = (live.clone(), world.now);
        MemFiles { world: Arc::new(Mutex::new(World { live, durable, now, ..World::default() })) }
    }

    /// The content of a file, to be damaged by a test: `change` works on it, and what it leaves is durable.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let world = self.world.lock();
        if let Some(Node::File(inode)) = world.live.get(path) {
            let mut inode = inode.lock();
            change(&mut inode.data);
            inode.synced = inode.data.clone();
        }
    }

    /// An operation that is of this scope begins: whether it fails.
    fn fault(&self, scope: Scope) -> Option<Fault> {
        let mut world = self.world.lock();
        match &mut world.fault {
            Some((_, _, Scope::WritesAndSyncs)) if scope == Scope::Everything => None,
            Some((0, fault, _)) => {
                let fault = *fault;
                world.fault = None;
                Some(fault)
            }
            Some((skip, ..)) => {
                *skip -= 1;
                None
            }
            None => None,
        }
    }

    fn begin(&self) -> io::Result<()> {
        self.fault(Scope::Everything).map_or(Ok(()), |fault| Err(fault.error()))
    }

    /// Takes room for so many more bytes, all or nothing.
    fn take_room(&self, bytes: usize) -> io::Result<()> {
        let mut world = self.world.lock();
        if let Some(room) = &mut world.room {
            *room = room.checked_sub(bytes as u64).ok_or(Fault::NoSpace.error())?;
        }
        Ok(())
    }
}

impl Inode {
    fn torn(&self, random: &mut Random) -> Inode {
        let (short, long) = (self.synced.len().min(self.data.len()), self.synced.len().max(self.data.len()));
        let length = short + random.below((long - short) as u64 + 1) as usize;
        let mut kept = self.synced.clone();
        kept.resize(length, 0);
        let (old, new) = (kept.chunks_mut(SECTOR_BYTES), self.data.chunks(SECTOR_BYTES));
        for (old, new) in old.zip(new) {
            if random.below(2) == 0 {
                old.iter_mut().zip(new).for_each(|(old, new)| *old = *new);
            }
        }
        Inode { data: kept.clone(), synced: kept, modified: self.modified }
    }
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            NameChange::Link(path, _) | NameChange::Unlink(path) | NameChange::Rename(_, path) => path.parent(),
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            NameChange::Link(path, node) => drop(names.insert(path, node)),
            NameChange::Unlink(path) => drop(names.remove(&path)),
            NameChange::Rename(from, to) => {
                let under: Vec<PathBuf> = names.keys().filter(|path| path.starts_with(&from)).cloned().collect();
                for path in under {
                    if let Some(node) = names.remove(&path) {
                        let rest = path.strip_prefix(&from).expect("filtered by this prefix");
                        let path = if rest == Path::new("") { to.clone() } else { to.join(rest) };
                        names.insert(path, node);
                    }
                }
            }
        }
    }
}

impl World {
    fn record(&mut self, change: NameChange) {
        change.clone().apply(&mut self.live);
        self.pending.push(change);
    }

    fn find(&self, path: &Path) -> io::Result<Node> {
        if is_root(path) {
            return Ok(Node::Dir);
        }
        self.live.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn make_dirs(&mut self, path: &Path) {
        let missing: Vec<PathBuf> = path
            .ancestors()
            .filter(|dir| !is_root(dir) && !self.live.contains_key(*dir))
            .map(Path::to_path_buf)
            .collect();
        for dir in missing.into_iter().rev() {
            self.record(NameChange::Link(dir, Node::Dir));
        }
    }
}

impl MemHandle {
    fn inode(&self) -> io::Result<&Mutex<Inode>> {
        match &self.node {
            Node::File(inode) => Ok(inode),
            Node::Dir => Err(io::ErrorKind::IsADirectory.into()),
        }
    }
}

impl Files for MemFiles {
    type Handle = MemHandle;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<MemHandle> {
        self.begin()?;
        let mut world = self.world.lock();
        let make = matches!(mode, OpenMode::Write | OpenMode::Lock);
        if make && !world.live.contains_key(path) {
            if world.room == Some(0) {
                return Err(Fault::NoSpace.error());
            }
            if let Some(dir) = path.parent() {
                world.find(dir)?;
            }
            let inode = Inode { modified: world.now, ..Inode::default() };
            world.record(NameChange::Link(path.to_path_buf(), Node::File(Arc::new(Mutex::new(inode)))));
        }
        let node = world.find(path)?;
        let mut lock = None;
        if mode == OpenMode::Lock {
            if world.locks.get(path).is_some_and(|held| held.strong_count() > 0) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let held = Arc::new(());
            world.locks.insert(path.to_path_buf(), Arc::downgrade(&held));
            lock = Some(held);
        }
        match (&node, mode) {
            (Node::File(_), OpenMode::Directory) => Err(io::ErrorKind::NotADirectory.into()),
            _ => Ok(MemHandle { node, path: path.to_path_buf(), _lock: lock }),
        }
    }

    fn stat(&self, handle: &MemHandle) -> io::Result<Stat> {
        self.begin()?;
        let inode = handle.inode()?.lock();
        Ok(Stat { bytes: inode.data.len() as u64, modified: inode.modified })
    }

    fn stat_path(&self, path: &Path) -> io::Result<Stat> {
        self.stat(&self.open(path, OpenMode::Read)?)
    }

    fn read(&self, handle: &MemHandle, position: u64, into: &mut [u8]) -> io::Result<usize> {
        self.begin()?;
        let inode = handle.inode()?.lock();
        let data = usize::try_from(position).ok().and_then(|at| inode.data.get(at..)).unwrap_or_default();
        let count = data.len().min(into.len());
        if let (Some(into), Some(data)) = (into.get_mut(..count), data.get(..count)) {
            into.copy_from_slice(data);
        }
        Ok(count)
    }

    fn write(&self, handle: &MemHandle, position: u64, from: &mut [IoSlice<'_>]) -> io::Result<()> {
        let fault = self.fault(Scope::WritesAndSyncs);
        let now = self.world.lock().now;
        let mut all: Vec<u8> = from.iter().flat_map(|slice| slice.iter().copied()).collect();
        match fault {
            Some(fault @ (Fault::Io | Fault::NoSpace)) => return Err(fault.error()),
            Some(Fault::ShortWrite) => all.truncate(all.len() / 2),
            None => (),
        }
        let mut inode = handle.inode()?.lock();
        let start = usize::try_from(position).map_err(io::Error::other)?;
        let end = start + all.len();
        if inode.data.len() < end {
            self.take_room(end - inode.data.len())?;
            inode.data.resize(end, 0);
        }
        if let Some(room) = inode.data.get_mut(start..end) {
            room.copy_from_slice(&all);
        }
        inode.modified = now;
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn map(&self, handle: &MemHandle, position: u64, bytes: usize) -> io::Result<Bytes> {
        let mut content = vec![0; bytes];
        if self.read(handle, position, &mut content)? < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Bytes::from(content))
    }

    fn sync(&self, handle: &MemHandle) -> io::Result<()> {
        if let Some(fault) = self.fault(Scope::WritesAndSyncs) {
            return Err(fault.error());
        }
        match &handle.node {
            Node::File(inode) => {
                let mut inode = inode.lock();
                inode.synced = inode.data.clone();
            }
            Node::Dir => {
                let mut world = self.world.lock();
                let pending = std::mem::take(&mut world.pending);
                let here = |change: &NameChange| change.dir() == Some(handle.path.as_path());
                let (done, kept): (Vec<_>, Vec<_>) = pending.into_iter().partition(here);
                world.pending = kept;
                for change in done {
                    change.apply(&mut world.durable);
                }
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.begin()?;
        let world = self.world.lock();
        if !matches!(world.find(dir)?, Node::Dir) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let inside = world.live.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, node): (&PathBuf, &Node)| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some(Entry { path: path.clone(), name, is_dir: matches!(node, Node::Dir) })
        };
        Ok(inside.filter_map(entry).collect())
    }

    fn change(&self, change: Change<'_>) -> io::Result<()> {
        self.begin()?;
        let mut world = self.world.lock();
        match change {
            Change::MakeDir(path) => world.make_dirs(path),
            Change::Rename(from, to) => {
                world.find(from)?;
                world.record(NameChange::Rename(from.to_path_buf(), to.to_path_buf()));
            }
            Change::Remove(path) => {
                world.find(path)?;
                world.record(NameChange::Unlink(path.to_path_buf()));
            }
            Change::RemoveDir(path) => {
                world.find(path)?;
                if world.live.keys().any(|other| other.parent() == Some(path)) {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                world.record(NameChange::Unlink(path.to_path_buf()));
            }
            Change::Reserve(path, _) => drop(world.find(path)?),
            Change::Resize(path, bytes) => {
                let Node::File(inode) = world.find(path)? else { return Err(io::ErrorKind::IsADirectory.into()) };
                inode.lock().data.resize(usize::try_from(bytes).map_err(io::Error::other)?, 0);
            }
        }
        Ok(())
    }
}

/// The root is always there.
fn is_root(path: &Path) -> bool {
    path.parent().is_none()
}

/// SplitMix64: enough for choosing what is lost.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}
