//! Which of our errors becomes which of Kafka's codes: the one place where that is decided.

use broker_metadata::TopicError;
use broker_model::ErrorCode;
use broker_model::config::ConfigError;
use broker_model::machine::Refusal;
use broker_wire::Str;

/// A metadata machine that did not take a request.
#[must_use]
pub fn of_metadata(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::TooLarge => ErrorCode::InvalidRequest,
        Refusal::NotLeader => ErrorCode::NotController,
        Refusal::Conflict => ErrorCode::RequestTimedOut,
        Refusal::Unavailable => ErrorCode::KafkaStorageError,
    }
}

/// What a row of an answer says of its outcome: the code and the text.
#[must_use]
pub fn told(outcome: Result<(), TopicError>) -> (i16, Option<Str>) {
    match outcome {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(error) => (error.code.code(), Some(error.message.as_str().into())),
    }
}

/// Configs that cannot be taken. The texts begin as Kafka's do, and say what could be given instead.
#[must_use]
pub fn of_config(error: &ConfigError) -> TopicError {
    match error {
        ConfigError::UnknownKey { key, nearest } => {
            let meant = nearest.map(|name| format!(", did you mean {name}?")).unwrap_or_default();
            TopicError::new(ErrorCode::InvalidConfig, format!("Unknown topic config name: {key}{meant}"))
        }
        ConfigError::BadValue { key, value, expected } => {
            let what = format!("Invalid value {value} for configuration {key}: expected {expected}");
            TopicError::new(ErrorCode::InvalidConfig, what)
        }
        ConfigError::NotDynamic { .. } => TopicError::new(ErrorCode::InvalidRequest, error.to_string()),
        ConfigError::Conflict(what) => TopicError::new(ErrorCode::InvalidConfig, what.as_str()),
    }
}

/// A group machine that did not take a request. All but a batch that is too large are retried by clients.
#[must_use]
pub fn of_group(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::TooLarge => ErrorCode::InvalidCommitOffsetSize,
        Refusal::NotLeader => ErrorCode::NotCoordinator,
        Refusal::Conflict | Refusal::Unavailable => ErrorCode::CoordinatorNotAvailable,
    }
}
