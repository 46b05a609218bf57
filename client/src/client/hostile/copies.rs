//! Servers that copy a file and report their progress, and servers whose copy stands still.

use super::rogue::{Deed, Rogue, files, granted, honest, put, success};
use crate::events::Event;
use crate::exit::Exit;
use crate::timeouts::Timeouts;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The reports of a server that copies a file of 5 bytes: one for each number.
pub(super) fn copying(request: &Value, field: &str, numbers: &[u64]) -> Vec<Value> {
    let whole = if field == "copied" { 5 } else { 0 };
    let report = |number: &u64| {
        let mut report = json!({"action": "progress", "channel": request["channel"],
            "document_id": 7, "received": whole, "durable": whole, "filesize": 5,
            "progress": ""});
        report[field] = (*number).into();
        report
    };
    numbers.iter().map(report).collect()
}

/// The copy waits for its turn and then advances: each report has the next number.
pub(super) const GOES_ON: [u64; 10] = [0, 0, 0, 0, 0, 1, 2, 3, 4, 5];
/// The copy has begun and never advances.
pub(super) const STANDS: [u64; 60] = [2; 60];
pub(super) const PAUSE: Duration = Duration::from_millis(200);

pub(super) fn impatient() -> Timeouts {
    let (answer, progress) = (Duration::from_secs(1), Duration::from_secs(1));
    Timeouts { answer, progress, ..Timeouts::default() }
}

/// A server that copies the file when the second connection asks for it, after the first connection
/// was lost. The receipt follows the reports.
fn copies_for_a_resumption(numbers: &'static [u64]) -> Rogue {
    Rogue::that(move |connection, request| match request["action"].as_str() {
        Some("complete") if connection == 0 => Deed::Close,
        Some("resume") => {
            let mut said = copying(request, "copied", numbers);
            said.push(success(request, "a"));
            Deed::Slowly(said, PAUSE)
        }
        _ => honest(request, "a"),
    })
}

/// A server that copies the file before the receipt for what was sent, or in place of the sending.
fn copies_at(action: &'static str, numbers: &'static [u64]) -> Rogue {
    let field = if action == "upload" { "received" } else { "copied" };
    Rogue::that(move |_, request| match request["action"].as_str() {
        Some("find") if action == "upload" => Deed::Say(json!({"action": "find",
            "channel": request["channel"], "same_size": true})),
        Some("resume") => Deed::Say(granted(request, 7)),
        Some("blocks") => Deed::Say(json!({"action": "blocks", "channel": request["channel"],
            "document_id": 7, "count": 0})),
        Some(asked) if asked == action => {
            let mut said = copying(request, field, numbers);
            let mut receipt = success(request, "a");
            receipt["copied"] = (action == "upload").into();
            said.push(receipt);
            Deed::Slowly(said, PAUSE)
        }
        _ => honest(request, "a"),
    })
}

#[tokio::test]
async fn a_copy_that_goes_on_is_waited_for() {
    for (rogue, connections) in [
        (copies_at("complete", &GOES_ON), 1),
        (copies_at("upload", &GOES_ON), 1),
        (copies_for_a_resumption(&GOES_ON), 2),
    ] {
        let files = files(&["a"]);
        let (document, options) = &files.jobs[0];
        let mut copied = Vec::new();
        let mut listener = |event| {
            if let Event::Copying { copied_bytes, bytes: 5, .. } = event {
                copied.push(copied_bytes);
            }
        };
        let mut client = rogue.client().retries(Some(1)).timeouts(impatient());
        let cancel = CancellationToken::new();
        let ended = client.put(document, options, &cancel, &mut listener).await;
        assert_eq!(ended.unwrap().document_id.get(), 7);
        assert_eq!(rogue.connections(), connections);
        assert_eq!(copied, GOES_ON, "a person sees it");
    }
}

#[tokio::test]
async fn a_copy_that_stands_still_is_not_waited_for() {
    for rogue in [
        copies_at("complete", &STANDS),
        copies_at("upload", &STANDS),
        copies_for_a_resumption(&STANDS),
    ] {
        let (ended, _) = put(rogue.client().retries(Some(1)).timeouts(impatient())).await;
        let failure = ended.unwrap_err();
        assert_eq!((failure.exit(), rogue.connections()), (Exit::Resumable, 2), "{failure}");
    }
}
