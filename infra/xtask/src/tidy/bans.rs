//! Rules about single lines: what every module has, and what no file has.

use super::Finding;
use super::mask::is_word;
use super::tree::Tree;

/// Every module says at its head what it is.
pub(super) fn module_docs(tree: &Tree) -> Vec<Finding> {
    let has_doc = |text: &str| {
        let mut lines = text.lines().map(str::trim).skip_while(|line| line.is_empty() || line.starts_with("#!"));
        lines.next().is_some_and(|line| line.starts_with("//!"))
    };
    tree.rust()
        .filter(|file| !file.is_generated() && !has_doc(&file.text))
        .map(|file| Finding::new(&file.path, 1, "the module has no `//!` that says what it is"))
        .collect()
}

/// Code that is not finished, tests that do not run, waits for time.
const BANNED: &[(&str, &str)] = &[
    ("todo!", "unfinished code"),
    ("unimplemented!", "unfinished code"),
    ("#[ignore", "a test that does not run proves nothing: make it run, or delete it"),
    ("thread::sleep", "wait for the event, not for the time"),
];

/// No file has what is banned, tests included.
pub(super) fn banned_code(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for (index, line) in file.masked().lines.iter().enumerate() {
            for (banned, why) in BANNED.iter().filter(|(banned, _)| line.contains(banned)) {
                findings.push(Finding::new(&file.path, index + 1, format!("`{banned}`: {why}")));
            }
        }
    }
    findings
}

/// Top folders of machines on which this was written or tested. What names them works on that machine only.
const MACHINE_FOLDERS: &[&str] = &["root", "home", "tmp", "work"];

/// No file names a path of one machine.
pub(super) fn machine_paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(path) = MACHINE_FOLDERS.iter().find(|folder| names_folder(line, folder)) {
                let message = format!("names a path of one machine: /{path}");
                findings.push(Finding::new(&file.path, index + 1, message));
            }
        }
    }
    findings
}

/// True where the line has `/folder/`, at the beginning of a path.
fn names_folder(line: &str, folder: &str) -> bool {
    let path = format!("/{folder}/");
    line.match_indices(&path).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|letter| is_word(letter) || matches!(letter, '/' | '.' | '-' | '}' | '*'))
    })
}

/// No file has a word of this checkout's own list. A word in capitals counts in capitals only.
pub(super) fn unwanted_words(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(word) = tree.unwanted_words.iter().find(|word| has_word(line, word)) {
                findings.push(Finding::new(&file.path, index + 1, format!("has the unwanted word {word}")));
            }
        }
    }
    findings
}

fn has_word(line: &str, word: &str) -> bool {
    let exact = word.chars().all(|letter| !letter.is_lowercase());
    let line = if exact { line.to_owned() } else { line.to_lowercase() };
    let word = if exact { word.to_owned() } else { word.to_lowercase() };
    line.match_indices(&word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}
