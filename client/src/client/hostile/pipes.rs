//! A pipe, and servers that do not do what they promised.

use super::rogue::{Deed, Rogue, granted, honest, success, welcome};
use crate::events::Receipt;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::transfer::options::PutOptions;
use serde_json::{Value, json};
use std::io::Cursor;
use tokio_util::sync::CancellationToken;
use towline_types::DocumentPath;

/// Sends `hello` through a pipe.
async fn put(rogue: &Rogue) -> Result<Receipt, Failure> {
    let remote = DocumentPath::parse("a").unwrap();
    let (options, cancel) = (PutOptions::default(), CancellationToken::new());
    let mut client = rogue.client();
    client.put_pipe(Cursor::new(b"hello"), remote, &options, &cancel, &mut |_| {}).await
}

/// What a correct server does that takes files without a length.
fn open(request: &Value) -> Deed {
    match request["action"].as_str() {
        Some("hello") => {
            let mut welcome = welcome();
            welcome["features"] = json!(["open_length"]);
            Deed::Say(welcome)
        }
        Some("cancel") => Deed::Say(json!({"action": "cancel", "channel": request["channel"],
            "document_id": 7, "status": "cancelled"})),
        _ => honest(request, "a"),
    }
}

#[tokio::test]
async fn a_correct_server_is_believed_and_an_older_one_is_not_asked() {
    let receipt = put(&Rogue::that(|_, request| open(request))).await.unwrap();
    assert_eq!((receipt.document_id.get(), receipt.sent_bytes), (7, 5));
    let failure = put(&Rogue::that(|_, request| honest(request, "a"))).await.unwrap_err();
    assert!(matches!(failure, Failure::NotSupported { .. }), "{failure}");
}

#[tokio::test]
async fn a_receipt_for_something_else_is_no_success() {
    type Change = fn(&mut Value);
    let changes: [(Change, Exit); 4] = [
        (|said| said["blake3"] = "0".repeat(64).into(), Exit::Integrity),
        (|said| said["filesize"] = 6.into(), Exit::Refused),
        (|said| said["filename"] = "b".into(), Exit::Refused),
        (|said| said["document_id"] = 8.into(), Exit::Refused),
    ];
    for (change, exit) in changes {
        let rogue = Rogue::that(move |_, request| {
            if request["action"] != "complete" {
                return open(request);
            }
            let mut said = success(request, "a");
            change(&mut said);
            Deed::Say(said)
        });
        let failure = put(&rogue).await.unwrap_err();
        assert!(matches!(failure, Failure::OfPipe { .. }), "{failure}");
        assert_eq!(failure.exit(), exit, "{failure}");
        assert!(failure.advice().unwrap().contains("cannot be continued"), "{failure}");
    }
}

#[tokio::test]
async fn what_the_server_lost_is_sent_again_as_long_as_it_is_here() {
    // The connection ends after the last byte; then the upload is gone, or has lost bytes, or
    // has more than there are.
    for (offset, is_done) in [(None, true), (Some(0), true), (Some(3), true), (Some(6), false)] {
        let rogue =
            Rogue::that(move |connection, request| match (request["action"].as_str(), offset) {
                (Some("complete"), _) if connection == 0 => Deed::Close,
                (Some("resume"), None) => {
                    Deed::Say(super::rogue::error(request, towline_protocol::Code::NotFound))
                }
                (Some("resume"), Some(offset)) => {
                    let mut said = granted(request, 7);
                    said["offset"] = offset.into();
                    Deed::Say(said)
                }
                _ => open(request),
            });
        let ended = put(&rogue).await;
        assert_eq!(ended.is_ok(), is_done, "{offset:?}: {ended:?}");
        // What cannot be continued is cancelled over a connection of its own.
        assert_eq!(rogue.connections(), if is_done { 2 } else { 3 }, "{offset:?}");
    }
}
