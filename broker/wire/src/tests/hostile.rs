//! Inputs made to do harm. Each was a crash, or an allocation without bound, of some decoder of this protocol.

use super::*;
use crate::form::Form;
use crate::limits;

fn decode(api: ApiKey, version: i16, body: &[u8]) -> Result<RequestBody, DecodeError> {
    RequestBody::decode(api, version, Bytes::copy_from_slice(body))
}

#[test]
fn produce_of_12_bytes_that_says_two_billion_topics() {
    let body = [0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff];
    let count = DecodeError::Count { at: 8, count: 0x7fff_ffff, remaining: 0 };
    assert_eq!(decode(ApiKey::Produce, 3, &body), Err(count));
}

#[test]
fn metadata_of_13_bytes_that_says_four_billion_topics() {
    let body = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0];
    let count = DecodeError::Count { at: 0, count: 0xffff_fffe, remaining: 8 };
    assert_eq!(decode(ApiKey::Metadata, 12, &body), Err(count));
    let body = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(matches!(decode(ApiKey::Metadata, 1, &body), Err(DecodeError::Count { .. })));
}

#[test]
fn elements_of_a_whole_message_are_bounded() {
    let mut out = Encoder::new();
    out.array_len(Form::Compact, limits::ELEMENTS_MAX + 1).unwrap();
    let mut body = out.finish().0.to_vec();
    body.resize(body.len() + 4 * (limits::ELEMENTS_MAX + 1), 0);
    let mut input = Decoder::new(body.into());
    assert_eq!(input.array(Form::Compact, 4, Decoder::i32), Err(DecodeError::TooMany { at: 0 }));
    // The bound is for all arrays together.
    let half = limits::ELEMENTS_MAX / 2 + 1;
    let mut out = Encoder::new();
    for _ in 0..2 {
        out.array_len(Form::Classic, half).unwrap();
        for _ in 0..half {
            out.i8(0);
        }
    }
    let mut input = Decoder::new(out.finish().0);
    assert_eq!(input.array(Form::Classic, 1, Decoder::i8).map(|array| array.len()), Ok(half));
    assert!(matches!(input.array(Form::Classic, 1, Decoder::i8), Err(DecodeError::TooMany { .. })));
}

#[test]
fn lengths_below_null_are_refused() {
    let body = [0xff, 0xfe];
    let negative = DecodeError::NegativeLength { at: 0, length: -2 };
    assert_eq!(Decoder::new(Bytes::copy_from_slice(&body)).nullable_string(Form::Classic), Err(negative));
    let body = [0x80, 0, 0, 0];
    let negative = DecodeError::NegativeLength { at: 0, length: i32::MIN };
    assert_eq!(Decoder::new(Bytes::copy_from_slice(&body)).nullable_bytes(Form::Classic), Err(negative));
    let array = Decoder::new(Bytes::copy_from_slice(&body)).nullable_array(Form::Classic, 4, Decoder::i32);
    assert_eq!(array, Err(negative));
}

#[test]
fn null_where_none_is_allowed() {
    assert_eq!(Decoder::new(Bytes::from_static(&[0xff, 0xff])).string(Form::Classic), Err(DecodeError::Null { at: 0 }));
    assert_eq!(Decoder::new(Bytes::from_static(&[0])).bytes(Form::Compact), Err(DecodeError::Null { at: 0 }));
    // Metadata v0 has no null list of topics; v1 has.
    assert_eq!(decode(ApiKey::Metadata, 0, &[0xff; 4]), Err(DecodeError::Null { at: 0 }));
    assert!(decode(ApiKey::Metadata, 1, &[0xff; 4]).is_ok());
}

#[test]
fn varints_beyond_32_bits_are_refused() {
    for body in [&[0xff, 0xff, 0xff, 0xff, 0x1f][..], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]] {
        let varint = Decoder::new(Bytes::copy_from_slice(body)).uvarint();
        assert_eq!(varint, Err(DecodeError::LongVarint { at: 0 }));
    }
    let varint = Decoder::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f])).uvarint();
    assert_eq!(varint, Ok(u32::MAX));
}

#[test]
fn text_must_be_utf8_and_short() {
    let body = Bytes::from_static(&[0, 2, 0xc3, 0x28]);
    assert_eq!(Decoder::new(body).string(Form::Classic), Err(DecodeError::NotUtf8 { at: 0 }));
    let mut body = vec![0x81, 0x80, 0x02];
    body.resize(40_000, b'a');
    let long = DecodeError::LongString { at: 0, length: 0x8000 };
    assert_eq!(Decoder::new(body.into()).string(Form::Compact), Err(long));
}

#[test]
fn tagged_fields_stay_within_their_length() {
    // ApiVersionsResponse v3, tag 1 is 8 bytes; here it says 4 and 9.
    let head = [0, 0, 1, 0, 0, 0, 0, 1, 1];
    let mut body = head.to_vec();
    body.extend_from_slice(&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let short = ApiVersionsResponse::decode(&mut Decoder::new(body.into()), 3);
    assert!(matches!(short, Err(DecodeError::Short { wanted: 8, remaining: 4, .. })), "{short:?}");
    let mut body = head.to_vec();
    body.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let long = ApiVersionsResponse::decode(&mut Decoder::new(body.into()), 3);
    assert!(matches!(long, Err(DecodeError::TagLength { tag: 1, left: 1, .. })), "{long:?}");
}

#[test]
fn tagged_fields_are_counted() {
    let mut out = Encoder::new();
    out.uvarint(limits::TAGS_MAX as u32 + 1);
    let mut body = out.finish().0.to_vec();
    body.resize(body.len() + 3 * limits::TAGS_MAX, 0);
    assert_eq!(Decoder::new(body.into()).skip_tags(Form::Compact), Err(DecodeError::TooMany { at: 0 }));
}
