//! A stream may be cut anywhere, and frames may come glued together: what is
//! read out of it never depends on how it arrived.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop where a test may")]

use proptest::prelude::*;
use towline_protocol::frame::{self, Channel, Decoder, FrameError, FrameLimits, Part};
use towline_protocol::limits::{
    BLOCK_LIST_VALUES_MAX, CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, CONTROL_BYTES_MAX,
    LENGTH_PREFIX_BYTES, VALUE_BYTES,
};
use towline_types::{BlockIndex, ChainingValue, Offset};

/// Everything at once, so that one stream can hold every kind.
const ANY: FrameLimits = FrameLimits {
    control_bytes: CONTROL_BYTES_MAX,
    chunk_bytes: CHUNK_BYTES_MAX,
    blocks: true,
    block_list_values: BLOCK_LIST_VALUES_MAX,
};

/// What each side accepts, and everything.
const LIMITS: [FrameLimits; 5] = [
    FrameLimits::LOGIN,
    FrameLimits::SERVER,
    FrameLimits::CLIENT,
    FrameLimits::READING_CLIENT,
    ANY,
];

/// A part with its payload.
#[derive(Debug, Clone, PartialEq)]
enum Whole {
    Control(Vec<u8>),
    Chunk(Channel, Offset, Vec<u8>),
    Block(Channel, BlockIndex, ChainingValue),
    BlockList(Channel, BlockIndex, Vec<ChainingValue>),
}

impl Whole {
    fn encode(&self, stream: &mut Vec<u8>) {
        match self {
            Self::Control(json) => {
                let length = u32::try_from(json.len() + 1).unwrap();
                stream.extend_from_slice(&length.to_be_bytes());
                stream.push(1);
                stream.extend_from_slice(json);
            }
            Self::Chunk(channel, offset, payload) => {
                let length = u32::try_from(payload.len()).unwrap();
                stream.extend_from_slice(&frame::chunk_head(*channel, *offset, length));
                stream.extend_from_slice(payload);
            }
            Self::Block(channel, index, value) => {
                stream.extend_from_slice(&frame::block(*channel, *index, *value));
            }
            Self::BlockList(channel, first, values) => {
                let mut index = *first;
                let mut blocks = Vec::new();
                for value in values {
                    blocks.push((index, *value));
                    index = index.next();
                }
                stream.extend_from_slice(&frame::block_lists(*channel, &blocks));
            }
        }
    }
}

/// A socket that gives as much as it likes.
struct Socket<'a> {
    stream: &'a [u8],
    pieces: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl<'a> Socket<'a> {
    fn new(stream: &'a [u8], pieces: &'a [usize]) -> Self {
        Self { stream, pieces: pieces.iter().cycle() }
    }

    fn read(&mut self, space: &mut [u8]) -> usize {
        let piece = self.pieces.next().copied().unwrap_or(1);
        let count = piece.min(space.len()).min(self.stream.len());
        let (now, later) = self.stream.split_at(count);
        space[..count].copy_from_slice(now);
        self.stream = later;
        count
    }
}

/// The most that a decoder may ever ask for: a whole frame of a kind that it
/// holds itself, or a handful of small ones.
fn most_space(limits: FrameLimits) -> usize {
    let control = LENGTH_PREFIX_BYTES + 1 + limits.control_bytes as usize;
    let list = match limits.block_list_values {
        0 => 0,
        most => LENGTH_PREFIX_BYTES + (CHUNK_HEADER_BYTES + most * VALUE_BYTES) as usize,
    };
    control.max(list).max(4096)
}

/// Reads as the owner of a socket does: payload first out of the decoder, then
/// past it. `by_hand` is how much it fetches at a time.
fn decode(
    limits: FrameLimits,
    mut socket: Socket<'_>,
    by_hand: usize,
) -> Result<Vec<Whole>, FrameError> {
    let mut decoder = Decoder::new(limits);
    let mut wholes = Vec::new();
    loop {
        let chunk = match decoder.next_part()? {
            Some(Part::Control(json)) => {
                wholes.push(Whole::Control(json.to_vec()));
                continue;
            }
            Some(Part::Block { channel, index, value }) => {
                wholes.push(Whole::Block(channel, index, value));
                continue;
            }
            Some(Part::BlockList { channel, first, values }) => {
                wholes.push(Whole::BlockList(channel, first, values));
                continue;
            }
            Some(Part::Chunk { channel, offset, length }) => Some((channel, offset, length)),
            None => None,
        };
        let Some((channel, offset, length)) = chunk else {
            let space = decoder.space();
            assert!(!space.is_empty());
            assert!(space.len() <= most_space(limits), "{} bytes asked for", space.len());
            let count = socket.read(space);
            decoder.filled(count);
            if count == 0 {
                return Ok(wholes);
            }
            continue;
        };
        let mut payload = Vec::new();
        let mut buffer = vec![0; by_hand];
        while decoder.payload_left() > 0 {
            assert_eq!(decoder.next_part(), Ok(None), "nothing comes before the payload's end");
            let mut count = decoder.take_payload(&mut buffer);
            if count == 0 {
                let room = by_hand.min(decoder.payload_left());
                count = socket.read(&mut buffer[..room]);
                decoder.payload_came(count);
            }
            if count == 0 {
                assert!(!decoder.is_between_frames(), "a chunk was cut");
                return Ok(wholes);
            }
            payload.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(payload.len(), length as usize);
        wholes.push(Whole::Chunk(channel, offset, payload));
    }
}

fn bytes(length: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<u8>> {
    (length, any::<u8>()).prop_map(|(length, seed)| {
        (0..length).map(|at| u8::try_from(at % 251).unwrap_or(0) ^ seed).collect()
    })
}

fn whole() -> impl Strategy<Value = Whole> {
    let channel = || any::<u32>().prop_map(Channel);
    // The payload has to end at an offset as well.
    let offset = (0..=i64::MAX.cast_unsigned() - 70_000)
        .prop_map(|offset| Offset::try_from(offset).unwrap());
    let index = || (0..(1u64 << 43) - 500).prop_map(|index| BlockIndex::new(index).unwrap());
    let value = || any::<[u8; 32]>().prop_map(ChainingValue::from_bytes);
    // Around 4 KiB and 8 KiB the decoder changes how much it reads at a time.
    let control = prop_oneof![8 => 0..200usize, 2 => 3000..9000usize, 1 => 32_000..=32_768usize];
    let payload = prop_oneof![6 => 1..100usize, 3 => 3000..12_000usize, 1 => 60_000..70_000usize];
    let values = prop_oneof![6 => 1..5usize, 1 => 100..400usize];
    prop_oneof![
        bytes(control).prop_map(Whole::Control),
        (channel(), offset, bytes(payload)).prop_map(|(c, o, p)| Whole::Chunk(c, o, p)),
        (channel(), index(), value()).prop_map(|(c, i, v)| Whole::Block(c, i, v)),
        (channel(), index(), values.prop_flat_map(move |n| prop::collection::vec(value(), n)))
            .prop_map(|(c, i, v)| Whole::BlockList(c, i, v)),
    ]
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        prop::collection::vec(1..40usize, 1..20),
        prop::collection::vec(prop_oneof![1..20usize, 1000..20_000usize], 1..20),
        Just(vec![1 << 20]),
    ]
}

proptest! {
    #[test]
    fn frames_cut_anywhere_are_the_same_frames(
        wholes in prop::collection::vec(whole(), 0..12),
        pieces in pieces(),
        by_hand in prop_oneof![1..20usize, 1000..100_000usize],
    ) {
        let mut stream = Vec::new();
        for whole in &wholes {
            whole.encode(&mut stream);
        }
        let socket = Socket::new(&stream, &pieces);
        prop_assert_eq!(decode(ANY, socket, by_hand).unwrap(), wholes);
    }

    #[test]
    fn a_stream_that_ends_early_gives_the_frames_before(
        wholes in prop::collection::vec(whole(), 1..6),
        pieces in pieces(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut stream = Vec::new();
        for whole in &wholes {
            whole.encode(&mut stream);
        }
        let stream = &stream[..cut.index(stream.len())];
        let found = decode(ANY, Socket::new(stream, &pieces), 5000).unwrap();
        prop_assert_eq!(&found[..], &wholes[..found.len()]);
        prop_assert!(found.len() < wholes.len());
    }

    #[test]
    fn random_bytes_never_panic(
        // Half of the lengths are short enough to be taken for true.
        stream in prop::collection::vec(prop_oneof![Just(0u8), 0..6u8, any::<u8>()], 0..3000),
        pieces in pieces(),
    ) {
        for limits in LIMITS {
            // Frames or an error, both are fine.
            let _ = decode(limits, Socket::new(&stream, &pieces), 700);
        }
    }

    #[test]
    fn a_damaged_stream_never_panics(
        wholes in prop::collection::vec(whole(), 1..6),
        pieces in pieces(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut stream = Vec::new();
        for whole in &wholes {
            whole.encode(&mut stream);
        }
        for (at, byte) in damage {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        for limits in LIMITS {
            let _ = decode(limits, Socket::new(&stream, &pieces), 5000);
        }
    }

    #[test]
    fn control_messages_of_any_text_never_panic(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[{}\\[\\]\",:a-z0-9\\\\ -]{0,200}".prop_map(String::into_bytes),
            r#"\{"action":"(hello|upload|resume|complete|withdraw|find)","[a-z_]{1,12}":.{0,40}\}"#
                .prop_map(String::into_bytes),
            r#"\{"action":"(list|stat|mkdir|link|move|remove|restore|versions|read|delta|change)",("(path|to|entries|items|node)":\[?[\[\]{}",a-z0-9:]{0,40}\]?,)?"[a-z_]{1,12}":.{0,40}\}"#
                .prop_map(String::into_bytes),
        ],
    ) {
        let _ = towline_protocol::Request::parse(&bytes);
        let _ = towline_protocol::Reply::parse(&bytes);
    }
}

#[test]
fn space_is_never_empty_even_while_parts_wait() {
    let mut decoder = Decoder::new(FrameLimits::SERVER);
    let mut pings = frame::control(&serde_json::json!({})).into_iter().cycle();
    for _ in 0..3 {
        let space = decoder.space();
        assert!(!space.is_empty());
        let count = space.len();
        space.fill_with(|| pings.next().unwrap());
        decoder.filled(count);
    }
}

#[test]
fn behind_a_long_chunk_only_heads_are_read_here() {
    let mut decoder = Decoder::new(FrameLimits::SERVER);
    let head = frame::chunk_head(Channel(0), Offset::ZERO, 65_536);
    decoder.space()[..head.len()].copy_from_slice(&head);
    decoder.filled(head.len());
    assert!(matches!(decoder.next_part(), Ok(Some(Part::Chunk { .. }))));
    decoder.payload_came(65_536);
    assert_eq!(decoder.space().len(), frame::CHUNK_HEAD_BYTES);
}

#[test]
fn one_long_message_does_not_cost_its_length_for_ever() {
    let mut stream = Vec::new();
    Whole::Control(vec![b' '; 32_768]).encode(&mut stream);
    let mut decoder = Decoder::new(FrameLimits::SERVER);
    let mut socket = Socket::new(&stream, &[1 << 20]);
    while decoder.next_part().unwrap().is_none() {
        let count = socket.read(decoder.space());
        decoder.filled(count);
    }
    assert!(decoder.is_between_frames());
    assert_eq!(decoder.space().len(), 4096);
}
