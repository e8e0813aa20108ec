//! The harness finds what it looks for: a decoder that panics, one that takes too much memory, and nothing that is
//! accepted. Two runs of a campaign are the same.

use std::cell::RefCell;
use std::panic::catch_unwind;

use tests_fuzz::{Campaign, Meter, Random, Report, peak_of};

#[global_allocator]
static METER: Meter = Meter;

const CAMPAIGN: Campaign = Campaign { name: "harness", seed: 1, cases: 200_000, peak_per_byte: 2, peak_base: 1 << 10 };

fn base(random: &mut Random) -> Vec<u8> {
    random.bytes(20)
}

fn caught(decode: impl Fn(&[u8]) -> Option<()> + std::panic::RefUnwindSafe) -> String {
    let outcome = catch_unwind(|| CAMPAIGN.run(base, |_, input| decode(input), drop));
    let panic = outcome.map(|_: Report| ()).expect_err("the campaign finds it");
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    panic.downcast_ref::<String>().cloned().or(text).expect("a panic has a text")
}

#[test]
fn a_decoder_that_panics_is_found() {
    let message = caught(|input| {
        assert!(input.get(3) != Some(&0xff), "found");
        Some(())
    });
    assert_eq!(message, "found");
}

#[test]
fn a_decoder_that_believes_a_count_is_found() {
    let message = caught(|input| {
        let count = u32::from_be_bytes(*input.first_chunk::<4>()?) & 0x00ff_ffff;
        let room: Vec<u8> = Vec::with_capacity(count as usize);
        (room.capacity() > 0).then_some(())
    });
    assert!(message.contains("bytes of memory"), "{message}");
}

#[test]
fn a_campaign_that_accepts_nothing_is_found() {
    assert!(caught(|_| None).contains("nothing was tested"));
}

#[test]
fn the_same_seed_gives_the_same_cases() {
    let run = || {
        let cases = RefCell::new(Vec::new());
        let campaign = Campaign { cases: 10_000, peak_base: 1 << 30, ..CAMPAIGN };
        campaign.run(
            base,
            |random, input| {
                cases.borrow_mut().push((random.u64(), input.to_vec()));
                Some(())
            },
            drop,
        );
        cases.into_inner()
    };
    assert_eq!(run(), run());
}

#[test]
fn the_meter_sees_what_was_held_at_the_peak() {
    let (kept, peak) = peak_of(|| {
        drop(vec![0u8; 5_000]);
        vec![0u8; 3_000]
    });
    assert_eq!((kept.len(), peak), (3_000, 5_000));
}
