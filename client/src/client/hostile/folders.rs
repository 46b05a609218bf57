//! Folders and links, with servers that know none, that are busy, that lose the connection, and
//! that lie.

use super::rogue::{Deed, Rogue, error, files, honest, welcome};
use crate::failure::Failure;
use crate::feed::FeedItem;
use crate::item::{Item, ItemKind, Sent};
use crate::transfer::options::PutOptions;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_util::sync::CancellationToken;
use towline_protocol::Code;
use towline_types::{LinkTarget, PermissionBits};

/// An empty folder, one that is not empty, a link and a file.
fn items(files: &[(crate::document::Document, PutOptions)]) -> Vec<(Item, PutOptions)> {
    let mode = Some(PermissionBits::of_mode(0o750));
    let kinds = [
        ItemKind::Folder { mode, is_empty: true },
        ItemKind::Folder { mode, is_empty: false },
        ItemKind::Link(LinkTarget::new("../x").unwrap()),
        ItemKind::File,
    ];
    let items = files.iter().zip(kinds).map(|((document, _), kind)| {
        (Item { kind, ..Item::file(document.clone()) }, PutOptions::default())
    });
    items.collect()
}

/// How the items end, in their order, with the code of a refusal or nothing.
async fn ends_of(rogue: &Rogue) -> Vec<Result<Sent, Option<Code>>> {
    let files = files(&["empty", "full", "link", "file"]);
    let mut ends = Vec::new();
    let mut ended = |item: &FeedItem, sent: Result<Sent, Failure>| {
        ends.push((item.index, sent.map_err(|failure| failure.code())));
        true
    };
    let (cancel, mut client) = (CancellationToken::new(), rogue.client());
    let items = items(&files.jobs).into_iter();
    let left = client.put_all(items, &cancel, &mut |_| {}, &mut ended).await;
    assert!(left.is_empty());
    ends.sort_by_key(|(index, _)| *index);
    ends.into_iter().map(|(_, end)| end).collect()
}

fn made() -> Result<Sent, Option<Code>> {
    Ok(Sent::Made { existing: false, stored_as: None })
}

/// What a correct server with the feature `tree` does.
fn with_tree(request: &Value) -> Deed {
    let node = |kind: &str| {
        json!({"action": request["action"], "channel": request["channel"], "path": request["path"],
            "node": {"node_id": 7, "kind": kind, "name": request["path"][0],
                "target": request.get("target"), "place_rev": 1, "content_rev": 1}})
    };
    Deed::Say(match request["action"].as_str() {
        Some("hello") => {
            let mut welcome = welcome();
            welcome["features"] = json!(["new_only", "tree"]);
            welcome
        }
        Some("mkdir") => node("folder"),
        Some("link") => node("link"),
        _ => return honest(request, "file"),
    })
}

#[tokio::test]
async fn a_server_that_keeps_files_alone_is_asked_for_nothing_else() {
    // It ends the test where it is asked for a folder or a link.
    let rogue = Rogue::that(|_, request| honest(request, "file"));
    let ends = ends_of(&rogue).await;
    assert_eq!(ends[0], Ok(Sent::LeftOut(Some("an empty folder"))));
    // Its file brings it along.
    assert_eq!(ends[1], Ok(Sent::LeftOut(None)));
    assert_eq!(ends[2], Ok(Sent::LeftOut(Some("a symbolic link"))));
    assert!(matches!(ends[3], Ok(Sent::File(_))), "{ends:?}");
}

#[tokio::test]
async fn what_a_lost_connection_leaves_unanswered_is_asked_for_again() {
    let rogue = Rogue::that(|connection, request| match request["action"].as_str() {
        Some("link") if connection == 0 => Deed::Close,
        _ => with_tree(request),
    });
    let ends = ends_of(&rogue).await;
    assert_eq!(ends[..3], [made(), made(), made()]);
    assert!(matches!(ends[3], Ok(Sent::File(_))), "{ends:?}");
    assert!(rogue.connections() > 1);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_a_refusal_is_told() {
    let asked = AtomicU32::new(0);
    let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
        Some("mkdir") if asked.fetch_add(1, Ordering::SeqCst) < 3 => {
            Deed::Say(error(request, Code::Busy))
        }
        Some("link") => Deed::Say(error(request, Code::Exists)),
        _ => with_tree(request),
    });
    let ends = ends_of(&rogue).await;
    assert_eq!(ends[..3], [made(), made(), Err(Some(Code::Exists))]);
    assert!(matches!(ends[3], Ok(Sent::File(_))), "{ends:?}");
}

#[tokio::test]
async fn another_thing_than_was_asked_for_is_no_success() {
    for (field, wrong) in [
        ("path", json!(["elsewhere"])),
        (
            "node",
            json!({"node_id": 7,
        "kind": "file", "name": "empty", "place_rev": 1, "content_rev": 1}),
        ),
    ] {
        let wrong = wrong.clone();
        let rogue =
            Rogue::that(move |_, request| match (request["action"].as_str(), with_tree(request)) {
                (Some("mkdir" | "link"), Deed::Say(mut answer)) => {
                    answer[field] = wrong.clone();
                    Deed::Say(answer)
                }
                (_, deed) => deed,
            });
        let files = files(&["empty", "full", "link", "file"]);
        let mut failures = Vec::new();
        let mut ended = |item: &FeedItem, sent: Result<Sent, Failure>| {
            if !item.kind.is_file() {
                failures.push(sent.unwrap_err());
            }
            true
        };
        let (cancel, mut client) = (CancellationToken::new(), rogue.client());
        client.put_all(items(&files.jobs).into_iter(), &cancel, &mut |_| {}, &mut ended).await;
        assert_eq!(failures.len(), 3, "{failures:?}");
        let is_wrong = |failure: &Failure| matches!(failure, Failure::Protocol(_));
        assert!(failures.iter().all(is_wrong), "{failures:?}");
    }
}
