//! The value of a `records` field: bytes in memory, or a place that the server fills from a file.

use std::fmt;

use bytes::Bytes;

/// Record batches as a message carries them. Decoding yields [`Records::Bytes`] only.
#[derive(Clone, PartialEq, Eq)]
pub enum Records {
    /// The batches themselves, a view into the buffer that they came in.
    Bytes(Bytes),
    /// This many bytes, which the encoder leaves out and notes as a [`crate::Hole`].
    Hole(u32),
}

impl Records {
    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Records::Bytes(bytes) => bytes.len(),
            Records::Hole(bytes) => *bytes as usize,
        }
    }

    /// True for no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes; none for a hole.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Records::Bytes(bytes) => Some(bytes),
            Records::Hole(_) => None,
        }
    }
}

impl Default for Records {
    fn default() -> Self {
        Records::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Records::Bytes(bytes)
    }
}

/// The length only: records are large, and they are the users' data.
impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Records::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Records::Hole(bytes) => write!(f, "Hole({bytes} bytes)"),
        }
    }
}
