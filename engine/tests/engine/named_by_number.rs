//! Uploads whose place is a folder or a file that the client names by its number: wherever that
//! lies.

use crate::kit::{Server, ada, bob, complete, file, hash_of, kind, new_upload, refused, soon};
use towline_engine::{CompleteRequest, NewUpload, Receipt, RejectionKind, UploadHandle};
use towline_state::catalog::{NodeRef, NodeWish, RemovalGuard};
use towline_types::{NodeId, NodePath, OnConflict};

const LENGTH: usize = 1000;

fn place(path: &str) -> NodePath {
    NodePath::typed(path).unwrap()
}

async fn folder(server: &Server, path: &str) -> NodeId {
    soon(server.account().make_folder(place(path), None)).await.unwrap().node.node_id
}

fn into(folder: NodeId, name: &str) -> NewUpload {
    let wish = NodeWish { into_folder: Some(folder), ..NodeWish::default() };
    NewUpload { wish, ..new_upload(name, LENGTH) }
}

fn onto(file: NodeId, name: &str) -> NewUpload {
    let wish = NodeWish { onto_node: Some(file), ..NodeWish::default() };
    NewUpload { wish, ..new_upload(name, LENGTH) }
}

/// Stores a file in one step, or with chunks.
async fn put(server: &Server, new: NewUpload, seed: u8, is_whole: bool) -> String {
    let bytes = file(LENGTH, seed);
    let receipt = if is_whole {
        server.put_whole(new, &bytes).await.unwrap().receipt
    } else {
        let mut upload = server.begin_new(new).await;
        server.write(&mut upload, &bytes, 0..LENGTH).await;
        complete(upload, None).await.unwrap().receipt
    };
    assert_eq!(server.storage.bytes(ada(), &path_of(&receipt)).unwrap(), bytes);
    path_of(&receipt)
}

fn path_of(receipt: &Receipt) -> String {
    receipt.path().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_into_the_folder_of_that_number() {
    let server = Server::new().await;
    let (deep, top) = (folder(&server, "a/b").await, folder(&server, "top").await);
    // What has the name elsewhere is not in its way.
    server.put("doc", b"elsewhere").await;
    for (number, is_whole) in [false, true].into_iter().enumerate() {
        let end = if number == 0 { String::new() } else { format!(" ({number})") };
        assert_eq!(put(&server, into(deep, "doc"), 1, is_whole).await, format!("a/b/doc{end}"));
        assert_eq!(put(&server, into(top, "doc"), 2, is_whole).await, format!("top/doc{end}"));
    }
    let mut rejecting = into(deep, "doc");
    rejecting.on_conflict = OnConflict::Reject;
    assert_eq!(kind(soon(server.account().begin(rejecting.clone())).await), "NameTaken");
    assert_eq!(kind(server.put_whole(rejecting, &file(LENGTH, 3)).await), "NameTaken");
    let mut rejecting = into(folder(&server, "empty").await, "doc");
    rejecting.on_conflict = OnConflict::Reject;
    assert_eq!(put(&server, rejecting, 4, false).await, "empty/doc");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_moves_meanwhile_takes_the_file_along() {
    let server = Server::new().await;
    let folder = folder(&server, "a/b").await;
    let bytes = file(LENGTH, 1);
    let mut upload = server.begin_new(into(folder, "doc")).await;
    assert_eq!(server.status(upload.id()).await.path.to_string(), "a/b/doc");
    let to = place("c");
    soon(server.account().move_node(NodeRef::Id(folder), to, None)).await.unwrap();
    server.write(&mut upload, &bytes, 0..LENGTH).await;
    let receipt = complete(upload, None).await.unwrap().receipt;
    assert_eq!(path_of(&receipt), "c/doc");
    assert_eq!(server.storage.bytes(ada(), "c/doc").unwrap(), bytes);
}

/// The file keeps its name, whatever the client calls it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_becomes_the_next_version_of_that_number() {
    let server = Server::new().await;
    for at in ["doc", "a/doc"] {
        let first = server.put(at, b"first").await.receipt;
        let node = first.node_id().unwrap();
        for (seed, is_whole) in [(1, false), (2, true)] {
            assert_eq!(put(&server, onto(node, "other"), seed, is_whole).await, at);
        }
        let at = NodeRef::Id(node);
        let versions = soon(server.account().versions(at, None, 10)).await.unwrap().versions;
        assert_eq!(versions.len(), 3);
    }
    // A file that was moved meanwhile is found where it is.
    let node = server.put("x", b"first").await.receipt.node_id().unwrap();
    let mut upload = server.begin_new(onto(node, "x")).await;
    soon(server.account().move_node(NodeRef::Id(node), place("a/y"), None)).await.unwrap();
    let bytes = file(LENGTH, 3);
    server.write(&mut upload, &bytes, 0..LENGTH).await;
    assert_eq!(path_of(&complete(upload, None).await.unwrap().receipt), "a/y");
    assert_eq!(server.storage.bytes(ada(), "a/y").unwrap(), bytes);
    assert_eq!(server.storage.bytes(ada(), "x"), None);
}

async fn remove(server: &Server, node: NodeId) {
    let guard = RemovalGuard { recursive: true, ..RemovalGuard::default() };
    soon(server.account().remove(NodeRef::Id(node), guard)).await.unwrap();
}

/// An upload whose bytes are all there, and that is not completed.
async fn sent(server: &Server, new: NewUpload, seed: u8) -> UploadHandle {
    let mut upload = server.begin_new(new).await;
    server.write(&mut upload, &file(LENGTH, seed), 0..LENGTH).await;
    upload
}

fn completing(on_conflict: OnConflict) -> CompleteRequest {
    CompleteRequest { on_conflict: Some(on_conflict), ..CompleteRequest::default() }
}

/// The client hears that its file is gone, and its bytes become a file of their own.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_finished_though_its_file_was_removed() {
    for with_folder in [false, true] {
        let server = Server::new().await;
        let node = server.put("a/doc", b"first").await.receipt.node_id().unwrap();
        let upload = sent(&server, onto(node, "new"), 1).await;
        let id = upload.id();
        drop(upload);
        remove(&server, node).await;
        if with_folder {
            remove(&server, folder(&server, "a").await).await;
        }
        // Also by a client that resumes, on a server that has started again.
        let server = server.restart().await;
        let mut upload = server.resume(id).await;
        for _ in 0..2 {
            let gone = refused(soon(upload.complete(None)).await);
            assert_eq!(gone.kind, RejectionKind::Conflict { node: None });
        }
        let completed = soon(upload.complete_with(completing(OnConflict::Rename))).await.unwrap();
        assert_eq!(path_of(&completed.receipt), "a/new");
        assert_eq!(server.storage.bytes(ada(), "a/new").unwrap(), file(LENGTH, 1));
        // The file that was removed comes back as it was.
        soon(server.account().restore(NodeRef::Id(node))).await.unwrap();
    }
}

/// The file has another version by now: with another name the upload is finished, beside it.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_finished_beside_a_file_that_was_replaced_meanwhile() {
    let server = Server::new().await;
    let first = server.put("a/doc", b"first").await.receipt;
    let node = first.node_id().unwrap();
    let mut new = onto(node, "doc");
    new.wish.base_version = Some(first.document_id());
    let mut upload = sent(&server, new, 1).await;
    assert_eq!(put(&server, onto(node, "doc"), 2, false).await, "a/doc");
    assert!(kind(soon(upload.complete(None)).await).starts_with("Conflict"));
    let to = place("b");
    soon(server.account().move_node(NodeRef::Path(place("a")), to, None)).await.unwrap();
    let completed = soon(upload.complete_with(completing(OnConflict::Rename))).await.unwrap();
    assert_eq!(path_of(&completed.receipt), "b/doc (1)");
    assert_eq!(server.storage.bytes(ada(), "b/doc").unwrap(), file(LENGTH, 2));
    assert_eq!(server.storage.bytes(ada(), "b/doc (1)").unwrap(), file(LENGTH, 1));
}

/// A folder that was removed is made anew where it lay; one that has its name by now is as good.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_finished_though_its_folder_was_removed() {
    for (is_moved, is_made_again) in [(false, false), (false, true), (true, false), (true, true)] {
        let server = Server::new().await;
        let number = folder(&server, "a/b").await;
        let mut upload = sent(&server, into(number, "doc"), 1).await;
        if is_moved {
            let to = place("moved");
            soon(server.account().move_node(NodeRef::Id(number), to, None)).await.unwrap();
        }
        remove(&server, number).await;
        if is_made_again {
            server.put("a/b/doc", b"another").await;
        }
        let receipt = soon(upload.complete(None)).await.unwrap().receipt;
        let name = if is_made_again { "a/b/doc (1)" } else { "a/b/doc" };
        assert_eq!(path_of(&receipt), name);
        assert_eq!(server.storage.bytes(ada(), name).unwrap(), file(LENGTH, 1));
        assert_ne!(folder(&server, "a/b").await, number);
    }
}

/// A number of something else, or of nothing, is refused before a byte is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_of_something_else_is_not_found() {
    let server = Server::new().await;
    let document = server.put("a/doc", b"x").await.receipt.node_id().unwrap();
    let removed = server.put("a/gone", b"x").await.receipt.node_id().unwrap();
    let removal = server.account().remove(NodeRef::Id(removed), RemovalGuard::default()).await;
    removal.unwrap();
    let folder = folder(&server, "a").await;
    let nothing = NodeId::try_from(99).unwrap();
    let areas = server.storage.areas();
    for new in [
        into(document, "new"),
        onto(folder, "new"),
        into(nothing, "new"),
        onto(nothing, "new"),
        onto(removed, "new"),
        into(removed, "new"),
    ] {
        let begun = soon(server.account().begin(new.clone())).await;
        assert_eq!(refused(begun).kind, RejectionKind::NotFound, "{new:?}");
        let whole = server.put_whole(new.clone(), &file(LENGTH, 1)).await;
        assert_eq!(refused(whole).kind, RejectionKind::NotFound, "{new:?}");
    }
    // What another user has is nothing to this one.
    let theirs = soon(server.account_of(bob()).begin(into(folder, "new"))).await;
    assert_eq!(refused(theirs).kind, RejectionKind::NotFound);
    assert_eq!(server.storage.areas(), areas);
}

/// Where the file that the client has is in that folder already, nothing is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_in_that_folder_is_there_already() {
    let server = Server::new().await;
    let folder = folder(&server, "a").await;
    let bytes = file(LENGTH, 1);
    let id = server.put("a/doc", &bytes).await.receipt.document_id();
    let known = || NewUpload { hash: Some(hash_of(&bytes)), ..into(folder, "doc") };
    let again = crate::kit::stored(soon(server.account().begin(known())).await.unwrap());
    assert_eq!((again.existing, again.receipt.document_id()), (true, id));
    let again = server.put_whole(known(), &bytes).await.unwrap();
    assert_eq!((again.existing, again.receipt.document_id()), (true, id));
}
