//! Which attempts are repeated, how often, and in which order.

use super::rogue::{Deed, Names, Rogue, error, files, granted, honest, put, success, welcome};
use crate::client::Client;
use crate::document::Document;
use crate::events::{Event, Receipt};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::token::Token;
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_util::sync::CancellationToken;
use towline_protocol::Code;

#[tokio::test]
async fn a_file_that_fails_for_now_lets_the_others_go_first() {
    let (refusals, names) = (AtomicU32::new(0), Names::default());
    let rogue = Rogue::that(move |_, request| {
        let is_bad = request["filename"] == "bad";
        match request["action"].as_str() {
            Some("upload") if is_bad && refusals.fetch_add(1, Ordering::SeqCst) < 3 => {
                Deed::Say(error(request, Code::Internal))
            }
            _ => names.honest(request),
        }
    });
    let files = files(&["bad", "b", "c"]);
    let mut done = Vec::new();
    let mut reasons = Vec::new();
    let mut listener = |event| {
        if let Event::Waiting { reason, attempt, .. } = event {
            reasons.push((reason, attempt));
        }
    };
    let mut ended = |n: usize, _: &Document, put: Result<Receipt, Failure>| {
        put.unwrap();
        done.push(n);
        true
    };
    let cancel = CancellationToken::new();
    rogue
        .client()
        .put_many(files.jobs.clone().into_iter(), &cancel, &mut listener, &mut ended)
        .await;
    assert_eq!(done, [1, 2, 0]);
    assert_eq!(reasons.iter().map(|(_, attempt)| *attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(!reasons[0].0.contains("connection"), "{reasons:?}");
}

#[tokio::test]
async fn a_file_that_loses_every_connection_ends_alone() {
    let names = Names::default();
    let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
        Some("upload") if request["filename"] == "bad" => Deed::Close,
        _ => names.honest(request),
    });
    let files = files(&["bad", "b"]);
    let mut outcomes = Vec::new();
    let mut ended = |n: usize, _: &Document, put: Result<Receipt, Failure>| {
        outcomes.push((n, put.map_err(|failure| failure.exit()).err()));
        true
    };
    let cancel = CancellationToken::new();
    let mut client = rogue.client().retries(Some(4));
    client.put_many(files.jobs.clone().into_iter(), &cancel, &mut |_| {}, &mut ended).await;
    assert_eq!(outcomes, [(1, None), (0, Some(Exit::Resumable))]);
}

#[tokio::test]
async fn too_many_connections_are_not_for_ever() {
    let rogue = Rogue::that(|connection, request| match request["action"].as_str() {
        Some("hello") if connection < 2 => Deed::Say(error(&json!({"channel": 0}), Code::TooMany)),
        _ => honest(request, "a"),
    });
    let (ended, _) = put(rogue.client()).await;
    ended.unwrap();
    assert_eq!(rogue.connections(), 3);
}

#[tokio::test]
async fn a_new_token_in_the_file_is_found_once_the_old_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let rogue = Rogue::that(|_, request| match request["action"].as_str() {
        Some("hello") if request["token"] != "new" => {
            Deed::Say(error(&json!({"channel": 0}), Code::AuthExpired))
        }
        _ => honest(request, "a"),
    });
    for (text, connections) in [("old", 1), ("other", 2), ("new", 2)] {
        std::fs::write(&path, text).unwrap();
        let before = rogue.connections();
        let client = Client::new(rogue.address.clone(), Token::new("old").unwrap());
        let (ended, _) = put(client.token_file(Some(path.clone()))).await;
        assert_eq!(rogue.connections() - before, connections, "{text}");
        match text {
            "new" => assert_eq!(ended.unwrap().document_id.get(), 7),
            _ => assert_eq!(ended.unwrap_err().code(), Some(Code::AuthExpired)),
        }
    }
}

#[tokio::test]
async fn another_store_in_the_middle_of_a_run_is_begun_with_anew() {
    let number = |connection: u32| 7 + u64::from(connection);
    let rogue = Rogue::that(move |connection, request| match request["action"].as_str() {
        Some("hello") => {
            let mut welcome = welcome();
            let digit = if connection == 0 { "a" } else { "b" };
            welcome["server_id"] = digit.repeat(32).into();
            Deed::Say(welcome)
        }
        Some("upload") => Deed::Say(granted(request, number(connection))),
        Some("complete") if connection == 0 => Deed::Close,
        Some("complete") => {
            let mut success = success(request, "a");
            success["document_id"] = number(connection).into();
            Deed::Say(success)
        }
        // The client must not ask the second store for a document number of the first one.
        _ => honest(request, "a"),
    });
    let files = files(&["a"]);
    let (document, options) = &files.jobs[0];
    let mut notices = Vec::new();
    let mut listener = |event| {
        if let Event::Notice { message, .. } = event {
            notices.push(message);
        }
    };
    let cancel = CancellationToken::new();
    let ended = rogue.client().put(document, options, &cancel, &mut listener).await;
    assert_eq!(ended.unwrap().document_id.get(), 8);
    let [notice] = &notices[..] else { panic!("it says so once: {notices:?}") };
    let address = rogue.address.to_string();
    for said in ["another server answers", &address, "stays in the list", "of no use here"] {
        assert!(notice.contains(said), "{said}: {notice}");
    }
}
