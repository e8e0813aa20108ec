//! Reads the protocol's primitives from a frame.
//!
//! Invariants: no input panics; nothing is allocated for a length or count before it was checked against the bytes that
//! remain; the elements of all arrays of a message are bounded together ([`limits::ELEMENTS_MAX`]); a tagged field is
//! read within its own length, and fills it. Strings and bytes are views into the frame.
//!
//! Bytes behind a message are not looked at: Kafka ignores them too. Depth needs no bound, because the messages are not
//! recursive.

use broker_model::TopicId;
use bytes::Bytes;
use uuid::Uuid;

use crate::form::Form;
use crate::limits;
use crate::text::Str;

/// The input is not what the protocol says: whoever sent it is disconnected, as nothing behind it can be trusted. `at` is
/// the position in the decoder's input, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends before the value.
    #[error("{wanted} bytes wanted at {at}, {remaining} remain")]
    Short {
        /// Where.
        at: usize,
        /// Bytes that the value takes.
        wanted: usize,
        /// Bytes that are there.
        remaining: usize,
    },
    /// An array says more elements than the bytes that remain can hold.
    #[error("array of {count} elements at {at}, {remaining} bytes remain")]
    Count {
        /// Where.
        at: usize,
        /// Elements that it says.
        count: usize,
        /// Bytes that are there.
        remaining: usize,
    },
    /// A length or count is below -1.
    #[error("length {length} at {at}")]
    NegativeLength {
        /// Where.
        at: usize,
        /// The length.
        length: i32,
    },
    /// A field that cannot be null is null.
    #[error("null at {at} in a field that cannot be null")]
    Null {
        /// Where.
        at: usize,
    },
    /// A string is longer than the protocol allows.
    #[error("string of {length} bytes at {at}")]
    LongString {
        /// Where.
        at: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// A string is not UTF-8.
    #[error("string at {at} is not UTF-8")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
    /// A varint does not fit into 32 bits.
    #[error("varint at {at} does not fit into 32 bits")]
    LongVarint {
        /// Where.
        at: usize,
    },
    /// More array elements in one message, or tagged fields in one struct, than the limit.
    #[error("too many elements at {at}")]
    TooMany {
        /// Where.
        at: usize,
    },
    /// A known tagged field does not fill the length that it says.
    #[error("tagged field {tag} at {at} leaves {left} bytes")]
    TagLength {
        /// Where.
        at: usize,
        /// The tag.
        tag: u32,
        /// Bytes that are left of it.
        left: usize,
    },
    /// The message does not have this version.
    #[error("version {version} is not known")]
    Version {
        /// The version.
        version: i16,
    },
}

/// Reads values one after the other.
#[derive(Debug)]
pub struct Decoder {
    input: Bytes,
    position: usize,
    /// Where reading must stop: the end of the input, or of the tagged field that is being read.
    end: usize,
    elements_left: usize,
}

impl Decoder {
    /// Reads from the beginning of the input.
    #[must_use]
    pub fn new(input: Bytes) -> Decoder {
        let end = input.len();
        Decoder { input, position: 0, end, elements_left: limits::ELEMENTS_MAX }
    }

    /// Bytes that are not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// The bytes that are not read yet, as a view.
    #[must_use]
    pub fn into_rest(self) -> Bytes {
        self.input.slice(self.position..self.end)
    }

    /// Refuses versions outside of this range.
    pub fn check_version(&self, version: i16, first: i16, last: i16) -> Result<(), DecodeError> {
        if (first..=last).contains(&version) { Ok(()) } else { Err(DecodeError::Version { version }) }
    }

    /// A truth value: any byte but 0 is true, as in Kafka.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// A 64-bit floating point number.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.take()?))
    }

    /// A UUID.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid::from_bytes(self.take()?))
    }

    /// The id of a topic.
    pub fn topic_id(&mut self) -> Result<TopicId, DecodeError> {
        Ok(TopicId(self.take()?))
    }

    /// An unsigned varint of at most 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let at = self.position;
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(DecodeError::LongVarint { at });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::LongVarint { at })
    }

    /// A string that cannot be null.
    pub fn string(&mut self, form: Form) -> Result<Str, DecodeError> {
        let at = self.position;
        self.nullable_string(form)?.ok_or(DecodeError::Null { at })
    }

    /// A string or null.
    pub fn nullable_string(&mut self, form: Form) -> Result<Option<Str>, DecodeError> {
        let at = self.position;
        let length = match form {
            Form::Classic => {
                let length = i32::from(self.i16()?);
                checked_length(at, length)?
            }
            Form::Compact => self.compact_length()?,
        };
        let Some(length) = length else { return Ok(None) };
        if length > limits::STRING_BYTES_MAX {
            return Err(DecodeError::LongString { at, length });
        }
        let bytes = self.view(length)?;
        Str::from_utf8(bytes).map(Some).map_err(|_| DecodeError::NotUtf8 { at })
    }

    /// Bytes that cannot be null.
    pub fn bytes(&mut self, form: Form) -> Result<Bytes, DecodeError> {
        let at = self.position;
        self.nullable_bytes(form)?.ok_or(DecodeError::Null { at })
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self, form: Form) -> Result<Option<Bytes>, DecodeError> {
        match self.length(form)? {
            Some(length) => self.view(length).map(Some),
            None => Ok(None),
        }
    }

    /// An array that cannot be null. `element_bytes_min` is what the smallest element takes.
    pub fn array<T>(
        &mut self,
        form: Form,
        element_bytes_min: usize,
        element: impl FnMut(&mut Decoder) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let at = self.position;
        self.nullable_array(form, element_bytes_min, element)?.ok_or(DecodeError::Null { at })
    }

    /// An array or null. `element_bytes_min` is what the smallest element takes.
    pub fn nullable_array<T>(
        &mut self,
        form: Form,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Decoder) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.count(form, element_bytes_min)? else { return Ok(None) };
        let mut elements = Vec::with_capacity(count.min(limits::PREALLOCATED_ELEMENTS_MAX));
        for read in 0..count {
            // Doubles, but never beyond the count: what was checked above is also what is taken.
            if read == elements.capacity() {
                elements.reserve_exact(read.min(count - read));
            }
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// The mark in front of a struct that may be null.
    pub fn is_present(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? >= 0)
    }

    /// Tagged fields, where the form has them. `read` reads the fields that it knows and answers false for others,
    /// which are skipped.
    pub fn tags(
        &mut self,
        form: Form,
        mut read: impl FnMut(&mut Decoder, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        if form == Form::Classic {
            return Ok(());
        }
        let at = self.position;
        let count = self.uvarint()? as usize;
        if count > limits::TAGS_MAX {
            return Err(DecodeError::TooMany { at });
        }
        for _ in 0..count {
            let tag = self.uvarint()?;
            let length = self.uvarint()? as usize;
            let at = self.position;
            let field_end = at + self.checked(length)?;
            let end = std::mem::replace(&mut self.end, field_end);
            if !read(self, tag)? {
                self.position = field_end;
            }
            if self.position != field_end {
                return Err(DecodeError::TagLength { at, tag, left: field_end - self.position });
            }
            self.end = end;
        }
        Ok(())
    }

    /// Skips tagged fields, where the form has them.
    pub fn skip_tags(&mut self, form: Form) -> Result<(), DecodeError> {
        self.tags(form, |_, _| Ok(false))
    }

    /// The length in front of bytes or an array; none is null.
    fn length(&mut self, form: Form) -> Result<Option<usize>, DecodeError> {
        let at = self.position;
        match form {
            Form::Classic => {
                let length = self.i32()?;
                checked_length(at, length)
            }
            Form::Compact => self.compact_length(),
        }
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok((self.uvarint()? as usize).checked_sub(1))
    }

    /// The count of an array, checked against what remains and against what the message may still hold.
    fn count(&mut self, form: Form, element_bytes_min: usize) -> Result<Option<usize>, DecodeError> {
        let at = self.position;
        let Some(count) = self.length(form)? else { return Ok(None) };
        let remaining = self.remaining();
        if count.saturating_mul(element_bytes_min.max(1)) > remaining {
            return Err(DecodeError::Count { at, count, remaining });
        }
        self.elements_left = self.elements_left.checked_sub(count).ok_or(DecodeError::TooMany { at })?;
        Ok(Some(count))
    }

    /// A view of the next bytes.
    fn view(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let from = self.position;
        let until = from + self.checked(length)?;
        self.position = until;
        Ok(self.input.slice(from..until))
    }

    /// The length, if so many bytes remain.
    fn checked(&self, length: usize) -> Result<usize, DecodeError> {
        let remaining = self.remaining();
        if length <= remaining {
            Ok(length)
        } else {
            Err(DecodeError::Short { at: self.position, wanted: length, remaining })
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let until = self.position + self.checked(N)?;
        let bytes = self.input.get(self.position..until).and_then(|bytes| bytes.first_chunk::<N>());
        self.position = until;
        Ok(*bytes.expect("the length was checked"))
    }
}

fn checked_length(at: usize, length: i32) -> Result<Option<usize>, DecodeError> {
    match length {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| DecodeError::NegativeLength { at, length }),
    }
}

macro_rules! numbers {
    ($($name:ident),*) => {
        impl Decoder {
            $(
                #[doc = concat!("A big-endian `", stringify!($name), "`.")]
                pub fn $name(&mut self) -> Result<$name, DecodeError> {
                    Ok($name::from_be_bytes(self.take()?))
                }
            )*
        }
    };
}

numbers!(i8, i16, u16, i32, u32, i64);
