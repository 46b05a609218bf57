//! A writer that has an upload open may be asked about other documents: its own upload stays as it
//! is, and is meant where no other is named.

use crate::kit::{Client, Server, file, id, new_upload, soon};
use towline_engine::{
    Command, CompleteRequest, Length, NewUpload, Phase, Query, SendingMode, UploadHandle,
};
use towline_types::DocumentId;

const LENGTH: usize = 1000;

fn complete(id: DocumentId) -> Command {
    Command::Complete(CompleteRequest { id: Some(id), ..CompleteRequest::default() })
}

/// A document, and a client that has all bytes of an upload of its own there.
async fn with_own(server: &Server) -> (DocumentId, Client, DocumentId) {
    let other = server.put("other", b"other").await.receipt.document_id();
    let mut client = server.client();
    let (own, _) = client.begin(0, new_upload("own", LENGTH)).await;
    client.data(0, &file(LENGTH, 1), 0..LENGTH).await;
    assert_eq!(client.settle(0).await, [""; 0]);
    (other, client, own)
}

async fn check_that_it_is_open(server: &Server, own: DocumentId) {
    let status = server.status(own).await;
    assert_eq!((status.phase, status.is_active), (Phase::Uploading, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_of_another_document_ends_nothing() {
    let server = Server::new().await;
    let (other, mut client, own) = with_own(&server).await;
    for _ in 0..2 {
        assert_eq!(
            client.ask(0, complete(other)).await,
            format!("0: completed other (5) #{other}")
        );
        check_that_it_is_open(&server, own).await;
    }
    assert_eq!(client.ask(0, complete(id(99))).await, "0: rejected NotFound #99");
    check_that_it_is_open(&server, own).await;
    // Its own number means its own upload, as no number does.
    assert_eq!(client.ask(0, complete(own)).await, format!("0: completed own ({LENGTH}) #{own}"));
    // Now it has none open, and both are answered as before.
    assert_eq!(client.ask(0, complete(other)).await, format!("0: completed other (5) #{other}"));
    assert_eq!(client.ask(0, complete(own)).await, format!("0: completed own ({LENGTH}) #{own}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_length_that_is_said_of_another_document_is_not_its_own() {
    let server = Server::new().await;
    let other = server.put("other", b"other").await.receipt.document_id();
    let mut client = server.client();
    let length = Length::Open { max: crate::kit::size(LENGTH) };
    let (own, _) = client.begin(0, NewUpload { length, ..new_upload("own", 0) }).await;
    client.data(0, &file(LENGTH, 1), 0..5).await;
    let said = |id| {
        let filesize = Some(crate::kit::size(5));
        Command::Complete(CompleteRequest { id, filesize, ..CompleteRequest::default() })
    };
    let heard = client.ask(0, said(Some(other))).await;
    assert_eq!(heard, format!("0: completed other (5) #{other}"));
    assert_eq!(server.status(own).await.position.length, length);
    assert_eq!(client.ask(0, said(None)).await, format!("0: completed own (5) #{own}"));
}

/// An upload of its own that another writer has let go of.
async fn paused(server: &Server, place: &str) -> DocumentId {
    let mut upload: UploadHandle = server.begin(place, LENGTH).await;
    server.write(&mut upload, &file(LENGTH, 2), 0..10).await;
    let id = upload.id();
    soon(upload.pause()).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn another_upload_is_given_up() {
    let server = Server::new().await;
    let (_, mut client, own) = with_own(&server).await;
    let other = paused(&server, "paused").await;
    for _ in 0..2 {
        assert_eq!(client.ask(0, Command::Cancel(other)).await, format!("0: cancelled #{other}"));
        check_that_it_is_open(&server, own).await;
    }
    assert_eq!(server.status(other).await.phase, Phase::Cancelled);
    let status = client.ask(0, Command::Query(Query::Status(other))).await;
    assert!(status.starts_with("0: cancelled 10/"), "{status}");
    assert_eq!(client.complete(0).await, format!("0: completed own ({LENGTH}) #{own}"));
}

/// The writer itself is told once.
#[tokio::test(flavor = "multi_thread")]
async fn its_own_upload_is_given_up() {
    let server = Server::new().await;
    let (_, mut client, own) = with_own(&server).await;
    client.tell(0, Command::Cancel(own)).await;
    assert_eq!(client.settle(0).await, [format!("0: cancelled #{own}")]);
    assert_eq!(server.status(own).await.phase, Phase::Cancelled);
    assert_eq!(server.storage.areas(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_writers_of_an_upload_are_told_that_one_of_them_gave_it_up() {
    let server = Server::new().await;
    let mut first = server.client();
    let new = NewUpload { mode: SendingMode::RANGES, ..new_upload("doc", LENGTH) };
    let (id, grant) = first.begin(0, new).await;
    let mut second = server.client();
    second.join(1, id, grant.lease.unwrap()).await;
    first.tell(0, Command::Cancel(id)).await;
    assert_eq!(first.settle(0).await, [format!("0: cancelled #{id}")]);
    assert_eq!(second.hear().await, format!("1: rejected Cancelled #{id}"));
}
