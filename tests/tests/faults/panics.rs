//! A panic at any point of the server: only the connection that led to it ends. Locks and quotas
//! are free again, and the uploads of that connection can be continued.

use towline_protocol::request::{Complete, Resume, Upload, Withdraw};
use towline_protocol::{Code, Reply, Request};
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{
    Heard, RawClient, ZERO, about, chunk_frame, chunk_frames, find, join, offset, position, resume,
    upload,
};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::{BlockIndex, DocumentId};

/// Points that a channel reaches while it uploads and completes.
const ON_A_CHANNEL: &[&str] = &[
    "write.written@1",
    "write.written@2",
    "write.hashed@1",
    "write.hashed@2",
    "upload.row_made@2",
    "upload.file_made@2",
    "publish.verified@1",
    "publish.synced@1",
    "publish.row_publishing@1",
    "publish.folder_made@1",
    "publish.renamed@1",
    "publish.folder_synced@1",
    "publish.in_place@1",
    "publish.row_completed@1",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_channel_ends_that_connection_alone() {
    for point in ON_A_CHANNEL {
        println!("{point}");
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        // With this limit, an upload that is still counted after the panic would make the next one
        // fail.
        let settings = site.settings("max_unfinished_per_user = 2");
        let plan = point.replace('@', "=panic@");
        let server = Launch::over(&site).settings(&settings).failpoints(&plan).start().await;
        let test_file = TestFile::new(BLOCK + 70_000, 950);
        // The other client has begun before, and is not affected.
        let mut other = RawClient::login(server.address(), &user.token).await;
        other.upload(upload("other", &test_file)).await;

        let mut client = RawClient::login(server.address(), &user.token).await;
        client.send(&Request::Upload(upload("doc", &test_file))).await;
        client.send_raw(&all_chunks(&test_file)).await;
        client.send(&Request::Complete(Complete::default())).await;
        let heard = client.ended().await;
        assert!(heard.iter().any(is_own_mistake), "{heard:?}");
        let granted = heard.iter().find_map(|heard| match heard {
            Heard::Reply(Reply::Upload(granted)) => Some(granted.document_id),
            _ => None,
        });

        finish(server.address(), &user.token, &test_file, granted).await;
        site.assert_published(&user, "doc", &test_file);
        other.chunks(ZERO, &test_file, 0..test_file.size()).await;
        assert_eq!(other.complete(ZERO).await.blake3, test_file.hash());
        site.assert_published(&user, "other", &test_file);
        server.gone().await;
    }
}

/// After it, the hashed bytes and the counted bytes of the block differ.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_middle_of_a_block_loses_no_promise() {
    for blocks in [false, true] {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let server = Launch::over(&site).failpoints("write.hashed=panic@2").start().await;
        let test_file = TestFile::new(BLOCK + 70_000, 953);
        let mut client = RawClient::login(server.address(), &user.token).await;
        let begin = Upload { blocks, ..upload("doc", &test_file) };
        let id = client.upload(begin).await.document_id;
        client.chunks(ZERO, &test_file, 0..50_000).await;
        client.has_received(id, 50_000).await;
        client.chunks(ZERO, &test_file, 50_000..90_000).await;
        client.error(Code::Internal).await;
        client.closed().await;

        let mut client = RawClient::login(server.address(), &user.token).await;
        let again = Resume { blocks, ..resume(id) };
        let from = position(client.resume(again).await.offset);
        assert_eq!(from, 50_000);
        if blocks {
            client.blocks_from(ZERO, &test_file, from).await;
        } else {
            client.chunks(ZERO, &test_file, from..test_file.size()).await;
        }
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        site.assert_published(&user, "doc", &test_file);
        server.gone().await;
    }
}

/// In a fast upload the lane reads from the connection itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_fast_upload_loses_no_promise() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).failpoints("loan.pulled=panic@3").start().await;
    let test_file = TestFile::new(48 * BLOCK, 957);
    let mut client = RawClient::login(server.address(), &user.token).await;
    let id = client.upload(upload("doc", &test_file)).await.document_id;
    for index in 0..test_file.block_count() {
        let frame = chunk_frame(ZERO, index * BLOCK, test_file.block(index));
        if client.try_send_raw(&frame).await.is_err() {
            break;
        }
    }
    // A lane that had not read from the connection would not panic here, and the test would fail.
    client.until("the server's own mistake", is_own_mistake).await;
    client.ended().await;
    finish(server.address(), &user.token, &test_file, Some(id)).await;
    site.assert_published(&user, "doc", &test_file);
    server.gone().await;
}

/// All connections under the lease have to begin anew, because only that makes their state right
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_on_one_of_several_connections_leaves_the_others() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).failpoints("write.hashed=panic@2").start().await;
    let test_file = TestFile::new(3 * BLOCK, 955);
    let mut first = RawClient::login(server.address(), &user.token).await;
    let begin = Upload { blocks: true, ..upload("doc", &test_file) };
    let granted = first.upload(begin).await;
    let id = granted.document_id;
    let mut second = RawClient::login(server.address(), &user.token).await;
    second.join(join(&granted)).await;
    first.chunks(ZERO, &test_file, 0..50_000).await;
    first.has_received(id, 50_000).await;
    second.chunks(ZERO, &test_file, BLOCK..BLOCK + 40_000).await;
    second.error(Code::Internal).await;
    second.closed().await;
    first.error(Code::Internal).await;
    // The connection of the first client stays open: it had no part in the fault.
    let again = Resume { blocks: true, ..resume(id) };
    let resumed = first.resume(again).await;
    let mut third = RawClient::login(server.address(), &user.token).await;
    third.join_refused(join(&granted), Code::Superseded).await;
    third.join(join(&resumed)).await;
    third.block(ZERO, &test_file, 1).await;
    third.status(id).await;
    first.chunks(ZERO, &test_file, position(resumed.offset)..BLOCK).await;
    first.announce(ZERO, 0, test_file.value(0)).await;
    first.block(ZERO, &test_file, 2).await;
    assert_eq!(first.complete(ZERO).await.blake3, test_file.hash());
    site.assert_published(&user, "doc", &test_file);
    server.gone().await;
}

fn is_own_mistake(heard: &Heard) -> bool {
    matches!(heard, Heard::Reply(Reply::Error(error)) if error.code == Code::Internal)
}

fn all_chunks(test_file: &TestFile) -> Vec<u8> {
    chunk_frames(ZERO, test_file, 0..test_file.size(), 50_000).flatten().collect()
}

/// Completes the upload as a client that comes back: with the number that it was told, or by name.
async fn finish(
    address: std::net::SocketAddr,
    token: &str,
    test_file: &TestFile,
    granted: Option<DocumentId>,
) {
    let mut client = RawClient::login(address, token).await;
    let found = client.find(find("doc", test_file.filesize())).await.unfinished;
    let id = granted.or(found.map(|unfinished| unfinished.document_id));
    let Some(id) = id else {
        // No row is left of the upload, and it no longer counts among the unfinished ones.
        client.upload(upload("doc", test_file)).await;
        client.chunks(ZERO, test_file, 0..test_file.size()).await;
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        return;
    };
    client.send(&Request::Resume(resume(id))).await;
    match client.reply_on(ZERO).await {
        Reply::Success(success) => assert_eq!(success.blake3, test_file.hash()),
        Reply::Resume(granted) => {
            let from = position(granted.offset);
            client.chunks(ZERO, test_file, from..test_file.size()).await;
            assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_checkpoint_loses_no_promise() {
    for point in ["checkpoint.synced", "checkpoint.recorded", "sync.data", "sync.folder"] {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let server = first_after_the_start(&site, point).await;
        let test_file = TestFile::new(BLOCK, 951);
        let mut client = RawClient::login(server.address(), &user.token).await;
        let id = client.upload(upload("doc", &test_file)).await.document_id;
        client.chunks(ZERO, &test_file, 0..300_000).await;
        // The bytes are promised after all, and no client has to send another byte for that.
        client.progress_that("a promise", |p| p.durable == offset(300_000)).await;
        server.says("a checkpoint panicked").await;
        client.chunks(ZERO, &test_file, 300_000..test_file.size()).await;
        assert_eq!(client.complete(ZERO).await.document_id, id);
        site.assert_published(&user, "doc", &test_file);
        server.gone().await;
    }
}

/// A server that panics the first time that it reaches this point after its start.
async fn first_after_the_start(site: &Site, point: &str) -> ServerProcess {
    for time in 1..100 {
        let plan = format!("{point}=panic@{time}");
        if let Ok(server) = Launch::over(site).failpoints(&plan).try_start().await {
            return server;
        }
    }
    unreachable!("{point} is passed a few times at a start")
}

/// No thread publishes the upload any more, though its row says that it is being published.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_again_after_a_panic_in_a_publishing_has_an_answer() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).failpoints("publish.synced=panic@1").start().await;
    let test_file = TestFile::new(BLOCK + 70_000, 951);
    let mut client = RawClient::login(server.address(), &user.token).await;
    let id = client.upload(upload("doc", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.send(&Request::Complete(Complete::default())).await;
    client.error(Code::Internal).await;
    client.closed().await;
    let mut client = RawClient::login(server.address(), &user.token).await;
    let again = Complete { document_id: Some(id), ..Complete::default() };
    client.complete_refused(again, Code::BadState).await;
    let from = position(client.resume(resume(id)).await.offset);
    client.chunks(ZERO, &test_file, from..test_file.size()).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    site.assert_published(&user, "doc", &test_file);
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_cancellation_leaves_the_user_its_limit() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let settings = site.settings("max_unfinished_per_user = 1");
    let plan = "end.recorded=panic@1";
    let server = Launch::over(&site).settings(&settings).failpoints(plan).start().await;
    let test_file = TestFile::new(70_000, 952);
    let mut client = RawClient::login(server.address(), &user.token).await;
    let id = client.upload(upload("doc", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..1000).await;
    client.send(&Request::Cancel(about(id))).await;
    client.error(Code::Internal).await;
    client.closed().await;
    let mut client = RawClient::login(server.address(), &user.token).await;
    assert_eq!(client.cancel(id).await.status, "cancelled");
    client.upload(upload("next", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
    server.gone().await;
}

/// The writer gets its answer also where the cancellation panics; otherwise it would wait without
/// end.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_cancellation_is_told_to_the_writer() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).failpoints("end.recorded=panic@1").start().await;
    let test_file = TestFile::new(70_000, 953);
    let mut writer = RawClient::login(server.address(), &user.token).await;
    let id = writer.upload(upload("doc", &test_file)).await.document_id;
    let mut other = RawClient::login(server.address(), &user.token).await;
    other.send(&Request::Cancel(about(id))).await;
    other.error(Code::Internal).await;
    other.closed().await;
    writer.error(Code::Internal).await;
    writer.resume_refused(resume(id), Code::Cancelled).await;
    server.gone().await;
}

/// The catalog has taken the promise back, and the client that asked gets no answer. From then on
/// the server must not rely on what the catalog no longer has (P1).
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_withdrawal_loses_no_promise() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let plan = "withdraw.recorded=panic@1";
    let mut server = Launch::over(&site).failpoints(plan).start().await;
    let test_file = TestFile::new(3 * BLOCK, 954);
    let mut client = RawClient::login(server.address(), &user.token).await;
    let begin = Upload { blocks: true, ..upload("doc", &test_file) };
    let id = client.upload(begin).await.document_id;
    for index in 0..2 {
        client.block(ZERO, &test_file, index).await;
    }
    client.progress_that("a promise", |p| p.durable == offset(2 * BLOCK)).await;
    let ranges = vec![(BlockIndex::new(0).unwrap(), 1)];
    client.send(&Request::Withdraw(Withdraw { channel: ZERO, ranges })).await;
    client.error(Code::Internal).await;
    client.closed().await;

    let mut client = RawClient::login(server.address(), &user.token).await;
    let again = Resume { blocks: true, ..resume(id) };
    let from = position(client.resume(again.clone()).await.offset);
    assert_eq!(from, 0, "the catalog has forgotten the block");
    let held = client.blocks(id).await;
    assert_eq!(held.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1]);
    for index in [0, 2] {
        client.block(ZERO, &test_file, index).await;
    }
    let all = offset(test_file.size());
    let promised = client.progress_that("a promise", |p| p.durable == all).await.durable;

    server.kill_and_start_again().await;
    let mut client = RawClient::login(server.address(), &user.token).await;
    assert_eq!(client.resume(again).await.offset, promised);
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    site.assert_published(&user, "doc", &test_file);
    server.gone().await;
}
