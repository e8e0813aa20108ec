//! What `/metrics` says of the log directories.

use gateway_http::Family;

use super::LogDirs;
use crate::replica::Disk;

impl LogDirs {
    /// All families of the directories.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let count = |name: &str, help: &str, value: usize| Family::gauge(name, help).with(&[], value as f64);
        let mut offline = Family::gauge("strata_log_directory_offline", "1 where this log directory failed.");
        let mut full = Family::gauge("strata_log_directory_full", "1 while this log directory has no room.");
        for directory in self.directories() {
            let path = directory.root().display().to_string();
            let labels = [("path", path.as_str())];
            offline.push(&labels, f64::from(u8::from(directory.is_offline())));
            full.push(&labels, f64::from(u8::from(directory.is_full())));
        }
        vec![
            count("strata_log_directories_offline", "Log directories that failed.", self.offline_count()),
            offline,
            full,
            count(
                "strata_log_recovery_partitions_remaining",
                "Partitions that are still to be checked after a stop that was not clean.",
                self.left_to_recover(),
            ),
        ]
    }
}
