//! What can go wrong, in words for the person who asked.
//!
//! [`ClientError::repeat`] says whether the same request may be sent again; it decides nothing else.

use broker_model::ErrorCode;
use broker_records::BatchError;
use broker_wire::{ApiKey, DecodeError, EncodeError};

use crate::Address;

/// A request was not answered as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No address let itself be connected to.
    #[error("no Kafka broker can be reached: {}", reasons(.tried))]
    Unreachable {
        /// Each address with the reason.
        tried: Vec<(Address, String)>,
    },
    /// The cluster says that a broker is there, and it cannot be reached from here.
    #[error("broker {node} says that it is at {address}, which cannot be reached from here: {reason}")]
    Advertised {
        /// The broker's id.
        node: i32,
        /// What it advertises.
        address: Address,
        /// Why.
        reason: String,
    },
    /// The connection ended before the answer.
    #[error("{address} ended the connection before it answered {api:?}: {source}")]
    Broken {
        /// The broker.
        address: Address,
        /// What was asked.
        api: ApiKey,
        /// Why.
        source: std::io::Error,
    },
    /// No answer came in time.
    #[error("{address} did not answer {api:?} in time")]
    Late {
        /// The broker.
        address: Address,
        /// What was asked.
        api: ApiKey,
    },
    /// The broker has no version of this API that is spoken here.
    #[error("{address} does not serve {api:?} in a version that is spoken here")]
    Unsupported {
        /// The broker.
        address: Address,
        /// What would have been asked.
        api: ApiKey,
    },
    /// The broker refused.
    #[error("{what}: {}", told(*.code, .message.as_deref()))]
    Refused {
        /// What was wanted.
        what: String,
        /// Kafka's error code.
        code: i16,
        /// What the broker says of it.
        message: Option<String>,
    },
    /// There is no topic of this name.
    #[error("there is no topic {topic:?}")]
    UnknownTopic {
        /// The name that was asked for.
        topic: String,
        /// Those that are there, so that a nearer name can be told.
        known: Vec<String>,
    },
    /// The topic has fewer partitions.
    #[error("{topic} has no partition {partition}: its partitions are numbered from 0 to {last}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The number that was asked for.
        partition: i32,
        /// The highest number.
        last: i32,
    },
    /// The answer cannot be read.
    #[error("{address} answered {api:?} with bytes that are not in the protocol")]
    Decode {
        /// The broker.
        address: Address,
        /// What was asked.
        api: ApiKey,
        /// Where.
        source: DecodeError,
    },
    /// The request cannot be written in the version that both know.
    #[error("{api:?} cannot be asked of this broker")]
    Encode {
        /// What would have been asked.
        api: ApiKey,
        /// Why.
        source: EncodeError,
    },
    /// A batch that was read is damaged.
    #[error("the batch at offset {offset} of {topic}-{partition} is damaged")]
    Batch {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where the read began.
        offset: i64,
        /// What is wrong.
        source: BatchError,
    },
    /// The answer says something that cannot be.
    #[error("{0}")]
    Nonsense(String),
}

/// Whether to send the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The broker did nothing: any request may be sent again.
    Safe,
    /// The broker may have done it: only what is idempotent may be sent again.
    IfIdempotent,
    /// It would be answered alike.
    No,
}

impl ClientError {
    /// A refusal where the code is one.
    pub(crate) fn check(code: i16, message: Option<&str>, what: impl FnOnce() -> String) -> Result<(), ClientError> {
        if code == 0 {
            return Ok(());
        }
        Err(ClientError::Refused { what: what(), code, message: message.map(str::to_owned) })
    }

    /// Kafka's code, where the broker gave one that is known.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Refused { code, .. } => ErrorCode::from_code(*code),
            _ => None,
        }
    }

    /// Whether the same request may be sent again.
    #[must_use]
    pub fn repeat(&self) -> Repeat {
        match self {
            ClientError::Unreachable { .. } | ClientError::Advertised { .. } => Repeat::Safe,
            ClientError::Broken { .. } | ClientError::Late { .. } => Repeat::IfIdempotent,
            ClientError::Refused { .. } => match self.code() {
                Some(ErrorCode::RequestTimedOut | ErrorCode::NetworkException) => Repeat::IfIdempotent,
                Some(code) if code.is_retriable() => Repeat::Safe,
                _ => Repeat::No,
            },
            _ => Repeat::No,
        }
    }
}

/// Kafka's name of a code with its number: `TOPIC_ALREADY_EXISTS (36)`.
#[must_use]
pub fn code_name(code: i16) -> String {
    let Some(known) = ErrorCode::from_code(code) else { return format!("error code {code}") };
    let mut name = String::new();
    for letter in format!("{known:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    format!("{name} ({code})")
}

fn told(code: i16, message: Option<&str>) -> String {
    match message.filter(|message| !message.is_empty()) {
        Some(message) => format!("{} {}", message.trim_end_matches('.'), code_name(code)),
        None => code_name(code),
    }
}

fn reasons(tried: &[(Address, String)]) -> String {
    let each: Vec<String> = tried.iter().map(|(address, reason)| format!("{address}: {reason}")).collect();
    each.join("; ")
}
