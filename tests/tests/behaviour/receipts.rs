//! A client that asks for receipts gets one with each SUCCESS, and others get none.

use towline_client::receipts::{BadReceipt, SignedReceipt, Statement, verify};
use towline_engine::Durability;
use towline_protocol::reply::{ReceiptSignature, Success, Welcome};
use towline_protocol::request::{Complete, Receipts, Request, Upload};
use towline_protocol::{Channel, EncodedBytes, Reply};
use towline_tests::raw_client::{RawClient, ZERO, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

async fn connected(server: &TestServer) -> (RawClient, Welcome) {
    let mut client = RawClient::connect(server.address()).await;
    client.hello(&server.user.token).await;
    match client.reply().await {
        Reply::Welcome(welcome) => (client, welcome),
        other => panic!("{other:?}"),
    }
}

async fn ask(client: &mut RawClient, channel: Channel) -> EncodedBytes {
    client.send(&Request::Receipts(Receipts { channel })).await;
    match client.reply_on(channel).await {
        Reply::Receipts(key) => key.public_key,
        other => panic!("{other:?}"),
    }
}

/// The receipt that a client makes of SUCCESS.
fn receipt_of(success: Success, public_key: &EncodedBytes, welcome: &Welcome) -> SignedReceipt {
    let ReceiptSignature { scheme, signed_at, signature } = success.receipt.expect("a receipt");
    let statement = Statement {
        scheme,
        public_key: public_key.clone(),
        server_id: welcome.server_id.unwrap(),
        user_id: welcome.user_id,
        user: welcome.user.clone(),
        document_id: success.document_id,
        folder: success.folder,
        filename: success.filename,
        filesize: success.filesize,
        blake3: success.blake3,
        created_at: success.created_at,
        durable: success.durable,
        signed_at,
    };
    SignedReceipt { statement, signature }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_success_has_one_from_the_request_on() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK + 5, 1500);
    let (mut client, welcome) = connected(&server).await;
    let id = client.upload(upload("a", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    assert_eq!(client.complete(ZERO).await.receipt, None, "nobody has asked");

    let key = ask(&mut client, Channel(9)).await;
    let folder = vec!["in".to_owned(), "here".to_owned()];
    client.upload(Upload { folder, ..upload("b", &test_file) }).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let sent = client.complete(ZERO).await;
    let sent = receipt_of(sent, &key, &welcome);
    assert_eq!(sent.statement.scheme, "ecdsa_secp256r1_sha256");
    assert_eq!(sent.statement.folder, ["in", "here"]);
    assert!(sent.statement.durable && sent.statement.signed_at >= sent.statement.created_at);
    verify(&sent).unwrap();

    // Asked for again, there already, copied from another place, and resumed when it was complete.
    let again = Complete { document_id: Some(id), ..Complete::default() };
    let mut all = vec![client.complete_with(again).await];
    for (name, is_copy) in [("a", false), ("c", true)] {
        let known = Upload { blake3: Some(test_file.hash()), ..upload(name, &test_file) };
        client.send(&Request::Upload(known)).await;
        let success = client.success_on(ZERO).await;
        assert_eq!((success.existing, success.copied), (!is_copy, is_copy));
        all.push(success);
    }
    client.send(&Request::Resume(resume(id))).await;
    all.push(client.success_on(ZERO).await);
    for success in all {
        verify(&receipt_of(success, &key, &welcome)).unwrap();
    }

    // What another connection has asked for is nothing to this one.
    let (mut other, _) = connected(&server).await;
    let again = Complete { document_id: Some(id), ..Complete::default() };
    assert_eq!(other.complete_with(again).await.receipt, None);
    assert_eq!(ask(&mut other, ZERO).await, key);
    assert_eq!(ask(&mut other, ZERO).await, key, "it may be said again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_says_durable_only_where_it_is() {
    let server =
        TestServer::start_with(|config| config.engine.durability = Durability::Relaxed).await;
    let test_file = TestFile::new(2 * BLOCK, 1501);
    let (mut client, welcome) = connected(&server).await;
    let key = ask(&mut client, ZERO).await;
    let id = client.upload(upload("a", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let first = client.complete(ZERO).await;
    assert!(!first.durable);
    let first = receipt_of(first, &key, &welcome);
    assert!(!first.statement.durable);
    verify(&first).unwrap();
    let mut edited = first.clone();
    edited.statement.durable = true;
    assert_eq!(verify(&edited), Err(BadReceipt::WrongSignature));

    let again = Complete { document_id: Some(id), ..Complete::default() };
    let second = client.complete_with(again).await;
    let second = receipt_of(second, &key, &welcome);
    assert!(second.statement.durable);
    verify(&second).unwrap();
}

/// The last answers of a client that has closed its half are signed as the others are.
#[tokio::test(flavor = "multi_thread")]
async fn receipts_come_also_when_the_client_has_said_all() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK, 1502);
    let (mut client, welcome) = connected(&server).await;
    let key = ask(&mut client, ZERO).await;
    client.upload(upload("a", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.send(&Request::Complete(Complete::default())).await;
    client.finish_sending().await;
    let success = client.success_on(ZERO).await;
    verify(&receipt_of(success, &key, &welcome)).unwrap();
}
