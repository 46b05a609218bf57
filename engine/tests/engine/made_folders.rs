//! A folder on the disk is a node, whatever became of the request for which it was made.

use crate::kit::scripted::{full, passing};
use crate::kit::{Call, Moment, Server, ada, file, kind, new_upload, path, soon};
use std::collections::BTreeSet;
use towline_engine::storage::{Entry, Spot, StorageError, TreeStorage as _};
use towline_engine::{ListFilter, ListRequest, NewLink, NewUpload};
use towline_state::catalog::{Depth, NodeRef};
use towline_types::{LinkTarget, NodeKind, NodePath, OnConflict};

fn place(path: &str) -> NodePath {
    NodePath::typed(path).unwrap()
}

fn link(at: &str, on_conflict: OnConflict) -> NewLink {
    let target = LinkTarget::new("target").unwrap();
    NewLink { path: place(at), target, mtime: None, on_conflict }
}

fn is_taken(refused: &str) -> bool {
    refused.contains("Taken") || refused.contains("Exists")
}

/// The paths of the folders that the user sees.
async fn folders(server: &Server) -> BTreeSet<String> {
    let (folder, depth) = (NodeRef::Path(NodePath::ROOT), Depth::Recursive);
    let filter = ListFilter::default();
    let request = ListRequest { folder, depth, filter, after: None, limit: 100 };
    let (_, page) = soon(server.account().list(request)).await.unwrap();
    let folders = page.entries.into_iter().filter(|entry| entry.node.kind == NodeKind::Folder);
    folders.map(|entry| entry.folder.join(entry.node.name).unwrap().to_string()).collect()
}

/// Each of these folders is on the disk and in the tree, or in neither.
async fn assert_agree(server: &Server, places: &[&str]) {
    let seen = folders(server).await;
    for place in places {
        let spot = Spot::Living(path(place));
        let is_there = server.storage.memory().is_there(ada(), &spot);
        let is_there = matches!(is_there, Ok(Some(Entry::Folder)));
        assert_eq!(seen.contains(*place), is_there, "{place}: {seen:?}");
    }
}

/// A link is refused before a folder is made for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_refused_makes_no_folder() {
    let server = Server::new().await;
    let account = server.account();
    server.put("docs/report", b"x").await;
    soon(account.make_link(link("latest", OnConflict::Rename))).await.unwrap();
    for (at, on_conflict) in [
        // A link and a file have the name of a folder on the way.
        ("latest/a/b", OnConflict::Rename),
        ("LATEST/a/b", OnConflict::Rename),
        ("docs/report/a/b", OnConflict::Replace),
        // The name is taken in a folder of the same name by another spelling.
        ("DOCS/report", OnConflict::Reject),
        ("DOCS/REPORT", OnConflict::Replace),
        ("DOCS/report", OnConflict::Skip),
    ] {
        let refused = kind(soon(account.make_link(link(at, on_conflict))).await);
        assert!(is_taken(&refused), "{at}: {refused}");
        assert_agree(&server, &["latest", "latest/a", "LATEST", "docs/report/a", "DOCS"]).await;
    }
    assert_eq!(folders(&server).await, BTreeSet::from(["docs".to_owned()]));
    // With another name allowed, the folder of the other spelling is made for the link.
    let made = soon(account.make_link(link("DOCS/report", OnConflict::Rename))).await.unwrap();
    assert_eq!(made.path, Some(place("DOCS/report (1)")));
    assert_agree(&server, &["docs", "DOCS"]).await;
}

/// The name is taken after the look at the catalog: by a file, behind the folders on the disk.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_meanwhile_leaves_folders_that_are_nodes() {
    for is_link in [false, true] {
        let server = Server::new().await;
        let account = server.account();
        let made = server.storage.hold(Moment::After, Call::MakeFolder, 1);
        let making = {
            let account = server.account();
            tokio::spawn(async move {
                match is_link {
                    true => account.make_link(link("a/b/c", OnConflict::Reject)).await.map(drop),
                    false => account.make_folder(place("a/b/c"), None).await.map(drop),
                }
            })
        };
        soon(made.reached()).await;
        if is_link {
            server.put("a/b/c", b"x").await;
        } else {
            soon(account.make_link(link("a/b/c", OnConflict::Rename))).await.unwrap();
        }
        made.open();
        let refused = kind(soon(making).await.unwrap());
        assert!(is_taken(&refused), "{refused}");
        assert_agree(&server, &["a", "a/b"]).await;
    }
}

/// The disk fails when some of the folders are made.
#[tokio::test(flavor = "multi_thread")]
async fn folders_that_a_full_disk_has_left_are_nodes() {
    let server = Server::new().await;
    let account = server.account();
    for (at, is_link) in [("a/b/c", false), ("d/e/f", true)] {
        let (memory, half) = (server.storage.memory().clone(), path(&at[..3]));
        server.storage.on(Moment::Before, Call::MakeFolder, 1, move || {
            memory.make_folder(ada(), &half)?;
            Err(full())
        });
        let made = match is_link {
            true => soon(account.make_link(link(at, OnConflict::Rename))).await,
            false => soon(account.make_folder(place(at), None)).await,
        };
        assert!(kind(made).contains("NoSpace"));
        assert_agree(&server, &["a", "a/b", "a/b/c", "d", "d/e", "d/e/f"]).await;
    }
    assert_eq!(folders(&server).await.len(), 4);
}

/// An upload makes folders, and its file does not get its name.
#[tokio::test(flavor = "multi_thread")]
async fn folders_of_an_upload_that_got_no_name_are_nodes() {
    for is_whole in [false, true] {
        let server = Server::new().await;
        let new = NewUpload { on_conflict: OnConflict::Reject, ..new_upload("a/b/doc", 3000) };
        let memory = server.storage.memory().clone();
        server.storage.on(Moment::Before, Call::Publish, 1, move || {
            memory.make_folder(ada(), &path("a/b"))?;
            Err(if is_whole { StorageError::Exists } else { passing() })
        });
        let bytes = file(3000, 1);
        if is_whole {
            let _ = server.put_whole(new, &bytes).await;
        } else {
            let mut upload = server.begin_new(new).await;
            server.write(&mut upload, &bytes, 0..3000).await;
            soon(upload.complete(None)).await.unwrap_err();
            assert_agree(&server, &["a", "a/b"]).await;
            assert_eq!(folders(&server).await.len(), 2);
            soon(server.account().cancel(upload.id())).await.unwrap();
        }
        assert_agree(&server, &["a", "a/b"]).await;
    }
}

/// What a crash has left between the disk and the catalog is in the way of no file: folders of
/// which no row knows, inside each other, with nothing in them.
#[tokio::test(flavor = "multi_thread")]
async fn empty_folders_that_no_row_knows_make_way() {
    let server = Server::new().await;
    let memory = server.storage.memory();
    for empty in ["doc/a/b", "doc/c", "whole/a", "moved/a/b", "made/a"] {
        memory.make_folder(ada(), &path(empty)).unwrap();
    }
    assert_eq!(server.put("doc", b"x").await.receipt.path().to_string(), "doc");
    let receipt = server.put_whole(new_upload("whole", 10), &file(10, 1)).await.unwrap().receipt;
    assert_eq!(receipt.path().to_string(), "whole");
    let account = server.account();
    soon(account.move_node(NodeRef::Path(place("doc")), place("moved"), None)).await.unwrap();
    assert_eq!(server.storage.bytes(ada(), "moved").unwrap(), b"x");
    // A folder is taken over, and one in it as well.
    assert!(!soon(account.make_folder(place("made/a"), None)).await.unwrap().existing);
    assert_agree(&server, &["made", "made/a", "doc", "whole", "moved"]).await;
}
