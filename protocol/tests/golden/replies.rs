//! Every reply, errors too, with its golden bytes.

use crate::file::*;
use crate::values::*;
use std::collections::BTreeSet;
use towline_protocol::error::{Code, ErrorReply};
use towline_protocol::frame::{self, Channel, FrameLimits};
use towline_protocol::reply::{
    Blocks, Cancelled, Found, Granted, Pong, Progress, Reauthenticated, Reply, Status, Success,
    Unfinished, UploadState, Uploads, Welcome,
};
use towline_protocol::request::Request;

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
        token: None,
    };
    let joined = Welcome { token: Some(TOKEN.into()), ..welcome.clone() };
    let reauth = Reauthenticated { channel: Channel(7), expires_at: moment(1_705_934_256_000) };
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
        node_id: None,
        filename: "doc.pdf".into(),
        folder: Vec::new(),
        filesize: size(1_048_576),
        blake3: hash(HASH_OF_1_BLOCK),
        created_at: moment(1_705_331_256_000),
        durable: true,
        existing: false,
        copied: false,
        held: None,
        receipt: None,
    };
    let of_node = Success { node_id: Some(node(7)), ..success.clone() };
    let existing = Success {
        channel: Channel(7),
        document_id: document(124),
        node_id: None,
        filename: "Übung 3 (1).pdf".into(),
        folder: lectures(),
        filesize: size(3_145_735),
        blake3: hash(HASH_OF_4_BLOCKS),
        created_at: moment(1_705_331_256_000),
        durable: true,
        existing: true,
        copied: false,
        held: None,
        receipt: None,
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
        held: None,
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
        held: None,
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
        held: None,
        blake3: None,
        created_at: None,
        expires_at: None,
        reason: Some("the file's hash was not the one announced".into()),
    };
    let sending = UploadState {
        document_id: document(123),
        status: "uploading".into(),
        filename: "doc.pdf".into(),
        folder: Vec::new(),
        filesize: size(1_048_576),
        received: offset(200_000),
        durable: offset(196_608),
        active: true,
        expires_at: Some(moment(1_705_934_256_000)),
    };
    let publishing = UploadState {
        document_id: document(124),
        status: "publishing".into(),
        filename: "Übung 3.pdf".into(),
        folder: lectures(),
        filesize: size(3_145_735),
        received: offset(3_145_735),
        durable: offset(3_145_735),
        active: true,
        expires_at: None,
    };
    let uploads = Uploads {
        channel: Channel(0),
        uploads: vec![sending],
        end: true,
        next: Some("123".into()),
    };
    let uploads_part =
        Uploads { channel: Channel(7), uploads: vec![publishing], end: false, next: None };
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
        ("welcome-joined", Reply::Welcome(joined)),
        ("reauth", Reply::Reauth(reauth)),
        ("upload", Reply::Upload(granted(0))),
        ("resume", Reply::Resume(granted(200_000))),
        ("join", Reply::Join(granted(196_608))),
        ("progress", Reply::Progress(progress)),
        ("success", Reply::Success(success)),
        ("success-node", Reply::Success(of_node)),
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
        ("uploads", Reply::Uploads(uploads)),
        ("uploads-part", Reply::Uploads(uploads_part)),
        ("ping", Reply::Ping(Pong::default())),
        ("ping-channel", Reply::Ping(Pong { channel: Channel(u32::MAX) })),
    ];
    all.extend(crate::receipts::replies());
    all.extend(crate::download_url::replies());
    all.extend(crate::tree::replies());
    all.extend(crate::changes::replies());
    let errors = [errors(), crate::tree::errors(), crate::changes::errors()].concat();
    all.extend(errors.into_iter().map(|(name, error)| (name, Reply::Error(error))));
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
fn replies_have_their_golden_bytes() {
    for (golden, reply) in paired(include_str!("replies.hex"), replies()) {
        assert_eq!(frame::control(&reply), golden.bytes, "{}", golden.name);
        let json = json_of(FrameLimits::CLIENT, &golden.bytes);
        assert_eq!(Reply::parse(&json).unwrap(), reply, "{}", golden.name);
        assert_comments_are_the_text(&golden);
    }
}

#[test]
fn every_reply_has_a_golden_frame() {
    // No wildcard here either.
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
            Reply::List(_) => 13,
            Reply::Stat(_) => 14,
            Reply::Mkdir(_) => 15,
            Reply::Link(_) => 16,
            Reply::Move(_) => 17,
            Reply::Remove(_) => 18,
            Reply::Restore(_) => 19,
            Reply::Versions(_) => 20,
            Reply::Read(_) => 21,
            Reply::Delta(_) => 22,
            Reply::Change(_) => 23,
            Reply::Uploads(_) => 24,
            Reply::Receipts(_) => 25,
            Reply::Reauth(_) => 26,
            Reply::DownloadUrl(_) => 27,
        })
        .collect();
    assert_eq!(replies, (0..28).collect());
}
