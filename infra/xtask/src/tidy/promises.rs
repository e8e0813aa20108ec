//! A promise that is declared is checked and attacked.
//!
//! An `invariants.rs` declares an ID with a literal like `"TIER-1"`. Then production code must use it (the constant that
//! holds it stands at a second place, or the literal stands in a function), and some test must name it: as the ID, or as
//! an identifier (`TIER_1`, `tier_1`).

use super::Finding;
use super::mask::is_word;
use super::tree::{SourceFile, Tree};

/// The rule.
pub(super) fn declared_are_checked_and_attacked(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tests: Vec<String> = tree.rust().map(test_text).collect();
    for file in tree.rust().filter(|file| file.path.ends_with("/invariants.rs") && !file.is_test()) {
        for promise in declared(file) {
            if !is_checked(tree, file, &promise) {
                let message = format!("{} is declared and no check uses it", promise.id);
                findings.push(Finding::new(&file.path, promise.line, message));
            }
            let forms = [promise.id.clone(), promise.id.replace('-', "_"), promise.id.replace('-', "_").to_lowercase()];
            if !tests.iter().any(|text| forms.iter().any(|form| names(text, form))) {
                let message = format!("{} is declared and no test names it", promise.id);
                findings.push(Finding::new(&file.path, promise.line, message));
            }
        }
    }
    findings
}

struct Promise {
    id: String,
    line: usize,
    /// The constant that holds the ID, where it is one.
    constant: Option<String>,
}

/// The IDs of a file's production code, each once.
fn declared(file: &SourceFile) -> Vec<Promise> {
    let masked = file.masked();
    let mut promises: Vec<Promise> = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let in_test = masked.test.get(index).copied().unwrap_or_default();
        if in_test || line.trim_start().starts_with("//") {
            continue;
        }
        for id in line.split('"').skip(1).step_by(2).filter(|text| is_id(text)) {
            if promises.iter().any(|known| known.id == id) {
                continue;
            }
            let constant =
                line.split("const ").nth(1).map(|rest| rest.chars().take_while(|letter| is_word(*letter)).collect());
            promises.push(Promise { id: id.to_owned(), line: index + 1, constant });
        }
    }
    promises
}

/// Capitals, a dash, digits.
fn is_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(letters, digits)| {
        letters.len() >= 2
            && letters.chars().all(|letter| letter.is_ascii_uppercase())
            && !digits.is_empty()
            && digits.chars().all(|digit| digit.is_ascii_digit())
    })
}

fn is_checked(tree: &Tree, file: &SourceFile, promise: &Promise) -> bool {
    let Some(constant) = &promise.constant else {
        // The literal itself stands in code that is no declaration.
        return true;
    };
    let home = file.path.split("/src/").next().unwrap_or_default();
    let uses: usize = tree
        .rust()
        .filter(|other| other.path.starts_with(home) && !other.is_test())
        .map(|other| {
            let masked = other.masked();
            let production = masked.lines.iter().zip(&masked.test).filter(|(_, test)| !**test);
            production.map(|(line, _)| count(line, constant)).sum::<usize>()
        })
        .sum();
    uses > 1
}

/// The text of a file's tests: all of a test file, else what stands under `#[cfg(test)]`.
fn test_text(file: &SourceFile) -> String {
    if file.is_test() {
        return file.text.clone();
    }
    let masked = file.masked();
    let lines = file.text.lines().zip(&masked.test).filter(|(_, test)| **test);
    lines.map(|(line, _)| line).collect::<Vec<_>>().join("\n")
}

/// True where the text has this name and it does not go on with a digit: `TIER-1` is not named by `TIER-10`.
fn names(text: &str, form: &str) -> bool {
    text.match_indices(form).any(|(at, _)| {
        let after = text.get(at + form.len()..).and_then(|rest| rest.chars().next());
        !after.is_some_and(|letter| letter.is_ascii_digit())
    })
}

fn count(line: &str, word: &str) -> usize {
    let whole = |at: usize| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    };
    line.match_indices(word).filter(|(at, _)| whole(*at)).count()
}
