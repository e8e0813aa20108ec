//! The values of records: text like that of events, half of it random, so that codecs have work and do not win all.
//!
//! The same seed gives the same bytes: runs against two servers send the same.

/// Makes values.
#[derive(Debug)]
pub(crate) struct Payload {
    state: u64,
}

const FIELDS: &[&str] = &[
    "{\"service\":\"checkout\",\"level\":\"info\",\"trace\":\"",
    "\",\"path\":\"/v1/orders/items\",\"customer\":\"",
    "\",\"message\":\"reserved stock for the order\",\"token\":\"",
    "\",\"region\":\"north\",\"cause\":\"",
];
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+_";
/// Random letters after a field's fixed text.
const TOKEN_BYTES: usize = 48;

impl Payload {
    /// From a seed that is not 0.
    pub(crate) fn new(seed: u64) -> Payload {
        Payload { state: seed.max(1) }
    }

    /// A value of exactly so many bytes.
    pub(crate) fn value(&mut self, bytes: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(bytes + TOKEN_BYTES * 2);
        for field in FIELDS.iter().cycle() {
            if value.len() >= bytes {
                break;
            }
            value.extend_from_slice(field.as_bytes());
            for _ in 0..TOKEN_BYTES {
                let letter = self.next() >> 58;
                value.push(LETTERS.get(letter as usize).copied().unwrap_or(b'A'));
            }
        }
        value.truncate(bytes);
        value
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}
