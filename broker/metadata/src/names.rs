//! Which topic names are legal and which collide. The rules are Kafka's, because names become directories and metrics.
//!
//! Legal: 1 to 249 of `[a-zA-Z0-9._-]`, not `.` and not `..`. Two names collide when they differ only in `.` and `_`,
//! which metric names cannot tell apart.

use broker_model::ErrorCode;
use broker_model::limits::TOPIC_NAME_BYTES_MAX;

use crate::request::TopicError;

/// Checks a name.
///
/// # Errors
/// `INVALID_TOPIC_EXCEPTION` with the rule that is broken.
pub fn validate(name: &str) -> Result<(), TopicError> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let broken = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.len() > TOPIC_NAME_BYTES_MAX {
        format!("the length of '{}' is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}", name.escape_debug())
    } else if !name.bytes().all(is_legal) {
        let what = "one or more characters other than ASCII alphanumerics, '.', '_' and '-'";
        format!("'{}' contains {what}", name.escape_debug())
    } else {
        return Ok(());
    };
    Err(TopicError::new(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {broken}")))
}

/// True if the names are different but metrics could not tell them apart.
#[must_use]
pub fn collide(one: &str, other: &str) -> bool {
    let unified = |byte: u8| if byte == b'.' { b'_' } else { byte };
    one != other && one.bytes().map(unified).eq(other.bytes().map(unified))
}

/// True if the name can collide with another at all.
#[must_use]
pub fn can_collide(name: &str) -> bool {
    name.bytes().any(|byte| matches!(byte, b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_name_rules_hold() {
        for good in ["a", "A.b_c-9", "__consumer_offsets", "...", &"x".repeat(249)] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            assert_eq!(validate(bad).unwrap_err().code, ErrorCode::InvalidTopicException, "{bad}");
        }
    }

    #[test]
    fn names_collide_when_only_dots_and_underscores_differ() {
        assert!(collide("a.b_c", "a_b.c"));
        assert!(!collide("a.b", "a.b"));
        assert!(!collide("a.b", "a-b"));
        assert!(!collide("a.b", "a.b."));
        assert!(can_collide("a_") && can_collide(".") && !can_collide("a-b"));
    }
}
