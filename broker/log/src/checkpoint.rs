//! Kafka's checkpoint files: a version, a count, and so many lines of words.
//!
//! Written as a whole beside the old one and renamed over it. A file that does not parse is as good as none:
//! everything in them can be found again by scanning.

use std::io;
use std::path::Path;

use crate::files::{Files, Persist, read_file, replace_file};

const VERSION: &str = "0";

/// The lines as words; `None` where there is no such file or it is damaged.
pub(crate) fn read<F: Files>(files: &F, path: &Path) -> io::Result<Option<Vec<Vec<String>>>> {
    let Some(content) = read_file(files, path)? else { return Ok(None) };
    let rows = String::from_utf8(content).ok().and_then(|text| parse(&text));
    if rows.is_none() {
        tracing::warn!(path = %path.display(), "a checkpoint does not parse and is ignored");
    }
    Ok(rows)
}

fn parse(text: &str) -> Option<Vec<Vec<String>>> {
    let mut lines = text.lines();
    if lines.next()? != VERSION {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    let rows: Vec<Vec<String>> = lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    // The last line ends with a line break, else it may be cut.
    (rows.len() == count && text.ends_with('\n')).then_some(rows)
}

pub(crate) fn write<F: Files>(files: &F, path: &Path, lines: &[String], persist: Persist) -> io::Result<()> {
    let mut text = head(lines.len());
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    replace_file(files, path, text.as_bytes(), persist)
}

/// The first two lines of a checkpoint with so many lines behind them.
pub(crate) fn head(lines: usize) -> String {
    format!("{VERSION}\n{lines}\n")
}
