//! What a replay answers, compared with a naive filter; and what is left when it is cut and resumed.

use broker_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use broker_records::{BatchBuilder, BatchHead, Codec, EndTransaction, Outcome};
use serde_json::Value;

use super::client::{Answer, get, get_some};
use super::world::{Random, Row, World, build, place};
use crate::conformance::{self, Known};
use crate::source::Aborted;

const RECORDS: &str = "/v1/topics/flights/records";

/// A random query: its text, and the rows that a naive filter finds.
fn query<'a>(random: &mut Random, world: &'a World) -> (String, bool, Vec<&'a Row>) {
    let mut text = Vec::new();
    let mut rows: Vec<&Row> = world.rows.iter().collect();
    let mut base64 = false;
    if random.below(3) == 0 {
        let from = random.below(60);
        text.push(format!("from_offset={from}"));
        rows.retain(|row| row.offset >= from);
        if random.below(2) == 0 {
            let to = from + random.below(40);
            text.push(format!("to_offset={to}"));
            rows.retain(|row| row.offset < to);
        }
    }
    if random.below(2) == 0 {
        let from = 1000 + random.below(200);
        text.push(format!("from_time={from}"));
        rows.retain(|row| row.timestamp >= from);
    }
    if random.below(2) == 0 {
        let to = 1200 + random.below(200);
        text.push(format!("to_time={to}"));
        rows.retain(|row| row.timestamp < to);
    }
    if random.below(3) == 0 {
        let partition = random.below(i64::from(world.partitions));
        text.push(format!("partition={partition}"));
        rows.retain(|row| i64::from(row.partition) == partition);
    }
    if random.below(3) == 0 {
        base64 = true;
        text.push("encoding=base64".to_owned());
    }
    if random.below(4) == 0 {
        text.push(format!("key={}", if base64 { "VUE%3D" } else { "UA" }));
        rows.retain(|row| row.key.as_deref() == Some(b"UA"));
    }
    (text.join("&"), base64, rows)
}

fn ended(answer: &Answer, more: bool) {
    assert!(answer.whole, "{answer:?}");
    let last = answer.lines().pop().unwrap();
    assert_eq!((&last["complete"], &last["more"]), (&Value::Bool(true), &Value::Bool(more)), "{answer:?}");
}

/// The cursor that is composed from the last row and the ends of the last cursor line.
fn composed(lines: &[Value]) -> String {
    let cursor = lines.iter().rev().find_map(|line| line["cursor"].as_str()).unwrap();
    let Some(row) = lines.iter().rev().find(|line| line.get("offset").is_some()) else { return cursor.to_owned() };
    let ends = cursor.split_once('~').unwrap().1;
    format!("{}:{}~{ends}", row["partition"], row["offset"].as_i64().unwrap() + 1)
}

#[tokio::test]
async fn random_queries_answer_what_a_naive_filter_finds() {
    for seed in 0..120 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let world = World::random(&mut random);
        let server = world.serve().await;
        for _ in 0..4 {
            let (text, base64, rows) = query(&mut random, &world);
            let expect: Vec<Value> = rows.iter().map(|row| row.json(base64)).collect();
            let answer = get(server, &format!("{RECORDS}?{text}")).await;
            assert_eq!(answer.status, 200, "seed {seed}, {text}: {answer:?}");
            ended(&answer, false);
            assert_eq!(answer.rows(), expect, "seed {seed}, {text}");
        }
    }
}

#[tokio::test]
async fn a_cut_replay_goes_on_without_loss_or_doubling() {
    for seed in 0..120 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut world = World::random(&mut random);
        let server = world.serve().await;
        let (text, base64, rows) = query(&mut random, &world);
        let expect: Vec<Value> = rows.iter().map(|row| row.json(base64)).collect();
        let mut got = Vec::new();
        let mut cursor = String::new();
        let mut rounds = 0;
        loop {
            rounds += 1;
            let limit = 1 + random.below(20);
            let path = format!("{RECORDS}?{text}&limit={limit}{cursor}");
            let answer = if random.below(2) == 0 {
                get(server, &path).await
            } else {
                get_some(server, &path, usize::try_from(200 + random.below(4000)).unwrap()).await
            };
            let lines = answer.lines();
            if lines.is_empty() {
                continue;
            }
            // The client keeps the rows up to the place that it resumes from.
            if random.below(2) == 0 {
                let at = lines.iter().rposition(|line| line.get("cursor").is_some()).unwrap();
                got.extend(lines[..at].iter().filter(|line| line.get("offset").is_some()).cloned());
                cursor = format!("&cursor={}", lines[at]["cursor"].as_str().unwrap());
            } else {
                got.extend(answer.rows());
                cursor = format!("&cursor={}", composed(&lines));
            }
            let last = lines.last().unwrap();
            if last["complete"] == true && last["more"] == false {
                break;
            }
            // What is appended meanwhile is beyond the ends that the first answer fixed.
            if rounds == 2 {
                let offset = world.rows.iter().filter(|row| row.partition == 0).map(|row| row.offset + 1).max();
                if let Some(offset) = offset {
                    let end = crate::HotSource::bounds(&*world.source, place(0)).await.unwrap().high_watermark.0;
                    world.append(Codec::None, vec![Row { offset: offset.max(end), ..Row::plain(0) }]);
                    world.rows.pop();
                }
            }
        }
        assert_eq!(got, expect, "seed {seed}, {text}");
    }
}

#[tokio::test]
async fn a_cursor_line_comes_every_thousand_rows() {
    let world = World::plain(250, 10);
    let server = world.serve().await;
    let answer = get(server, RECORDS).await;
    let cursors: Vec<String> =
        answer.lines().iter().filter_map(|line| line["cursor"].as_str().map(str::to_owned)).collect();
    let places: Vec<&str> = cursors.iter().map(|cursor| cursor.split('~').next().unwrap()).collect();
    // A slow machine may add lines, one a second, but never leaves these out.
    for expect in ["0:0", "0:2500"] {
        assert!(places.contains(&expect), "{places:?}");
    }
    let rows_between: Vec<usize> =
        answer.lines().split(|line| line.get("cursor").is_some()).map(<[Value]>::len).collect();
    assert!(rows_between.iter().all(|rows| *rows <= 1000), "{rows_between:?}");
    assert_eq!(rows_between.iter().sum::<usize>(), 2500);
    assert_eq!(answer.kind, "application/x-ndjson");
    let ranges = &answer.lines()[0]["ranges"];
    assert_eq!(ranges.to_string(), "[{\"from\":0,\"partition\":0,\"to\":2500}]");
}

#[tokio::test]
async fn a_bare_cursor_goes_up_to_the_high_watermark_of_now() {
    let mut world = World::plain(2, 5);
    let server = world.serve().await;
    world.append(Codec::None, vec![Row::plain(10)]);
    let answer = get(server, &format!("{RECORDS}?cursor=0:7")).await;
    let offsets: Vec<i64> = answer.rows().iter().map(|row| row["offset"].as_i64().unwrap()).collect();
    assert_eq!(offsets, [7, 8, 9, 10]);
    ended(&answer, false);
}

#[tokio::test]
async fn cold_offsets_are_read_from_the_bucket_and_hot_ones_are_not() {
    let world = World::plain(10, 10);
    world.source.tier(place(0), Offset(80), Offset(50));
    let server = world.serve().await;
    assert_eq!(get(server, &format!("{RECORDS}?from_offset=50")).await.rows().len(), 50);
    assert_eq!(world.source.reads().0, 0, "hot offsets need no bucket");
    assert_eq!(get(server, &format!("{RECORDS}?to_offset=50")).await.rows().len(), 50);
    assert_eq!(world.source.reads().1, 1, "cold offsets need no broker");
}

#[tokio::test]
async fn markers_and_aborted_records_are_not_data() {
    let mut world = World::new(1);
    let transactional = |producer: i64, offset: i64| {
        let builder =
            BatchBuilder::new(Codec::Lz4).producer(ProducerId(producer), ProducerEpoch(0), Sequence(0)).transactional();
        build(builder, &[Row::plain(offset)])
    };
    let append = |batch: bytes::Bytes| world.source.append(place(0), BatchHead::parse(&batch).unwrap(), batch);
    let marker = |producer: i64, outcome, offset: i64| {
        let end = EndTransaction { outcome, coordinator_epoch: 0 };
        let stored = end.batch(ProducerId(producer), ProducerEpoch(0), Timestamp(1));
        let mut head = BatchHead::parse(&stored).unwrap();
        head.base_offset = Offset(offset);
        head.leader_epoch = LeaderEpoch(0);
        [&head.encode()[..], &stored[61..]].concat().into()
    };
    append(transactional(1, 0));
    append(transactional(2, 1));
    append(transactional(1, 2));
    append(marker(1, Outcome::Abort, 3));
    append(transactional(1, 4));
    append(marker(1, Outcome::Commit, 5));
    append(marker(2, Outcome::Commit, 6));
    world.source.abort(place(0), Aborted { producer: ProducerId(1), first: Offset(0), last: Offset(3) });
    world.rows = vec![Row::plain(1), Row::plain(4)];
    let answer = get(world.serve().await, RECORDS).await;
    let expect: Vec<Value> = world.rows.iter().map(|row| row.json(false)).collect();
    assert_eq!(answer.rows(), expect);
    ended(&answer, false);
}

#[tokio::test]
async fn a_limit_says_that_there_is_more() {
    let server = World::plain(3, 10).serve().await;
    let answer = get(server, &format!("{RECORDS}?limit=4")).await;
    assert_eq!(answer.rows().len(), 4);
    ended(&answer, true);
    let cursor = answer.lines().pop().unwrap()["cursor"].as_str().unwrap().to_owned();
    let answer = get(server, &format!("{RECORDS}?cursor={cursor}")).await;
    assert_eq!(answer.rows().len(), 26);
    ended(&answer, false);
}

#[tokio::test]
async fn the_sources_in_memory_keep_the_contract() {
    for seed in 0..20 {
        println!("seed {seed}");
        let world = World::random(&mut Random(seed));
        for partition in 0..world.partitions {
            let known: Vec<Known> = world
                .rows
                .iter()
                .filter(|row| row.partition == partition)
                .map(|row| Known { offset: Offset(row.offset), timestamp: Timestamp(row.timestamp) })
                .collect();
            let bounds = crate::HotSource::bounds(&*world.source, place(partition)).await.unwrap();
            let local: Vec<Known> = known.iter().filter(|row| row.offset >= bounds.local_start).copied().collect();
            conformance::hot(&*world.source, place(partition), &local).await;
            if crate::ColdSource::cold_bounds(&*world.source, place(partition)).await.unwrap().is_some() {
                conformance::cold(&*world.source, place(partition), &known).await;
            }
        }
    }
}
