//! Golden frames: every kind and every action, both ways. The bytes lie in
//! `golden/*.hex`; here stands what they mean. Whoever changes one changes the
//! protocol, and `SPEC.md` with it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop where a test may")]

use std::collections::BTreeSet;
use towline_protocol::error::{Code, ErrorReply};
use towline_protocol::frame::{self, Channel, Decoder, FrameError, FrameLimits, Part};
use towline_protocol::reply::{
    Blocks, Cancelled, Found, Granted, Pong, Progress, Reply, Status, Success, Unfinished, Welcome,
};
use towline_protocol::request::{
    Complete, DocumentRef, Find, Hello, Join, Ping, Request, Resume, Upload, Withdraw,
};
use towline_types::{
    BlockIndex, ChainingValue, DocumentId, FileHash, FileSize, Generation, Offset, OnConflict,
    Timestamp, UserId,
};

const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxMjMifQ.c2lnbmF0dXJl";
const HASH_OF_4_BLOCKS: &str = "8f3f67e881a256c8a2cc45cce1a0b500a1dd0500623fe5363fe7f77518267c5a";
const HASH_OF_1_BLOCK: &str = "74cb441fd087764ca9c3694da742ebe30cbeb3060a17009ca81825c7a8d10343";
const VALUE_1: &str = "e01e387e729abf35ba39644daebfa3a124ab9fee5a6445295e0309cc4fda53a7";
const VALUE_2: &str = "bdcf82608b11c686cb5a2618dc95a16978b73622e9a943dd26af5bdbf7f4b41b";

/// One frame of a `.hex` file.
struct Golden {
    name: String,
    bytes: Vec<u8>,
    /// What the comments say, one for each field.
    comments: Vec<String>,
}

fn read(text: &str) -> Vec<Golden> {
    let mut all = Vec::<Golden>::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("== ") {
            all.push(Golden { name: name.to_owned(), bytes: Vec::new(), comments: Vec::new() });
            continue;
        }
        let golden = all.last_mut().expect("a frame begins with its name");
        let (hex, comment) = line.split_once("# ").unwrap_or((line, ""));
        let byte = |digits| u8::from_str_radix(digits, 16).expect("hexadecimal bytes");
        golden.bytes.extend(hex.split_whitespace().map(byte));
        golden.comments.extend((!comment.is_empty()).then(|| comment.to_owned()));
    }
    all
}

/// Each golden frame of a file with what it means. A frame without a meaning,
/// or a meaning without a frame, fails.
fn paired<T>(text: &str, meanings: Vec<(&str, T)>) -> Vec<(Golden, T)> {
    let mut goldens = read(text);
    let names = |names: Vec<&str>| {
        let set: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(set.len(), names.len(), "a name stands there twice");
        set
    };
    assert_eq!(
        names(goldens.iter().map(|golden| golden.name.as_str()).collect()),
        names(meanings.iter().map(|(name, _)| *name).collect()),
    );
    let mut take = |name: &str| {
        let at = goldens.iter().position(|golden| golden.name == name).unwrap();
        goldens.swap_remove(at)
    };
    meanings.into_iter().map(|(name, meaning)| (take(name), meaning)).collect()
}

/// A decoder that has been given these bytes.
fn fed(limits: FrameLimits, mut bytes: &[u8]) -> Decoder {
    let mut decoder = Decoder::new(limits);
    while !bytes.is_empty() {
        let space = decoder.space();
        let count = space.len().min(bytes.len());
        space[..count].copy_from_slice(&bytes[..count]);
        decoder.filled(count);
        bytes = &bytes[count..];
    }
    decoder
}

/// The JSON of the one control message that these bytes are.
fn json_of(limits: FrameLimits, bytes: &[u8]) -> Vec<u8> {
    let mut decoder = fed(limits, bytes);
    let Ok(Some(Part::Control(json))) = decoder.next_part() else { panic!("no control message") };
    let json = json.to_vec();
    assert!(decoder.is_between_frames());
    json
}

/// The comments of a control message are its text; they must not lie.
fn assert_comments_are_the_text(golden: &Golden) {
    let text = String::from_utf8(golden.bytes[5..].to_vec()).unwrap();
    assert_eq!(golden.comments[2..].concat(), text, "{}", golden.name);
}

fn document(id: u64) -> DocumentId {
    DocumentId::try_from(id).unwrap()
}

fn user(id: u64) -> UserId {
    UserId::try_from(id).unwrap()
}

fn offset(bytes: u64) -> Offset {
    Offset::try_from(bytes).unwrap()
}

fn size(bytes: u64) -> FileSize {
    FileSize::try_from(bytes).unwrap()
}

fn index(index: u64) -> BlockIndex {
    BlockIndex::new(index).unwrap()
}

fn hash(hex: &str) -> FileHash {
    FileHash::try_from(hex.to_owned()).unwrap()
}

fn value(hex: &str) -> ChainingValue {
    ChainingValue::try_from(hex.to_owned()).unwrap()
}

fn moment(ms: u64) -> Timestamp {
    Timestamp::try_from(ms).unwrap()
}

fn lease() -> Generation {
    Generation::try_from(1_705_331_250_000).unwrap()
}

fn lectures() -> Vec<String> {
    vec!["lectures".to_owned(), "2024".to_owned()]
}

fn requests() -> Vec<(&'static str, Request)> {
    let hello = Hello { channel: Channel(0), version: 1, token: TOKEN.into(), client: None };
    let named = Hello { client: Some("towline 0.1.0".into()), ..hello.clone() };
    let upload = Upload {
        channel: Channel(0),
        filename: "doc.pdf".into(),
        folder: Vec::new(),
        filesize: size(1_048_576),
        user_id: Some(user(123)),
        chunk_size: None,
        blake3: None,
        on_conflict: OnConflict::Rename,
        blocks: false,
        new_only: false,
    };
    let upload_full = Upload {
        channel: Channel(7),
        filename: "Übung 3.pdf".into(),
        folder: lectures(),
        filesize: size(3_145_735),
        user_id: Some(user(123)),
        chunk_size: Some(65_536),
        blake3: Some(hash(HASH_OF_4_BLOCKS)),
        on_conflict: OnConflict::Reject,
        blocks: true,
        new_only: true,
    };
    let resume = Resume {
        channel: Channel(0),
        document_id: document(123),
        offset: Some(offset(200_000)),
        filename: Some("doc.pdf".into()),
        filesize: None,
        user_id: None,
        blocks: false,
        grow: false,
    };
    let resume_full = Resume {
        channel: Channel(7),
        document_id: document(124),
        offset: Some(offset(1_048_576)),
        filename: Some("Übung 3.pdf".into()),
        filesize: Some(size(3_145_735)),
        user_id: Some(user(123)),
        blocks: true,
        grow: true,
    };
    let join = Join { channel: Channel(0), document_id: document(123), lease: lease() };
    let join_channel = Join { channel: Channel(7), ..join.clone() };
    let complete_full = Complete {
        channel: Channel(7),
        document_id: Some(document(124)),
        blake3: Some(hash(HASH_OF_4_BLOCKS)),
        on_conflict: Some(OnConflict::Rename),
    };
    let find = Find {
        channel: Channel(0),
        filename: "doc.pdf".into(),
        folder: Vec::new(),
        filesize: size(1_048_576),
        blake3: None,
    };
    let find_full = Find {
        channel: Channel(7),
        filename: "Übung 3.pdf".into(),
        folder: lectures(),
        filesize: size(3_145_735),
        blake3: Some(hash(HASH_OF_4_BLOCKS)),
    };
    let about = |channel, id| DocumentRef { channel: Channel(channel), document_id: document(id) };
    let ranges = vec![(index(3), 1), (index(7), 2)];
    vec![
        ("hello", Request::Hello(hello)),
        ("hello-named", Request::Hello(named)),
        ("upload", Request::Upload(upload)),
        ("upload-full", Request::Upload(upload_full)),
        ("resume", Request::Resume(resume)),
        ("resume-full", Request::Resume(resume_full)),
        ("join", Request::Join(join)),
        ("join-channel", Request::Join(join_channel)),
        ("complete", Request::Complete(Complete::default())),
        ("complete-full", Request::Complete(complete_full)),
        ("status", Request::Status(about(0, 123))),
        ("blocks", Request::Blocks(about(7, 124))),
        ("withdraw", Request::Withdraw(Withdraw { channel: Channel(7), ranges })),
        ("cancel", Request::Cancel(about(0, 123))),
        ("find", Request::Find(find)),
        ("find-full", Request::Find(find_full)),
        ("ping", Request::Ping(Ping::default())),
        ("ping-channel", Request::Ping(Ping { channel: Channel(u32::MAX) })),
    ]
}

fn replies() -> Vec<(&'static str, Reply)> {
    let welcome = Welcome {
        version: 1,
        server: "towlined 0.1.0".into(),
        server_id: Some("5f1c0a9e7b3d42688e21c4f09d6ab735".parse().unwrap()),
        user_id: user(123),
        user: "ada".into(),
        max_filesize: size(i64::MAX.cast_unsigned()),
        chunk_size: 65_536,
        max_chunk_size: 1_048_576,
        block_size: 1_048_576,
        max_channels: 1024,
        features: ["blocks", "find", "withdraw", "channels", "join", "new_only"]
            .map(str::to_owned)
            .to_vec(),
    };
    let granted = |at| Granted {
        channel: Channel(0),
        document_id: document(123),
        offset: offset(at),
        filesize: size(1_048_576),
        lease: Some(lease()),
    };
    let withdrawn = Granted {
        channel: Channel(7),
        document_id: document(124),
        offset: offset(1_048_576),
        filesize: size(3_145_735),
        lease: None,
    };
    let progress = Progress {
        channel: Channel(0),
        document_id: document(123),
        received: offset(65_536),
        durable: offset(0),
        filesize: size(1_048_576),
        progress: Progress::words(offset(65_536), size(1_048_576)),
        copied: None,
    };
    let success = Success {
        channel: Channel(0),
        document_id: document(123),
        filename: "doc.pdf".into(),
        folder: Vec::new(),
        filesize: size(1_048_576),
        blake3: hash(HASH_OF_1_BLOCK),
        created_at: moment(1_705_331_256_000),
        durable: true,
        existing: false,
        copied: false,
    };
    let existing = Success {
        channel: Channel(7),
        document_id: document(124),
        filename: "Übung 3 (1).pdf".into(),
        folder: lectures(),
        filesize: size(3_145_735),
        blake3: hash(HASH_OF_4_BLOCKS),
        created_at: moment(1_705_331_256_000),
        durable: true,
        existing: true,
        copied: false,
    };
    let copied = Success { existing: false, copied: true, ..existing.clone() };
    let uploading = Status {
        channel: Channel(0),
        document_id: document(123),
        status: "uploading".into(),
        filename: "doc.pdf".into(),
        folder: Vec::new(),
        filesize: size(1_048_576),
        received: offset(200_000),
        durable: offset(196_608),
        active: false,
        blake3: None,
        created_at: None,
        expires_at: Some(moment(1_705_934_256_000)),
        reason: None,
    };
    let completed = Status {
        channel: Channel(7),
        document_id: document(124),
        status: "completed".into(),
        filename: "Übung 3.pdf".into(),
        folder: lectures(),
        filesize: size(3_145_735),
        received: offset(3_145_735),
        durable: offset(3_145_735),
        active: false,
        blake3: Some(hash(HASH_OF_4_BLOCKS)),
        created_at: Some(moment(1_705_331_256_000)),
        expires_at: None,
        reason: None,
    };
    let failed = Status {
        channel: Channel(0),
        document_id: document(125),
        status: "failed".into(),
        filename: "notes.txt".into(),
        folder: Vec::new(),
        filesize: size(1),
        received: offset(0),
        durable: offset(0),
        active: false,
        blake3: None,
        created_at: None,
        expires_at: None,
        reason: Some("the file's hash was not the one announced".into()),
    };
    let blocks = Blocks { channel: Channel(7), document_id: document(124), count: 2 };
    let cancelled =
        Cancelled { channel: Channel(0), document_id: document(123), status: "cancelled".into() };
    let nothing = Found {
        channel: Channel(0),
        same_size: false,
        document_id: None,
        known: false,
        unfinished: None,
    };
    let found = Found {
        channel: Channel(7),
        same_size: true,
        document_id: Some(document(124)),
        known: false,
        unfinished: None,
    };
    let known = Found { document_id: None, known: true, ..found.clone() };
    let unfinished = Found {
        unfinished: Some(Unfinished { document_id: document(123), offset: offset(196_608) }),
        ..nothing.clone()
    };
    let mut all = vec![
        ("welcome", Reply::Welcome(welcome)),
        ("upload", Reply::Upload(granted(0))),
        ("resume", Reply::Resume(granted(200_000))),
        ("join", Reply::Join(granted(196_608))),
        ("progress", Reply::Progress(progress)),
        ("success", Reply::Success(success)),
        ("success-existing", Reply::Success(existing)),
        ("success-copied", Reply::Success(copied)),
        ("status-uploading", Reply::Status(uploading)),
        ("status-completed", Reply::Status(completed)),
        ("status-failed", Reply::Status(failed)),
        ("blocks", Reply::Blocks(blocks)),
        ("withdraw", Reply::Withdraw(withdrawn)),
        ("cancel", Reply::Cancel(cancelled)),
        ("find-nothing", Reply::Find(nothing)),
        ("find-document", Reply::Find(found)),
        ("find-known", Reply::Find(known)),
        ("find-unfinished", Reply::Find(unfinished)),
        ("ping", Reply::Ping(Pong::default())),
        ("ping-channel", Reply::Ping(Pong { channel: Channel(u32::MAX) })),
    ];
    all.extend(errors().into_iter().map(|(name, error)| (name, Reply::Error(error))));
    all
}

fn errors() -> Vec<(&'static str, ErrorReply)> {
    let of_123 =
        |code, message: &str| ErrorReply::new(code, message).on(Channel(0), Some(document(123)));
    vec![
        ("error-unauthorized", ErrorReply::new(Code::Unauthorized, "the token is not good")),
        (
            "error-offset-mismatch",
            ErrorReply {
                expected: Some(offset(196_608)),
                ..of_123(Code::OffsetMismatch, "the upload continues at byte 196608")
            },
        ),
        (
            "error-block-mismatch",
            ErrorReply {
                channel: Channel(7),
                document_id: Some(document(124)),
                index: Some(index(2)),
                ..of_123(
                    Code::BlockMismatch,
                    "block 2 did not arrive as it was sent; send it again",
                )
            },
        ),
        (
            "error-size-limit",
            ErrorReply {
                max: Some(500_000_000),
                ..ErrorReply::new(
                    Code::SizeLimit,
                    "the file is 600 MB; this server takes files up to 500 MB. The operator can raise \
                     it: towlined --max-file-size",
                )
            },
        ),
        (
            "error-no-space",
            ErrorReply {
                missing: Some(1_048_576),
                ..of_123(Code::NoSpace, "the disk is full: 1048576 bytes are missing")
            },
        ),
        (
            "error-storage-refused",
            of_123(
                Code::StorageRefused,
                "the server may not write in the folder \"lectures\" (permission denied); its \
                 operator has to allow it",
            ),
        ),
        (
            "error-bad-request",
            Request::parse(br#"{"action":"upload","filename":"a","filesize":"1"}"#).unwrap_err(),
        ),
    ]
}

#[test]
fn requests_have_their_golden_bytes() {
    for (golden, request) in paired(include_str!("golden/requests.hex"), requests()) {
        assert_eq!(frame::control(&request), golden.bytes, "{}", golden.name);
        let limits = if matches!(request, Request::Hello(_)) {
            FrameLimits::LOGIN
        } else {
            FrameLimits::SERVER
        };
        let json = json_of(limits, &golden.bytes);
        assert_eq!(Request::parse(&json), Ok(request), "{}", golden.name);
        assert_comments_are_the_text(&golden);
    }
}

#[test]
fn replies_have_their_golden_bytes() {
    for (golden, reply) in paired(include_str!("golden/replies.hex"), replies()) {
        assert_eq!(frame::control(&reply), golden.bytes, "{}", golden.name);
        let json = json_of(FrameLimits::CLIENT, &golden.bytes);
        assert_eq!(Reply::parse(&json).unwrap(), reply, "{}", golden.name);
        assert_comments_are_the_text(&golden);
    }
}

#[test]
fn every_action_has_a_golden_frame() {
    // No wildcard: a new action does not compile until it has a line here, and
    // does not pass until it has a golden frame.
    let requests: BTreeSet<u32> = requests()
        .iter()
        .map(|(_, request)| match request {
            Request::Hello(_) => 0,
            Request::Upload(_) => 1,
            Request::Resume(_) => 2,
            Request::Complete(_) => 3,
            Request::Status(_) => 4,
            Request::Blocks(_) => 5,
            Request::Withdraw(_) => 6,
            Request::Cancel(_) => 7,
            Request::Find(_) => 8,
            Request::Ping(_) => 9,
            Request::Join(_) => 10,
        })
        .collect();
    assert_eq!(requests, (0..11).collect());
    let replies: BTreeSet<u32> = replies()
        .iter()
        .map(|(_, reply)| match reply {
            Reply::Welcome(_) => 0,
            Reply::Upload(_) => 1,
            Reply::Resume(_) => 2,
            Reply::Progress(_) => 3,
            Reply::Success(_) => 4,
            Reply::Status(_) => 5,
            Reply::Blocks(_) => 6,
            Reply::Withdraw(_) => 7,
            Reply::Cancel(_) => 8,
            Reply::Find(_) => 9,
            Reply::Error(_) => 10,
            Reply::Ping(_) => 11,
            Reply::Join(_) => 12,
        })
        .collect();
    assert_eq!(replies, (0..13).collect());
}

/// What a frame that is no control message carries.
enum Binary {
    Chunk(Channel, Offset, &'static [u8]),
    Block(Channel, BlockIndex, ChainingValue),
    BlockList(Channel, Vec<(BlockIndex, ChainingValue)>),
}

#[test]
fn binary_frames_have_their_golden_bytes() {
    let far = offset(i64::MAX.cast_unsigned() - 1);
    let ab = ChainingValue::from_bytes([0xab; 32]);
    let list = vec![(index(1), value(VALUE_1)), (index(2), value(VALUE_2))];
    let meanings = vec![
        ("chunk-first", Binary::Chunk(Channel(0), Offset::ZERO, b"T")),
        ("chunk", Binary::Chunk(Channel(7), offset(65_536), b"Towline")),
        ("chunk-far", Binary::Chunk(Channel(u32::MAX), far, b"\0")),
        ("block", Binary::Block(Channel(7), index(1), value(VALUE_1))),
        ("block-far", Binary::Block(Channel(0), index((1 << 43) - 1), ab)),
        ("block-list", Binary::BlockList(Channel(7), list)),
    ];
    for (golden, meaning) in paired(include_str!("golden/binary.hex"), meanings) {
        let name = &golden.name;
        match meaning {
            Binary::Chunk(channel, offset, payload) => {
                let length = u32::try_from(payload.len()).unwrap();
                let mut frame = frame::chunk_head(channel, offset, length).to_vec();
                frame.extend_from_slice(payload);
                assert_eq!(frame, golden.bytes, "{name}");

                let mut decoder = fed(FrameLimits::SERVER, &golden.bytes);
                assert_eq!(decoder.next_part(), Ok(Some(Part::Chunk { channel, offset, length })));
                let mut taken = vec![0; payload.len()];
                assert_eq!(decoder.take_payload(&mut taken), payload.len());
                assert_eq!(taken, payload, "{name}");
                assert!(decoder.is_between_frames());
            }
            Binary::Block(channel, index, value) => {
                assert_eq!(frame::block(channel, index, value)[..], golden.bytes, "{name}");
                let mut decoder = fed(FrameLimits::SERVER, &golden.bytes);
                assert_eq!(decoder.next_part(), Ok(Some(Part::Block { channel, index, value })));
                assert!(decoder.is_between_frames());
            }
            Binary::BlockList(channel, blocks) => {
                assert_eq!(frame::block_lists(channel, &blocks), golden.bytes, "{name}");
                let mut decoder = fed(FrameLimits::CLIENT, &golden.bytes);
                let first = blocks[0].0;
                let values = blocks.into_iter().map(|(_, value)| value).collect();
                let part = Part::BlockList { channel, first, values };
                assert_eq!(decoder.next_part(), Ok(Some(part)));
                assert!(decoder.is_between_frames());
            }
        }
    }
}

#[test]
fn block_lists_are_cut_at_gaps_and_at_the_cap() {
    let value = ChainingValue::from_bytes([7; 32]);
    let most = u64::from(towline_protocol::limits::BLOCK_LIST_VALUES_MAX);
    let indices = [0, 1, 4].into_iter().chain(10..10 + most + 1);
    let blocks: Vec<_> = indices.map(|at| (index(at), value)).collect();
    let mut decoder = fed(FrameLimits::CLIENT, &frame::block_lists(Channel(3), &blocks));
    let mut runs = Vec::new();
    while let Some(part) = decoder.next_part().unwrap() {
        let Part::BlockList { channel: Channel(3), first, values } = part else { panic!() };
        runs.push((first.get(), values.len() as u64));
    }
    assert_eq!(runs, [(0, 2), (4, 1), (10, most), (10 + most, 1)]);
    assert!(frame::block_lists(Channel(3), &[]).is_empty());
}

/// How a frame is refused.
enum Refused {
    Frame(FrameLimits, FrameError),
    Message(Code, Option<&'static str>),
}

#[test]
fn what_must_be_refused_is_refused() {
    use Refused::{Frame, Message};
    let (login, server, client) = (FrameLimits::LOGIN, FrameLimits::SERVER, FrameLimits::CLIENT);
    let bad_length = |kind, length| FrameError::BadLength { kind, length };
    let bad_field = |field| Message(Code::BadRequest, Some(field));
    let bad_json = || Message(Code::BadJson, None);
    let meanings = vec![
        ("length-zero", Frame(server, FrameError::Empty)),
        ("length-huge", Frame(server, FrameError::TooLarge { length: u32::MAX, max: 1_048_589 })),
        (
            "length-above-all",
            Frame(client, FrameError::TooLarge { length: 1_048_590, max: 1_048_589 }),
        ),
        ("kind-zero", Frame(server, FrameError::UnknownKind(0))),
        ("kind-unknown", Frame(server, FrameError::UnknownKind(5))),
        ("control-too-large", Frame(server, FrameError::TooLarge { length: 32_770, max: 32_769 })),
        ("hello-too-large", Frame(login, FrameError::TooLarge { length: 8_194, max: 8_193 })),
        ("chunk-without-payload", Frame(server, bad_length(2, 13))),
        ("chunk-too-short", Frame(server, bad_length(2, 5))),
        ("chunk-before-login", Frame(login, FrameError::UnknownKind(2))),
        ("chunk-beyond-any-file", Frame(server, FrameError::BadPosition(1 << 63))),
        ("chunk-that-ends-beyond-any-file", Frame(server, FrameError::BadPosition((1 << 63) - 2))),
        ("chunk-to-a-client", Frame(client, FrameError::UnknownKind(2))),
        ("block-too-short", Frame(server, bad_length(3, 44))),
        ("block-too-long", Frame(server, FrameError::TooLarge { length: 46, max: 45 })),
        ("block-before-login", Frame(login, FrameError::UnknownKind(3))),
        ("block-beyond-any-file", Frame(server, FrameError::BadPosition(1 << 43))),
        ("block-to-a-client", Frame(client, FrameError::UnknownKind(3))),
        ("block-list-to-a-server", Frame(server, FrameError::UnknownKind(4))),
        ("block-list-empty", Frame(client, bad_length(4, 13))),
        ("block-list-uneven", Frame(client, bad_length(4, 46))),
        ("block-list-beyond-any-file", Frame(client, FrameError::BadPosition(1 << 43))),
        ("json-empty", bad_json()),
        ("json-list", bad_json()),
        ("json-cut", bad_json()),
        ("json-trailing", bad_json()),
        ("json-not-utf8", bad_json()),
        ("json-key-twice", bad_json()),
        ("json-too-deep", bad_json()),
        ("json-empty-list-too-deep", bad_json()),
        ("action-missing", bad_field("action")),
        ("action-unknown", Message(Code::UnknownAction, None)),
        ("field-unknown", bad_field("colour")),
        ("field-missing", bad_field("filesize")),
        ("filesize-negative", bad_field("filesize")),
        ("filesize-fraction", bad_field("filesize")),
        ("filesize-beyond-any-file", bad_field("filesize")),
        ("document-zero", bad_field("document_id")),
        ("channel-too-large", bad_field("channel")),
        ("block-index-beyond-any-file", bad_field("ranges[0][0]")),
    ];
    for (golden, refused) in paired(include_str!("golden/refused.hex"), meanings) {
        match refused {
            Frame(limits, error) => {
                let mut decoder = fed(limits, &golden.bytes);
                assert_eq!(decoder.next_part(), Err(error), "{}", golden.name);
                // And no byte of it was made room for.
                assert!(decoder.space().len() <= 4096, "{}", golden.name);
            }
            Message(code, field) => {
                let json = json_of(FrameLimits::SERVER, &golden.bytes);
                let error = Request::parse(&json).unwrap_err();
                let found = (error.code, error.field.as_deref());
                assert_eq!(found, (code, field), "{}", golden.name);
            }
        }
    }
}

#[test]
fn zero_forbids_a_kind() {
    let mute =
        FrameLimits { control_bytes: 0, chunk_bytes: 0, blocks: false, block_list_values: 0 };
    for kind in 1..=4 {
        let mut decoder = fed(mute, &[0, 0, 0, 1, kind]);
        assert_eq!(decoder.next_part(), Err(FrameError::UnknownKind(kind)));
    }
}

#[test]
fn a_later_server_may_say_more() {
    let text = r#"{"action":"find","same_size":true,"weather":{"sun":1}}"#;
    assert!(matches!(Reply::parse(text.as_bytes()), Ok(Reply::Find(_))));
    let text = r#"{"action":"error","code":"moon_phase","number":418,"message":"","retry":true}"#;
    let Ok(Reply::Error(error)) = Reply::parse(text.as_bytes()) else { panic!() };
    assert_eq!((error.code, error.number, error.retry), (Code::Unknown, 418, true));
}
