//! Reading partitions onto the screen, until an end, a limit or an interruption.
//!
//! Invariant: a position moves past a record only when its line was handed to standard output, so that what is committed was
//! printed. Cold and hot records come through the same fetches: the broker knows where they lie.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use broker_client::fetcher::Read;
use broker_client::{Client, ClientError, Fetched, Fetcher, Place, TimeSpec};

use crate::Failure;
use crate::format::Printer;
use crate::output::{Screen, note};
use crate::progress::Progress;

/// Whether there is more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    /// Poll again.
    Yes,
    /// The ends or the limit are reached.
    No,
}

/// A reading in progress.
pub(crate) struct Reading {
    fetcher: Fetcher,
    /// Where to stop; none follows.
    ends: Option<BTreeMap<Place, i64>>,
    /// The next offset of everything that was printed since the last commit.
    printed: BTreeMap<Place, i64>,
}

/// What is shared by all readings of a command.
pub(crate) struct Sink {
    pub(crate) screen: Screen,
    pub(crate) printer: Printer,
    pub(crate) progress: Progress,
    /// Records that may still be printed.
    pub(crate) left: Option<u64>,
    pub(crate) count: u64,
}

impl Reading {
    /// Reads from these offsets on; `ends` are those to stop at.
    pub(crate) fn new(positions: BTreeMap<Place, i64>, ends: Option<BTreeMap<Place, i64>>) -> Reading {
        let mut reading = Reading { fetcher: Fetcher::new(positions), ends, printed: BTreeMap::new() };
        for (place, position) in reading.fetcher.positions().clone() {
            reading.finish_at_end(&place, position);
        }
        reading
    }

    /// True where nothing is left to ask for.
    pub(crate) fn is_done(&self) -> bool {
        self.ends.is_some() && self.fetcher.positions().is_empty()
    }

    /// True where it follows and has no partition.
    pub(crate) fn is_idle(&self) -> bool {
        self.fetcher.positions().is_empty()
    }

    /// What comes next; may be dropped at any moment.
    pub(crate) async fn poll(&self, client: &mut Client) -> Result<Vec<Read>, ClientError> {
        self.fetcher.poll(client).await
    }

    /// What was printed and is not committed yet.
    pub(crate) fn uncommitted(&self) -> &BTreeMap<Place, i64> {
        &self.printed
    }

    /// It is committed now.
    pub(crate) fn committed(&mut self) {
        self.printed.clear();
    }

    /// Prints what came.
    pub(crate) async fn print(
        &mut self,
        client: &mut Client,
        read: Vec<Read>,
        sink: &mut Sink,
    ) -> Result<More, Failure> {
        for one in read {
            match one {
                Read::Some(fetched) => {
                    let next = sink.print(&fetched, self.end_of(&fetched.place))?;
                    if next > fetched.from {
                        self.fetcher.advance(&fetched.place, next);
                        self.printed.insert(fetched.place.clone(), next);
                    }
                    self.finish_at_end(&fetched.place, next);
                }
                Read::OutOfRange(place) => self.find_again(client, place).await?,
            }
            if sink.left == Some(0) {
                return Ok(More::No);
            }
        }
        // A person who looks on sees records as they come; a pipe too, because fetches wait only when there is nothing.
        sink.screen.flush()?;
        Ok(if self.is_done() { More::No } else { More::Yes })
    }

    fn end_of(&self, place: &Place) -> i64 {
        self.ends.as_ref().map_or(i64::MAX, |ends| ends.get(place).copied().unwrap_or(0))
    }

    fn finish_at_end(&mut self, place: &Place, position: i64) {
        if position >= self.end_of(place) {
            self.fetcher.finish(place);
        }
    }

    /// Retention passed the position, or the log ends before it.
    async fn find_again(&mut self, client: &mut Client, place: Place) -> Result<(), Failure> {
        let Some(position) = self.fetcher.positions().get(&place).copied() else { return Ok(()) };
        let asked = [place.clone()];
        let start = client.list_offsets(&asked, TimeSpec::Start).await?.get(&place).copied().unwrap_or(0);
        let end = client.list_offsets(&asked, TimeSpec::End).await?.get(&place).copied().unwrap_or(start);
        let next = if position < start { start } else { position.min(end) };
        if next != position {
            note(&format!("{place} has no offset {position} any more: going on at {next}"));
        }
        self.fetcher.advance(&place, next);
        self.finish_at_end(&place, next);
        Ok(())
    }
}

impl Sink {
    /// Prints records before `end` and gives the next offset to read.
    fn print(&mut self, fetched: &Fetched, end: i64) -> Result<i64, Failure> {
        let mut lines = Vec::new();
        let next = fetched.each::<Failure>(|record| {
            if record.offset.0 >= end {
                return Ok(ControlFlow::Break(()));
            }
            self.printer.print(&mut lines, &fetched.place, record).map_err(|source| ClientError::Batch {
                topic: fetched.place.topic.clone(),
                partition: fetched.place.partition,
                offset: record.offset.0,
                source,
            })?;
            self.count += 1;
            if let Some(left) = &mut self.left {
                *left -= 1;
            }
            Ok(if self.left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        self.screen.bytes(&lines)?;
        self.progress.at(self.count);
        Ok(next.min(end.max(fetched.from)))
    }
}

/// Ends when the person or the system asks the program to: SIGINT or SIGTERM.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        // Without a handler the system ends the program at once.
        done = tokio::signal::ctrl_c() => if done.is_err() { std::future::pending().await },
        () = terminated => {}
    }
}
