//! Uploads that are to be skipped where their name is taken: the client wants no other name, and
//! not to keep the bytes.

use crate::kit::{
    Client, Server, ada, bob, complete, file, kind, new_upload, soon, without_timed_checkpoints,
};
use towline_engine::{Command, CompleteRequest, NewUpload, Phase, ResumeRequest, SendingMode};
use towline_types::{DocumentId, OnConflict};

const LENGTH: usize = 1000;

fn skipping(place: &str) -> NewUpload {
    NewUpload { on_conflict: OnConflict::Skip, ..new_upload(place, LENGTH) }
}

/// An upload to that place of which all bytes are there.
async fn sent(server: &Server, new: NewUpload) -> (Client, DocumentId) {
    let mut client = server.client();
    let (id, _) = client.begin(0, new).await;
    client.data(0, &file(LENGTH, 1), 0..LENGTH).await;
    assert_eq!(client.settle(0).await, [""; 0]);
    (client, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_name_is_free_it_is_an_upload_like_any_other() {
    let server = Server::new().await;
    let (mut client, id) = sent(&server, skipping("a/doc")).await;
    assert_eq!(client.complete(0).await, format!("0: completed a/doc ({LENGTH}) #{id}"));
    let small = server.put_whole(skipping("a/small"), &file(LENGTH, 2)).await.unwrap();
    assert_eq!(small.receipt.path().to_string(), "a/small");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_refuses_it_at_the_beginning() {
    let server = Server::new().await;
    server.put("doc", b"first").await;
    assert_eq!(kind(soon(server.account().begin(skipping("doc"))).await), "NameTaken");
    assert_eq!(kind(server.put_whole(skipping("doc"), &file(LENGTH, 1)).await), "NameTaken");
    assert_eq!(server.storage.areas(), []);
    // It is no other user's business.
    let theirs = soon(server.account_of(bob()).begin(skipping("doc"))).await;
    drop(crate::kit::uploading(theirs.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_taken_meanwhile_gives_it_up_with_its_bytes() {
    let server = Server::with(without_timed_checkpoints).await;
    let (mut client, id) = sent(&server, skipping("doc")).await;
    server.put("doc", b"first").await;
    assert_eq!(client.complete(0).await, format!("0: rejected NameTaken #{id}"));
    let status = server.status(id).await;
    assert_eq!((status.phase, status.reason.is_some()), (Phase::Cancelled, true));
    assert_eq!(server.storage.areas(), []);
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), b"first");
    assert_eq!(server.storage.bytes(ada(), "doc (1)"), None);
    // What still comes for it is dropped, and the writer can begin another one.
    client.data(0, &file(LENGTH, 1), 0..LENGTH).await;
    client.tell(0, Command::Complete(CompleteRequest::default())).await;
    assert_eq!(client.settle(0).await, [""; 0]);
    client.begin(0, new_upload("other", 10)).await;
    drop(client);
    let server = server.kill().await;
    assert_eq!(server.status(id).await.phase, Phase::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_writers_hear_that_it_was_given_up() {
    let server = Server::new().await;
    let mut first = server.client();
    let new = NewUpload { mode: SendingMode::RANGES, ..skipping("doc") };
    let (id, grant) = first.begin(0, new).await;
    let mut second = server.client();
    second.join(1, id, grant.lease.unwrap()).await;
    first.data(0, &file(LENGTH, 1), 0..LENGTH).await;
    server.put("doc", b"first").await;
    assert_eq!(first.complete(0).await, format!("0: rejected NameTaken #{id}"));
    assert_eq!(second.hear().await, format!("1: rejected Cancelled #{id}"));
    assert_eq!(first.settle(0).await, [""; 0]);
}

/// Another name would not help, and the folder may become free: the bytes are kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_taken_gives_nothing_up() {
    let server = Server::with(without_timed_checkpoints).await;
    let (mut client, id) = sent(&server, skipping("a/doc")).await;
    server.put("a", b"x").await;
    for _ in 0..2 {
        assert_eq!(client.complete(0).await, format!("0: rejected FolderTaken #{id}"));
        assert_eq!(server.status(id).await.phase, Phase::Uploading);
    }
    assert_eq!(server.storage.areas(), [(id.get(), false, LENGTH as u64)]);
}

/// What the upload began with counts, also where it is resumed.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_skipped_as_well_when_it_was_resumed() {
    let server = Server::new().await;
    let mut upload = server.begin_new(skipping("doc")).await;
    let id = upload.id();
    server.write(&mut upload, &file(LENGTH, 1), 0..10).await;
    soon(upload.pause()).await;
    server.put("doc", b"first").await;
    let server = server.restart().await;
    let mut upload = server.resume(id).await;
    server.write(&mut upload, &file(LENGTH, 1), 10..LENGTH).await;
    assert_eq!(kind(complete(upload, None).await), "NameTaken");
    assert_eq!(server.status(id).await.phase, Phase::Cancelled);
    let resume = ResumeRequest::of(id, SendingMode::PLAIN);
    assert_eq!(kind(soon(server.account().resume(resume)).await), "Cancelled");
}
