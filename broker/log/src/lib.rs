//! One partition's log on disk: Kafka's files, appended to, recovered, cut, and read as slices for sendfile.
//!
//! Invariants: offsets are gapless in the order of append; a batch that was acknowledged as flushed is there after a
//! power loss; damage is marked and reported, never cut silently; an index is only a hint, verified by the batch head
//! it points to. All calls block: a caller with an event loop gives them threads that may.
//!
//! Deliberately absent: Kafka's requests and error codes, tokio, the tier. Policy over several partitions (disk
//! budget, when to flush) is the caller's.
//!
//! Start reading at [`log::Log`] (the one writer) and [`reader::LogReader`] (everybody else); beneath them is the seam
//! [`files::Files`]. [`dir::DirState`] is what all partitions of one log directory share.

pub mod append;
pub mod config;
pub mod dir;
pub mod disk;
pub mod error;
pub mod files;
pub mod log;
pub mod memory;
pub mod open_files;
pub mod place;
pub mod reader;
pub mod scrub;
pub mod time;
pub mod trim;

mod checkpoint;
mod doomed;
mod index;
mod lookup;
mod names;
mod patience;
mod recover;
mod scan;
mod segment;
mod segment_index;
mod shared;
mod sidecars;
mod slice;
mod walk;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;

pub use append::{Appended, PreparedBatch, Refusal};
pub use config::{AppendTime, LogConfig, OpenHints};
pub use dir::{CheckpointTexts, DirError, DirState, Found, Identity, Line, Lines, boot_id};
pub use disk::{DiskFile, DiskFiles};
pub use error::{AppendError, ErrorKind, FlushError, OpenError, ReadError};
pub use files::{Change, Entry, Files, OpenMode, Stat};
pub use log::{Log, RecoveryReport, remove_partition};
pub use memory::{Fault, MemFiles};
pub use open_files::OpenFiles;
pub use patience::without_waiting;
pub use place::{Health, LogPlace};
pub use reader::{FirstBatch, HeadAt, Heads, LogReader, LogSlice, SegmentBounds, SegmentInfo};
pub use scrub::{ScrubCursor, Scrubbed, Suspect};
pub use time::TimeHit;
