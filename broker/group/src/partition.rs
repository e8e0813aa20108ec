//! Which partition of `__consumer_offsets` a group belongs to. Kafka's rule, so that tools find it where they look.

use broker_model::PartitionIndex;

/// `abs(hash(group)) mod count`, with Java's `String.hashCode` over UTF-16 code units and Kafka's `abs`, which takes
/// the smallest integer to 0. `count` is at least 1.
#[must_use]
pub fn partition_for(group: &str, count: i32) -> PartitionIndex {
    let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    PartitionIndex(hash.checked_abs().unwrap_or(0) % count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_java_does() {
        // Java: "".hashCode() = 0, "a" = 97, "group" = 98629247, "Aa" = "BB" = 2112.
        for (group, hash) in [("", 0), ("a", 97), ("group", 98_629_247), ("Aa", 2112), ("BB", 2112)] {
            assert_eq!(partition_for(group, i32::MAX).0, hash, "{group}");
        }
        assert_eq!(partition_for("group", 50).0, 98_629_247 % 50);
        // This string's hash is i32::MIN, of which there is no absolute value.
        assert_eq!(partition_for("polygenelubricants", 50).0, 0);
        // Outside of the basic plane two code units count: U+1F600 is D83D DE00.
        assert_eq!(partition_for("\u{1F600}", i32::MAX).0, 0xD83D * 31 + 0xDE00);
    }
}
