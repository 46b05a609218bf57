//! What is known of bytes that a client has.

use crate::kit::{
    Extensions, Server, bob, complete, file, found_text, hash_of, new_upload, path, size, soon,
    without_timed_checkpoints,
};
use towline_types::FileHash;

async fn find(server: &Server, place: &str, length: usize, hash: Option<FileHash>) -> String {
    found_text(&soon(server.account().find(path(place), size(length), hash)).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_knows_nothing() {
    let server = Server::new().await;
    let nothing = "found same_size=false same_place=None known=false unfinished=None";
    assert_eq!(find(&server, "doc", 10, None).await, nothing);
    assert_eq!(find(&server, "doc", 10, Some(hash_of(b"x"))).await, nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_upload_is_found_with_what_is_durable() {
    let server = Server::with(without_timed_checkpoints).await;
    let mut upload = server.begin("a/doc", 1000).await;
    server.write(&mut upload, &file(1000, 1), 0..700).await;
    soon(upload.position()).await.unwrap();
    // It was received; nothing of it is durable yet.
    let found = "found same_size=false same_place=None known=false unfinished=Some((1, 0))";
    assert_eq!(find(&server, "a/doc", 1000, None).await, found);
    soon(upload.pause()).await;
    let found = "found same_size=false same_place=None known=false unfinished=Some((1, 700))";
    assert_eq!(find(&server, "a/doc", 1000, None).await, found);
    let nothing = "found same_size=false same_place=None known=false unfinished=None";
    for (place, length) in [("a/doc", 999), ("a/DOC", 1000), ("doc", 1000)] {
        assert_eq!(find(&server, place, length, None).await, nothing, "{place} {length}");
    }
    let bobs = soon(server.account_of(bob()).find(path("a/doc"), size(1000), None)).await.unwrap();
    assert_eq!(found_text(&bobs), nothing);
    // The one that was begun last.
    let second = server.begin("a/doc", 1000).await;
    soon(second.pause()).await;
    let found = "found same_size=false same_place=None known=false unfinished=Some((2, 0))";
    assert_eq!(find(&server, "a/doc", 1000, None).await, found);
    soon(server.account().cancel(crate::kit::id(2))).await.unwrap();
    let server = server.restart().await;
    let found = "found same_size=false same_place=None known=false unfinished=Some((1, 700))";
    assert_eq!(find(&server, "a/doc", 1000, None).await, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_found_by_its_size_its_place_and_its_bytes() {
    for copies in [false, true] {
        let server = Server::extended(Extensions { copies, ..Extensions::default() }).await;
        let bytes = file(1000, 1);
        server.put("a/doc", &bytes).await;
        let hash = Some(hash_of(&bytes));
        let by_size = "found same_size=true same_place=None known=false unfinished=None";
        assert_eq!(find(&server, "b/other", 1000, None).await, by_size);
        assert_eq!(find(&server, "a/doc", 1000, None).await, by_size);
        assert_eq!(find(&server, "a/doc", 1000, Some(hash_of(b"x"))).await, by_size);
        let here = "found same_size=true same_place=Some(1) known=false unfinished=None";
        assert_eq!(find(&server, "a/doc", 1000, hash).await, here);
        // Whether this store can make a copy is found out by `begin`.
        let elsewhere = "found same_size=true same_place=None known=true unfinished=None";
        assert_eq!(find(&server, "b/doc", 1000, hash).await, elsewhere);
        let nothing = "found same_size=false same_place=None known=false unfinished=None";
        assert_eq!(find(&server, "a/doc", 1001, None).await, nothing);
        let bobs = soon(server.account_of(bob()).find(path("a/doc"), size(1000), hash)).await;
        assert_eq!(found_text(&bobs.unwrap()), nothing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_not_found() {
    let server = Server::new().await;
    let mut upload = server.begin("doc", 10).await;
    server.write(&mut upload, b"0123456789", 0..10).await;
    assert!(complete(upload, Some(hash_of(b"x"))).await.is_err());
    let nothing = "found same_size=false same_place=None known=false unfinished=None";
    assert_eq!(find(&server, "doc", 10, Some(hash_of(b"0123456789"))).await, nothing);
    let _ = new_upload("doc", 1);
}
