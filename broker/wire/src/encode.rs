//! Writes the protocol's primitives, and notes where records from files belong.
//!
//! Invariants: what is written is what [`crate::decode`] reads; a value that the version cannot carry is an error,
//! never dropped, unless the schema calls it ignorable; the length of a frame counts its holes. Errors here are of our
//! own making.

use broker_model::TopicId;
use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::form::Form;
use crate::limits;
use crate::records::Records;

/// The value has no bytes in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message does not have this version.
    #[error("{message} has no version {version}")]
    Version {
        /// The message.
        message: &'static str,
        /// The version.
        version: i16,
    },
    /// The version does not have a field whose value must not be lost.
    #[error("{field} is set, but version {version} does not have it")]
    Lost {
        /// The field.
        field: &'static str,
        /// The version.
        version: i16,
    },
    /// The version does not let this field be null.
    #[error("{field} is null, but cannot be in version {version}")]
    Null {
        /// The field.
        field: &'static str,
        /// The version.
        version: i16,
    },
    /// A string, array or frame is longer than the protocol can say.
    #[error("{length} bytes or elements are too many")]
    TooLong {
        /// Bytes, or elements of an array.
        length: usize,
    },
}

impl EncodeError {
    pub(crate) const fn lost(field: &'static str, version: i16) -> EncodeError {
        EncodeError::Lost { field, version }
    }

    pub(crate) const fn null(field: &'static str, version: i16) -> EncodeError {
        EncodeError::Null { field, version }
    }
}

/// A place in the encoded bytes where records from a file belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// How many encoded bytes come before it; earlier holes are not counted.
    pub at: usize,
    /// How many bytes belong there.
    pub bytes: u32,
}

/// Writes values one after the other.
#[derive(Debug, Default)]
pub struct Encoder {
    out: BytesMut,
    holes: Vec<Hole>,
    hole_bytes: usize,
}

impl Encoder {
    /// An encoder of a bare message.
    #[must_use]
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// An encoder that begins with room for a frame's length; see [`Encoder::finish_frame`].
    #[must_use]
    pub fn frame() -> Encoder {
        let mut encoder = Encoder { out: BytesMut::with_capacity(256), ..Encoder::default() };
        encoder.out.put_bytes(0, limits::FRAME_PREFIX_BYTES);
        encoder
    }

    /// The length of all, holes counted, in bytes.
    #[must_use]
    pub fn whole_bytes(&self) -> usize {
        self.out.len() + self.hole_bytes
    }

    /// What was written, and the holes in the order of their places.
    #[must_use]
    pub fn finish(self) -> (Bytes, Vec<Hole>) {
        (self.out.freeze(), self.holes)
    }

    /// Like [`Encoder::finish`], with the length of what follows, holes counted, in the first four bytes. Only for an
    /// encoder made by [`Encoder::frame`].
    pub fn finish_frame(mut self) -> Result<(Bytes, Vec<Hole>), EncodeError> {
        let length = self.whole_bytes().saturating_sub(limits::FRAME_PREFIX_BYTES);
        let prefix = length_i32(length)?.to_be_bytes();
        let place = self.out.first_chunk_mut::<{ limits::FRAME_PREFIX_BYTES }>();
        *place.expect("a frame begins with room for its length") = prefix;
        Ok(self.finish())
    }

    /// Refuses versions outside of this range.
    pub fn check_version(&self, message: &'static str, version: i16, first: i16, last: i16) -> Result<(), EncodeError> {
        if (first..=last).contains(&version) { Ok(()) } else { Err(EncodeError::Version { message, version }) }
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) {
        self.out.put_u8(u8::from(value));
    }

    /// A 64-bit floating point number.
    pub fn f64(&mut self, value: f64) {
        self.out.put_f64(value);
    }

    /// A UUID.
    pub fn uuid(&mut self, value: &Uuid) {
        self.out.put_slice(value.as_bytes());
    }

    /// The id of a topic.
    pub fn topic_id(&mut self, value: &TopicId) {
        self.out.put_slice(&value.0);
    }

    /// An unsigned varint.
    pub fn uvarint(&mut self, value: u32) {
        let (bytes, length) = uvarint_bytes(value);
        self.out.put_slice(bytes.get(..length).expect("a varint has at most five bytes"));
    }

    /// A string.
    pub fn string(&mut self, form: Form, value: &str) -> Result<(), EncodeError> {
        let length = value.len();
        if length > limits::STRING_BYTES_MAX {
            return Err(EncodeError::TooLong { length });
        }
        match form {
            Form::Classic => self.i16(i16::try_from(length).map_err(|_| EncodeError::TooLong { length })?),
            Form::Compact => self.uvarint(length_i32(length)?.unsigned_abs() + 1),
        }
        self.out.put_slice(value.as_bytes());
        Ok(())
    }

    /// A string that is null.
    pub fn null_string(&mut self, form: Form) {
        match form {
            Form::Classic => self.i16(-1),
            Form::Compact => self.uvarint(0),
        }
    }

    /// Bytes.
    pub fn bytes(&mut self, form: Form, value: &[u8]) -> Result<(), EncodeError> {
        self.array_len(form, value.len())?;
        self.out.put_slice(value);
        Ok(())
    }

    /// Bytes that are null.
    pub fn null_bytes(&mut self, form: Form) {
        self.null_array(form);
    }

    /// Records: their bytes, or a hole.
    pub fn records(&mut self, form: Form, value: &Records) -> Result<(), EncodeError> {
        match value {
            Records::Bytes(bytes) => self.bytes(form, bytes),
            Records::Hole(bytes) => {
                self.array_len(form, *bytes as usize)?;
                if *bytes > 0 {
                    self.holes.push(Hole { at: self.out.len(), bytes: *bytes });
                    self.hole_bytes += *bytes as usize;
                }
                Ok(())
            }
        }
    }

    /// The count of an array; its elements follow.
    pub fn array_len(&mut self, form: Form, count: usize) -> Result<(), EncodeError> {
        let count = length_i32(count)?;
        match form {
            Form::Classic => self.i32(count),
            Form::Compact => self.uvarint(count.unsigned_abs() + 1),
        }
        Ok(())
    }

    /// An array that is null.
    pub fn null_array(&mut self, form: Form) {
        match form {
            Form::Classic => self.i32(-1),
            Form::Compact => self.uvarint(0),
        }
    }

    /// The count of tagged fields, where the form has them.
    pub fn tag_count(&mut self, form: Form, count: u32) {
        if form == Form::Compact {
            self.uvarint(count);
        }
    }

    /// A tagged field: the tag, its length, and what `write` writes. It must not hold records.
    pub fn tagged(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.uvarint(tag);
        let from = self.out.len();
        write(self)?;
        let length = length_i32(self.out.len() - from)?.unsigned_abs();
        // The length goes in front of what it counts: it is written behind and turned to its place.
        let (_, prefix) = uvarint_bytes(length);
        self.uvarint(length);
        let turned = self.out.get_mut(from..).expect("it was written from there on");
        turned.rotate_right(prefix);
        Ok(())
    }
}

fn length_i32(length: usize) -> Result<i32, EncodeError> {
    i32::try_from(length).map_err(|_| EncodeError::TooLong { length })
}

fn uvarint_bytes(value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut rest = value;
    let mut length = 0;
    for byte in &mut bytes {
        length += 1;
        *byte = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, length)
}

macro_rules! numbers {
    ($($name:ident),*) => {
        impl Encoder {
            $(
                #[doc = concat!("A big-endian `", stringify!($name), "`.")]
                pub fn $name(&mut self, value: $name) {
                    self.out.put_slice(&value.to_be_bytes());
                }
            )*
        }
    };
}

numbers!(i8, i16, u16, i32, u32, i64);
