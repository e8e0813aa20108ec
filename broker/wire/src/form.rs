//! The two ways in which the protocol writes lengths.

/// How strings, bytes and arrays are written, and whether tagged fields follow (KIP-482).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lengths have a fixed width, -1 is null, and there are no tagged fields.
    Classic,
    /// Lengths are unsigned varints of length + 1, 0 is null, and each struct ends with tagged fields.
    Compact,
}
