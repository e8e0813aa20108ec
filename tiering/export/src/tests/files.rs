//! What the files hold, and when they are written.

use broker_model::{Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp};
use broker_records::{BatchBuilder, BatchHead, Codec, EndTransaction, Outcome};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{Compression, LogicalType, TimeUnit};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::statistics::Statistics;
use tiering_manifest::Generation;
use tiering_store::Class;

use super::world::{
    NOW, Row, SMALL, Stopping, World, build, place, read_table, root_at, row, table_prefix, topic, writer,
};
use crate::source::{Aborted, SourceError};
use crate::{ExportError, ExportErrorKind, Exporter, Options, Range, RangeExport, committed, export_range};

const BOTH: [PartitionIndex; 2] = [PartitionIndex(0), PartitionIndex(1)];

#[tokio::test]
async fn each_record_is_exported_once_with_all_its_parts() {
    let mut world = World::new();
    let store = Stopping::new().store();
    let mut exporter = world.exporter(&store, 1);
    for (first, second) in [(0, 0), (50, 3), (50, 3), (51, 90), (200, 90)] {
        world.ship(0, first);
        world.ship(1, second);
        let progress = exporter.run_once(&topic(), &BOTH, NOW).await.unwrap();
        assert_eq!(progress.lag_offsets, 0);
        if !world.rows.is_empty() {
            assert_eq!(read_table(&store, &table_prefix()).await, world.rows);
        }
    }
    let root = exporter.root(topic().id).unwrap();
    assert!(root.files.len() > 10, "files end at their bound");
    assert!(root.intents.is_empty() && root.occupied.is_empty());
    assert_eq!(exporter.stats().rows.load(std::sync::atomic::Ordering::Relaxed), 290);
}

async fn one_file(world: &World) -> (Bytes, ArrowReaderMetadata) {
    let store = Stopping::new().store();
    let options = Options { file_bytes_max: 1 << 30, interval_ms: 0 };
    let mut exporter = Exporter::new(store.clone(), world.source.clone(), writer(1), options);
    exporter.run_once(&topic(), &BOTH, NOW).await.unwrap();
    let keys = committed(exporter.root(topic().id).unwrap());
    assert_eq!(keys.len(), 1);
    let key = format!("{}{}", table_prefix(), keys[0]);
    let bytes = store.load(&key, Class::Background).await.unwrap().unwrap().bytes;
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let metadata = ArrowReaderMetadata::load(&bytes, options).unwrap();
    (bytes, metadata)
}

#[tokio::test]
async fn row_groups_and_statistics_prune_by_offset_and_time() {
    let mut world = World::new();
    let value = Some(vec![b'x'; 64]);
    for base in (0..300_000).step_by(10_000) {
        let plain = |offset| Row { value: value.clone(), timestamp: 5000 + offset, ..row(0, offset) };
        let rows: Vec<Row> = (base..base + 10_000).map(plain).collect();
        let batch = build(BatchBuilder::new(Codec::Zstd), &rows);
        world.source.append(place(0), BatchHead::parse(&batch).unwrap(), batch);
        world.rows.extend(rows);
    }
    let (bytes, metadata) = one_file(&world).await;
    assert_eq!(super::world::read_file(bytes.clone()), world.rows);
    let metadata = metadata.metadata();
    let mut next = 0;
    for group in metadata.row_groups() {
        assert!(group.num_rows() <= (128 << 10) + (8 << 10));
        assert!(group.columns().iter().all(|column| matches!(column.compression(), Compression::ZSTD(_))));
        let range = |column: usize| match group.column(column).statistics() {
            Some(Statistics::Int64(found)) => (*found.min_opt().unwrap(), *found.max_opt().unwrap()),
            other => panic!("{other:?}"),
        };
        assert_eq!(range(1), (next, next + group.num_rows() - 1));
        assert_eq!(range(2), (5000 + next, 5000 + next + group.num_rows() - 1));
        next += group.num_rows();
    }
    assert!(metadata.num_row_groups() >= 3);
    assert!(metadata.column_index().is_some() && metadata.offset_index().is_some(), "pages are pruned too");
    let schema = metadata.file_metadata().schema_descr();
    assert_eq!(
        schema.column(2).logical_type_ref(),
        Some(&LogicalType::Timestamp { is_adjusted_to_u_t_c: true, unit: TimeUnit::MILLIS })
    );
    let mut facts: Vec<String> = Vec::new();
    for fact in metadata.file_metadata().key_value_metadata().unwrap() {
        facts.push(format!("{}={}", fact.key, fact.value.as_deref().unwrap_or("")));
    }
    for expect in ["strata.topic=flights", "strata.partition=0", "strata.offset.base=0", "strata.offset.end=300000"] {
        assert!(facts.iter().any(|fact| fact == expect), "{facts:?}");
    }
}

#[tokio::test]
async fn the_same_records_give_the_same_bytes() {
    let mut world = World::new();
    world.ship(0, 500);
    let mut again = World::new();
    again.ship(0, 500);
    assert_eq!(one_file(&world).await.0, one_file(&again).await.0);
}

#[tokio::test]
async fn markers_and_aborted_records_are_not_exported() {
    let mut world = World::new();
    let batch = |producer: i64, offset: i64| {
        let builder = BatchBuilder::new(Codec::None).producer(ProducerId(producer), ProducerEpoch(0), Sequence(0));
        build(builder.transactional(), &[row(0, offset)])
    };
    let marker = EndTransaction { outcome: Outcome::Abort, coordinator_epoch: 0 };
    let stored = marker.batch(ProducerId(1), ProducerEpoch(0), Timestamp(1));
    let mut head = BatchHead::parse(&stored).unwrap();
    head.base_offset = Offset(2);
    let marker: Bytes = [&head.encode()[..], &stored[61..]].concat().into();
    for batch in [batch(1, 0), batch(2, 1), marker, batch(1, 3)] {
        world.source.append(place(0), BatchHead::parse(&batch).unwrap(), batch);
    }
    world.source.abort(place(0), Aborted { producer: ProducerId(1), first: Offset(0), last: Offset(2) });
    world.rows = vec![row(0, 1), row(0, 3)];
    let store = Stopping::new().store();
    world.exporter(&store, 1).run_once(&topic(), &BOTH, NOW).await.unwrap();
    assert_eq!(read_table(&store, &table_prefix()).await, world.rows);
    // A range of nothing but markers is done without a file.
    let root = root_at(&store, &format!("{}table.json", table_prefix())).await;
    assert_eq!(root.partitions[&PartitionIndex(0)].next, Offset(4));
}

#[tokio::test]
async fn shipped_records_wait_for_the_interval() {
    let mut world = World::new();
    world.ship(0, 20);
    let store = Stopping::new().store();
    let options = Options { interval_ms: 60_000, ..SMALL };
    let mut exporter = Exporter::new(store.clone(), world.source.clone(), writer(1), options);
    assert_eq!(exporter.run_once(&topic(), &BOTH, NOW).await.unwrap().lag_offsets, 20);
    world.ship(0, 30);
    assert_eq!(exporter.run_once(&topic(), &BOTH, NOW.plus_ms(30_000)).await.unwrap().lag_offsets, 30);
    let progress = exporter.run_once(&topic(), &BOTH, NOW.plus_ms(60_000)).await.unwrap();
    assert_eq!((progress.rows, progress.lag_offsets), (30, 0));
}

#[tokio::test]
async fn a_damaged_batch_stops_with_what_is_wrong_and_keeps_what_was_done() {
    let mut world = World::new();
    world.ship(0, 40);
    let rows = world.rows.clone();
    let mut batch = build(BatchBuilder::new(Codec::None), &[row(0, 40)]).to_vec();
    *batch.last_mut().unwrap() ^= 1;
    world.source.append(place(0), BatchHead::parse(&batch).unwrap(), batch.into());
    let store = Stopping::new().store();
    let mut exporter = world.exporter(&store, 1);
    let error = exporter.run_once(&topic(), &BOTH, NOW).await.unwrap_err();
    assert!(matches!(error, ExportError::Batch { offset: Offset(40), .. }), "{error}");
    assert_eq!(error.kind(), ExportErrorKind::Broken);
    let exported = read_table(&store, &table_prefix()).await;
    assert!(!exported.is_empty());
    assert_eq!(exported[..], rows[..exported.len()]);
}

#[tokio::test]
async fn what_retention_deleted_is_counted_and_does_not_stop_the_rest() {
    let mut world = World::new();
    world.ship(0, 10);
    let store = Stopping::new().store();
    let mut exporter = world.exporter(&store, 1);
    exporter.run_once(&topic(), &BOTH, NOW).await.unwrap();
    world.ship(0, 100);
    world.source.delete_below(place(0), Offset(40));
    exporter.run_once(&topic(), &BOTH, NOW).await.unwrap();
    world.rows.retain(|row| row.offset < 10 || row.offset >= 40);
    assert_eq!(read_table(&store, &table_prefix()).await, world.rows);
    assert_eq!(exporter.stats().lost.load(std::sync::atomic::Ordering::Relaxed), 30);
}

#[tokio::test]
async fn a_source_that_comes_back_is_exported_to_its_end() {
    let mut world = World::new();
    world.ship(0, 60);
    let store = Stopping::new().store();
    let mut exporter = world.exporter(&store, 1);
    let fault = (Offset(30), SourceError::Unavailable("no answer".to_owned()));
    world.source.fail_from(place(0), Some(fault));
    // The first read brings all there is, so the fault is met by the second file.
    let error = exporter.run_once(&topic(), &BOTH, NOW).await.unwrap_err();
    assert_eq!(error.kind(), ExportErrorKind::Retry);
    world.source.fail_from(place(0), None);
    exporter.run_once(&topic(), &BOTH, NOW).await.unwrap();
    assert_eq!(read_table(&store, &table_prefix()).await, world.rows);
}

#[tokio::test]
async fn a_single_export_has_exactly_its_ranges() {
    let mut world = World::new();
    world.ship(0, 100);
    world.ship(1, 100);
    let store = Stopping::new().store();
    let ranges = vec![
        Range { partition: PartitionIndex(0), from: Offset(13), to: Offset(57) },
        Range { partition: PartitionIndex(1), from: Offset(99), to: Offset(100) },
    ];
    let request = RangeExport { id: "july-4".to_owned(), topic: topic(), ranges, generation: Generation(1), nonce: 5 };
    let root = export_range(&store, &*world.source, &request, SMALL, NOW).await.unwrap().unwrap();
    let expect: Vec<Row> = world
        .rows
        .iter()
        .filter(|row| if row.partition == 0 { (13..57).contains(&row.offset) } else { row.offset == 99 })
        .cloned()
        .collect();
    assert_eq!(read_table(&store, "exports/july-4/").await, expect);
    // Asked again it is the same; asked differently it is refused.
    let again = export_range(&store, &*world.source, &request, SMALL, NOW).await.unwrap().unwrap();
    assert_eq!(again.files, root.files);
    let mut other = request.clone();
    other.ranges[0].from = Offset(14);
    let refused = export_range(&store, &*world.source, &other, SMALL, NOW).await;
    assert!(matches!(refused, Err(ExportError::Stranger { .. })), "{refused:?}");
}
