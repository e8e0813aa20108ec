//! Appends that must be on the disk: several waiters of a file are served by one sync.
//!
//! Closed loop: each file has so many waiters; all that wait are written at once, one fdatasync serves them, and all of
//! them come again. So this is what a broker could do that costs nothing itself.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::Scratch;
use crate::Finished;
use crate::clock;
use crate::error::LoadError;
use crate::payload::Payload;
use crate::report::Latency;

/// Measures appends with fdatasync.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct GroupCommitArgs {
    /// Where the files are made.
    #[arg(long)]
    directory: PathBuf,
    #[arg(long, default_value_t = 1)]
    files: usize,
    /// Each serves some of the files, in turn.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Bytes of an append.
    #[arg(long, default_value_t = 4096)]
    record_bytes: usize,
    /// Waiters of each file.
    #[arg(long, default_value_t = 1)]
    outstanding: usize,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

struct Done {
    syncs: u64,
    cpu: u64,
    latency: Latency,
}

pub(super) fn run(args: &GroupCommitArgs) -> Result<Finished, LoadError> {
    let files = (0..args.files.max(1)).map(|number| Scratch::create(&args.directory, &format!("commit-{number}")));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let per_thread = files.len().div_ceil(args.threads.max(1));
    let since = clock::monotonic();
    let until = since + clock::from_seconds(args.seconds);
    let done = thread::scope(|scope| {
        let threads = files.chunks(per_thread).map(|files| scope.spawn(move || commit(args, files, until)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().expect("a writer does not panic")).collect::<Result<Vec<_>, _>>()
    })?;
    let seconds = clock::seconds(clock::monotonic() - since);
    let syncs: u64 = done.iter().map(|done| done.syncs).sum();
    let appends = syncs * args.outstanding.max(1) as u64;
    let mut latency = Latency::new();
    done.iter().for_each(|done| latency.merge(&done.latency));
    let report = json!({
        "command": "limits",
        "limit": "group-commit",
        "settings": args,
        "appends": appends,
        "syncs": syncs,
        "bytes": appends * args.record_bytes as u64,
        "seconds": seconds,
        "appends_per_second": appends as f64 / seconds,
        "syncs_per_second": syncs as f64 / seconds,
        "server_cpu_seconds": clock::seconds(done.iter().map(|done| done.cpu).sum()),
        "latency_us": latency.summary(),
    });
    let per_second = appends as f64 / seconds;
    let line = format!("limits group-commit: {per_second:.0} appends/s by {:.0} syncs/s", syncs as f64 / seconds);
    Finished::new(&report, line, 0)
}

fn commit(args: &GroupCommitArgs, files: &[Scratch], until: u64) -> Result<Done, LoadError> {
    let cpu_since = clock::thread_cpu();
    let waiters = args.outstanding.max(1);
    let appends = Payload::new(11).value(args.record_bytes * waiters);
    let mut done = Done { syncs: 0, cpu: 0, latency: Latency::new() };
    let mut round = 0;
    // All files' waiters are there from the beginning.
    let mut since = vec![clock::monotonic(); files.len()];
    while clock::monotonic() < until {
        for (scratch, since) in files.iter().zip(&mut since) {
            let at = round * appends.len() as u64;
            scratch.file.write_all_at(&appends, at).map_err(LoadError::io("append"))?;
            scratch.file.sync_data().map_err(LoadError::io("fdatasync"))?;
            let now = clock::monotonic();
            done.latency.add(now - *since, waiters as u64);
            *since = now;
            done.syncs += 1;
        }
        round += 1;
    }
    done.cpu = clock::thread_cpu() - cpu_since;
    Ok(done)
}
