//! Reads the text form of Java's `java.util.Properties`, in which Kafka's configuration files are written.
//!
//! A logical line ends where a line does not end with an odd number of backslashes; blanks that begin a continuation are
//! dropped. Lines that begin with `#` or `!` are comments. The key ends at the first `=`, `:` or blank that is not escaped.
//! `\t \n \r \f` and `\uXXXX` (also as surrogate pairs) are escapes, and a backslash before anything else stands for
//! that. Unlike Java, the text is UTF-8, and a later value of the same key is kept beside the earlier one so that the
//! caller can name both lines.
//!
//! Substitution of variables is not part of the format and is not done.

use std::iter::Peekable;
use std::str::Chars;

/// One pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The key, unescaped; not empty.
    pub key: String,
    /// The value, unescaped; blanks at its end are kept, as Java does.
    pub value: String,
    /// The number of the line on which it begins, from 1.
    pub line: usize,
}

/// The pairs of a file, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<Property>);

/// The text is not in the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// `\u` without four hexadecimal digits, or half of a surrogate pair.
    #[error("line {line}: \\u must be followed by four hexadecimal digits that are a character")]
    Escape {
        /// The line, from 1.
        line: usize,
    },
    /// A line that begins with `=` or `:`.
    #[error("line {line}: there is no key before the value")]
    NoKey {
        /// The line, from 1.
        line: usize,
    },
}

impl Properties {
    /// Reads a text.
    ///
    /// # Errors
    /// [`PropertiesError`] with the line.
    pub fn parse(text: &str) -> Result<Properties, PropertiesError> {
        let mut pairs = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((index, first)) = lines.next() {
            let line = index + 1;
            let mut logical = first.trim_start_matches(blank).to_owned();
            if logical.is_empty() || logical.starts_with(['#', '!']) {
                continue;
            }
            while continues(&logical) {
                logical.pop();
                let Some((_, next)) = lines.next() else { break };
                logical.push_str(next.trim_start_matches(blank));
            }
            pairs.push(pair(&logical, line)?);
        }
        Ok(Properties(pairs))
    }
}

fn blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\u{c}')
}

/// True where the line ends with an odd number of backslashes.
fn continues(line: &str) -> bool {
    line.chars().rev().take_while(|letter| *letter == '\\').count() % 2 == 1
}

fn pair(logical: &str, line: usize) -> Result<Property, PropertiesError> {
    let mut letters = logical.chars().peekable();
    let key = take_until(&mut letters, |letter| blank(letter) || matches!(letter, '=' | ':'), line)?;
    if key.is_empty() {
        return Err(PropertiesError::NoKey { line });
    }
    skip_blanks(&mut letters);
    if letters.next_if(|letter| matches!(letter, '=' | ':')).is_some() {
        skip_blanks(&mut letters);
    }
    let value = take_until(&mut letters, |_| false, line)?;
    Ok(Property { key, value, line })
}

fn skip_blanks(letters: &mut Peekable<Chars<'_>>) {
    while letters.next_if(|letter| blank(*letter)).is_some() {}
}

/// Takes and unescapes letters until one that ends the part, which is left.
fn take_until(
    letters: &mut Peekable<Chars<'_>>,
    ends: impl Fn(char) -> bool,
    line: usize,
) -> Result<String, PropertiesError> {
    let mut taken = String::new();
    while let Some(letter) = letters.next_if(|letter| !ends(*letter)) {
        if letter != '\\' {
            taken.push(letter);
            continue;
        }
        match letters.next() {
            Some('t') => taken.push('\t'),
            Some('n') => taken.push('\n'),
            Some('r') => taken.push('\r'),
            Some('f') => taken.push('\u{c}'),
            Some('u') => taken.push(escaped(letters).ok_or(PropertiesError::Escape { line })?),
            Some(other) => taken.push(other),
            None => {}
        }
    }
    Ok(taken)
}

/// The character of one `\uXXXX`, or of two that are a surrogate pair.
fn escaped(letters: &mut Peekable<Chars<'_>>) -> Option<char> {
    let first = hexadecimal(letters)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(u32::from(first));
    }
    if letters.next() != Some('\\') || letters.next() != Some('u') {
        return None;
    }
    let second = hexadecimal(letters)?;
    char::decode_utf16([first, second]).next()?.ok()
}

fn hexadecimal(letters: &mut Peekable<Chars<'_>>) -> Option<u16> {
    let mut value = 0u16;
    for _ in 0..4 {
        let digit = letters.next()?.to_digit(16)?;
        value = (value << 4) | u16::try_from(digit).ok()?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        Properties::parse(text).unwrap().0.into_iter().map(|pair| (pair.key, pair.value)).collect()
    }

    fn check(text: &str, key: &str, value: &str) {
        assert_eq!(pairs(text), [(key.to_owned(), value.to_owned())], "{text:?}");
    }

    #[test]
    fn keys_end_at_separators_that_are_not_escaped() {
        check("a=b", "a", "b");
        check("a = b", "a", "b");
        check("  a : b  ", "a", "b  ");
        check("a b", "a", "b");
        check("a==b", "a", "=b");
        check("a", "a", "");
        check("a\\ b\\=c=d", "a b=c", "d");
        check("listeners=PLAINTEXT://h:1", "listeners", "PLAINTEXT://h:1");
        check("dos=c:\\\\data\r\n", "dos", "c:\\data");
    }

    #[test]
    fn escapes_are_javas() {
        check("a=\\t\\n\\r\\f\\q", "a", "\t\n\r\u{c}q");
        check("a=\\u00e9", "a", "é");
        check("a=\\ud83d\\ude00", "a", "😀");
        check("a=b\\", "a", "b");
        for bad in ["a=\\u12", "a=\\ud83d", "a=\\ud83d\\u0041", "a=\\uzzzz", "x=1\n\\u=2"] {
            assert!(matches!(Properties::parse(bad), Err(PropertiesError::Escape { .. })), "{bad:?}");
        }
        assert_eq!(Properties::parse("a=1\n=2"), Err(PropertiesError::NoKey { line: 2 }));
    }

    #[test]
    fn lines_continue_and_comments_do_not() {
        check("a=b,\\\n   c,\\\n\td", "a", "b,c,d");
        check("a=b\\\\\n# c \\\n! d\n\n   \n", "a", "b\\");
        assert_eq!(pairs("# x\\\na=1").len(), 1);
        let parsed = Properties::parse("\na=1\\\n2\n#\nb=3\na=4").unwrap().0;
        let lines: Vec<_> = parsed.iter().map(|pair| (pair.key.as_str(), pair.line)).collect();
        assert_eq!(lines, [("a", 2), ("b", 5), ("a", 6)]);
    }
}
