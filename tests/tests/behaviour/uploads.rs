//! `uploads`: a user's uploads that are not complete, whichever connection sends them.

use towline_protocol::reply::{UploadState, Uploads};
use towline_protocol::request::{self, Request};
use towline_protocol::{Code, Reply};
use towline_tests::raw_client::{RawClient, ZERO, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// A page of them, and where the next one begins.
async fn uploads(
    client: &mut RawClient,
    after: Option<&str>,
    limit: Option<u32>,
) -> (Vec<UploadState>, Option<String>) {
    let after = after.map(str::to_owned);
    client.send(&Request::Uploads(request::Uploads { channel: ZERO, after, limit })).await;
    let mut all = Vec::new();
    loop {
        match client.reply_on(ZERO).await {
            Reply::Uploads(Uploads { uploads, end, next, .. }) => {
                all.extend(uploads);
                if end {
                    return (all, next);
                }
                assert_eq!(next, None, "only the last frame says where to go on");
            }
            other => panic!("no uploads but {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_of_a_user_sees_all_of_them_and_no_other_user_does() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 1600);
    let mut sender = server.client().await;
    let active = sender.upload(upload("active.bin", &test_file)).await.document_id;
    sender.chunks(ZERO, &test_file, 0..BLOCK + 5).await;
    sender.has_received(active, BLOCK + 5).await;
    let mut other = server.client().await;
    let paused = other.upload(upload("paused.bin", &test_file)).await.document_id;
    other.chunks(ZERO, &test_file, 0..BLOCK).await;
    other.pause().await;

    let mut client = server.client().await;
    let (all, next) = uploads(&mut client, None, None).await;
    assert_eq!(next, None);
    let told: Vec<_> = all
        .iter()
        .map(|one| (one.document_id, &*one.filename, one.received.get(), one.active))
        .collect();
    let (half, block) = (BLOCK as u64 + 5, BLOCK as u64);
    assert_eq!(told, [(active, "active.bin", half, true), (paused, "paused.bin", block, false)]);
    for one in &all {
        let status = client.status(one.document_id).await;
        assert_eq!((&one.status, one.filesize), (&status.status, status.filesize));
        assert_eq!((one.expires_at, one.received), (status.expires_at, status.received));
    }

    // Page by page; the last page may be empty.
    let (first, next) = uploads(&mut client, None, Some(1)).await;
    assert_eq!(first, all[..1]);
    let (second, next) = uploads(&mut client, next.as_deref(), Some(1)).await;
    assert_eq!(second, all[1..]);
    let (rest, next) = uploads(&mut client, next.as_deref(), Some(1)).await;
    assert_eq!((rest, next), (Vec::new(), None));

    // What is complete is gone from the list, and what goes on is active again.
    let mut sender_again = server.client().await;
    let granted = sender_again.resume(resume(paused)).await;
    assert_eq!(granted.offset.get(), BLOCK as u64);
    sender.chunks(ZERO, &test_file, BLOCK + 5..2 * BLOCK).await;
    sender.complete(ZERO).await;
    let (left, _) = uploads(&mut client, None, None).await;
    let told: Vec<_> = left.iter().map(|one| (one.document_id, one.active)).collect();
    assert_eq!(told, [(paused, true)]);

    let stranger = server.site.add_user("stranger").await;
    let mut stranger = RawClient::login(server.address(), &stranger.token).await;
    assert_eq!(uploads(&mut stranger, None, None).await, (Vec::new(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_too_large_and_a_place_that_is_none_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let request = |after: Option<&str>, limit| {
        let after = after.map(str::to_owned);
        Request::Uploads(request::Uploads { channel: ZERO, after, limit })
    };
    for limit in [0, 10_001] {
        let error = client.tree_refused(&request(None, Some(limit)), Code::BadRequest).await;
        assert_eq!(error.field.as_deref(), Some("limit"));
    }
    for after in ["", "x", "-1", "0"] {
        client.tree_refused(&request(Some(after), None), Code::BadCursor).await;
    }
}
