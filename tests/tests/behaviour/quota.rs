//! The quota of a user: what is wanted beyond it is refused before a byte is sent.

use towline_protocol::Code;
use towline_protocol::request::Upload;
use towline_state::catalog::Quota;
use towline_tests::raw_client::{RawClient, ZERO, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

async fn put(client: &mut RawClient, name: &str, test_file: &TestFile) {
    client.upload(upload(name, test_file)).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_fills_the_own_quota_and_takes_nothing_from_others() {
    let server = TestServer::start_with(|config| {
        config.engine.limits.quota = Quota { bytes: Some(1_000_000), files: Some(4) };
    })
    .await;
    let (large, small) = (TestFile::new(600_000, 1), TestFile::new(10, 2));
    let mut ada = server.client().await;
    put(&mut ada, "a.bin", &large).await;
    let refused = ada.upload_refused(upload("b.bin", &large), Code::NoSpace).await;
    assert_eq!(refused.max, Some(1_000_000));
    assert!(refused.message.contains("1 MB"), "{}", refused.message);
    // What begins counts before a byte of it has come.
    let half = TestFile::new(400_000, 3);
    let unfinished = ada.upload(upload("c.bin", &half)).await.document_id;
    let refused = ada.upload_refused(upload("d.bin", &small), Code::NoSpace).await;
    assert!(refused.message.contains("unfinished uploads count"), "{}", refused.message);
    ada.cancel(unfinished).await;
    // Removed is not deleted: the trash counts.
    ada.remove("a.bin").await;
    ada.upload_refused(upload("b.bin", &large), Code::NoSpace).await;
    for n in 0..3 {
        put(&mut ada, &format!("{n}"), &small).await;
    }
    let refused = ada.upload_refused(upload("3", &small), Code::NoSpace).await;
    assert_eq!(refused.max, Some(4));
    assert!(refused.message.contains("4 of the 4 files"), "{}", refused.message);

    let bob = server.site.add_user("bob").await;
    let mut bob = RawClient::login(server.address(), &bob.token).await;
    put(&mut bob, "a.bin", &large).await;
}

/// Nobody knows how long it becomes: it counts as far as it is durable.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_unknown_length_that_grows_beyond_the_quota_ends() {
    let server = TestServer::start_with(|config| {
        config.engine.limits.quota = Quota { bytes: Some(3 << 20), files: None };
    })
    .await;
    let test_file = TestFile::new(8 * BLOCK, 4);
    let mut ada = server.client().await;
    let kept = ada.upload(upload("kept", &TestFile::new(10, 5))).await.document_id;
    let mut pipe = server.client().await;
    let open = Upload { filesize: None, ..upload("pipe.tar", &test_file) };
    let id = pipe.upload(open).await.document_id;
    pipe.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let told = pipe.error(Code::NoSpace).await;
    println!("{}", told.message);
    assert!(told.message.contains("your quota on this server is used up"), "{told:?}");
    assert_eq!(told.max, Some(3 << 20));
    assert_eq!(ada.status(id).await.status, "failed");
    assert!(!server.site.staging(id).exists(), "its bytes are gone");
    assert_eq!(ada.status(kept).await.status, "uploading", "only what grows is ended");
    put(&mut ada, "small", &TestFile::new(100, 6)).await;
}
