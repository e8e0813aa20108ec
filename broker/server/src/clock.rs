//! The one place where the program reads the time.

use std::time::{SystemTime, UNIX_EPOCH};

use broker_model::Timestamp;

/// Milliseconds since 1970, by the system's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the adapter that all others take `now` from")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
