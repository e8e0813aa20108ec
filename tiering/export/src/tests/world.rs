//! A topic in memory with its rows beside it, a store that can stop at a request, and a reader of what was exported.

use std::collections::BTreeSet;
use std::ops::Range as StdRange;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMillisecondType};
use async_trait::async_trait;
use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicPartition};
use broker_records::{BatchBuilder, BatchHead, Codec};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tiering_manifest::{Generation, TableRoot, Writer};
use tiering_store::{Class, Store};
use tokio::sync::Notify;

use crate::memory::MemoryRanges;
use crate::{ExportTopic, Exporter, Options, committed};

pub(super) const TOPIC: TopicId = TopicId([7; 16]);
pub(super) const NOW: Timestamp = Timestamp(1_700_000_000_000);
pub(super) const SMALL: Options = Options { file_bytes_max: 600, interval_ms: 0 };

pub(super) fn topic() -> ExportTopic {
    ExportTopic { name: "flights".to_owned(), id: TOPIC }
}

pub(super) fn place(partition: i32) -> TopicPartition {
    TopicPartition { topic: TOPIC, partition: PartitionIndex(partition) }
}

pub(super) fn writer(epoch: i32) -> Writer {
    Writer { generation: Generation(1), epoch: LeaderEpoch(epoch), nonce: 1000 + u64::try_from(epoch).unwrap() }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

pub(super) fn row(partition: i32, offset: i64) -> Row {
    let key = (offset % 5 != 0).then(|| format!("k{}", offset % 3).into_bytes());
    let value = (offset % 7 != 0).then(|| vec![u8::try_from(offset % 256).unwrap(); 30]);
    let headers = match offset % 4 {
        0 => vec![(b"h".to_vec(), Some(b"1".to_vec())), (b"h".to_vec(), None), (vec![0xff], Some(Vec::new()))],
        _ => Vec::new(),
    };
    let timestamp = if offset % 11 == 0 { -1 } else { 1000 + offset };
    Row { partition, offset, timestamp, key, value, headers }
}

pub(super) fn build(mut builder: BatchBuilder, rows: &[Row]) -> Bytes {
    for row in rows {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            row.headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        builder.push(Timestamp(row.timestamp), row.key.as_deref(), row.value.as_deref(), &headers);
    }
    builder.finish(Offset(rows[0].offset), LeaderEpoch(0))
}

/// What is shipped.
pub(super) struct World {
    pub(super) source: Arc<MemoryRanges>,
    pub(super) rows: Vec<Row>,
}

impl World {
    pub(super) fn new() -> World {
        World { source: Arc::new(MemoryRanges::new()), rows: Vec::new() }
    }

    /// Ships batches of up to 7 records in all codecs, up to the offset `end`.
    pub(super) fn ship(&mut self, partition: i32, end: i64) {
        let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        let known = self.rows.iter().filter(|row| row.partition == partition).map(|row| row.offset + 1).max();
        let mut offset = known.unwrap_or(0);
        while offset < end {
            let count = (1 + offset % 7).min(end - offset);
            let rows: Vec<Row> = (offset..offset + count).map(|offset| row(partition, offset)).collect();
            let codec = codecs[usize::try_from(offset % 5).unwrap()];
            let batch = build(BatchBuilder::new(codec), &rows);
            self.source.append(place(partition), BatchHead::parse(&batch).unwrap(), batch);
            self.rows.extend(rows);
            offset += count;
        }
        self.rows.sort_by_key(|row| (row.partition, row.offset));
    }

    pub(super) fn exporter(&self, store: &Store, epoch: i32) -> Exporter {
        Exporter::new(store.clone(), self.source.clone(), writer(epoch), SMALL)
    }
}

pub(super) async fn root_at(store: &Store, key: &str) -> TableRoot {
    TableRoot::decode(&store.load(key, Class::Background).await.unwrap().unwrap().bytes).unwrap()
}

pub(super) fn table_prefix() -> String {
    tiering_manifest::keys::table_prefix("flights", &TOPIC).unwrap()
}

/// What a reader of the table sees; checks that every object is named, and that file facts are true.
pub(super) async fn read_table(store: &Store, prefix: &str) -> Vec<Row> {
    let root = root_at(store, &format!("{prefix}table.json")).await;
    let mut named: BTreeSet<String> = root.names().into_iter().map(|name| format!("{prefix}{name}")).collect();
    named.insert(format!("{prefix}table.json"));
    let listed: Vec<_> = store.list(prefix).unwrap().try_collect().await.unwrap();
    for object in &listed {
        assert!(named.contains(&object.key), "{} is named by nothing (TIER-5)", object.key);
    }
    let mut rows = Vec::new();
    for key in committed(&root) {
        let file = root.files.iter().find(|file| file.name.to_string() == key).unwrap();
        let bytes = store.load(&format!("{prefix}{key}"), Class::Background).await.unwrap().unwrap().bytes;
        assert_eq!(bytes.len() as u64, file.bytes);
        let read = read_file(bytes);
        assert_eq!(read.len() as u64, file.rows);
        let times: Vec<i64> = read.iter().map(|row| row.timestamp).filter(|at| *at >= 0).collect();
        assert_eq!(times.iter().min().copied().unwrap_or(-1), file.min_timestamp.0);
        assert_eq!(times.iter().max().copied().unwrap_or(-1), file.max_timestamp.0);
        assert!(read.iter().all(|row| (file.base.0..file.end.0).contains(&row.offset)));
        rows.extend(read);
    }
    rows
}

pub(super) fn read_file(bytes: Bytes) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap().clone();
        let (partitions, offsets, times) = (column("_partition"), column("_offset"), column("_timestamp"));
        let (keys, values, headers) = (column("key"), column("value"), column("headers"));
        for at in 0..batch.num_rows() {
            let binary = |array: &dyn arrow::array::Array, at: usize| {
                (!array.is_null(at)).then(|| array.as_binary::<i32>().value(at).to_vec())
            };
            let list = headers.as_list::<i32>().value(at);
            let list = list.as_struct();
            let header = |at| (binary(&list.column(0), at).unwrap(), binary(&list.column(1), at));
            let times = times.as_primitive::<TimestampMillisecondType>();
            rows.push(Row {
                partition: partitions.as_primitive::<Int32Type>().value(at),
                offset: offsets.as_primitive::<Int64Type>().value(at),
                timestamp: if times.is_null(at) { -1 } else { times.value(at) },
                key: binary(&keys, at),
                value: binary(&values, at),
                headers: (0..list.len()).map(header).collect(),
            });
        }
    }
    rows
}

/// A store whose requests stop for ever at one of them, before or after its effect: what a kill looks like from outside.
#[derive(Clone, Debug)]
pub(super) struct Stopping {
    inner: Arc<InMemory>,
    /// Requests that still go through; negative for all.
    left: Arc<AtomicI64>,
    after: Arc<Mutex<bool>>,
    stopped: Arc<Notify>,
}

impl std::fmt::Display for Stopping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stopping")
    }
}

impl Stopping {
    pub(super) fn new() -> Stopping {
        let left = Arc::new(AtomicI64::new(i64::MAX));
        Stopping { inner: Arc::default(), left, after: Arc::default(), stopped: Arc::default() }
    }

    pub(super) fn store(&self) -> Store {
        Store::new(Arc::new(self.clone()), "")
    }

    /// Stops at the request after so many, before or after its effect.
    pub(super) fn arm(&self, requests: i64, after: bool) {
        self.left.store(requests, Ordering::SeqCst);
        *self.after.lock().unwrap() = after;
    }

    pub(super) fn disarm(&self) {
        self.left.store(i64::MAX, Ordering::SeqCst);
    }

    pub(super) async fn stopped(&self) {
        self.stopped.notified().await;
    }

    async fn before(&self) -> bool {
        let last = self.left.fetch_sub(1, Ordering::SeqCst) <= 0;
        let after = *self.after.lock().unwrap();
        if last && !after {
            self.stop().await;
        }
        last
    }

    async fn stop(&self) {
        self.stopped.notify_one();
        std::future::pending().await
    }
}

type Result<T> = object_store::Result<T>;

#[async_trait]
impl ObjectStore for Stopping {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let last = self.before().await;
        let result = self.inner.put_opts(location, payload, opts).await;
        if last {
            self.stop().await;
        }
        result
    }

    async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let last = self.before().await;
        let result = self.inner.get_opts(location, options).await;
        if last {
            self.stop().await;
        }
        result
    }

    async fn get_ranges(&self, location: &Path, ranges: &[StdRange<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .then(move |location| {
                let this = this.clone();
                async move {
                    let last = this.before().await;
                    let one = futures::stream::once(async move { location }).boxed();
                    let result = this.inner.delete_stream(one).next().await;
                    if last {
                        this.stop().await;
                    }
                    result.expect("one answer for one key")
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
