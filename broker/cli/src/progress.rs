//! Bars and counters on standard error while something takes long. A pipe gets none of it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TICK: Duration = Duration::from_millis(120);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Records, rows, objects.
    Things(&'static str),
    /// Bytes.
    Bytes,
    /// Nothing: only that it goes on.
    None,
}

/// A bar where the total is known, else a counter.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    unit: Unit,
}

impl Progress {
    /// A bar on standard error; without effect where that is no terminal.
    #[must_use]
    pub fn new(label: &str, unit: Unit, total: Option<u64>) -> Progress {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
        bar.set_message(label.to_owned());
        let progress = Progress { bar, unit };
        progress.restyle(total);
        progress.bar.enable_steady_tick(TICK);
        progress
    }

    /// A bar that shows nothing, for work beside a person who types or reads.
    #[must_use]
    pub fn hidden() -> Progress {
        Progress { bar: ProgressBar::hidden(), unit: Unit::None }
    }

    /// The total is known now.
    pub fn total(&self, total: u64) {
        self.bar.set_length(total);
        self.restyle(Some(total));
    }

    /// So much is done.
    pub fn at(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Takes the bar away.
    pub fn end(self) {
        self.bar.finish_and_clear();
    }

    fn restyle(&self, total: Option<u64>) {
        let template = match (self.unit, total) {
            (Unit::Bytes, Some(_)) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}".to_owned(),
            (Unit::Bytes, None) => "{spinner} {msg} {bytes} {bytes_per_sec}".to_owned(),
            (Unit::Things(_), Some(_)) => "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}".to_owned(),
            (Unit::Things(noun), None) => format!("{{spinner}} {{msg}} {{human_pos}} {noun} {{per_sec}}"),
            (Unit::None, _) => "{spinner} {msg} {elapsed}".to_owned(),
        };
        // The templates are ours; one that is wrong shows the default bar.
        if let Ok(style) = ProgressStyle::with_template(&template) {
            self.bar.set_style(style);
        }
    }
}
