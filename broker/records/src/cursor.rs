//! A reader over a slice that cannot run past its end, and the variable-length numbers of records.
//!
//! Every method gives `None` where the bytes do not suffice; the caller knows what that means. Numbers are big endian,
//! varints are zig-zag as in Protocol Buffers (Kafka's `ByteUtils`), of at most 5 bytes for 32 bits and 10 for 64.

/// A position in a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Cursor { rest }
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    #[inline]
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*chunk)
    }

    #[inline]
    pub(crate) fn i8(&mut self) -> Option<i8> {
        self.chunk().map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.chunk().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.chunk().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.chunk().map(i64::from_be_bytes)
    }

    #[inline]
    fn unsigned(&mut self, bytes_max: u32) -> Option<u64> {
        // Nearly all numbers of a record have one byte or two.
        match self.rest {
            [one @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Some(u64::from(*one))
            }
            [one, two @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Some(u64::from(*one & 0x7f) | u64::from(*two) << 7)
            }
            _ => self.unsigned_of_many(bytes_max),
        }
    }

    #[cold]
    fn unsigned_of_many(&mut self, bytes_max: u32) -> Option<u64> {
        let mut value = 0u64;
        for place in 0..bytes_max {
            let [byte] = self.chunk::<1>()?;
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * place;
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Option<i32> {
        let value = u32::try_from(self.unsigned(5)?).ok()?;
        Some((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    #[inline]
    pub(crate) fn varlong(&mut self) -> Option<i64> {
        let value = self.unsigned(10)?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A length and so many bytes; -1 is null, what is less is malformed.
    #[inline]
    pub(crate) fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?)),
        }
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_unsigned(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn varint_bytes(value: i32) -> usize {
    let unsigned = ((value << 1) ^ (value >> 31)) as u32;
    (32 - unsigned.leading_zeros()).div_ceil(7).max(1) as usize
}

pub(crate) fn varlong_bytes(value: i64) -> usize {
    let unsigned = ((value << 1) ^ (value >> 63)) as u64;
    (64 - unsigned.leading_zeros()).div_ceil(7).max(1) as usize
}
