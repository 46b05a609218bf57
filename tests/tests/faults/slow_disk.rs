//! A disk that stalls: a request that needs the stalled call waits, and no other request does. The
//! tests check this by the order of events.

use std::time::{Duration, Instant};
use towline_protocol::request::{Complete, DocumentRef, Resume, Upload};
use towline_protocol::{Channel, Code, Request};
use towline_tests::process::Launch;
use towline_tests::raw_client::{
    CHUNK, RawClient, ZERO, about, errors, find, offset, position, resume, upload,
};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn others_go_on_while_one_sync_takes_for_ever() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    // The wait is longer than the test, so what depends on this sync does not happen.
    let server = Launch::over(&site).failpoints("sync.data=wait:600000@1").start().await;
    let test_file = TestFile::new(2 * BLOCK, 960);
    let mut stalled = RawClient::login(server.address(), &user.token).await;
    let id = stalled.upload(upload("stalled", &test_file)).await.document_id;
    stalled.chunks(ZERO, &test_file, 0..BLOCK).await;
    server.says("a failpoint waits").await;

    // Other clients upload, complete and ask, and get their answers.
    for number in 0..20 {
        let mut other = RawClient::login(server.address(), &user.token).await;
        let name = format!("{number}.bin");
        other.upload(upload(&name, &test_file)).await;
        other.chunks(ZERO, &test_file, 0..test_file.size()).await;
        assert_eq!(other.complete(ZERO).await.blake3, test_file.hash());
        other.find(find("stalled", test_file.filesize())).await;
        other.ping().await;
        site.assert_published(&user, &name, &test_file);
    }
    // The upload's own client is served, too: its bytes are received, and not promised durable.
    stalled.chunks(ZERO, &test_file, BLOCK..test_file.size()).await;
    stalled.has_received(id, test_file.size()).await;
    assert_eq!(stalled.status(id).await.durable, offset(0));
    stalled.ping().await;
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_that_ends_wakes_every_waiting_request() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).failpoints("sync.data=wait:1500@1").start().await;
    let test_file = TestFile::new(BLOCK, 961);
    let mut waiting = Vec::new();
    for number in 0..5 {
        let mut client = RawClient::login(server.address(), &user.token).await;
        let id = client.upload(upload(&format!("{number}.bin"), &test_file)).await.document_id;
        client.chunks(ZERO, &test_file, 0..100_000).await;
        client.has_received(id, 100_000).await;
        waiting.push(client);
    }
    for client in &mut waiting {
        client.progress_that("a promise", |p| p.durable == offset(100_000)).await;
    }
    for (number, mut client) in waiting.into_iter().enumerate() {
        client.chunks(ZERO, &test_file, 100_000..test_file.size()).await;
        client.complete(ZERO).await;
        site.assert_published(&user, &format!("{number}.bin"), &test_file);
    }
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_found_while_one_upload_cannot_be_begun() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let test_file = TestFile::new(5000, 962);
    let server = Launch::over(&site).start().await;
    let mut client = RawClient::login(server.address(), &user.token).await;
    let paused = client.upload(upload("paused", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..1000).await;
    client.pause().await;
    server.gone().await;

    // The row of the upload exists, and to make its file takes longer than this test.
    let server = Launch::over(&site).failpoints("upload.row_made=wait:600000@1").start().await;
    let mut stalled = RawClient::login(server.address(), &user.token).await;
    stalled.send(&Request::Upload(upload("stalled", &test_file))).await;
    server.says("a failpoint waits").await;

    let mut other = RawClient::login(server.address(), &user.token).await;
    assert_eq!(other.status(paused).await.status, "uploading");
    other.upload(upload("other", &test_file)).await;
    other.chunks(ZERO, &test_file, 0..test_file.size()).await;
    other.complete(ZERO).await;
    let granted = other.resume(resume(paused)).await;
    other.chunks(ZERO, &test_file, position(granted.offset)..test_file.size()).await;
    other.complete(ZERO).await;
    site.assert_published(&user, "paused", &test_file);
    server.gone().await;
}

/// The request that ends an upload sends the error to the upload's writer as soon as the catalog
/// has recorded the end. Until then, further bytes of the upload are dropped. A writer that has
/// sent everything waits only for this error.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_sent_all_is_told_of_an_end_that_takes_long() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).failpoints("end.recorded=wait:700@1").start().await;
    let test_file = TestFile::new(2 * BLOCK, 963);
    let mut writer = RawClient::login(server.address(), &user.token).await;
    let id = writer.upload(upload("doc", &test_file)).await.document_id;
    writer.chunks(ZERO, &test_file, 0..BLOCK).await;
    writer.has_received(id, BLOCK).await;
    let mut other = RawClient::login(server.address(), &user.token).await;
    let cancel = tokio::spawn(async move { other.cancel(id).await });
    server.says("a failpoint waits").await;

    writer.chunks(ZERO, &test_file, BLOCK..test_file.size()).await;
    writer.send(&Request::Complete(Complete::default())).await;
    writer.finish_sending().await;
    assert_eq!(errors(&writer.ended().await), [(Code::Cancelled, Some(id))]);
    assert_eq!(cancel.await.unwrap().document_id, id);
    server.gone().await;
}

/// A disk that never answers does not keep a connection open.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_takes_for_ever_is_not_waited_for() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).failpoints("end.recorded=wait:600000@1").start().await;
    let test_file = TestFile::new(2 * BLOCK, 964);
    let mut writer = RawClient::login(server.address(), &user.token).await;
    let id = writer.upload(upload("doc", &test_file)).await.document_id;
    let mut other = RawClient::login(server.address(), &user.token).await;
    other.send(&Request::Cancel(about(id))).await;
    server.says("a failpoint waits").await;
    writer.chunks(ZERO, &test_file, 0..BLOCK).await;
    writer.finish_sending().await;
    assert_eq!(errors(&writer.ended().await), []);
    server.gone().await;
}

/// An upload that ends has one error: a request that finds an error in the bytes, while another
/// request ends the upload, sends no error of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_upload_is_told_by_one_request_alone() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).failpoints("refuse.begun=wait:1500@1").start().await;
    let test_file = TestFile::new(2 * BLOCK, 965);
    let mut writer = RawClient::login(server.address(), &user.token).await;
    let id = writer.upload(upload("doc", &test_file)).await.document_id;
    // Bytes that are not at the offset.
    writer.chunk(ZERO, 1000, &test_file.bytes[1000..2000]).await;
    server.says("a failpoint waits").await;
    let mut other = RawClient::login(server.address(), &user.token).await;
    assert_eq!(other.cancel(id).await.status, "cancelled");
    writer.finish_sending().await;
    assert_eq!(errors(&writer.ended().await), [(Code::Cancelled, Some(id))]);
    server.gone().await;
}

/// Hundreds of uploads of one user wait for their syncs, each of which takes some time. A pause and
/// a promise of another user wait for a few of these syncs and not for all.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_a_promise_do_not_wait_for_all_syncs_of_another() {
    const CROWD: u32 = 500;
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let mallory = site.add_user("mallory").await;
    let server = Launch::over(&site).failpoints("sync.data=wait:50").start().await;
    let test_file = TestFile::new(CHUNK, 966);
    let mut crowd = RawClient::login(server.address(), &mallory.token).await;
    for number in 0..CROWD {
        let channel = Channel(number);
        crowd.upload(Upload { channel, ..upload(&number.to_string(), &test_file) }).await;
    }
    // Each of these uploads gets new bytes again and again.
    let crowd = tokio::spawn(async move {
        for at in 0..1000 {
            for number in 0..CROWD {
                crowd.chunk(Channel(number), at, &test_file.bytes[at..=at]).await;
            }
        }
    });
    let test_file = TestFile::new(BLOCK, 967);
    let (mut promises, mut pauses) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let mut honest = RawClient::login(server.address(), &user.token).await;
        let name = format!("{round}.bin");
        let id = honest.upload(upload(&name, &test_file)).await.document_id;
        let sent = Instant::now();
        honest.chunks(ZERO, &test_file, 0..CHUNK).await;
        honest.progress_that("a promise", |p| p.durable == offset(CHUNK)).await;
        promises.push(sent.elapsed());
        honest.chunks(ZERO, &test_file, CHUNK..3 * CHUNK).await;
        honest.has_received(id, 3 * CHUNK).await;
        let asked = Instant::now();
        let last = honest.pause().await;
        pauses.push(asked.elapsed());
        assert_eq!(last[0].durable, offset(3 * CHUNK));
    }
    println!("promises after {promises:?}, pauses {pauses:?}");
    crowd.abort();
    // Without sharing, 500 syncs of 50 ms each take 25 s.
    let longest = promises.iter().chain(&pauses).max().unwrap();
    assert!(*longest < Duration::from_secs(4), "{longest:?}");
    server.gone().await;
}

/// One channel's `complete` waits for the disk. Requests of other channels name its document,
/// and the client has closed its sending half: they wait for the end of the publishing, and no
/// answer says that the server is at fault.
#[tokio::test(flavor = "multi_thread")]
async fn requests_behind_a_publishing_are_answered_after_the_last_word_of_the_client() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).failpoints("publish.synced=wait:1500@1").start().await;
    let test_file = TestFile::new(BLOCK + 9, 964);
    let mut client = RawClient::login(server.address(), &user.token).await;
    let id = client.upload(upload("doc", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.send(&Request::Complete(Complete::default())).await;
    server.says("a failpoint waits").await;

    client.send(&Request::Resume(Resume { channel: Channel(1), ..resume(id) })).await;
    let complete = Complete { document_id: Some(id), ..Complete::default() };
    client.send(&Request::Complete(Complete { channel: Channel(2), ..complete })).await;
    client.send(&Request::Cancel(DocumentRef { channel: Channel(3), ..about(id) })).await;
    client.finish_sending().await;
    for channel in [ZERO, Channel(1), Channel(2)] {
        assert_eq!(client.success_on(channel).await.filename, "doc");
    }
    client.error_on(Channel(3), Code::BadState).await;
    client.closed().await;
    site.assert_published(&user, "doc", &test_file);
    server.assert_calm();
    server.gone().await;
}
