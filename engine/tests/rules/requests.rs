//! The bytes of one request are taken back together, and promises are not.

use crate::door::{Client, Door, MIB, bytes, claim, new, offset, size};
use towline_engine::{Command, CompleteRequest, EventKind, RejectionKind, RequestEnd, SendingMode};
use towline_types::BlockIndex;
use towline_types::block::hash_block;

async fn begin_request(client: &mut Client, tag: u32, at: usize) {
    client.say(tag, Command::BeginRequest(offset(at))).await;
}

async fn end_request(client: &mut Client, tag: u32, end: RequestEnd) {
    client.say(tag, Command::EndRequest(end)).await;
}

/// Waits until a checkpoint has gone through all that moved before this call.
async fn checkpoint(client: &mut Client, name: &str) {
    client.begin(9, new(name, 2 * MIB, SendingMode::PLAIN)).await;
    client.send(9, 0, &bytes(1000, 9)).await;
    client.durable(9, 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_bytes_of_a_request_are_taken_back() {
    let door = Door::open().await;
    let mut client = door.client();
    let file = bytes(3 * MIB + 77, 1);
    let (id, _) = client.begin(1, new("a", file.len(), SendingMode::PLAIN)).await;
    let begun = MIB + MIB / 2 + 3;
    client.send(1, 0, &file[..begun]).await;
    client.durable(1, begun).await;
    // Its bytes reach over the end of a block, and another block is whole with them.
    begin_request(&mut client, 1, begun).await;
    let wrong = bytes(MIB + 11, 2);
    client.send(1, begun, &wrong).await;
    checkpoint(&mut client, "barrier").await;
    let position = client.status(1, id).await.position;
    assert_eq!(position.received, offset(begun + wrong.len()));
    assert_eq!(position.durable.get(), offset(begun), "no promise that may be taken back");
    end_request(&mut client, 1, RequestEnd::TakenBack).await;
    match client.answer(1).await {
        EventKind::Withdrawn { offset: now, .. } => assert_eq!(now, offset(begun)),
        other => panic!("{other:?}"),
    }
    let position = client.status(1, id).await.position;
    assert_eq!((position.received, position.durable.get()), (offset(begun), offset(begun)));
    begin_request(&mut client, 1, begun).await;
    client.send(1, begun, &file[begun..]).await;
    end_request(&mut client, 1, RequestEnd::Confirmed).await;
    let receipt = client.complete(1, claim(&file)).await;
    assert_eq!(receipt.document_id(), id);
    assert_eq!(door.read("a"), file);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_becomes_durable_and_what_is_not_confirmed_completes_nothing() {
    let door = Door::open().await;
    let mut client = door.client();
    let file = bytes(2 * MIB, 3);
    client.begin(1, new("a", file.len(), SendingMode::PLAIN)).await;
    begin_request(&mut client, 1, 0).await;
    client.send(1, 0, &file).await;
    client.say(1, Command::Complete(claim(&file))).await;
    let rejection = client.rejected(1).await;
    assert_eq!(rejection.kind, towline_engine::RejectionKind::Incomplete { expected: offset(0) });
    end_request(&mut client, 1, RequestEnd::Confirmed).await;
    client.complete(1, claim(&file)).await;
    assert_eq!(door.read("a"), file);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_cut_off_leaves_its_bytes_as_any_others() {
    let mut door = Door::open().await;
    let mut client = door.client();
    let file = bytes(2 * MIB, 4);
    let (id, _) = client.begin(1, new("a", file.len(), SendingMode::PLAIN)).await;
    begin_request(&mut client, 1, 0).await;
    client.send(1, 0, &file[..MIB + 5]).await;
    client.close().await;
    door.restart().await;
    let mut client = door.client();
    let grant = client.resume(1, id, SendingMode::PLAIN).await;
    assert_eq!(grant.offset, offset(MIB + 5));
    client.send(1, MIB + 5, &file[MIB + 5..]).await;
    client.complete(1, claim(&file)).await;
    assert_eq!(door.read("a"), file);
    client.close().await;
}

async fn announce(client: &mut Client, tag: u32, file: &[u8], number: usize) {
    let index = BlockIndex::new(number as u64).unwrap();
    let end = file.len().min((number + 1) * MIB);
    let value = hash_block(index, size(file.len()), &file[number * MIB..end]);
    client.say(tag, Command::Announce { index, value }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_announced_stays_announced_when_the_bytes_are_taken_back() {
    let door = Door::open().await;
    let mut client = door.client();
    let file = bytes(2 * MIB, 5);
    client.begin(1, new("a", file.len(), SendingMode::BLOCKS)).await;
    begin_request(&mut client, 1, 0).await;
    client.send(1, 0, &file[..MIB]).await;
    announce(&mut client, 1, &file, 0).await;
    end_request(&mut client, 1, RequestEnd::TakenBack).await;
    assert!(matches!(client.answer(1).await, EventKind::Withdrawn { .. }));
    client.send(1, 0, &file).await;
    announce(&mut client, 1, &file, 1).await;
    // Without the hash of the whole, only the announcements vouch for the bytes.
    client.complete(1, CompleteRequest::default()).await;
    assert_eq!(door.read("a"), file);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_differs_loses_the_bytes_of_the_request_alone() {
    let door = Door::open().await;
    let mut client = door.client();
    let file = bytes(2 * MIB, 6);
    let half = MIB / 2 + 1;
    let (id, _) = client.begin(1, new("a", file.len(), SendingMode::BLOCKS)).await;
    client.send(1, 0, &file[..half]).await;
    client.durable(1, half).await;
    begin_request(&mut client, 1, half).await;
    client.send(1, half, &bytes(MIB - half, 7)).await;
    announce(&mut client, 1, &file, 0).await;
    let mismatch = RejectionKind::BlockMismatch { index: BlockIndex::FIRST };
    assert_eq!(client.rejected(1).await.kind, mismatch);
    let position = client.status(1, id).await.position;
    let kept = offset(half);
    assert_eq!((position.received, position.durable.get()), (kept, kept), "a promise is kept");
    end_request(&mut client, 1, RequestEnd::TakenBack).await;
    match client.answer(1).await {
        EventKind::Withdrawn { offset: now, .. } => assert_eq!(now, kept),
        other => panic!("{other:?}"),
    }
    client.send(1, half, &file[half..]).await;
    announce(&mut client, 1, &file, 0).await;
    announce(&mut client, 1, &file, 1).await;
    client.complete(1, CompleteRequest::default()).await;
    assert_eq!(door.read("a"), file);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_came_again_from_another_writer_are_not_taken_back_with_a_request() {
    let door = Door::open().await;
    let mut client = door.client();
    let file = bytes(2 * MIB, 8);
    let (id, grant) = client.begin(1, new("a", file.len(), SendingMode::BLOCKS)).await;
    client.granted(2, Command::Join { id, lease: grant.lease.unwrap() }).await;
    begin_request(&mut client, 1, 0).await;
    client.send(1, 0, &bytes(MIB, 9)).await;
    announce(&mut client, 1, &file, 0).await;
    let mismatch = RejectionKind::BlockMismatch { index: BlockIndex::FIRST };
    assert_eq!(client.rejected(1).await.kind, mismatch);
    client.send(2, 0, &file[..MIB]).await;
    announce(&mut client, 2, &file, 0).await;
    assert_eq!(client.status(2, id).await.position.received, offset(MIB));
    end_request(&mut client, 1, RequestEnd::TakenBack).await;
    match client.answer(1).await {
        EventKind::Withdrawn { offset: now, .. } => assert_eq!(now, offset(MIB)),
        other => panic!("{other:?}"),
    }
    client.send(2, MIB, &file[MIB..]).await;
    announce(&mut client, 2, &file, 1).await;
    client.complete(2, CompleteRequest::default()).await;
    assert_eq!(door.read("a"), file);
    client.close().await;
}
