//! Results on standard output: tables that align, and JSON.
//!
//! A terminal gets a bold heading, unless `NO_COLOR` is set (<https://no-color.org>); a pipe gets the same text without. What
//! comes from a cluster is shown without control characters, so that a strange name cannot move the cursor.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde_json::Value;

use crate::Style;

/// To which side a column's cells go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows beneath headings.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: &[(&'static str, Align)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells that are missing are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// True without rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines: headings first, no blanks at their ends.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let headings: Vec<String> = self.columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let all = || std::iter::once(&headings).chain(&self.rows);
        let width = |column: usize| all().filter_map(|row| row.get(column)).map(|cell| letters(cell)).max();
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| width(column).unwrap_or(0)).collect();
        let line = |row: &Vec<String>| {
            let mut line = String::new();
            for ((column, (_, align)), width) in self.columns.iter().enumerate().zip(&widths) {
                let cell = row.get(column).map(String::as_str).unwrap_or_default();
                let blanks = " ".repeat(width - letters(cell));
                let gap = if column == 0 { "" } else { "  " };
                line.push_str(gap);
                match align {
                    Align::Left => line.extend([cell, &blanks]),
                    Align::Right => line.extend([&blanks, cell]),
                }
            }
            line.truncate(line.trim_end().len());
            line
        };
        all().map(line).collect()
    }
}

fn letters(text: &str) -> usize {
    text.chars().count()
}

/// The text without what moves a cursor.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Standard output.
#[derive(Debug)]
pub struct Screen {
    out: BufWriter<StdoutLock<'static>>,
    style: Style,
    is_terminal: bool,
}

impl Screen {
    /// Standard output in this style.
    #[must_use]
    pub fn new(style: Style) -> Screen {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        Screen { out: BufWriter::with_capacity(64 << 10, stdout.lock()), style, is_terminal }
    }

    /// What results look like.
    #[must_use]
    pub fn style(&self) -> Style {
        self.style
    }

    /// True where a person sees it at once.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// A line of text.
    ///
    /// # Errors
    /// Standard output does not take it.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// A table.
    ///
    /// # Errors
    /// Standard output does not take it.
    pub fn table(&mut self, table: &Table) -> io::Result<()> {
        #[expect(clippy::disallowed_methods, reason = "whether colours are wanted is asked where they are written")]
        let is_plain = !self.is_terminal || std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty());
        for (number, line) in table.lines().iter().enumerate() {
            match number == 0 && !is_plain {
                true => writeln!(self.out, "\u{1b}[1m{line}\u{1b}[0m")?,
                false => writeln!(self.out, "{line}")?,
            }
        }
        Ok(())
    }

    /// One JSON document on a line.
    ///
    /// # Errors
    /// Standard output does not take it.
    pub fn json(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.out, "{value}")
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// Standard output does not take them.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Sends what is buffered.
    ///
    /// # Errors
    /// Standard output does not take it.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A line on standard error, for the person and not for the pipe.
pub fn note(text: &str) {
    // Nobody can be told that standard error is closed.
    let _ = writeln!(io::stderr().lock(), "strata: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_align_and_lines_end_with_their_last_letter() {
        let mut table = Table::new(&[("TOPIC", Align::Left), ("COUNT", Align::Right), ("NOTE", Align::Left)]);
        table.row(["a".to_owned(), "7".to_owned(), String::new()]);
        table.row(["größer".to_owned(), "1234567".to_owned(), "x\u{1b}[2Jy".to_owned()]);
        assert_eq!(
            table.lines(),
            ["TOPIC     COUNT  NOTE", "a             7", "größer  1234567  x\u{fffd}[2Jy"],
            "control characters are shown and not obeyed"
        );
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        let table = Table::new(&[("A", Align::Left), ("B", Align::Right)]);
        assert!(table.is_empty());
        assert_eq!(table.lines(), ["A  B"]);
    }
}
