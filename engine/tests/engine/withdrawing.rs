//! Blocks that are taken back, and blocks that differ from what was announced.

use crate::kit::{
    BLOCK, Server, complete, file, hash_of, index, kind, new_upload, offset, refused, soon,
    value_of, without_timed_checkpoints,
};
use towline_engine::{RejectionKind, SendingMode, UploadHandle};

const LENGTH: usize = 3 * BLOCK + 5;

async fn announced(server: &Server) -> UploadHandle {
    let mut new = new_upload("doc", LENGTH);
    new.mode = SendingMode::BLOCKS;
    server.begin_new(new).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_is_missing_also_after_a_power_cut() {
    let server = Server::with(without_timed_checkpoints).await;
    let (bytes, old) = (file(LENGTH, 1), file(LENGTH, 2));
    let mut upload = announced(&server).await;
    let id = upload.id();
    server.write_announced(&mut upload, &old, 0..LENGTH).await;
    soon(upload.pause()).await;
    let mut upload = server.resume_in(id, SendingMode::BLOCKS).await;
    assert_eq!(upload.offset(), offset(LENGTH));
    let taken = soon(upload.withdraw(vec![index(1)..index(2), index(3)..index(9)])).await.unwrap();
    assert_eq!(taken, offset(BLOCK));
    let position = soon(upload.position()).await.unwrap();
    assert_eq!((position.received, position.durable.get()), (offset(BLOCK), offset(BLOCK)));
    let held = server.held(id).await;
    assert_eq!(held, [0, 2].map(|number| (index(number), value_of(&old, number))));
    drop(upload);
    let server = server.cut_power().await;
    let held = server.held(id).await;
    assert_eq!(held, [0, 2].map(|number| (index(number), value_of(&old, number))));
    let mut upload = server.resume_in(id, SendingMode::BLOCKS).await;
    assert_eq!(upload.offset(), offset(BLOCK));
    soon(upload.withdraw(vec![index(0)..index(1), index(2)..index(3)])).await.unwrap();
    server.write_announced(&mut upload, &bytes, 0..LENGTH).await;
    complete(upload, Some(hash_of(&bytes))).await.unwrap();
    assert!(server.read(id).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_nothing_change_nothing() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut upload = announced(&server).await;
    server.write_announced(&mut upload, &bytes, 0..2 * BLOCK).await;
    for blocks in
        [vec![], vec![index(1)..index(1)], vec![index(4)..index(99)], vec![index(3)..index(4)]]
    {
        assert_eq!(soon(upload.withdraw(blocks)).await.unwrap(), offset(2 * BLOCK));
    }
    assert_eq!(soon(upload.position()).await.unwrap().received, offset(2 * BLOCK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_begun_block_is_taken_back_too() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut upload = server.begin("doc", LENGTH).await;
    server.write(&mut upload, &file(LENGTH, 2), 0..BLOCK + 77).await;
    assert_eq!(soon(upload.withdraw(vec![index(1)..index(2)])).await.unwrap(), offset(BLOCK));
    assert_eq!(soon(upload.withdraw(vec![index(0)..index(1)])).await.unwrap(), offset(0));
    server.write(&mut upload, &bytes, 0..LENGTH).await;
    complete(upload, Some(hash_of(&bytes))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_not_as_announced_is_sent_again_alone() {
    let server = Server::new().await;
    let (bytes, damaged) = (file(LENGTH, 1), file(LENGTH, 2));
    let mut upload = announced(&server).await;
    let id = upload.id();
    server.write_announced(&mut upload, &bytes, 0..BLOCK).await;
    server.write(&mut upload, &damaged, BLOCK..2 * BLOCK).await;
    soon(upload.announce(index(1), value_of(&bytes, 1))).await.unwrap();
    server.write_announced(&mut upload, &bytes, 2 * BLOCK..LENGTH).await;
    let expected = RejectionKind::BlockMismatch { index: index(1) };
    assert_eq!(refused(soon(upload.position()).await).kind, expected);
    let position = soon(upload.position()).await.unwrap();
    assert_eq!(position.received, offset(BLOCK));
    let held = server.held(id).await;
    assert_eq!(held.iter().map(|(held, _)| held.get()).collect::<Vec<_>>(), [0, 2, 3]);
    // The announcement may come first too.
    soon(upload.announce(index(1), value_of(&bytes, 1))).await.unwrap();
    server.write(&mut upload, &damaged, BLOCK..2 * BLOCK).await;
    assert_eq!(refused(soon(upload.position()).await).kind, expected);
    server.write_announced(&mut upload, &bytes, BLOCK..2 * BLOCK).await;
    complete(upload, None).await.unwrap();
    assert!(server.read(id).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_block_that_gets_another_value_is_dropped() {
    for mode in [SendingMode::BLOCKS, SendingMode::PLAIN] {
        let server = Server::with(without_timed_checkpoints).await;
        let bytes = file(LENGTH, 1);
        let mut new = new_upload("doc", LENGTH);
        new.mode = mode;
        let mut upload = server.begin_new(new).await;
        let id = upload.id();
        server.write_announced(&mut upload, &bytes, 0..2 * BLOCK).await;
        soon(upload.pause()).await;
        let mut upload = server.resume_in(id, mode).await;
        let mut held = value_of(&bytes, 1);
        soon(upload.announce(index(1), held)).await.unwrap();
        assert_eq!(soon(upload.position()).await.unwrap().durable.get(), offset(2 * BLOCK));
        held = value_of(&file(LENGTH, 2), 1);
        soon(upload.announce(index(1), held)).await.unwrap();
        let expected = RejectionKind::BlockMismatch { index: index(1) };
        assert_eq!(refused(soon(upload.position()).await).kind, expected);
        let position = soon(upload.position()).await.unwrap();
        assert_eq!((position.received, position.durable.get()), (offset(BLOCK), offset(BLOCK)));
        drop(upload);
        let server = server.cut_power().await;
        assert_eq!(server.status(id).await.position.durable.get(), offset(BLOCK));
        let held = server.held(id).await;
        assert_eq!(held, [(index(0), value_of(&bytes, 0))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_the_file_does_not_have_is_refused_and_the_upload_goes_on() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut upload = announced(&server).await;
    soon(upload.announce(index(4), value_of(&bytes, 0))).await.unwrap();
    let answer = soon(upload.position()).await;
    assert_eq!(kind(answer), "NoSuchBlock { index: BlockIndex(4) }");
    server.write_announced(&mut upload, &bytes, 0..LENGTH).await;
    complete(upload, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_open_blocks_than_there_may_be_refuse_the_writer() {
    let length = 66 * BLOCK;
    let server = Server::new().await;
    let mut new = new_upload("doc", length);
    new.mode = SendingMode::BLOCKS;
    let mut upload = server.begin_new(new).await;
    let id = upload.id();
    let value = value_of(&file(BLOCK, 0), 0);
    for number in 1..=64 {
        soon(upload.announce(index(number), value)).await.unwrap();
    }
    assert_eq!(soon(upload.position()).await.unwrap().received, offset(0));
    soon(upload.announce(index(65), value)).await.unwrap();
    assert_eq!(kind(soon(upload.position()).await), "TooMany { max: 64 }");
    // The upload is there; its writer was refused.
    assert_eq!(server.resume_in(id, SendingMode::BLOCKS).await.offset(), offset(0));
}
