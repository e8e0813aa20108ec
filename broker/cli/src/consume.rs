//! `strata consume`: alone, or as a member of a group.
//!
//! Alone it reads the partitions that are there when it begins. As a member it commits what was printed each few seconds,
//! before the group changes hands, and at the end; a limit ends it behind the last record that was printed.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_client::{Client, Member, Place, Pulse, TimeSpec};
use broker_model::Timestamp;
use tokio::time::{Instant, sleep};

use crate::args::{ConsumeWords, LineFormat};
use crate::follow::{self, More, Reading, Sink};
use crate::format::{Printer, SEPARATOR};
use crate::output::Screen;
use crate::position::{self, Position};
use crate::progress::{Progress, Unit};
use crate::{Failure, Style, Surroundings, connect};

const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// How long a member without partitions waits between two heartbeats.
const IDLE: Duration = Duration::from_millis(500);

pub(crate) async fn run(words: ConsumeWords, surroundings: &Surroundings) -> Result<(), Failure> {
    let mut client = connect::client(&words.connect, surroundings)?;
    let topic = client.topic(&words.topic).await?;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let by_style = if surroundings.style == Style::Json { LineFormat::Json } else { LineFormat::Value };
    let by_separator = if words.key_separator.is_some() { LineFormat::KeyValue } else { by_style };
    let separator = words.key_separator.as_deref().unwrap_or(SEPARATOR);
    let screen = Screen::new(surroundings.style);
    // Lines on a terminal show by themselves that it goes on.
    let is_watched = screen.is_terminal();
    let mut sink = Sink {
        printer: Printer::new(words.format.unwrap_or(by_separator), separator, words.encoding),
        progress: if is_watched {
            Progress::hidden()
        } else {
            Progress::new(&words.topic, Unit::Things("records"), words.limit)
        },
        screen,
        left: words.limit,
        count: 0,
    };
    let from = words.from.unwrap_or(Position::Start);
    let plan = Plan { from, follows: words.follow || from == Position::End, now: (surroundings.now)() };
    let done = match &words.group {
        Some(group) => {
            as_member(&mut client, &mut sink, plan, Member::new(group, vec![words.topic.clone()]), group).await
        }
        None => {
            let wanted = if words.partition.is_empty() { (0..count).collect() } else { words.partition.clone() };
            let place = |partition| Place { topic: words.topic.clone(), partition };
            alone(&mut client, &mut sink, plan, wanted.into_iter().map(place).collect()).await
        }
    };
    let flushed = sink.screen.flush();
    sink.progress.end();
    done?;
    Ok(flushed?)
}

/// Where to begin, and whether there is an end.
#[derive(Clone, Copy, Debug)]
struct Plan {
    from: Position,
    follows: bool,
    now: Timestamp,
}

impl Plan {
    async fn ends(&self, client: &mut Client, places: &[Place]) -> Result<Option<BTreeMap<Place, i64>>, Failure> {
        match self.follows {
            true => Ok(None),
            false => Ok(Some(client.list_offsets(places, TimeSpec::End).await?)),
        }
    }
}

async fn alone(client: &mut Client, sink: &mut Sink, plan: Plan, places: Vec<Place>) -> Result<(), Failure> {
    let begin = position::resolve(client, &places, plan.from, plan.now).await?;
    let ends = plan.ends(client, &places).await?;
    if let (Some(ends), None) = (&ends, sink.left) {
        let length =
            |(place, end): (&Place, &i64)| end.saturating_sub(begin.get(place).copied().unwrap_or(*end)).max(0);
        sink.progress.total(ends.iter().map(length).sum::<i64>().unsigned_abs());
    }
    let mut reading = Reading::new(begin, ends);
    let mut stop = std::pin::pin!(follow::interrupted());
    while !reading.is_done() {
        let read = tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            read = reading.poll(client) => read?,
        };
        if reading.print(client, read, sink).await? == More::No {
            return Ok(());
        }
    }
    Ok(())
}

async fn as_member(
    client: &mut Client,
    sink: &mut Sink,
    plan: Plan,
    mut member: Member,
    group: &str,
) -> Result<(), Failure> {
    let mut stop = std::pin::pin!(follow::interrupted());
    let ended = loop {
        let places = tokio::select! {
            biased;
            () = &mut stop => break Ok(()),
            joined = member.join(client) => match joined {
                Ok(places) => places,
                Err(error) => break Err(error.into()),
            },
        };
        let mut reading = begin(client, group, &places, plan).await?;
        let turn = tokio::select! {
            biased;
            () = &mut stop => Ok(Turn::End),
            turn = read_until_change(client, sink, &mut member, &mut reading) => turn,
        };
        // After a failure nothing is committed: what is not known to have arrived is read again.
        let settled = match turn.and_then(|turn| Ok(sink.screen.flush().map(|()| turn)?)) {
            Ok(turn) => member.commit(client, reading.uncommitted()).await.map(|_| turn).map_err(Failure::from),
            Err(error) => Err(error),
        };
        match settled {
            Ok(Turn::Changed) => {}
            Ok(Turn::End) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let left = member.leave(client).await;
    ended?;
    Ok(left?)
}

/// Why a member stops reading.
enum Turn {
    /// The group changes: join again.
    Changed,
    /// The ends or the limit are reached, or the person had enough.
    End,
}

/// From what is committed on, and where nothing is, from where the words say.
async fn begin(client: &mut Client, group: &str, places: &[Place], plan: Plan) -> Result<Reading, Failure> {
    if places.is_empty() {
        let ends = (!plan.follows).then(BTreeMap::new);
        return Ok(Reading::new(BTreeMap::new(), ends));
    }
    let committed = client.committed(group, Some(places)).await?;
    let (known, new): (Vec<Place>, Vec<Place>) =
        places.iter().cloned().partition(|place| committed.contains_key(place));
    let mut positions = match new.is_empty() {
        true => BTreeMap::new(),
        false => position::resolve(client, &new, plan.from, plan.now).await?,
    };
    positions.extend(known.into_iter().filter_map(|place| {
        let offset = committed.get(&place)?.offset;
        Some((place, offset))
    }));
    let ends = plan.ends(client, places).await?;
    Ok(Reading::new(positions, ends))
}

async fn read_until_change(
    client: &mut Client,
    sink: &mut Sink,
    member: &mut Member,
    reading: &mut Reading,
) -> Result<Turn, Failure> {
    let mut commit_at = Instant::now() + COMMIT_EVERY;
    while !reading.is_done() {
        if reading.is_idle() {
            sleep(IDLE).await;
        }
        let read = reading.poll(client).await?;
        if reading.print(client, read, sink).await? == More::No {
            return Ok(Turn::End);
        }
        if Instant::now() >= commit_at {
            if !member.commit(client, reading.uncommitted()).await? {
                return Ok(Turn::Changed);
            }
            reading.committed();
            commit_at = Instant::now() + COMMIT_EVERY;
        }
        if member.beat(client).await? == Pulse::Rebalance {
            return Ok(Turn::Changed);
        }
    }
    Ok(Turn::End)
}
