//! An upload from its first byte to its receipt.

use crate::kit::{BLOCK, Call, Server, ada, complete, file, hash_of, kind, offset, size, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sent_in_order_and_read_back() {
    let server = Server::new().await;
    for (number, length) in
        [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5].into_iter().enumerate()
    {
        let (bytes, place) = (file(length, 7), format!("a/{length}"));
        let mut upload = server.begin(&place, length).await;
        assert_eq!(upload.id().get(), number as u64 + 1);
        assert_eq!((upload.offset(), upload.length()), (offset(0), crate::kit::length(length)));
        server.write(&mut upload, &bytes, 0..length).await;
        let id = upload.id();
        let completion = complete(upload, None).await.unwrap();
        let receipt = &completion.receipt;
        assert!(!completion.existing && receipt.is_durable() && !receipt.is_copy());
        assert_eq!((receipt.document_id(), receipt.path().to_string()), (id, place.clone()));
        assert_eq!((receipt.filesize(), receipt.hash()), (size(length), hash_of(&bytes)));
        assert!(server.read(id).await == bytes);
        assert!(server.storage.bytes(ada(), &place).unwrap() == bytes);
        assert_eq!(server.storage.areas(), []);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_says_the_same_each_time() {
    let server = Server::new().await;
    let first = server.put("a", b"bytes").await;
    server.storage.take_calls();
    let again = soon(server.account().receipt(first.receipt.document_id())).await.unwrap();
    assert_eq!(again.receipt.created_at(), first.receipt.created_at());
    assert_eq!(again.receipt.hash(), first.receipt.hash());
    assert_eq!(again.receipt.path(), first.receipt.path());
    assert!(again.receipt.is_durable());
    assert_eq!(server.storage.count(Call::Publish), 0);
    assert_eq!(kind(soon(server.account().receipt(crate::kit::id(99))).await), "NotFound");
}
