//! The known name that is nearest to what somebody typed, for messages that help.
//!
//! It never decides anything: a name that is only near is refused like any other.

/// The candidate with the smallest edit distance, when that is small enough to be a slip of the fingers.
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let allowed = (typed.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|name| name.len().abs_diff(typed.len()) <= 4 * allowed)
        .map(|name| (distance(&typed, &name.to_lowercase()), name))
        .filter(|(edits, name)| *edits <= allowed || name.to_lowercase().starts_with(&typed))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// The edit distance (Levenshtein) in characters, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = line;
        let mut beside = line + 1;
        let (first, rest) = row.split_first_mut().expect("a row has one cell more than the word has letters");
        *first = beside;
        for (cell, other) in rest.iter_mut().zip(&right) {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = *cell;
            beside = replaced.min(diagonal + 1).min(beside + 1);
            *cell = beside;
        }
    }
    row.last().copied().unwrap_or(0)
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

    #[test]
    fn distances_are_levenshteins() {
        for (left, right, expect) in [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3)] {
            assert_eq!(distance(left, right), expect, "{left} {right}");
        }
    }
}
