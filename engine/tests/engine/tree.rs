//! Folders, moves, the trash, versions and changes through the engine's public API.

use crate::kit::{Server, ada, file, kind, new_upload, refused, soon};
use std::time::Duration;
use towline_engine::{DeltaRequest, ListFilter, ListRequest, RejectionKind, Since};
use towline_state::catalog::{Depth, NodeRef, Op, RemovalGuard};
use towline_types::{NodePath, OnConflict};

fn at(path: &str) -> NodeRef {
    NodeRef::Path(place(path))
}

fn place(path: &str) -> NodePath {
    NodePath::typed(path).unwrap()
}

fn recursive() -> RemovalGuard {
    RemovalGuard { recursive: true, ..RemovalGuard::default() }
}

/// The paths of everything that is there, two entries a page.
async fn paths(server: &Server) -> Vec<String> {
    let mut paths = Vec::new();
    let mut after = None;
    loop {
        let (folder, depth) = (at(""), Depth::Recursive);
        let filter = ListFilter::default();
        let request = ListRequest { folder, depth, filter, after, limit: 2 };
        let (_, page) = soon(server.account().list(request)).await.unwrap();
        for entry in page.entries {
            paths.push(entry.folder.join(entry.node.name).unwrap().to_string());
        }
        after = page.next;
        if after.is_none() {
            return paths;
        }
    }
}

fn changes_since(since: Since) -> DeltaRequest {
    DeltaRequest { since, limit: 100, wait: Duration::ZERO }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_moved_removed_and_restored_with_all_that_is_in_it() {
    let server = Server::new().await;
    let account = server.account();
    let bytes = file(5000, 1);
    server.put("a/b/doc", &bytes).await;
    soon(account.make_folder(place("c/d"), None)).await.unwrap();
    soon(account.move_node(at("a"), place("c/a"), None)).await.unwrap();
    assert_eq!(paths(&server).await, ["c", "c/a", "c/a/b", "c/a/b/doc", "c/d"]);
    assert_eq!(server.storage.bytes(ada(), "c/a/b/doc").unwrap(), bytes);
    let removed = soon(account.remove(at("c"), recursive())).await.unwrap();
    assert!(paths(&server).await.is_empty());
    assert_eq!(server.storage.bytes(ada(), "c/a/b/doc"), None);
    drop(account);
    let server = server.restart().await;
    let node = NodeRef::Id(removed.node.node_id);
    let restored = soon(server.account().restore(node)).await.unwrap();
    assert_eq!(restored.path, Some(place("c")));
    assert_eq!(server.storage.bytes(ada(), "c/a/b/doc").unwrap(), bytes);
}

/// A document whose folder was moved is there already, in its new place and not in the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_moved_document_does_not_count_as_removed() {
    let server = Server::new().await;
    let bytes = file(2000, 1);
    let id = server.put("a/doc", &bytes).await.receipt.document_id();
    soon(server.account().move_node(at("a"), place("b"), None)).await.unwrap();
    assert_eq!(server.read(id).await, bytes);
    assert_eq!(server.status(id).await.path.to_string(), "b/doc");
    let mut new = new_upload("b/doc", 2000);
    new.hash = Some(crate::kit::hash_of(&bytes));
    let again = server.put_whole(new, &bytes).await.unwrap();
    assert!(again.existing);
    assert_eq!(again.receipt.document_id(), id);
    assert_eq!(server.put("a/doc", b"other").await.receipt.path().to_string(), "a/doc");
    assert_eq!(server.status(id).await.phase.as_str(), "completed");
}

/// What another program has put where something is to go stays, and nothing has moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_in_the_way_of_a_move_is_not_overwritten() {
    use towline_engine::storage::Storage as _;
    let server = Server::new().await;
    server.put("a", b"a").await;
    let (memory, id) = (server.storage.memory(), crate::kit::id(900));
    memory.create_whole(id, b"stray").unwrap().sync_data().unwrap();
    let hash = crate::kit::hash_of(b"stray");
    memory.publish(id, ada(), &crate::kit::path("b"), hash, &mut |_| true).unwrap();
    assert_eq!(
        kind(soon(server.account().move_node(at("a"), place("b"), None)).await),
        "NameTaken"
    );
    assert_eq!(server.storage.bytes(ada(), "b").unwrap(), b"stray");
    assert_eq!(paths(&server).await, ["a"]);
    soon(server.account().move_node(at("a"), place("c"), None)).await.unwrap();
    assert_eq!(server.storage.bytes(ada(), "c").unwrap(), b"a");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_change_is_woken_by_it() {
    let server = Server::new().await;
    let account = server.account();
    let now = soon(account.delta(changes_since(Since::Now))).await.unwrap();
    assert!(now.changes.is_empty());
    let waiting = {
        let (account, since) = (server.account(), Since::Cursor(now.next));
        let request = DeltaRequest { since, limit: 100, wait: Duration::from_secs(50) };
        tokio::spawn(async move { account.delta(request).await })
    };
    let mut watch = server.account().watch();
    let first = soon(watch.next()).await.unwrap().unwrap();
    server.put("doc", b"x").await;
    let delta = soon(waiting).await.unwrap().unwrap();
    assert_eq!(delta.changes.len(), 1);
    assert_eq!((delta.changes[0].op, delta.changes[0].node.name.as_str()), (Op::Create, "doc"));
    assert!(soon(watch.next()).await.unwrap().unwrap() > first);
    server.engine.begin_shut_down();
    assert_eq!(soon(watch.next()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_document_stays_as_a_version() {
    let server = Server::new().await;
    let mut ids = Vec::new();
    for seed in 1..4 {
        let mut new = new_upload("doc", 3000);
        new.on_conflict = OnConflict::Replace;
        let bytes = file(3000, seed);
        // By turns with chunks and in one step.
        let receipt = if seed % 2 == 0 {
            server.put_whole(new, &bytes).await.unwrap().receipt
        } else {
            let mut upload = server.begin_new(new).await;
            server.write(&mut upload, &bytes, 0..3000).await;
            soon(upload.complete(None)).await.unwrap().receipt
        };
        assert_eq!(receipt.path().to_string(), "doc");
        ids.push(receipt.document_id());
        assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), bytes);
    }
    let server = server.kill().await;
    let versions = soon(server.account().versions(at("doc"), None, 10)).await.unwrap().versions;
    let there: Vec<_> = versions.iter().rev().map(|version| version.version.document_id).collect();
    assert_eq!(there, ids);
    let restored = soon(server.account().restore_version(at("doc"), ids[0])).await.unwrap();
    assert_ne!(restored.node.version.unwrap().document_id, ids[0]);
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), file(3000, 1));
    let again = soon(server.account().restore_version(at("doc"), crate::kit::id(99))).await;
    assert_eq!(refused(again).kind, RejectionKind::NotFound);
}

/// A move that fails behind the rename is finished by the next change of the user, and until then
/// no document counts as removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_was_cut_off_is_finished_by_the_next_change() {
    use crate::kit::scripted::passing;
    use crate::kit::{Call, Moment};
    let server = Server::new().await;
    let bytes = file(3000, 1);
    let id = server.put("a/doc", &bytes).await.receipt.document_id();
    server.storage.on(Moment::After, Call::Relocate, 1, || Err(passing()));
    let account = server.account();
    assert_eq!(kind(soon(account.move_node(at("a"), place("b"), None)).await), "Internal");
    assert_eq!(server.storage.bytes(ada(), "b/doc").unwrap(), bytes);
    // The same bytes once more: the document is not ended, though its old place is empty.
    let mut new = new_upload("a/doc", 3000);
    new.hash = Some(crate::kit::hash_of(&bytes));
    let _ = server.put_whole(new, &bytes).await;
    assert_eq!(server.status(id).await.phase.as_str(), "completed");
    soon(account.make_folder(place("c"), None)).await.unwrap();
    soon(account.move_node(at("c"), place("d"), None)).await.unwrap();
    assert_eq!(server.status(id).await.path.to_string(), "b/doc");
    assert_eq!(server.read(id).await, bytes);
}

/// A crash around the rename: afterwards the folder is in one of its two places, and the move can
/// be made.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_around_a_move_leaves_it_made_or_not() {
    use crate::kit::{Call, Moment};
    for moment in [Moment::Before, Moment::After] {
        let server = Server::new().await;
        let bytes = file(3000, 1);
        server.put("a/doc", &bytes).await;
        let crash = server.crash_at(moment, Call::Relocate, 1);
        soon(server.account().move_node(at("a"), place("b"), None)).await.unwrap();
        let server = crash.take().expect("the store moves").after_power_cut();
        assert_eq!(paths(&server).await, ["b", "b/doc"], "{moment:?}");
        assert_eq!(server.storage.bytes(ada(), "b/doc").unwrap(), bytes);
    }
}

/// The catalog is asked for a few rows at a time; the answer has as many as were asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_as_long_as_it_was_asked_for() {
    const FOLDERS: usize = 600;
    const PAGE: u32 = 590;
    let server = Server::new().await;
    let account = server.account();
    let beginning = soon(account.delta(changes_since(Since::Now))).await.unwrap().next;
    let mut numbers = Vec::new();
    for n in 0..FOLDERS {
        let made = soon(account.make_folder(place(&format!("{n}")), None)).await.unwrap();
        numbers.push(made.node.node_id);
    }
    for since in [Since::Nothing, Since::Cursor(beginning)] {
        let (mut told, mut lengths, mut since) = (Vec::new(), Vec::new(), since);
        loop {
            let request = DeltaRequest { since, limit: PAGE, wait: Duration::ZERO };
            let delta = soon(account.delta(request)).await.unwrap();
            lengths.push(delta.changes.len());
            told.extend(delta.changes.iter().map(|change| change.node.node_id));
            since = Since::Cursor(delta.next);
            if !delta.has_more {
                break;
            }
        }
        assert_eq!(lengths, [PAGE as usize, FOLDERS - PAGE as usize]);
        told.sort();
        assert_eq!(told, numbers, "each once");
    }
    for number in &numbers {
        soon(account.remove(NodeRef::Id(*number), RemovalGuard::default())).await.unwrap();
    }
    let first = soon(account.trash(ListFilter::default(), None, PAGE)).await.unwrap();
    let rest = soon(account.trash(ListFilter::default(), first.next, PAGE)).await.unwrap();
    assert_eq!((first.entries.len(), rest.entries.len()), (PAGE as usize, FOLDERS - PAGE as usize));
    assert!(rest.next.is_none());
    let both = first.entries.iter().chain(&rest.entries);
    assert_eq!(both.map(|entry| entry.node.node_id).collect::<Vec<_>>(), numbers);
    // What lies in the trash is passed over.
    let snapshot = soon(account.delta(changes_since(Since::Nothing))).await.unwrap();
    assert_eq!((snapshot.changes.len(), snapshot.has_more), (0, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_which_a_filter_leaves_all_out_is_empty_and_says_where_to_go_on() {
    const FOLDERS: usize = 150;
    let server = Server::new().await;
    let account = server.account();
    for number in 0..FOLDERS {
        soon(account.make_folder(place(&format!("{number:03}")), None)).await.unwrap();
    }
    let name = Some("149".parse().unwrap());
    let mut after = None;
    let (mut pages, mut shown) = (0, Vec::new());
    loop {
        let filter = ListFilter { name: name.clone(), ..ListFilter::default() };
        // One row at a time: as many as there is room for in the answer.
        let (folder, depth, limit) = (at(""), Depth::Children, 1);
        let request = ListRequest { folder, depth, filter, after, limit };
        let (_, page) = soon(account.list(request)).await.unwrap();
        pages += 1;
        shown.extend(page.entries.into_iter().map(|entry| (pages, entry.node.name.to_string())));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // 64 rows each, and the last page behind the entry.
    assert_eq!((pages, shown), (4, vec![(3, "149".to_owned())]));
}
