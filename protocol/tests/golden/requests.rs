//! Every request, with its golden bytes.

use crate::file::*;
use crate::values::*;
use std::collections::BTreeSet;
use towline_protocol::frame::{self, Channel, FrameLimits};
use towline_protocol::request::{
    Complete, DocumentRef, Find, Hello, Join, Ping, Request, Resume, Upload, Withdraw,
};
use towline_types::OnConflict;

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
        })
        .collect();
    assert_eq!(requests, (0..11).collect());
}
