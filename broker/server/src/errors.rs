//! Which of our errors becomes which of Kafka's codes: the one place where that is decided.

use broker_model::ErrorCode;
use broker_model::machine::Refusal;

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

/// A group machine that did not take a request. All but a batch that is too large are retried by clients.
#[must_use]
pub fn of_group(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::TooLarge => ErrorCode::InvalidCommitOffsetSize,
        Refusal::NotLeader => ErrorCode::NotCoordinator,
        Refusal::Conflict | Refusal::Unavailable => ErrorCode::CoordinatorNotAvailable,
    }
}
