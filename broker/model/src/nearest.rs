//! The known name that is nearest to what somebody typed, for messages that help.
//!
//! It never decides anything: a name that is only near is refused like any other.

/// The known name with the fewest edits (a swap of neighbours is one), when they are few enough to be a slip of the
/// fingers, or when what was typed is its beginning. Of equals the first one.
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let allowed = (typed.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|name| name.len().abs_diff(typed.len()) <= 4 * allowed)
        .map(|name| (strsim::osa_distance(&typed, &name.to_lowercase()), name))
        .filter(|(edits, name)| *edits <= allowed || name.to_lowercase().starts_with(&typed))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let known = ["from_offset", "to_offset", "from_time", "limit"];
        for (typed, expect) in [
            ("from_ofset", Some("from_offset")),
            ("form_time", Some("from_time")),
            ("limits", Some("limit")),
            ("LIMIT", Some("limit")),
            ("zebra", None),
        ] {
            assert_eq!(nearest(typed, known), expect, "{typed}");
        }
        assert_eq!(nearest("flight", ["flights", "orders"]), Some("flights"));
    }
}
