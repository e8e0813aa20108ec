//! Bounds of the bucket format beside those of `broker_model::limits`. Each says what happens at the bound: a change that
//! would pass it is refused with `ChangeError::Full`, a file that passes it is not read.

use broker_model::limits::{GROUP_ENTRIES, ROOT_BYTES_MAX, ROOT_ENTRIES_BYTES_MAX};

/// Registered ids in one root, of the living writer and of dead ones. A start of a process leaves at most a few.
pub const REGISTERED_MAX: usize = 1024;
/// Occupied keys in one root. They are dropped after [`LATE_PUT_MS`].
pub const OCCUPIED_MAX: usize = 4096;
/// Condemned rows in one root. At the bound the start stays where it is until the collector has caught up.
pub const CONDEMNED_MAX: usize = 8192;
/// Groups in one root: with full groups of 128 MiB objects this is half a petabyte.
pub const GROUPS_MAX: usize = 4096;
/// The longest key relative to its root's directory.
pub const RELATIVE_KEY_BYTES_MAX: usize = 128;
/// A group file after decompression.
pub const GROUP_RAW_BYTES_MAX: usize = 1 << 20;
/// A table root that is larger is not read.
pub const TABLE_BYTES_MAX: usize = 16 << 20;
/// Files that one table root lists.
pub const TABLE_FILES_MAX: usize = 65_536;
/// Intents that one table root lists.
pub const TABLE_INTENTS_MAX: usize = 4096;
/// `strata.json` and `topic.json`.
pub const SMALL_FILE_BYTES_MAX: usize = 1 << 20;
/// Sections in a footer's directory.
pub const SECTIONS_MAX: usize = 256;
/// Milliseconds that an occupied key stays listed after its registration's deadline: no PUT that was signed before the
/// deadline arrives later.
pub const LATE_PUT_MS: i64 = 24 * 60 * 60 * 1000;

/// Serialised bytes of the longest rows: an upper bound that the asserts below use.
const ROW_BYTES_MAX: usize = 64 + RELATIVE_KEY_BYTES_MAX;
const GROUP_ROW_BYTES_MAX: usize = 256;
const ENTRY_ROW_BYTES_MAX: usize = 240 + RELATIVE_KEY_BYTES_MAX;

const _: () = assert!(GROUP_ENTRIES * ENTRY_ROW_BYTES_MAX < GROUP_RAW_BYTES_MAX);
const _: () = assert!(
    ROOT_ENTRIES_BYTES_MAX
        + (REGISTERED_MAX + OCCUPIED_MAX + CONDEMNED_MAX) * ROW_BYTES_MAX
        + GROUPS_MAX * GROUP_ROW_BYTES_MAX
        < ROOT_BYTES_MAX
);
