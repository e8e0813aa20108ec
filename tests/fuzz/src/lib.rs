//! Random and mutated decodes of all that comes from outside: what the tests in `tests/` share.
//!
//! A [`Campaign`] takes valid inputs, damages them, and hands each to a decoder. No input may panic, and the memory
//! that one decode holds at its peak is at most a constant plus a multiple of the input; both are checked for each
//! case. Everything follows from the seed: a failure prints the seed, the case and the input, and [`Campaign::replay`]
//! runs that case alone. An input that failed becomes a test of its own beside the decoder.
//!
//! The counts are constants. They are for `--release`; without it a small part runs, so that the whole workspace can be
//! tested in a while.

mod meter;
mod mutate;
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub use meter::{Meter, peak_of};
pub use mutate::mutate;
pub use random::Random;

/// Damaged inputs made of one valid input.
const MUTANTS_PER_BASE: u64 = 16;
/// Tests without optimisation run this part of the cases.
const DEBUG_DIVISOR: u64 = 50;

/// What one campaign does.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// For messages.
    pub name: &'static str,
    /// Determines every case.
    pub seed: u64,
    /// Decodes in `--release`.
    pub cases: u64,
    /// The memory of one decode: at most this many bytes for each byte of input …
    pub peak_per_byte: usize,
    /// … plus this many.
    pub peak_base: usize,
}

/// What a campaign saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Decodes.
    pub cases: u64,
    /// Of these, inputs that were accepted.
    pub accepted: u64,
    /// The largest peak of one decode, in bytes.
    pub peak_bytes: usize,
    /// The largest peak as a multiple of the input, among inputs of at least 1 KiB.
    pub peak_per_byte: usize,
}

impl Campaign {
    /// Runs all cases. `base` makes a valid input; `decode` takes a damaged one; `check` looks at what was accepted,
    /// and its memory is not counted.
    ///
    /// # Panics
    /// When a decode panics or takes more memory than allowed; the message has the seed and the case.
    #[expect(clippy::print_stderr, reason = "the seed of a random test is printed")]
    pub fn run<T>(
        &self,
        base: impl Fn(&mut Random) -> Vec<u8>,
        decode: impl Fn(&mut Random, &[u8]) -> Option<T>,
        check: impl Fn(T),
    ) -> Report {
        eprintln!("{}: seed {:#x}", self.name, self.seed);
        let mut report = Report::default();
        let cases = if cfg!(debug_assertions) { self.cases / DEBUG_DIVISOR } else { self.cases };
        for group in 0..cases.div_ceil(MUTANTS_PER_BASE) {
            self.group(group, &mut report, &base, (&decode, &check));
        }
        eprintln!("{}: {report:?}", self.name);
        assert!(report.accepted > 0, "{}: no input was accepted, so nothing was tested", self.name);
        report
    }

    /// Runs the cases that come from one valid input, to look at a failure.
    pub fn replay<T>(
        &self,
        group: u64,
        base: impl Fn(&mut Random) -> Vec<u8>,
        decode: impl Fn(&mut Random, &[u8]) -> Option<T>,
        check: impl Fn(T),
    ) {
        self.group(group, &mut Report::default(), &base, (&decode, &check));
    }

    fn group<T>(
        &self,
        group: u64,
        report: &mut Report,
        base: &impl Fn(&mut Random) -> Vec<u8>,
        (decode, check): (&impl Fn(&mut Random, &[u8]) -> Option<T>, &impl Fn(T)),
    ) {
        let mut random = Random::new(self.seed ^ group.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let valid = base(&mut random);
        let mut input = Vec::new();
        for mutant in 0..MUTANTS_PER_BASE {
            input.clear();
            input.extend_from_slice(&valid);
            // The first is left whole, so that the deep paths are taken too.
            if mutant > 0 {
                mutate(&mut random, &mut input);
            }
            let (decoded, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(|| decode(&mut random, &input))));
            let accepted = decoded.and_then(|decoded| {
                let accepted = decoded.is_some();
                catch_unwind(AssertUnwindSafe(|| decoded.map(check))).map(|_| accepted)
            });
            let accepted = accepted.unwrap_or_else(|panic| {
                self.explain(group, mutant, &input);
                resume_unwind(panic)
            });
            if peak > self.peak_base + self.peak_per_byte * input.len() {
                self.explain(group, mutant, &input);
                panic!("{}: {peak} bytes of memory for an input of {} bytes", self.name, input.len());
            }
            report.cases += 1;
            report.accepted += u64::from(accepted);
            report.peak_bytes = report.peak_bytes.max(peak);
            if input.len() >= 1 << 10 {
                report.peak_per_byte = report.peak_per_byte.max(peak / input.len());
            }
        }
    }

    #[expect(clippy::print_stderr, reason = "a failure says how to repeat it")]
    fn explain(&self, group: u64, mutant: u64, input: &[u8]) {
        let hex: String = input.iter().take(4_096).map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{}: failed at seed {:#x}, group {group}, mutant {mutant}, input {hex}", self.name, self.seed);
    }
}
