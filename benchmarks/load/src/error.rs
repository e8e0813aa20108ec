//! Why a run could not be made. Errors that the server answers within a run are counted instead: [`crate::report`].

use std::io;

use broker_model::ErrorCode;
use broker_records::BatchError;
use broker_wire::{DecodeError, EncodeError};

/// Ends the run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// A system call failed.
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    /// The server refused what the run cannot do without.
    #[error("{what}: the server answers {}", code_name(*code))]
    Refused { what: String, code: i16 },
    /// The server answered something that the protocol does not allow, or that this program cannot use.
    #[error("{0}")]
    Unusable(String),
    /// The server did not answer in time.
    #[error("{0} did not happen in time")]
    Late(String),
    /// An answer cannot be read.
    #[error("cannot read an answer: {0}")]
    Decode(#[from] DecodeError),
    /// A request cannot be written.
    #[error("cannot write a request: {0}")]
    Encode(#[from] EncodeError),
    /// A batch is not what the run can go on with.
    #[error("a batch that was fetched is damaged: {0}")]
    Batch(#[from] BatchError),
}

impl LoadError {
    /// For `map_err` where a system call failed.
    pub(crate) fn io<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> LoadError {
        move |source| LoadError::Io { what: what.into(), source: source.into() }
    }
}

/// The name of an error code as Kafka writes it, or the number.
pub(crate) fn code_name(code: i16) -> String {
    let Some(known) = ErrorCode::from_code(code) else { return format!("CODE_{code}") };
    let mut name = String::new();
    for letter in format!("{known:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
