//! Every request, with its golden bytes.

use crate::file::*;
use crate::values::*;
use std::collections::BTreeSet;
use towline_protocol::frame::{self, Channel, FrameLimits};
use towline_protocol::request::{
    Complete, DocumentRef, Find, Hello, Join, Ping, Reauth, Request, Resume, Upload, Uploads,
    Withdraw,
};
use towline_types::{ModifiedTime, OnConflict, PermissionBits};

fn requests() -> Vec<(&'static str, Request)> {
    let hello = Hello::with_token(TOKEN);
    let named = Hello { client: Some("towline 0.1.0".into()), ..hello.clone() };
    let joining = Hello { token: None, join: Some(SECRET.into()), ..hello.clone() };
    let reauth = Reauth { channel: Channel(0), token: TOKEN.into() };
    let reauth_channel = Reauth { channel: Channel(7), ..reauth.clone() };
    let upload = Upload {
        channel: Channel(0),
        filename: "doc.pdf".into(),
        filesize: Some(size(1_048_576)),
        user_id: Some(user(123)),
        ..Upload::default()
    };
    let upload_full = Upload {
        channel: Channel(7),
        filename: "Übung 3.pdf".into(),
        folder: lectures(),
        filesize: Some(size(3_145_735)),
        user_id: Some(user(123)),
        chunk_size: Some(65_536),
        blake3: Some(hash(HASH_OF_4_BLOCKS)),
        on_conflict: OnConflict::Reject,
        blocks: true,
        new_only: true,
        ..Upload::default()
    };
    let next_version = Upload {
        channel: Channel(7),
        filename: "report.csv".into(),
        node_id: Some(node(7)),
        base_version: Some(document(123)),
        filesize: Some(size(2048)),
        mtime_ms: Some(ModifiedTime::from_ms(-1)),
        mode: Some(PermissionBits::of_mode(0o644)),
        blocks: true,
        ..Upload::default()
    };
    let open = Upload {
        filename: "backup.tar".into(),
        parent_id: Some(node(3)),
        mtime_ms: Some(ModifiedTime::from_ms(1_705_331_200_123)),
        mode: Some(PermissionBits::of_mode(0o777)),
        on_conflict: OnConflict::Skip,
        ..Upload::default()
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
        ..Complete::default()
    };
    let complete_open = Complete {
        filesize: Some(size(1_048_576)),
        blake3: Some(hash(HASH_OF_1_BLOCK)),
        on_conflict: Some(OnConflict::Replace),
        ..Complete::default()
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
    let mut all = vec![
        ("hello", Request::Hello(hello)),
        ("hello-named", Request::Hello(named)),
        ("hello-join", Request::Hello(joining)),
        ("reauth", Request::Reauth(reauth)),
        ("reauth-channel", Request::Reauth(reauth_channel)),
        ("upload", Request::Upload(upload)),
        ("upload-full", Request::Upload(upload_full)),
        ("upload-next-version", Request::Upload(next_version)),
        ("upload-open", Request::Upload(open)),
        ("resume", Request::Resume(resume)),
        ("resume-full", Request::Resume(resume_full)),
        ("join", Request::Join(join)),
        ("join-channel", Request::Join(join_channel)),
        ("complete", Request::Complete(Complete::default())),
        ("complete-full", Request::Complete(complete_full)),
        ("complete-open", Request::Complete(complete_open)),
        ("status", Request::Status(about(0, 123))),
        ("blocks", Request::Blocks(about(7, 124))),
        ("withdraw", Request::Withdraw(Withdraw { channel: Channel(7), ranges })),
        ("cancel", Request::Cancel(about(0, 123))),
        ("find", Request::Find(find)),
        ("find-full", Request::Find(find_full)),
        ("uploads", Request::Uploads(Uploads::default())),
        (
            "uploads-full",
            Request::Uploads(Uploads {
                channel: Channel(7),
                limit: Some(2),
                after: Some("123".into()),
            }),
        ),
        ("ping", Request::Ping(Ping::default())),
        ("ping-channel", Request::Ping(Ping { channel: Channel(u32::MAX) })),
    ];
    all.extend(crate::tree::requests());
    all.extend(crate::changes::requests());
    all.extend(crate::receipts::requests());
    all.extend(crate::download_url::requests());
    all
}

#[test]
fn requests_have_their_golden_bytes() {
    for (golden, request) in paired(include_str!("requests.hex"), requests()) {
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
fn every_request_has_a_golden_frame() {
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
            Request::List(_) => 11,
            Request::Stat(_) => 12,
            Request::Mkdir(_) => 13,
            Request::Link(_) => 14,
            Request::Move(_) => 15,
            Request::Remove(_) => 16,
            Request::Restore(_) => 17,
            Request::Versions(_) => 18,
            Request::Read(_) => 19,
            Request::Delta(_) => 20,
            Request::Watch(_) => 21,
            Request::Uploads(_) => 22,
            Request::Receipts(_) => 23,
            Request::Reauth(_) => 24,
            Request::DownloadUrl(_) => 25,
        })
        .collect();
    assert_eq!(requests, (0..26).collect());
}
