//! Names: from the schemas' camel case to Rust's.

/// `TopicIds` and `topicIds` become `topic_ids`; digits are words of their own (`Enable2Pc` is `enable_2_pc`).
pub(super) fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let previous = index.checked_sub(1).and_then(|previous| letters.get(previous));
        let next = letters.get(index + 1);
        let starts_word = match previous {
            None => false,
            Some(previous) if letter.is_ascii_uppercase() => {
                !previous.is_ascii_uppercase() || next.is_some_and(char::is_ascii_lowercase)
            }
            Some(previous) => letter.is_ascii_digit() && previous.is_ascii_lowercase(),
        };
        if starts_word {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// The name of a field in Rust; keywords are raw.
pub(super) fn field(name: &str) -> String {
    let name = snake(name);
    if matches!(name.as_str(), "type" | "match" | "final" | "where" | "ref" | "move") {
        format!("r#{name}")
    } else {
        name
    }
}

/// True where the text has this identifier as a whole word.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_snake_case() {
        for (name, expected) in [
            ("TopicData", "topic_data"),
            ("timeoutMs", "timeout_ms"),
            ("Enable2Pc", "enable_2_pc"),
            ("ISRNodes", "isr_nodes"),
            ("OffsetForLeaderEpochRequest", "offset_for_leader_epoch_request"),
        ] {
            assert_eq!(snake(name), expected);
        }
        assert_eq!(field("Type"), "r#type");
    }
}
