//! How valid inputs are damaged: bits, lengths and counts in all the places where they may stand, pieces cut out,
//! doubled and added, and long runs of equal bytes, which decode as very many small elements.

use crate::Random;

const BYTES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];
const SHORTS: [i16; 6] = [-1, -2, 0, 1, i16::MAX, i16::MIN];
const WORDS: [i32; 9] = [-1, -2, 0, 1, 0xffff, 0x00ff_ffff, i32::MAX - 1, i32::MAX, i32::MIN];
const LONGS: [i64; 6] = [-1, 0, 1, i64::MAX - 1, i64::MAX, i64::MIN];
const VARINTS: [&[u8]; 6] = [
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0xfe, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0xff, 0xff, 0x03],
    &[0x80, 0x08],
];
const RUN_BYTES_MAX: usize = 4 << 10;

/// Damages the input in up to four places.
pub fn mutate(random: &mut Random, input: &mut Vec<u8>) {
    if random.one_in(32) {
        let length = random.below(80);
        *input = random.bytes(length);
        return;
    }
    for _ in 0..=random.below(4) {
        mutate_once(random, input);
    }
}

fn mutate_once(random: &mut Random, input: &mut Vec<u8>) {
    let at = random.below(input.len());
    match random.below(14) {
        0 | 1 => {
            let bit = 1 << random.below(8);
            change(input, at, |byte| byte ^ bit);
        }
        2 => {
            let value = random.u64() as u8;
            change(input, at, |_| value);
        }
        3 => {
            let value = random.pick(&BYTES);
            change(input, at, |_| value);
        }
        4 => change(input, at, |byte| byte.wrapping_add(1)),
        5 => overwrite(input, at, &random.pick(&SHORTS).to_be_bytes()),
        6 => overwrite(input, at, &random.pick(&WORDS).to_be_bytes()),
        7 => overwrite(input, at, &random.pick(&LONGS).to_be_bytes()),
        8 => overwrite(input, at, random.pick(&VARINTS)),
        9 => input.truncate(at),
        10 => {
            let end = (at + 1 + random.below(8)).min(input.len());
            input.drain(at..end);
        }
        11 => {
            let end = (at + 1 + random.below(32)).min(input.len());
            let piece = input.get(at..end).unwrap_or_default().to_vec();
            let place = random.below(input.len());
            input.splice(place..place, piece);
        }
        12 => {
            let length = 1 + random.below(8);
            let piece = random.bytes(length);
            input.splice(at..at, piece);
        }
        _ => run(random, input, at),
    }
}

/// Cuts the input off, and goes on with a large count and many equal bytes. Rare, because it is long.
fn run(random: &mut Random, input: &mut Vec<u8>, at: usize) {
    if !random.one_in(8) {
        return;
    }
    input.truncate(at);
    let length = random.below(RUN_BYTES_MAX);
    if random.one_in(2) {
        input.extend_from_slice(&(random.below(length + 1) as u32).to_be_bytes());
    } else {
        let count = random.below(length + 1);
        input.extend_from_slice(&[count as u8 | 0x80, (count >> 7) as u8 & 0x7f]);
    }
    let byte = random.pick(&[0, 0, 1, 1, 2]);
    input.resize(input.len() + length, byte);
}

fn change(input: &mut [u8], at: usize, to: impl FnOnce(u8) -> u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte = to(*byte);
    }
}

fn overwrite(input: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in input.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}
