//! Input before a login, and in place of one.

use super::{SHORT, Watched, hurried};
use std::time::Instant;
use towline_protocol::request::Complete;
use towline_protocol::{Code, Reply, Request, frame};
use towline_tests::raw_client::{
    ZERO, about, chunk_frame, hello, hello_of_version, nobodys_document, upload,
};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;
use towline_types::BlockIndex;

#[tokio::test(flavor = "multi_thread")]
async fn a_later_version_is_answered_with_1_and_an_earlier_one_is_refused() {
    let watched = Watched::start().await;
    let token = watched.server.user.token.clone();
    let mut client = watched.stranger().await;
    client.send(&hello_of_version(&token, 0)).await;
    assert_eq!(client.error(Code::VersionUnsupported).await.max, Some(1));
    client.closed().await;
    // A client of a later version is answered in a version that both support, on the same
    // connection.
    for version in [1, 2, u32::MAX] {
        let mut client = watched.stranger().await;
        client.send(&hello_of_version(&token, version)).await;
        let Reply::Welcome(welcome) = client.reply().await else { panic!("{version}") };
        assert_eq!(welcome.version, 1);
        assert_eq!(welcome.user_id, watched.server.user.id);
        assert_eq!(welcome.user, "ada");
        assert_eq!((welcome.chunk_size, welcome.block_size), (65_536, 1_048_576));
        assert!(welcome.max_chunk_size >= 65_536);
        for feature in ["blocks", "find", "withdraw", "channels"] {
            assert!(welcome.features.iter().any(|f| f == feature), "{feature}");
        }
    }
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_log_in_is_sent_away() {
    let watched = Watched::over(hurried(|timings| timings.login = SHORT).await);
    // The client sends nothing.
    let begun = Instant::now();
    let mut client = watched.stranger().await;
    client.error(Code::AuthTimeout).await;
    client.closed().await;
    assert!(begun.elapsed() >= SHORT);
    // The client sends single bytes: each one is in time, and the whole login is not.
    let mut client = watched.stranger().await;
    let bytes = frame::control(&hello(&watched.server.user.token));
    let mut drops = tokio::time::interval(SHORT / 10);
    let begun = Instant::now();
    for byte in &bytes {
        drops.tick().await;
        if client.try_send_raw(&[*byte]).await.is_err() || begun.elapsed() > 3 * SHORT {
            break;
        }
    }
    client.error(Code::AuthTimeout).await;
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_before_the_login_closes_the_connection() {
    let watched = Watched::start().await;
    let chunk = chunk_frame(ZERO, 0, b"hello");
    let test_file = TestFile::new(1, 1);
    let block = frame::block(ZERO, BlockIndex::FIRST, test_file.value(0));
    for (what, bytes) in [
        ("upload", frame::control(&Request::Upload(upload("a", &test_file)))),
        ("ping", frame::control(&Request::Ping(Default::default()))),
        ("status", frame::control(&Request::Status(about(nobodys_document())))),
        ("complete", frame::control(&Request::Complete(Complete::default()))),
        ("a chunk", chunk),
        ("a block", block.to_vec()),
    ] {
        println!("{what}");
        let mut client = watched.stranger().await;
        client.send_raw(&bytes).await;
        client.error(Code::AuthRequired).await;
        assert_eq!(client.closed().await, [], "{what}");
    }
    // No JSON, or no action: the connection is closed, with the code that fits best.
    for text in
        [&b"{"[..], b"[]", b"{}", b"{\"action\":\"fly\"}", b"{\"action\":\"hello\"}", b"\xff"]
    {
        let mut client = watched.stranger().await;
        client.send_json(text).await;
        assert!(matches!(client.reply().await, Reply::Error(_)));
        assert_eq!(client.closed().await, []);
    }
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_hello_is_refused_and_changes_no_user() {
    let server = TestServer::start().await;
    let bob = server.site.add_user("bob").await;
    let test_file = TestFile::new(10, 112);
    let mut client = server.client().await;
    client.send(&hello(&bob.token)).await;
    client.error(Code::BadState).await;
    client.upload(upload("mine.bin", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..10).await;
    client.complete(ZERO).await;
    server.site.assert_published(&server.user, "mine.bin", &test_file);
}
