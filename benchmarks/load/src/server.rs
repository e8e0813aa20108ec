//! What the servers' processes used, as `/proc` tells: the difference between two moments.
//!
//! Context switches are summed over the threads that live at both moments; those of a thread that ended between are
//! lost. CPU is in ticks of 10 ms, so that short runs say little.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::error::LoadError;

/// Ticks of a second in `/proc/<pid>/stat`; the same on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// What the servers used between two moments; sums over all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct ServerUse {
    pids: Vec<i32>,
    cpu_seconds: f64,
    user_seconds: f64,
    system_seconds: f64,
    /// At the second moment.
    pub(crate) rss_bytes: u64,
    /// Of it, what is no file's page.
    rss_anon_bytes: u64,
    /// Since the process began.
    rss_peak_bytes: u64,
    context_switches: u64,
    voluntary_switches: u64,
    nonvoluntary_switches: u64,
    /// To the block layer.
    written_bytes: u64,
    /// By system calls of the write family, sockets too; `sendfile` is not among them everywhere.
    written_chars: u64,
    read_bytes: u64,
    read_chars: u64,
    threads: u64,
}

/// The counters of the servers at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    user: u64,
    system: u64,
    rss: u64,
    rss_anon: u64,
    rss_peak: u64,
    voluntary: u64,
    nonvoluntary: u64,
    written: u64,
    written_chars: u64,
    read: u64,
    read_chars: u64,
    threads: u64,
}

impl Counters {
    /// Reads them now; sums over all processes.
    pub(crate) fn read(pids: &[i32]) -> Result<Counters, LoadError> {
        let mut sum = Counters::default();
        for pid in pids {
            sum.add(*pid)?;
        }
        Ok(sum)
    }

    /// Resident memory.
    pub(crate) fn rss_bytes(&self) -> u64 {
        self.rss
    }

    fn add(&mut self, pid: i32) -> Result<(), LoadError> {
        let folder = Path::new("/proc").join(pid.to_string());
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(LoadError::io(format!("cannot read {}", path.display())))
        };
        let stat = text("stat")?;
        // The name in parentheses may hold anything; fields are counted behind it, where the third is the first.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        self.user += field(14);
        self.system += field(15);
        let status = text("status")?;
        self.rss += named(&status, "VmRSS:") * 1024;
        self.rss_anon += named(&status, "RssAnon:") * 1024;
        self.rss_peak += named(&status, "VmHWM:") * 1024;
        self.threads += named(&status, "Threads:");
        // Another user's process may hide these.
        let io = text("io").unwrap_or_default();
        self.written += named(&io, "write_bytes:");
        self.written_chars += named(&io, "wchar:");
        self.read += named(&io, "read_bytes:");
        self.read_chars += named(&io, "rchar:");
        let threads = fs::read_dir(folder.join("task")).map_err(LoadError::io("cannot list the server's threads"))?;
        for thread in threads.flatten() {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            self.voluntary += named(&status, "voluntary_ctxt_switches:");
            self.nonvoluntary += named(&status, "nonvoluntary_ctxt_switches:");
        }
        Ok(())
    }

    /// What was used since an earlier moment.
    pub(crate) fn since(&self, earlier: &Counters, pids: &[i32]) -> ServerUse {
        let ticks = |now: u64, then: u64| now.saturating_sub(then) as f64 / TICKS;
        let user_seconds = ticks(self.user, earlier.user);
        let system_seconds = ticks(self.system, earlier.system);
        let voluntary_switches = self.voluntary.saturating_sub(earlier.voluntary);
        let nonvoluntary_switches = self.nonvoluntary.saturating_sub(earlier.nonvoluntary);
        ServerUse {
            pids: pids.to_vec(),
            cpu_seconds: user_seconds + system_seconds,
            user_seconds,
            system_seconds,
            rss_bytes: self.rss,
            rss_anon_bytes: self.rss_anon,
            rss_peak_bytes: self.rss_peak,
            context_switches: voluntary_switches + nonvoluntary_switches,
            voluntary_switches,
            nonvoluntary_switches,
            written_bytes: self.written.saturating_sub(earlier.written),
            written_chars: self.written_chars.saturating_sub(earlier.written_chars),
            read_bytes: self.read.saturating_sub(earlier.read),
            read_chars: self.read_chars.saturating_sub(earlier.read_chars),
            threads: self.threads,
        }
    }
}

/// The number behind the line's name; 0 where there is none.
fn named(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_and_units_are_left_out() {
        let text = "VmHWM:\t  12 kB\nVmRSS:\t  7 kB\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t3\n";
        let found = ["VmRSS:", "voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:", "Threads:"];
        assert_eq!(found.map(|name| named(text, name)), [7, 5, 3, 0]);
    }

    #[test]
    fn this_process_is_measured() {
        let pid = std::process::id().cast_signed();
        let before = Counters::read(&[pid]).unwrap();
        let used = Counters::read(&[pid]).unwrap().since(&before, &[pid]);
        assert!(used.rss_bytes > 0 && used.rss_peak_bytes >= used.rss_anon_bytes && used.threads > 0, "{used:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Counters::read(&[i32::MAX]).is_err());
    }
}
