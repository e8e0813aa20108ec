//! Rust's text with comments and the insides of strings and characters blanked, line for line.
//!
//! What is left can be searched for words and braces without a parser. Lines keep their numbers. Raw strings, byte
//! strings, nested comments and lifetimes are told apart; macros are text like any other.

/// Blanked text, by line.
#[derive(Clone, Debug)]
pub(super) struct Masked {
    /// The lines of code.
    pub(super) lines: Vec<String>,
    /// For each line whether it belongs to an item under `#[cfg(test)]`.
    pub(super) test: Vec<bool>,
}

/// A function's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// The line of its `fn`, from 1.
    pub(super) line: usize,
    /// Lines of code between its braces, without blank ones and comments.
    pub(super) code_lines: usize,
}

/// Blanks a text.
pub(super) fn mask(text: &str) -> Masked {
    let code = blank(text);
    let lines: Vec<String> = code.split('\n').map(str::to_owned).collect();
    let test = test_lines(&lines);
    Masked { lines, test }
}

impl Masked {
    /// All functions with a body, outer ones with what they enclose.
    pub(super) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            for (at, _) in line.match_indices("fn ") {
                let before = line.get(..at).and_then(|text| text.chars().next_back());
                if before.is_some_and(is_word) {
                    continue;
                }
                let rest = line.get(at + 3..).unwrap_or_default().trim_start();
                let name: String = rest.chars().take_while(|letter| is_word(*letter)).collect();
                if name.is_empty() {
                    continue;
                }
                if let Some((first, last)) = block(&self.lines, index, at) {
                    let body = self.lines.get(first + 1..last).unwrap_or_default();
                    let code_lines = body.iter().filter(|line| !line.trim().is_empty()).count();
                    found.push(Function { name, line: index + 1, code_lines });
                }
            }
        }
        found
    }

    /// Lines outside of `#[cfg(test)]`.
    pub(super) fn production_lines(&self) -> usize {
        let last = usize::from(self.lines.last().is_some_and(String::is_empty));
        self.test.iter().filter(|test| !**test).count() - last
    }
}

/// True for letters of an identifier.
pub(super) fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The lines of the braces of the item that begins here; `None` where it ends with a semicolon.
fn block(lines: &[String], first: usize, column: usize) -> Option<(usize, usize)> {
    let mut nested = 0usize;
    let mut open: Option<usize> = None;
    let mut depth = 0usize;
    for (index, line) in lines.iter().enumerate().skip(first) {
        let from = if index == first { column } else { 0 };
        for letter in line.get(from..).unwrap_or_default().chars() {
            match (letter, open) {
                ('(' | '[', None) => nested += 1,
                (')' | ']', None) => nested = nested.saturating_sub(1),
                (';', None) if nested == 0 => return None,
                ('{', _) => {
                    open = open.or(Some(index));
                    depth += 1;
                }
                ('}', Some(start)) => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return Some((start, index));
                    }
                }
                _ => {}
            }
        }
    }
    None
}

fn test_lines(lines: &[String]) -> Vec<bool> {
    let mut test = vec![false; lines.len()];
    for (index, line) in lines.iter().enumerate() {
        let Some(at) = line.find("#[cfg(test)]") else { continue };
        let after = at + "#[cfg(test)]".len();
        let last = match block(lines, index, after) {
            Some((_, last)) => last,
            None => lines.iter().skip(index).position(|line| line.contains(';')).map_or(index, |ahead| index + ahead),
        };
        for flag in test.iter_mut().take(last + 1).skip(index) {
            *flag = true;
        }
    }
    test
}

#[derive(Clone, Copy)]
enum Inside {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    RawText(usize),
}

fn blank(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut inside = Inside::Code;
    let mut at = 0;
    while let Some(letter) = letters.get(at).copied() {
        let rest = letters.get(at..).unwrap_or_default();
        let (taken, next) = match inside {
            Inside::Code => in_code(rest, at.checked_sub(1).and_then(|before| letters.get(before)).copied()),
            Inside::LineComment if letter == '\n' => (1, Inside::Code),
            Inside::LineComment => (1, inside),
            Inside::BlockComment(depth) if rest.starts_with(&['*', '/']) => {
                (2, if depth == 1 { Inside::Code } else { Inside::BlockComment(depth - 1) })
            }
            Inside::BlockComment(depth) if rest.starts_with(&['/', '*']) => (2, Inside::BlockComment(depth + 1)),
            Inside::BlockComment(_) => (1, inside),
            Inside::Text if letter == '\\' => (2, inside),
            Inside::Text if letter == '"' => (1, Inside::Code),
            Inside::Text => (1, inside),
            Inside::RawText(hashes) if letter == '"' && hashes_after(rest, 1) >= hashes => (1 + hashes, Inside::Code),
            Inside::RawText(_) => (1, inside),
        };
        let visible = matches!((inside, next), (Inside::Code, Inside::Code)) && taken == 1;
        for taken_letter in rest.iter().take(taken) {
            code.push(if visible || *taken_letter == '\n' { *taken_letter } else { ' ' });
        }
        inside = next;
        at += taken;
    }
    code
}

/// How many letters are taken at this place of code, and what comes after them.
fn in_code(rest: &[char], before: Option<char>) -> (usize, Inside) {
    let starts_word = !before.is_some_and(is_word);
    match rest {
        ['/', '/', ..] => (2, Inside::LineComment),
        ['/', '*', ..] => (2, Inside::BlockComment(1)),
        ['"', ..] => (1, Inside::Text),
        ['r', '"' | '#', ..] if starts_word => raw(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if starts_word => raw(rest, 2),
        ['\'', '\\', ..] => {
            let end = rest.iter().skip(3).position(|letter| *letter == '\'').map_or(rest.len(), |ahead| ahead + 4);
            (end, Inside::Code)
        }
        ['\'', _, '\'', ..] => (3, Inside::Code),
        _ => (1, Inside::Code),
    }
}

fn raw(rest: &[char], prefix: usize) -> (usize, Inside) {
    let hashes = hashes_after(rest, prefix);
    match rest.get(prefix + hashes) {
        Some('"') => (prefix + hashes + 1, Inside::RawText(hashes)),
        _ => (1, Inside::Code),
    }
}

fn hashes_after(rest: &[char], from: usize) -> usize {
    rest.iter().skip(from).take_while(|letter| **letter == '#').count()
}
