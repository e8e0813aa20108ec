//! Reading and writing big-endian numbers. The cursor knows the part's name for its errors and never reads past the end;
//! a count is believed only where that many rows fit into what remains.

use super::{FooterError, damaged};

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    part: &'static str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], part: &'static str) -> Cursor<'a> {
        Cursor { bytes, part }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], FooterError> {
        let (head, rest) = self.bytes.split_at_checked(length).ok_or(damaged(self.part))?;
        self.bytes = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FooterError> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(damaged(self.part))?;
        self.bytes = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, FooterError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, FooterError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, FooterError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, FooterError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, FooterError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, FooterError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A count of rows that take at least `row_bytes` each.
    pub(super) fn count(&mut self, row_bytes: usize) -> Result<usize, FooterError> {
        let count = self.u32()? as usize;
        if count > self.bytes.len() / row_bytes { Err(damaged(self.part)) } else { Ok(count) }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn end(&self) -> Result<(), FooterError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(damaged(self.part)) }
    }
}

pub(super) trait Put {
    fn raw(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.raw(&value.to_be_bytes());
    }

    fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.raw(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }
}

impl Put for Vec<u8> {
    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

pub(super) fn length_u32(length: usize, part: &'static str) -> Result<u32, FooterError> {
    u32::try_from(length).map_err(|_| damaged(part))
}
