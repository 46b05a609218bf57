//! An upload that is begun at one door and goes on at the other.

use super::kit::server;
use towline_tests::http_client::HttpUpload;
use towline_tests::raw_client::{ZERO, offset, resume, upload};
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_the_tcp_door_goes_on_here_and_back() {
    let (server, client) = server().await;
    let file = TestFile::new(5 * BLOCK + 77, 40);
    let mut tcp = server.client().await;
    let id = tcp.upload(upload("one.bin", &file)).await.document_id;
    tcp.chunks(ZERO, &file, 0..1_500_000).await;
    tcp.pause().await;

    let path = format!("/uploads/{id}");
    let asked = client.send("HEAD", &path, &[], "").await.is(200);
    assert_eq!(asked.upload_offset(), Some(1_500_000));
    let here = HttpUpload { id, path, token: String::new(), size: file.size() };
    let (from, to) = (1_500_000, 3_000_000);
    client.patch(&here, from, &file.bytes[from..to]).await.is(204);

    let mut tcp = server.client().await;
    let granted = tcp.resume(resume(id)).await;
    assert_eq!(granted.offset, offset(to));
    tcp.chunks(ZERO, &file, to..file.size()).await;
    assert_eq!(tcp.complete(ZERO).await.blake3, file.hash());
    server.site.assert_published(&server.user, "one.bin", &file);
    assert_eq!(client.get(&here.path).await.json()["status"], "AVAILABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_the_http_door_goes_on_there_and_back() {
    let (server, client) = server().await;
    let file = TestFile::new(5 * BLOCK + 77, 41);
    let here = client.begin("two.bin", file.size()).await;
    client.patch(&here, 0, &file.bytes[..1_500_001]).await.is(204);

    let mut tcp = server.client().await;
    let granted = tcp.resume(resume(here.id)).await;
    assert_eq!(granted.offset, offset(1_500_001));
    tcp.chunks(ZERO, &file, 1_500_001..2_000_000).await;
    tcp.pause().await;

    client.patch(&here, 2_000_000, &file.bytes[2_000_000..]).await.is(204);
    server.site.assert_published(&server.user, "two.bin", &file);
}

/// A client that changes the door while its old connection still stands: the old one hears that
/// another has the upload, and what it had sent counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_hangs_blocks_no_other_door() {
    let (server, client) = server().await;
    let file = TestFile::new(2 * BLOCK, 42);
    let mut tcp = server.client().await;
    let id = tcp.upload(upload("three.bin", &file)).await.document_id;
    tcp.chunks(ZERO, &file, 0..700_000).await;
    tcp.has_received(id, 700_000).await;
    let path = format!("/uploads/{id}");
    let here = HttpUpload { id, path, token: String::new(), size: file.size() };
    let asked = client.send("HEAD", &here.path, &[], "").await.is(200);
    assert_eq!(asked.upload_offset(), Some(700_000));
    client.patch(&here, 700_000, &file.bytes[700_000..]).await.is(204);
    tcp.error(towline_protocol::Code::Superseded).await;
    server.site.assert_published(&server.user, "three.bin", &file);
}
