//! Bytes that are cut, changed or made up: every decoder refuses or reads them, and never panics.

use proptest::prelude::*;

use super::*;

/// One whole example of every file.
fn examples() -> Vec<Vec<u8>> {
    let (root, group) = grouped(&root_with(4), 3, &[]);
    let root = root.take_over(&writer(2)).unwrap().occupy(&[root.registered[0].id], Timestamp(1)).unwrap();
    let root = root.advance_start(Offset(15), Some(&group), GRACE).unwrap().finish().unwrap();
    let table =
        TableRoot::create(topic(), writer(1)).intend(PartitionIndex(0), Offset(0), Offset(9), DEADLINE).unwrap();
    let topic_file = TopicFile {
        name: "t".to_owned(),
        id: topic(),
        partitions: 3,
        configs: [("retention.ms".to_owned(), "-1".to_owned())].into(),
    };
    let bucket = BucketFile { cluster_id: "c".to_owned(), name: "n".to_owned(), generation: Generation(2) };
    let block =
        RawBlock { base: Offset(0), last: Offset(9), max_timestamp: Timestamp(4), raw_position: 0, raw_length: 100 };
    let footer = Footer {
        info: footer::info(0, 10),
        blocks: BlockTable::new(vec![block.verbatim(0, 7)]).unwrap(),
        epochs: vec![EpochStart { epoch: LeaderEpoch(0), start: Offset(0) }],
        aborted: Vec::new(),
        producers: bytes::Bytes::new(),
    };
    vec![
        root.encode(),
        group.encode(),
        table.finish().unwrap().encode(),
        topic_file.encode(),
        bucket.encode(),
        footer.encode(100).unwrap().bytes.to_vec(),
    ]
}

/// Feeds bytes to every decoder.
fn decode_all(bytes: &[u8]) {
    if let Ok(root) = Root::decode(bytes) {
        assert_eq!(Root::decode(&root.encode()), Ok(root));
    }
    if let Ok(table) = TableRoot::decode(bytes) {
        assert_eq!(TableRoot::decode(&table.encode()), Ok(table));
    }
    drop(Group::decode(bytes));
    drop(TopicFile::decode(bytes));
    drop(BucketFile::decode(bytes));
    drop(Index::decode(bytes));
    let length = bytes.len() as u64;
    drop(Footer::decode(bytes, length));
    drop(Footer::decode(bytes, length + 100));
}

#[test]
fn every_cut_is_refused_or_read() {
    for bytes in examples() {
        for cut in 0..bytes.len() {
            decode_all(&bytes[..cut]);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_binary_file_is_found() {
    let bytes = examples().pop().unwrap();
    let length = bytes.len() as u64 + 100;
    assert!(Footer::decode(&bytes, length).is_ok());
    for at in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[at / 8] ^= 1 << (at % 8);
        assert!(Footer::decode(&bad, length).is_err(), "bit {at}");
    }
}

#[test]
fn a_newer_format_is_told_from_damage() {
    for bytes in [&examples()[0], &examples()[2], &examples()[3], &examples()[4]] {
        let text = String::from_utf8(bytes.clone()).unwrap().replacen("\"format\": 1", "\"format\": 2, \"new\": {}", 1);
        let errors = [
            Root::decode(text.as_bytes()).unwrap_err(),
            TableRoot::decode(text.as_bytes()).unwrap_err(),
            TopicFile::decode(text.as_bytes()).unwrap_err(),
            BucketFile::decode(text.as_bytes()).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.kind() == DecodeErrorKind::Newer));
    }
}

#[test]
fn fields_of_a_later_minor_version_are_ignored() {
    let text = String::from_utf8(examples()[0].clone()).unwrap().replacen('{', "{\"comment\": [1, {}],", 1);
    assert_eq!(Root::decode(text.as_bytes()), Root::decode(&examples()[0]));
}

#[test]
fn a_group_that_decompresses_beyond_its_bound_is_refused() {
    let bomb = zstd::bulk::compress(&vec![b' '; limits::GROUP_RAW_BYTES_MAX + 1], 19).unwrap();
    assert_eq!(Group::decode(&bomb), Err(DecodeError::Compressed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn changed_bytes_never_panic(which in 0..6usize, changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let mut bytes = examples().swap_remove(which);
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        decode_all(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode_all(&bytes);
    }

    #[test]
    fn changed_payloads_with_a_right_checksum_never_panic(at in any::<usize>(), value in any::<[u8; 8]>()) {
        // The trailer and frames hold, what is inside is anything: counts and lengths must be checked for themselves.
        let mut bytes = examples().pop().unwrap();
        let end = bytes.len() - 36;
        let mut from = 0;
        while from < end {
            let length = u32::from_be_bytes(bytes[from + 4..from + 8].try_into().unwrap()) as usize;
            for (byte, new) in bytes[from + 8..from + 8 + length].iter_mut().skip(at % (length + 1)).zip(value) {
                *byte = new;
            }
            let crc = crc32c(&bytes[from..from + 8 + length]);
            bytes[from + 8 + length..from + 12 + length].copy_from_slice(&crc.to_be_bytes());
            from += 12 + length;
        }
        decode_all(&bytes);
        drop(Footer::decode(&bytes, bytes.len() as u64 + 100));
    }
}
