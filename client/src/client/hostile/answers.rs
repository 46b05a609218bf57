//! Answers that no correct server gives, and answers that never come.

use super::rogue::{Deed, Rogue, error, granted, honest, put, unknown};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::timeouts::Timeouts;
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use towline_protocol::Code;

#[tokio::test]
async fn an_upload_that_is_answered_by_another_question_for_ever() {
    let rogue = Rogue::that(|_, request| match request["action"].as_str() {
        Some("upload") => Deed::Say(unknown(request)),
        _ => honest(request, "a"),
    });
    let (ended, _) = put(rogue.client().retries(Some(2))).await;
    let failure = ended.unwrap_err();
    assert_eq!(failure.exit(), Exit::Resumable, "{failure}");
    assert_eq!(rogue.connections(), 3, "once, and two retries");
    // The client gives up also without a number of retries: a later attempt would meet the same
    // server.
    let (ended, _) = put(rogue.client()).await;
    assert!(matches!(ended, Err(Failure::Protocol(_))), "{ended:?}");
}

#[tokio::test]
async fn always_one_more_upload_that_is_gone() {
    let number = AtomicU32::new(0);
    let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
        Some("find") => {
            let document_id = number.fetch_add(1, Ordering::SeqCst) + 1;
            Deed::Say(json!({"action": "find", "channel": request["channel"], "same_size": false,
                "unfinished": {"document_id": document_id, "offset": 0}}))
        }
        Some("blocks") => Deed::Say(json!({"action": "blocks", "channel": request["channel"],
            "document_id": request["document_id"], "count": 0})),
        Some("resume") => Deed::Say(error(request, Code::NotFound)),
        _ => honest(request, "a"),
    });
    let (ended, notices) = put(rogue.client().retries(Some(2))).await;
    assert_eq!(ended.unwrap_err().exit(), Exit::Resumable);
    assert_eq!(rogue.connections(), 3);
    assert!(notices <= 3 * 8, "{notices} notices");
}

#[tokio::test]
async fn progress_that_is_not_true_earns_no_further_attempt() {
    // The server grants the upload, reports all bytes as durable, and closes the connection, again
    // and again.
    let rogue = Rogue::that(|connection, request| match request["action"].as_str() {
        Some("find") if connection > 0 => Deed::Say(json!({"action": "find",
            "channel": request["channel"], "same_size": false,
            "unfinished": {"document_id": 7, "offset": 0}})),
        Some("blocks") => Deed::Say(json!({"action": "blocks", "channel": request["channel"],
            "document_id": 7, "count": 0})),
        Some("resume") => Deed::Say(granted(request, 7)),
        Some("complete") if connection > 0 => Deed::Close,
        Some("complete") => Deed::Say(json!({"action": "progress",
            "channel": request["channel"], "document_id": 7, "received": 5, "durable": 5,
            "filesize": 5, "progress": ""})),
        Some("ping") => Deed::Close,
        _ => honest(request, "a"),
    });
    let timeouts = Timeouts { ping_after: Duration::from_millis(50), ..Timeouts::default() };
    let (ended, _) = put(rogue.client().retries(Some(2)).timeouts(timeouts)).await;
    let failure = ended.unwrap_err();
    assert!(matches!(failure, Failure::ConnectionLost { .. }), "{failure:?}");
    // The report could be true once, because the bytes were sent: then the count of attempts begins
    // anew.
    let connections = rogue.connections();
    assert!((3..=4).contains(&connections), "{connections} connections");
}

#[tokio::test]
async fn a_question_is_not_waited_for_because_other_words_come() {
    let progress = json!({"action": "progress", "channel": 9, "document_id": 7, "received": 1,
        "durable": 0, "filesize": 5, "progress": ""});
    let timeouts = Timeouts { answer: Duration::from_millis(300), ..Timeouts::default() };
    // The server sends a message now and then without end, and then as many as the socket takes.
    for flood in [false, true] {
        let progress = progress.clone();
        let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
            Some("find") if flood => Deed::Flood(progress.clone()),
            Some("find") => Deed::Keep,
            _ => honest(request, "a"),
        });
        let timeouts = Timeouts { ping_after: Duration::from_millis(50), ..timeouts };
        let began = Instant::now();
        let (ended, _) = put(rogue.client().retries(Some(1)).timeouts(timeouts)).await;
        assert_eq!(ended.unwrap_err().exit(), Exit::Resumable);
        assert_eq!(rogue.connections(), 2);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn sending_without_any_effect_ends() {
    // `complete` is never answered, while pings are.
    let rogue = Rogue::that(|_, request| match request["action"].as_str() {
        Some("complete") => Deed::Keep,
        Some("resume") => Deed::Say(granted(request, 7)),
        Some("blocks") => Deed::Say(json!({"action": "blocks", "channel": request["channel"],
            "document_id": 7, "count": 0})),
        _ => honest(request, "a"),
    });
    let timeouts = Timeouts {
        ping_after: Duration::from_millis(50),
        progress: Duration::from_millis(400),
        ..Timeouts::default()
    };
    let (ended, _) = put(rogue.client().retries(Some(1)).timeouts(timeouts)).await;
    let failure = ended.unwrap_err();
    assert_eq!((failure.exit(), rogue.connections()), (Exit::Resumable, 2), "{failure}");
    assert!(failure.kept().is_some());
}
