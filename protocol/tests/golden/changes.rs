//! What is asked and said of changes, and of bytes that are read.

use crate::tree::{names, proj, removed_proj, report};
use crate::values::*;
use towline_protocol::error::{Code, ErrorReply};
use towline_protocol::frame::Channel;
use towline_protocol::reply::{
    Change, ChangeNotice, Delta as DeltaReply, Operation, Part, Read as ReadReply, ReadBegin, Reply,
};
use towline_protocol::request::{Delta, Read, Request, Watch};

pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let read = Read { path: Some(names(&["proj", "report.csv"])), ..Read::default() };
    let read_full = Read {
        channel: Channel(7),
        document_id: Some(document(124)),
        offset: Some(offset(1_048_576)),
        length: Some(67_108_864),
        blocks: true,
        ..Read::default()
    };
    let delta_full = Delta {
        channel: Channel(7),
        since: Some("c1.123.1.14".into()),
        limit: Some(2000),
        wait_ms: Some(55_000),
    };
    vec![
        ("read", Request::Read(read)),
        ("read-node", Request::Read(Read { node_id: Some(node(7)), ..Read::default() })),
        ("read-full", Request::Read(read_full)),
        ("delta", Request::Delta(Delta::default())),
        ("delta-full", Request::Delta(delta_full)),
        ("watch", Request::Watch(Watch::default())),
        ("watch-channel", Request::Watch(Watch { channel: Channel(9) })),
    ]
}

pub(crate) fn replies() -> Vec<(&'static str, Reply)> {
    let begins = ReadBegin {
        channel: Channel(7),
        document_id: document(123),
        node: Some(Box::new(report())),
        filesize: size(1_048_576),
        blake3: hash(HASH_OF_1_BLOCK),
        offset: offset(0),
        length: 1_048_576,
    };
    let version = ReadBegin {
        channel: Channel(0),
        document_id: document(124),
        node: None,
        filesize: size(3_145_735),
        blake3: hash(HASH_OF_4_BLOCKS),
        offset: offset(1_048_576),
        length: 1000,
    };
    let created = Change {
        change_id: change(11),
        op: Operation::Create,
        changed: vec![Part::Content, Part::Place],
        at: Some(moment(1_705_331_250_000)),
        node: proj(),
    };
    let deleted = Change {
        change_id: change(16),
        op: Operation::Delete,
        changed: vec![Part::Place],
        at: Some(moment(1_705_417_700_000)),
        node: removed_proj(),
    };
    let touched = Change {
        change_id: change(17),
        op: Operation::Update,
        changed: Vec::new(),
        at: None,
        node: report(),
    };
    let delta = DeltaReply {
        channel: Channel(0),
        items: vec![created, deleted, touched],
        end: false,
        cursor: None,
        more: false,
        latest: None,
    };
    let end = DeltaReply {
        channel: Channel(7),
        items: Vec::new(),
        end: true,
        cursor: Some("c1.123.1.17".into()),
        more: false,
        latest: Some(change(17)),
    };
    let more = DeltaReply {
        channel: Channel(0),
        cursor: Some("s1.123.1.17.3".into()),
        more: true,
        ..end.clone()
    };
    let notice = ChangeNotice { channel: Channel(9), latest: change(17) };
    vec![
        ("read", Reply::Read(ReadReply::Begins(begins))),
        ("read-version", Reply::Read(ReadReply::Begins(version))),
        ("read-end", Reply::Read(ReadReply::end(Channel(7), document(124)))),
        ("delta", Reply::Delta(delta)),
        ("delta-end", Reply::Delta(end)),
        ("delta-more", Reply::Delta(more)),
        ("change", Reply::Change(notice)),
    ]
}

pub(crate) fn errors() -> Vec<(&'static str, ErrorReply)> {
    vec![
        (
            "error-cursor-reset",
            ErrorReply {
                channel: Channel(7),
                reason: Some("expired".into()),
                ..ErrorReply::new(
                    Code::CursorReset,
                    "the changes behind this cursor are no longer known; begin again without a \
                     cursor",
                )
            },
        ),
        (
            "error-damaged",
            ErrorReply {
                channel: Channel(7),
                document_id: Some(document(124)),
                index: Some(index(2)),
                ..ErrorReply::new(
                    Code::Damaged,
                    "the file \"proj/report.csv\" on the server's disk is not the one that was \
                     uploaded (block 2)",
                )
            },
        ),
    ]
}

#[test]
fn the_end_of_a_read_is_told_from_its_beginning() {
    let text = br#"{"action":"read","channel":7,"document_id":124,"end":true,"weather":1}"#;
    let end = Reply::Read(ReadReply::end(Channel(7), document(124)));
    assert_eq!(Reply::parse(text).ok(), Some(end));
    for text in [
        r#"{"action":"read","document_id":124}"#,
        r#"{"action":"read","document_id":124,"end":false}"#,
        r#"{"action":"read","document_id":124,"filesize":1,"offset":0,"length":1}"#,
    ] {
        assert!(Reply::parse(text.as_bytes()).is_err(), "{text}");
    }
}
