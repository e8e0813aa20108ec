//! What lies in the bucket: roots, groups, table roots, the small files, footers and keys. A bucket is outside input:
//! others may write to it, and bytes rot.
//!
//! JSON is damaged at its values too, and footers get their checksums made right again in half of the cases, so that
//! what stands behind syntax and checksums is reached. What was accepted is written and read again, and must be the
//! same.

mod manifest_bases;

use manifest_bases as bases;
use tests_fuzz::{Campaign, Meter, Random};
use tiering_manifest::footer::{MAGIC, TRAILER_BYTES};
use tiering_manifest::limits::GROUP_RAW_BYTES_MAX;
use tiering_manifest::{BucketFile, Footer, Group, Index, Key, Root, TableRoot, TopicFile, crc32c};

#[global_allocator]
static METER: Meter = Meter;

const CASES_JSON: u64 = 400_000;
const CASES_GROUPS: u64 = 100_000;
const CASES_FOOTERS: u64 = 1_500_000;
const CASES_KEYS: u64 = 1_500_000;
/// Rows as text are longer than in memory; the parser keeps the file's structure beside them.
const PEAK_PER_BYTE: usize = 24;
const PEAK_BASE: usize = 32 << 10;
/// A group is decompressed into room for the largest one: once by the test, and once by what it tests.
const PEAK_BASE_GROUP: usize = PEAK_BASE + 2 * GROUP_RAW_BYTES_MAX;

const CAMPAIGN: Campaign =
    Campaign { name: "", seed: 0, cases: CASES_JSON, peak_per_byte: PEAK_PER_BYTE, peak_base: PEAK_BASE };

/// Values that take the place of a number or a string in JSON.
const VALUES: [&str; 16] = [
    "-1",
    "0",
    "1",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "0.5",
    "null",
    "true",
    "\"\"",
    "\"data/../x\"",
    "[]",
    "{}",
];

/// Replaces a number or a string of the JSON text, or doubles or drops a piece between two commas.
fn mutate_json(random: &mut Random, text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..random.below(3) {
        let borders: Vec<usize> =
            text.iter().enumerate().filter(|(_, byte)| b",:[]{}".contains(byte)).map(|(at, _)| at).collect();
        let index = random.below(borders.len());
        let (Some(from), Some(to)) = (borders.get(index), borders.get(index + 1 + random.below(2))) else { continue };
        let inner = *from + 1..*to;
        let piece = text.get(inner.clone()).unwrap_or_default().to_vec();
        match random.below(4) {
            0 => drop(text.splice(inner.end..inner.end, [b",".to_vec(), piece].concat())),
            1 => drop(text.splice(inner, [])),
            _ => drop(text.splice(inner, random.pick(&VALUES).bytes())),
        }
    }
    text
}

/// Makes the checksums of a footer's sections and trailer right again, where its structure still shows them.
fn seal_footer(footer: &mut [u8]) {
    let Some(sections) = footer.len().checked_sub(TRAILER_BYTES) else { return };
    let mut at = 0;
    while at + 12 <= sections {
        let length = footer.get(at + 4..at + 8).and_then(|bytes| bytes.first_chunk::<4>()).copied().unwrap_or_default();
        let end = at.saturating_add(8).saturating_add(u32::from_be_bytes(length) as usize);
        if end + 4 > sections {
            break;
        }
        seal(footer, at, end);
        at = end + 4;
    }
    let object_length = bases::BLOCKS_END + footer.len() as u64;
    put(footer, sections + 8, &object_length.to_be_bytes());
    seal(footer, sections, sections + TRAILER_BYTES - 12);
    put(footer, sections + TRAILER_BYTES - 8, &MAGIC);
}

fn seal(bytes: &mut [u8], from: usize, to: usize) {
    let crc = crc32c(bytes.get(from..to).unwrap_or_default());
    put(bytes, to, &crc.to_be_bytes());
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(what) {
        *place = *byte;
    }
}

#[test]
fn roots() {
    let campaign = Campaign { name: "roots", seed: 0x300_7000, ..CAMPAIGN };
    let base = |random: &mut Random| bases::root(random).encode();
    let decode = |random: &mut Random, input: &[u8]| Root::decode(&mutate_json(random, input)).ok();
    campaign.run(base, decode, |root| {
        assert_eq!(root.check(), Ok(()));
        assert_eq!(Root::decode(&root.encode()), Ok(root));
    });
}

#[test]
fn table_roots() {
    let campaign = Campaign { name: "table roots", seed: 0x300_7001, ..CAMPAIGN };
    let base = |random: &mut Random| bases::table(random).encode();
    let decode = |random: &mut Random, input: &[u8]| TableRoot::decode(&mutate_json(random, input)).ok();
    campaign.run(base, decode, |root| assert_eq!(TableRoot::decode(&root.encode()), Ok(root)));
}

#[test]
fn bucket_and_topic_files() {
    let campaign = Campaign { name: "small files", seed: 0x300_7002, ..CAMPAIGN };
    let base = |random: &mut Random| {
        if random.one_in(2) { bases::bucket_file().encode() } else { bases::topic_file().encode() }
    };
    let decode = |random: &mut Random, input: &[u8]| {
        let text = mutate_json(random, input);
        let files = (BucketFile::decode(&text).ok(), TopicFile::decode(&text).ok());
        (files.0.is_some() || files.1.is_some()).then_some(files)
    };
    campaign.run(base, decode, |(bucket, topic)| {
        assert!(bucket.is_none_or(|file| BucketFile::decode(&file.encode()) == Ok(file)));
        assert!(topic.is_none_or(|file| TopicFile::decode(&file.encode()) == Ok(file)));
    });
}

#[test]
fn groups_damaged_before_and_after_compression() {
    let campaign =
        Campaign { name: "groups", seed: 0x300_7003, cases: CASES_GROUPS, peak_base: PEAK_BASE_GROUP, ..CAMPAIGN };
    let base = |random: &mut Random| bases::group(random, 0).encode();
    let decode = |random: &mut Random, input: &[u8]| {
        let raw = zstd::bulk::decompress(input, GROUP_RAW_BYTES_MAX).ok();
        match raw {
            Some(raw) if random.one_in(2) => {
                let mut text = mutate_json(random, &raw);
                tests_fuzz::mutate(random, &mut text);
                Group::decode(&zstd::bulk::compress(&text, 1).ok()?).ok()
            }
            _ => Group::decode(input).ok(),
        }
    };
    campaign.run(base, decode, |group| assert_eq!(Group::decode(&group.encode()), Ok(group)));
}

#[test]
fn footers() {
    let campaign = Campaign { name: "footers", seed: 0x300_7004, cases: CASES_FOOTERS, ..CAMPAIGN };
    let base = |random: &mut Random| {
        bases::footer(random).encode(bases::BLOCKS_END).expect("the footer is sound").bytes.to_vec()
    };
    let decode = |random: &mut Random, input: &[u8]| {
        let mut tail = input.to_vec();
        if random.one_in(2) {
            seal_footer(&mut tail);
        }
        let object_length = if random.one_in(16) { random.u64() } else { bases::BLOCKS_END + tail.len() as u64 };
        Footer::decode(&tail, object_length).ok()
    };
    campaign.run(base, decode, |footer| {
        let block = footer.blocks.blocks().last().expect("a footer has blocks");
        let blocks_end = block.position + u64::from(block.stored_length);
        let encoded = footer.encode(blocks_end).expect("what was decoded can be encoded");
        assert_eq!(Footer::decode(&encoded.bytes, encoded.object_length), Ok(footer));
    });
}

#[test]
fn indexes() {
    let campaign = Campaign { name: "indexes", seed: 0x300_7005, cases: CASES_FOOTERS, ..CAMPAIGN };
    let base = |random: &mut Random| {
        let encoded = bases::footer(random).encode(bases::BLOCKS_END).expect("the footer is sound");
        let from = (encoded.index_position - bases::BLOCKS_END) as usize;
        encoded.bytes.slice(from..from + encoded.index_length as usize).to_vec()
    };
    let decode = |random: &mut Random, input: &[u8]| {
        let mut index = input.to_vec();
        if random.one_in(2) {
            index.resize(index.len() + TRAILER_BYTES, 0);
            seal_footer(&mut index);
            index.truncate(input.len());
        }
        Index::decode(&index).ok()
    };
    campaign.run(base, decode, |index| {
        let _ = (index.blocks.find_offset(broker_model::Offset(7)), index.blocks.find_time(broker_model::Timestamp(7)));
    });
}

#[test]
fn keys() {
    let campaign = Campaign { name: "keys", seed: 0x300_7006, cases: CASES_KEYS, ..CAMPAIGN };
    let base = |random: &mut Random| bases::key(random).into_bytes();
    let decode = |_: &mut Random, input: &[u8]| {
        let text = std::str::from_utf8(input).ok()?;
        Key::parse(text).ok().map(|key| (key, text.to_owned()))
    };
    // One key has one text, else one object would have two names.
    campaign.run(base, decode, |(key, text)| assert_eq!(key.to_string(), text));
}
