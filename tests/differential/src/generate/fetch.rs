//! Fetch: places, sizes, epochs, sessions.

use broker_model::TopicId;
use broker_wire::messages::FetchRequest;
use broker_wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use broker_wire::{ApiKey, RequestBody};

use super::{Plan, grouped};
use crate::step::View;

/// What a fetch request says of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    None,
    /// Asks for one.
    New(u8),
    Goes(u8, i32),
    Closes(u8),
    Odd(i32, i32),
}

#[derive(Clone, Copy, Debug)]
struct Place {
    topic: u8,
    partition: i32,
    offset: i64,
    current_epoch: i32,
    fetched_epoch: i32,
    log_start: i64,
    bytes_max: i32,
}

/// Any fetch request.
pub(super) fn fetch(plan: &mut Plan<'_>) {
    let (kind, session) = session(plan);
    let count = match session {
        Session::Goes(..) => plan.dice.of(&[0, 0, 0, 1, 2]),
        _ => plan.dice.weighted(&[(8, 1), (3, 2), (1, 4), (1, 0)]),
    };
    let mut places: Vec<Place> = (0..count).map(|_| place(plan)).collect();
    if plan.dice.percent(97) {
        let mut seen = Vec::new();
        places.retain(|place| {
            let is_new = !seen.contains(&(place.topic, place.partition));
            seen.push((place.topic, place.partition));
            is_new
        });
    }
    let forgets = matches!(session, Session::Goes(..)) && plan.dice.percent(20);
    let forgotten = forgets.then(|| (plan.topic(), plan.dice.below(3) as i32));
    let by_unknown_id = plan.dice.percent(3);
    let bytes_max = plan.dice.weighted(&[(10, 50_000_000), (2, 0), (2, 1), (2, 100), (2, 400), (1, i32::MAX)]);
    let max_wait_ms = plan.dice.of(&[0, 0, 0, 10, 30, -1]);
    let min_bytes = plan.dice.of(&[0, 1, 1, 1, 1_000, -1]);
    let isolation_level = plan.dice.weighted(&[(8, 0), (4, 1)]);
    let replica_id = plan.dice.weighted(&[(30, -1), (1, -2)]);
    let slot = match session {
        Session::New(slot) | Session::Goes(slot, _) | Session::Closes(slot) => slot,
        _ => 9,
    };
    let make = move |view: &View<'_>| {
        let (session_id, session_epoch) = match session {
            Session::None => (0, -1),
            Session::New(_) => (0, 0),
            Session::Goes(slot, epoch) => (view.session(slot), epoch),
            Session::Closes(slot) => (view.session(slot), -1),
            Session::Odd(id, epoch) => (id, epoch),
        };
        let id = |topic: u8| match view.topic_id(topic) {
            // Kafka fails with an error of its own on the id zero.
            known if !by_unknown_id && !known.is_zero() => known,
            _ => TopicId([7 + topic; 16]),
        };
        let forgotten = forgotten.iter().map(|(topic, partition)| ForgottenTopic {
            topic: view.topic(*topic),
            topic_id: id(*topic),
            partitions: vec![*partition],
        });
        RequestBody::Fetch(FetchRequest {
            replica_id,
            max_wait_ms,
            min_bytes,
            max_bytes: bytes_max,
            isolation_level,
            session_id,
            session_epoch,
            topics: grouped(&places, |place| place.topic)
                .into_iter()
                .map(|(topic, places)| FetchTopic {
                    topic: view.topic(topic),
                    topic_id: id(topic),
                    partitions: places.iter().map(partition).collect(),
                })
                .collect(),
            forgotten_topics_data: forgotten.collect(),
            ..Default::default()
        })
    };
    if let Some(step) = plan.add(kind, ApiKey::Fetch, make) {
        step.slot = slot;
        if session != Session::None {
            step.version = step.version.max(7);
        }
    }
}

fn partition(place: &Place) -> FetchPartition {
    FetchPartition {
        partition: place.partition,
        current_leader_epoch: place.current_epoch,
        fetch_offset: place.offset,
        last_fetched_epoch: place.fetched_epoch,
        log_start_offset: place.log_start,
        partition_max_bytes: place.bytes_max,
        ..Default::default()
    }
}

fn place(plan: &mut Plan<'_>) -> Place {
    let topic = plan.topic();
    let partition = plan.partition(topic);
    Place {
        topic,
        partition,
        offset: plan.offset(topic, partition),
        current_epoch: plan.leader_epoch(),
        fetched_epoch: plan.dice.weighted(&[(15, -1), (1, 0), (1, 3)]),
        log_start: plan.dice.weighted(&[(10, -1), (1, 0), (1, 5)]),
        bytes_max: plan.dice.weighted(&[(10, 1_048_576), (2, 0), (2, 1), (2, 90), (2, 300)]),
    }
}

fn session(plan: &mut Plan<'_>) -> (&'static str, Session) {
    let slot = plan.dice.below(2) as u8;
    let epoch = plan.world.sessions.get(usize::from(slot)).copied().unwrap_or_default();
    let (kind, session, next) = match plan.dice.below(20) {
        0..10 => ("fetch/plain", Session::None, epoch),
        10..13 => ("fetch/session-new", Session::New(slot), 1),
        13..17 if epoch > 0 => ("fetch/session-goes", Session::Goes(slot, epoch), epoch + 1),
        13..17 => ("fetch/session-new", Session::New(slot), 1),
        17 => ("fetch/session-wrong-epoch", Session::Goes(slot, plan.dice.of(&[1, 5, -2, i32::MAX])), epoch),
        18 => ("fetch/session-closes", Session::Closes(slot), 0),
        _ => ("fetch/session-odd", Session::Odd(plan.dice.of(&[0, -1, 99]), plan.dice.of(&[-1, 0, 1, 3, -2])), epoch),
    };
    if let Some(place) = plan.world.sessions.get_mut(usize::from(slot)) {
        *place = next;
    }
    (kind, session)
}
