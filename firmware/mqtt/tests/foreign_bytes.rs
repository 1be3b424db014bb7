//! What the fuzz target checks, on stable: over its corpus, and over bytes that chance makes.

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "a library, for the fuzz target")]
mod fuzz;

use proptest::{collection::vec, prelude::*};

#[test]
fn nothing_in_the_corpus_does_harm() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/reader");
    hil_corpus::try_out(corpus, 8, fuzz::reader);
}

/// Bytes that get further than chance alone: fixed headers with a length that fits, or nearly.
fn nearly_packets() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        4 => 0x30..0x40_u8,
        4 => prop::sample::select(vec![0x20, 0x40, 0x50, 0x62, 0x70, 0x90, 0xd0]),
        1 => any::<u8>(),
    ];
    let body = prop_oneof![
        vec(any::<u8>(), 0..6),
        (vec(any::<u8>(), 0..100)).prop_map(|rest| [&[0, 1, b'a'][..], &rest].concat()),
        Just(vec![0, 1]),
        Just(vec![0, 2]),
    ];
    let packet = (kind, body, prop_oneof![9 => Just(0), 1 => any::<u8>()]).prop_map(
        |(kind, body, wrong)| {
            let length = (body.len() as u8).wrapping_add(wrong) & 0x7f;
            [&[kind, length][..], &body].concat()
        },
    );
    vec(packet, 0..12).prop_map(|packets| packets.concat())
}

proptest! {
    #[test]
    fn bytes_that_chance_makes(data in vec(any::<u8>(), 0..200)) {
        fuzz::reader(&data);
    }

    #[test]
    fn bytes_that_are_nearly_packets(piece in any::<u8>(), data in nearly_packets()) {
        fuzz::reader(&[&[piece % 8][..], &data].concat());
    }
}
