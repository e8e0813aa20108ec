//! The Kafka protocol as bytes: generated messages, framing, heads, advertised versions.
//!
//! Decoding takes outside input: every length and count is checked against the bytes that remain before anything is
//! allocated, and no input panics. Strings, bytes and records are views into the frame's buffer and are not copied, so
//! that what is kept beyond the request should be detached ([`Str::detached`]). Encoding is of our own values: an error
//! there is a bug or a value that the version cannot carry.
//!
//! This crate knows no sockets and no files. Records that lie in a file are encoded as a hole ([`Records::Hole`]),
//! which the server fills with sendfile.
//!
//! Start reading at [`frame`] (a request's way in and out), then [`decode`] and [`encode`]; [`messages`] is generated
//! by `cargo xtask codegen`; [`advertised`] says what Strata serves; [`coordinator`] reads the keys of
//! `__consumer_offsets`.

pub mod advertised;
pub mod coordinator;
pub mod decode;
pub mod encode;
pub mod form;
pub mod frame;
pub mod limits;
pub mod messages;
pub mod records;
#[cfg(any(test, feature = "samples"))]
pub mod samples;
#[cfg(test)]
mod tests;
pub mod text;
#[cfg(any(test, feature = "tree"))]
pub mod tree;

pub use decode::{DecodeError, Decoder};
pub use encode::{EncodeError, Encoder, Hole};
pub use frame::{RequestHead, encode_response};
pub use messages::{ApiKey, RequestBody};
pub use records::Records;
pub use text::Str;
