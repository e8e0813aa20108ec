//! The golden files: a small bucket that an earlier version wrote, and its records as NDJSON. They are only ever added to.
//! Every file must decode, and encode to the same bytes again. A golden file that is missing is written, and the test
//! fails once: look at it, and commit it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use broker_model::ProducerId;

use super::*;

const NAME: &str = "flights";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

type Field = Option<&'static [u8]>;

/// A record of the golden bucket.
struct Row {
    offset: i64,
    timestamp: i64,
    key: Field,
    value: Field,
    headers: Vec<(&'static [u8], Field)>,
}

fn row(offset: i64, key: Field, value: Field) -> Row {
    Row { offset, timestamp: 1_372_910_400_000 + offset, key, value, headers: Vec::new() }
}

fn varint(to: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        to.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    to.push(u8::try_from(rest).unwrap());
}

fn field(to: &mut Vec<u8>, bytes: Field) {
    varint(to, bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap()));
    to.extend_from_slice(bytes.unwrap_or_default());
}

/// An uncompressed record batch, written from FORMAT.md.
fn batch(rows: &[Row], attributes: i16) -> (BatchFacts, Vec<u8>) {
    let (first, last) = (rows.first().unwrap(), rows.last().unwrap());
    let max = rows.iter().map(|row| row.timestamp).max().unwrap();
    let mut body = Vec::new();
    body.extend_from_slice(&attributes.to_be_bytes());
    body.extend_from_slice(&i32::try_from(last.offset - first.offset).unwrap().to_be_bytes());
    body.extend_from_slice(&first.timestamp.to_be_bytes());
    body.extend_from_slice(&max.to_be_bytes());
    body.extend_from_slice(&(-1i64).to_be_bytes());
    body.extend_from_slice(&(-1i16).to_be_bytes());
    body.extend_from_slice(&(-1i32).to_be_bytes());
    body.extend_from_slice(&i32::try_from(rows.len()).unwrap().to_be_bytes());
    for row in rows {
        let mut record = vec![0];
        varint(&mut record, row.timestamp - first.timestamp);
        varint(&mut record, row.offset - first.offset);
        field(&mut record, row.key);
        field(&mut record, row.value);
        varint(&mut record, i64::try_from(row.headers.len()).unwrap());
        for (key, value) in &row.headers {
            field(&mut record, Some(key));
            field(&mut record, *value);
        }
        varint(&mut body, i64::try_from(record.len()).unwrap());
        body.extend_from_slice(&record);
    }
    let mut bytes = first.offset.to_be_bytes().to_vec();
    bytes.extend_from_slice(&i32::try_from(body.len() + 9).unwrap().to_be_bytes());
    bytes.extend_from_slice(&1i32.to_be_bytes());
    bytes.push(2);
    bytes.extend_from_slice(&crc32c(&body).to_be_bytes());
    bytes.extend_from_slice(&body);
    let facts = BatchFacts {
        base: Offset(first.offset),
        last: Offset(last.offset),
        max_timestamp: Timestamp(max),
        bytes: u32::try_from(bytes.len()).unwrap(),
    };
    (facts, bytes)
}

fn object(partition: i32, batches: &[(BatchFacts, Vec<u8>)], codec: BlockCodec) -> (Footer, EncodedFooter, Vec<u8>) {
    let mut cutter = BlockCutter::new(150);
    let mut raw: Vec<RawBlock> = batches.iter().filter_map(|(facts, _)| cutter.push(facts)).collect();
    raw.extend(cutter.finish());
    let all: Vec<u8> = batches.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let mut stored = Vec::new();
    let mut blocks = Vec::new();
    for block in raw {
        let from = usize::try_from(block.raw_position).unwrap();
        let mut bytes = all[from..from + block.raw_length as usize].to_vec();
        if codec == BlockCodec::Zstd {
            bytes = zstd::bulk::compress(&bytes, 3).unwrap();
        }
        let length = u32::try_from(bytes.len()).unwrap();
        blocks.push(block.stored(codec, stored.len() as u64, (length, crc32c(&bytes))));
        stored.extend_from_slice(&bytes);
    }
    let (base, end) = (batches[0].0.base, batches.last().unwrap().0.last.next());
    let max = batches.iter().map(|(facts, _)| facts.max_timestamp).max().unwrap();
    let info = Info {
        topic: topic(),
        partition: PartitionIndex(partition),
        base,
        end,
        min_timestamp: Timestamp::NONE,
        max_timestamp: max,
        append_time: max.plus_ms(2_000),
        writer: writer(1),
    };
    let footer = Footer {
        info,
        blocks: BlockTable::new(blocks).unwrap(),
        epochs: vec![EpochStart { epoch: LeaderEpoch(1), start: Offset::ZERO }],
        aborted: vec![AbortedTxn { producer: ProducerId(7), first: base, last: base, last_stable: base }],
        producers: bytes::Bytes::new(),
    };
    let encoded = footer.encode(stored.len() as u64).unwrap();
    stored.extend_from_slice(&encoded.bytes);
    (footer, encoded, stored)
}

fn put(
    files: &mut BTreeMap<String, Vec<u8>>,
    draft: Draft,
    batches: &[(BatchFacts, Vec<u8>)],
    codec: BlockCodec,
) -> Root {
    let partition = draft.root().partition;
    let draft = draft.register(ObjectKind::Data, 1, Timestamp(1_372_999_999_999)).unwrap();
    let row = *draft.root().registered.last().unwrap();
    let (footer, encoded, bytes) = object(partition.0, batches, codec);
    let entry = footer.entry(row.name().to_string(), &encoded, StorageClass::STANDARD);
    files.insert(PartitionPrefix::new(NAME, topic(), partition).unwrap().object(&row.name()), bytes);
    draft.commit(vec![NewObject { id: row.id, entry }]).unwrap().finish().unwrap()
}

fn rows_of_0() -> Vec<Vec<Row>> {
    let mut rich = row(1, Some(b"UA"), Some(b"{\"flight\":1545}"));
    rich.headers = vec![(b"trace", Some(b"a")), (b"trace", None)];
    vec![
        vec![row(0, Some(b"UA"), Some(b"below the log start")), rich, row(2, None, None)],
        vec![row(3, Some(b"B6"), Some(b"\xff\xfe not UTF-8")), row(4, Some(b"DL"), Some("Zürich".as_bytes()))],
        vec![row(5, Some(&[0, 0, 0, 1]), Some(&[0; 6]))],
        vec![row(6, Some(b""), Some(b""))],
    ]
}

fn partition_0(files: &mut BTreeMap<String, Vec<u8>>) {
    let rows = rows_of_0();
    let batches = |range: std::ops::Range<usize>| -> Vec<_> {
        range.map(|at| batch(&rows[at], if at == 2 { 0x30 } else { 0 })).collect()
    };
    let draft = Root::create(topic(), PartitionIndex(0), writer(1), Offset::ZERO);
    let root = put(files, draft, &batches(0..2), BlockCodec::None);
    let root = put(files, root.draft(&writer(1)).unwrap(), &batches(2..4), BlockCodec::None);
    let draft = root.draft(&writer(1)).unwrap().advance_start(Offset(1), None, GRACE).unwrap();
    let root = draft.register(ObjectKind::Data, 2, Timestamp(1_373_000_000_000)).unwrap().finish().unwrap();
    let occupied = root.registered[0];
    let draft = root.take_over(&writer(2)).unwrap().occupy(&[occupied.id], Timestamp(1_372_910_500_000)).unwrap();
    let root = draft.finish().unwrap();
    let prefix = PartitionPrefix::new(NAME, topic(), PartitionIndex(0)).unwrap();
    files.insert(prefix.object(&occupied.name()), Vec::new());
    files.insert(prefix.root(), root.encode());
}

fn rows_of_1() -> Vec<Vec<Row>> {
    (0..5).map(|at| vec![row(at * 2, Some(b"AA"), Some(b"odd")), row(at * 2 + 1, Some(b"EV"), Some(b"even"))]).collect()
}

fn partition_1(files: &mut BTreeMap<String, Vec<u8>>) {
    let prefix = PartitionPrefix::new(NAME, topic(), PartitionIndex(1)).unwrap();
    let draft = Root::create(topic(), PartitionIndex(1), writer(1), Offset::ZERO);
    let mut root = draft.register(ObjectKind::Group, 1, DEADLINE).unwrap().finish().unwrap();
    for (at, rows) in rows_of_1().iter().enumerate() {
        let codec = if at % 2 == 0 { BlockCodec::Zstd } else { BlockCodec::None };
        root = put(files, root.draft(&writer(1)).unwrap(), &[batch(rows, 0)], codec);
    }
    let (grouped, group) = grouped(&root, 4, &[]);
    files.insert(prefix.object(&grouped.groups[0].name), group.encode());
    let draft = grouped.draft(&writer(1)).unwrap().advance_start(Offset(2), Some(&group), GRACE).unwrap();
    files.insert(prefix.root(), draft.finish().unwrap().encode());
}

fn describe(files: &mut BTreeMap<String, Vec<u8>>) {
    let bucket = BucketFile {
        cluster_id: "4L6g3nShT-eMCtK--X86sw".to_owned(),
        name: "golden".to_owned(),
        generation: Generation(0),
    };
    files.insert(crate::keys::BUCKET_FILE.to_owned(), bucket.encode());
    let configs = [("retention.ms".to_owned(), "-1".to_owned())].into();
    let file = TopicFile { name: NAME.to_owned(), id: topic(), partitions: 3, configs };
    files.insert(crate::keys::topic_file(NAME, &topic()).unwrap(), file.encode());
    let deleted = Root::create(topic(), PartitionIndex(2), writer(1), Offset(4)).mark_deleted(GRACE).unwrap();
    let prefix = PartitionPrefix::new(NAME, topic(), PartitionIndex(2)).unwrap();
    files.insert(prefix.root(), deleted.finish().unwrap().encode());

    let draft = TableRoot::create(topic(), writer(1));
    let draft = draft.intend(PartitionIndex(0), Offset(0), Offset(4), DEADLINE).unwrap();
    let draft = draft.intend(PartitionIndex(0), Offset(0), Offset(7), DEADLINE).unwrap();
    let intent = draft.root().intents[0];
    let file = TableFile {
        name: intent.names()[0],
        partition: intent.partition,
        base: intent.base,
        end: intent.end,
        rows: 4,
        bytes: 2_048,
        min_timestamp: Timestamp(1_372_910_400_000),
        max_timestamp: Timestamp(1_372_910_400_003),
    };
    let root = draft.commit(intent.id, &[file]).unwrap().finish().unwrap();
    let second = root.intents[0].id;
    let draft = root.take_over(&writer(2)).unwrap().renew(second, Timestamp(0), DEADLINE).unwrap();
    files.insert(crate::keys::table_root(NAME, &topic()).unwrap(), draft.finish().unwrap().encode());
}

fn text(bytes: Field) -> serde_json::Value {
    match bytes.map(std::str::from_utf8) {
        None => serde_json::Value::Null,
        Some(Ok(text)) => text.into(),
        Some(Err(_)) => serde_json::json!({"base64": "//4gbm90IFVURi04"}),
    }
}

/// What a reader prints: everything but the control batch, and what lies below the log start offset.
fn records() -> String {
    let of_0 = rows_of_0().into_iter().enumerate().filter(|(at, _)| *at != 2).flat_map(|(_, rows)| rows);
    let of_0 = of_0.filter(|row| row.offset >= 1).map(|row| (0, row));
    let of_1 = rows_of_1().into_iter().flatten().filter(|row| row.offset >= 2).map(|row| (1, row));
    let mut lines = String::new();
    for (partition, row) in of_0.chain(of_1) {
        let headers: Vec<_> = row.headers.iter().map(|(key, value)| (text(Some(key)), text(*value))).collect();
        let headers: Vec<_> =
            headers.iter().map(|(key, value)| format!("{{\"key\":{key},\"value\":{value}}}")).collect();
        lines += &format!(
            "{{\"topic\":\"{NAME}\",\"partition\":{partition},\"offset\":{},\"timestamp\":{},\"key\":{},\"value\":{},\"headers\":[{}]}}\n",
            row.offset,
            row.timestamp,
            text(row.key),
            text(row.value),
            headers.join(",")
        );
    }
    lines
}

#[test]
fn golden_files_are_all_there() {
    let mut files = BTreeMap::new();
    partition_0(&mut files);
    partition_1(&mut files);
    describe(&mut files);
    let mut written = Vec::new();
    let named = files.iter().map(|(key, bytes)| (format!("bucket-v1/{key}"), bytes.clone()));
    for (name, bytes) in named.chain([("bucket-v1.ndjson".to_owned(), records().into_bytes())]) {
        let path = golden().join(&name);
        if !path.exists() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            written.push(name);
        }
    }
    assert!(written.is_empty(), "wrote {written:?}: look at them, and commit them");
}

fn walk(at: &Path, files: &mut Vec<PathBuf>) {
    for found in fs::read_dir(at).unwrap() {
        let path = found.unwrap().path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

#[test]
fn golden_files_decode_and_encode_to_the_same_bytes() {
    let bucket = golden().join("bucket-v1");
    let mut files = Vec::new();
    walk(&bucket, &mut files);
    files.sort();
    assert!(files.len() >= 13, "{} files", files.len());
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let key = path.strip_prefix(&bucket).unwrap().to_str().unwrap().to_owned();
        match Key::parse(&key).unwrap() {
            Key::Bucket => assert_eq!(BucketFile::decode(&bytes).unwrap().encode(), bytes, "{key}"),
            Key::Topic(..) => assert_eq!(TopicFile::decode(&bytes).unwrap().encode(), bytes, "{key}"),
            Key::TableRoot(..) => assert_eq!(TableRoot::decode(&bytes).unwrap().encode(), bytes, "{key}"),
            Key::Root(prefix) => {
                let root = Root::decode(&bytes).unwrap();
                assert_eq!(root.encode(), bytes, "{key}");
                let read = |key: &str| fs::read(bucket.join(prefix.join(key))).unwrap();
                for group in &root.groups {
                    Group::open(&read(&group.name.to_string()), group).unwrap();
                }
                for entry in &root.entries {
                    let object = read(&entry.key);
                    let footer = Footer::decode(&object, object.len() as u64).unwrap();
                    assert_eq!((footer.info.base, footer.info.end), (entry.base, entry.end));
                }
            }
            Key::Object(_, name) if name.kind == ObjectKind::Group => {
                // The compressor may change; what it holds may not.
                let raw = zstd::bulk::decompress(&bytes, 1 << 20).unwrap();
                let again = zstd::bulk::decompress(&Group::decode(&bytes).unwrap().encode(), 1 << 20).unwrap();
                assert_eq!(again, raw, "{key}");
            }
            Key::Object(..) if bytes.is_empty() => {}
            Key::Object(..) => {
                let footer = Footer::decode(&bytes, bytes.len() as u64).unwrap();
                let last = footer.blocks.blocks().last().unwrap();
                let end = last.position + u64::from(last.stored_length);
                let encoded = footer.encode(end).unwrap();
                assert_eq!(encoded.bytes, bytes[usize::try_from(end).unwrap()..], "{key}");
            }
            other => panic!("no golden file of this kind: {other:?}"),
        }
    }
}
