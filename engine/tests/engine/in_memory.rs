//! The engine that has no store but its own memory.

use crate::kit::{BLOCK, CAPACITY_BYTES, complete, new_upload, part, pieces, read};
use crate::kit::{ada, buffer, file, offset, soon, uploading};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::Instant;
use towline_engine::{Engine, Origin};

#[tokio::test(flavor = "multi_thread")]
async fn a_document_goes_through_it_and_nothing_is_left_of_it() {
    let open = || Engine::open_in_memory(CAPACITY_BYTES, &Handle::current()).unwrap();
    let engine = block_in_place(open);
    engine.add_user("ada").await.unwrap();
    let folder = engine.config().data_dir.clone();
    assert!(folder.exists());
    let account = engine.account(ada(), Origin::new("a test"));
    let bytes = file(2 * BLOCK + 5, 1);
    let mut upload = uploading(account.begin(new_upload("a/doc", bytes.len())).await.unwrap());
    for piece in pieces(0..bytes.len()) {
        let block = buffer(engine.buffers(), &bytes[piece.clone()]).await;
        soon(upload.write(offset(piece.start), block)).await.unwrap();
    }
    let id = upload.id();
    complete(upload, None).await.unwrap();

    let part = part(id, BLOCK - 1..BLOCK + 99);
    assert!(read(&account, part).await.unwrap() == bytes[BLOCK - 1..][..100]);
    drop(account);
    soon(engine.shut_down(Instant::now() + Duration::from_secs(5))).await.unwrap();
    assert!(!folder.exists());
}
