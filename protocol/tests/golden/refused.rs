//! Frames and messages that must be refused, and what a later server may add.

use crate::file::*;
use towline_protocol::error::Code;
use towline_protocol::frame::{FrameError, FrameLimits};
use towline_protocol::reply::Reply;
use towline_protocol::request::Request;

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
        ("node-zero", bad_field("node_id")),
        ("mode-with-setuid", bad_field("mode")),
        ("link-target-empty", bad_field("target")),
        ("link-target-control", bad_field("target")),
        ("link-without-target", bad_field("target")),
        ("mtime-fraction", bad_field("mtime_ms")),
        ("path-as-text", bad_field("path")),
        ("read-offset-beyond-any-file", bad_field("offset")),
        ("filesize-negative", bad_field("filesize")),
        ("filesize-fraction", bad_field("filesize")),
        ("filesize-beyond-any-file", bad_field("filesize")),
        ("document-zero", bad_field("document_id")),
        ("channel-too-large", bad_field("channel")),
        ("block-index-beyond-any-file", bad_field("ranges[0][0]")),
    ];
    for (golden, refused) in paired(include_str!("refused.hex"), meanings) {
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
