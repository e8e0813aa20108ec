//! One connection that fetches: its partitions, where it is in each, its fetch session.
//!
//! Invariants: one request at a time is not answered; in each partition offsets follow each other without a gap, or an
//! error is counted; with sessions (KIP-227), a request names exactly the partitions whose offset changed since the
//! last one and forgets those that are done.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};

use broker_model::ErrorCode;
use broker_records::BatchHead;
use broker_wire::messages::FetchRequest;
use broker_wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use broker_wire::{ApiKey, Str};

use super::reply::{Event, Reader, Treatment};
use crate::client::request_frame;
use crate::clock;
use crate::error::LoadError;
use crate::net::{Outbox, connect};
use crate::report::Tally;

/// The version that is spoken: the last one with topic names.
pub(crate) const VERSION: i16 = 12;

/// What all requests of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) topic: String,
    pub(crate) max_wait_ms: i32,
    pub(crate) min_bytes: i32,
    pub(crate) request_bytes: i32,
    pub(crate) partition_bytes: i32,
    pub(crate) sessions: Sessions,
    pub(crate) treatment: Treatment,
}

/// Whether the server keeps what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sessions {
    On,
    Off,
}

/// A partition that is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) partition: i32,
    /// The next offset.
    pub(super) position: i64,
    /// The offset at which it is done.
    pub(super) end: Option<i64>,
    /// The offset that the session knows.
    told: Option<i64>,
    is_forgotten: bool,
}

impl Target {
    pub(super) fn new(partition: i32, position: i64, end: Option<i64>) -> Target {
        Target { partition, position, end, told: None, is_forgotten: false }
    }

    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }
}

/// Called with each batch, its partition, and when it was received.
pub(crate) type Sink<'a> = dyn FnMut(i32, &BatchHead, u64) + 'a;

/// The connection.
#[derive(Debug)]
pub(super) struct Lane {
    /// Whose connection it is.
    pub(super) consumer: usize,
    pub(super) stream: TcpStream,
    pub(super) outbox: Outbox,
    reader: Reader,
    pub(super) targets: Vec<Target>,
    places: HashMap<i32, usize>,
    session_id: i32,
    session_epoch: i32,
    correlation_id: i32,
    asked_at: u64,
    /// The partition whose records are coming, by its place.
    current: Option<usize>,
    pub(super) is_waiting: bool,
    /// The poller tells when it takes more.
    pub(super) is_watched_for_room: bool,
}

impl Lane {
    /// Connects.
    pub(super) fn connect(
        address: SocketAddr,
        consumer: usize,
        targets: Vec<Target>,
        asking: &Asking,
    ) -> Result<Lane, LoadError> {
        let targets: Vec<_> =
            targets.into_iter().map(|old| Target::new(old.partition, old.position, old.end)).collect();
        Ok(Lane {
            consumer,
            stream: connect(address)?,
            outbox: Outbox::default(),
            reader: Reader::new(asking.treatment),
            places: targets.iter().enumerate().map(|(place, target)| (target.partition, place)).collect(),
            targets,
            session_id: 0,
            session_epoch: 0,
            correlation_id: 0,
            asked_at: 0,
            current: None,
            is_waiting: false,
            is_watched_for_room: false,
        })
    }

    /// True where nothing is left to fetch.
    pub(super) fn is_done(&self) -> bool {
        self.targets.iter().all(Target::is_done)
    }

    /// Puts the next request into the outbox.
    pub(super) fn ask(&mut self, asking: &Asking) -> Result<(), LoadError> {
        let (partitions, forgotten) = self.changed(asking);
        let name = Str::from(&asking.topic);
        let topics = match partitions.is_empty() {
            true => Vec::new(),
            false => vec![FetchTopic { topic: name.clone(), partitions, ..FetchTopic::default() }],
        };
        let forgotten_topics_data = match forgotten.is_empty() {
            true => Vec::new(),
            false => vec![ForgottenTopic { topic: name, partitions: forgotten, ..ForgottenTopic::default() }],
        };
        let request = FetchRequest {
            max_wait_ms: asking.max_wait_ms,
            min_bytes: asking.min_bytes,
            max_bytes: asking.request_bytes,
            session_id: self.session_id,
            session_epoch: if asking.sessions == Sessions::On { self.session_epoch } else { -1 },
            topics,
            forgotten_topics_data,
            ..FetchRequest::default()
        };
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let (frame, _) =
            request_frame(ApiKey::Fetch, VERSION, self.correlation_id, |out| request.encode(out, VERSION))?;
        self.outbox.push(frame);
        self.asked_at = clock::monotonic();
        self.is_waiting = true;
        Ok(())
    }

    /// The partitions that the request names, and those that the session should forget.
    fn changed(&mut self, asking: &Asking) -> (Vec<FetchPartition>, Vec<i32>) {
        let is_incremental = asking.sessions == Sessions::On && self.session_epoch > 0;
        let (mut named, mut forgotten) = (Vec::new(), Vec::new());
        for target in &mut self.targets {
            if target.is_done() {
                if is_incremental && target.told.is_some() && !target.is_forgotten {
                    forgotten.push(target.partition);
                }
                target.is_forgotten = true;
            } else if !is_incremental || target.told != Some(target.position) {
                target.told = Some(target.position);
                named.push(FetchPartition {
                    partition: target.partition,
                    fetch_offset: target.position,
                    partition_max_bytes: asking.partition_bytes,
                    ..FetchPartition::default()
                });
            }
        }
        (named, forgotten)
    }

    /// Receives what is there. False where the connection broke.
    pub(super) fn receive(&mut self, tally: &mut Tally, sink: &mut Sink<'_>) -> Result<bool, LoadError> {
        loop {
            match self.reader.fill(&self.stream) {
                Ok(true) => {}
                Ok(false) => return Ok(true),
                Err(_) => return Ok(false),
            }
            let now = clock::monotonic();
            while let Some(event) = self.reader.next()? {
                self.take(event, now, tally, sink)?;
            }
            if !self.is_waiting {
                return Ok(true);
            }
        }
    }

    fn take(&mut self, event: Event, now: u64, tally: &mut Tally, sink: &mut Sink<'_>) -> Result<(), LoadError> {
        match event {
            Event::Answer { correlation_id, error_code, session_id } => {
                if correlation_id != self.correlation_id {
                    return Err(LoadError::Unusable("an answer to no request of ours".to_owned()));
                }
                self.open(error_code, session_id, tally);
            }
            Event::Partition { index, error_code, log_end: _ } => {
                self.current = self.places.get(&index).copied();
                if error_code != 0 {
                    tally.errors.code(error_code);
                } else if self.current.is_none() {
                    return Err(LoadError::Unusable(format!("partition {index} was not asked for")));
                }
            }
            Event::Batch(head) => {
                self.batch(&head, tally);
                if let Some(target) = self.current.map(|place| self.targets[place]) {
                    sink(target.partition, &head, now);
                }
            }
            Event::Alike { first, bytes } => self.alike(&first, bytes, tally)?,
            Event::End { bytes } => {
                self.is_waiting = false;
                tally.requests += 1;
                tally.wire_bytes += bytes as u64;
                tally.latency.add(now.saturating_sub(self.asked_at), 1);
            }
        }
        Ok(())
    }

    /// What the answer says of the session.
    fn open(&mut self, error_code: i16, session_id: i32, tally: &mut Tally) {
        let forgot = [ErrorCode::FetchSessionIdNotFound.code(), ErrorCode::InvalidFetchSessionEpoch.code()];
        if forgot.contains(&error_code) {
            tally.errors.session_resets += 1;
            (self.session_id, self.session_epoch) = (0, 0);
        } else if error_code != 0 {
            tally.errors.code(error_code);
        } else if session_id != 0 {
            self.session_id = session_id;
            self.session_epoch = if self.session_epoch == i32::MAX { 1 } else { self.session_epoch + 1 };
        }
    }

    fn batch(&mut self, head: &BatchHead, tally: &mut Tally) {
        let Some(target) = self.current.map(|place| &mut self.targets[place]) else { return };
        if head.base_offset.0 > target.position {
            tally.errors.gap();
        }
        let fresh = head.next_offset().0 - target.position.max(head.base_offset.0);
        if fresh > 0 {
            tally.records += fresh.unsigned_abs();
            tally.bytes += head.total_bytes() as u64;
            target.position = head.next_offset().0;
        }
    }

    fn alike(&mut self, first: &BatchHead, bytes: usize, tally: &mut Tally) -> Result<(), LoadError> {
        let Some(target) = self.current.map(|place| &mut self.targets[place]) else { return Ok(()) };
        let whole = bytes / first.total_bytes();
        let records = whole as i64 * (i64::from(first.last_offset_delta) + 1);
        if first.base_offset.0 != target.position || target.end.is_some_and(|end| target.position + records > end) {
            let what = "the batches are not all alike (or the log ends within one): fetch without --discard";
            return Err(LoadError::Unusable(what.to_owned()));
        }
        target.position += records;
        tally.records += records.unsigned_abs();
        tally.bytes += (whole * first.total_bytes()) as u64;
        Ok(())
    }
}
