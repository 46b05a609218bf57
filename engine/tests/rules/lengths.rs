//! Uploads that begin before anybody knows how long the file is.

use crate::door::{Client, Door, MIB, bytes, claim, new, offset, size};
use towline_engine::{
    Command, CompleteRequest, EventKind, Length, NewUpload, RejectionKind, RequestEnd, SendingMode,
};
use towline_state::state_file::StateFile;
use towline_types::block::hash_block;
use towline_types::{BlockIndex, DocumentId};

async fn begin(client: &mut Client, name: &str, max: usize) -> DocumentId {
    let length = Length::Open { max: size(max) };
    let (id, grant) =
        client.begin(1, NewUpload { length, ..new(name, 0, SendingMode::PLAIN) }).await;
    assert_eq!(grant.length, length);
    id
}

async fn declare(client: &mut Client, bytes: usize) {
    client.say(1, Command::Declare(size(bytes))).await;
}

const MAX: usize = 100 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn what_came_is_durable_and_resumed_before_the_length_is_known() {
    let mut door = Door::open().await;
    let mut client = door.client();
    let file = bytes(2 * MIB + MIB / 2, 1);
    let id = begin(&mut client, "a", MAX).await;
    let first = MIB + 1000;
    client.send(1, 0, &file[..first]).await;
    client.durable(1, first).await;
    client.close().await;
    door.restart().await;
    let mut client = door.client();
    assert_eq!(client.status(1, id).await.position.length, Length::Open { max: size(MAX) });
    let grant = client.resume(1, id, SendingMode::PLAIN).await;
    assert_eq!(grant.offset, offset(first));
    client.send(1, first, &file[first..]).await;
    declare(&mut client, file.len()).await;
    // Said twice, as by a client that did not hear of the first time.
    declare(&mut client, file.len()).await;
    let length = client.status(1, id).await.position.length;
    assert_eq!(length, Length::Declared(size(file.len())));
    let receipt = client.complete(1, claim(&file)).await;
    assert_eq!((receipt.document_id(), receipt.filesize()), (id, size(file.len())));
    assert_eq!(door.read("a"), file);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_one_block_or_none_has_its_own_hash() {
    let mut door = Door::open().await;
    let mut number = 0;
    for count in [0, 1, MIB - 1, MIB, MIB + 1] {
        for restarts in [false, true] {
            let (name, file) = (format!("file {number}"), bytes(count, number));
            number += 1;
            let mut client = door.client();
            let id = begin(&mut client, &name, MAX).await;
            client.send(1, 0, &file).await;
            if restarts {
                client.close().await;
                door.restart().await;
                client = door.client();
                client.resume(1, id, SendingMode::PLAIN).await;
            }
            declare(&mut client, count).await;
            client.complete(1, claim(&file)).await;
            assert_eq!(door.read(&name), file, "{count} bytes");
            client.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_length_outlasts_a_restart_and_lets_no_other_byte_in() {
    let mut door = Door::open().await;
    let mut client = door.client();
    let file = bytes(MIB, 3);
    let id = begin(&mut client, "a", MAX).await;
    client.send(1, 0, &file).await;
    client.durable(1, MIB).await;
    // The first block was recorded as one of several, and is the only one now.
    declare(&mut client, MIB).await;
    client.close().await;
    door.restart().await;
    let mut client = door.client();
    let grant = client.resume(1, id, SendingMode::PLAIN).await;
    assert_eq!((grant.offset, grant.length), (offset(MIB), Length::Declared(size(MIB))));
    client.send(1, MIB, &[0]).await;
    let rejection = client.rejected(1).await;
    assert_eq!(rejection.kind, RejectionKind::SizeExceeded { filesize: size(MIB) });
    client.resume(1, id, SendingMode::PLAIN).await;
    client.complete(1, claim(&file)).await;
    assert_eq!(door.read("a"), file);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_while_a_file_grows() {
    let door = Door::open().await;
    let mut client = door.client();
    let max = MIB + 10;
    begin(&mut client, "a", max).await;
    client.send(1, 0, &bytes(MIB, 4)).await;
    client.send(1, MIB, &bytes(11, 4)).await;
    let rejection = client.rejected(1).await;
    assert_eq!(rejection.kind, RejectionKind::SizeLimit { max: Some(size(max)) });
    assert!(rejection.message.contains("this upload was begun for a file of up to"));
    assert!(!rejection.message.contains("operator"), "{}", rejection.message);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_completed_without_a_length_nor_with_one_that_is_too_short() {
    let door = Door::open().await;
    let mut client = door.client();
    let file = bytes(1000, 5);
    begin(&mut client, "a", MAX).await;
    client.send(1, 0, &file).await;
    client.say(1, Command::Complete(CompleteRequest::default())).await;
    assert_eq!(client.rejected(1).await.kind, RejectionKind::LengthUnknown);
    declare(&mut client, file.len()).await;
    client.complete(1, claim(&file)).await;
    let id = begin(&mut client, "b", MAX).await;
    client.send(1, 0, &file).await;
    declare(&mut client, file.len() - 1).await;
    let rejection = client.rejected(1).await;
    assert_eq!(rejection.kind, RejectionKind::SizeExceeded { filesize: size(file.len() - 1) });
    let grant = client.resume(1, id, SendingMode::PLAIN).await;
    assert_eq!(grant.offset, offset(file.len()), "what is here stays");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_taken_back_are_not_part_of_the_file() {
    let door = Door::open().await;
    let mut client = door.client();
    let file = bytes(MIB + 500, 6);
    begin(&mut client, "a", MAX).await;
    client.send(1, 0, &file).await;
    client.say(1, Command::BeginRequest(offset(file.len()))).await;
    client.send(1, file.len(), &bytes(2 * MIB, 7)).await;
    client.say(1, Command::EndRequest(RequestEnd::TakenBack)).await;
    assert!(matches!(client.answer(1).await, EventKind::Withdrawn { .. }));
    declare(&mut client, file.len()).await;
    client.complete(1, claim(&file)).await;
    assert_eq!(door.read("a"), file);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_taken_back_are_not_part_of_a_shorter_file_after_its_upload_was_closed() {
    let mut door = Door::open().await;
    door.paused_kept_open = 0;
    door.restart().await;
    let mut client = door.client();
    let file = bytes(150, 1);
    let id = begin(&mut client, "a", MAX).await;
    client.send(1, 0, &file[..100]).await;
    client.say(1, Command::BeginRequest(offset(100))).await;
    client.send(1, 100, &bytes(1000, 2)).await;
    client.say(1, Command::EndRequest(RequestEnd::TakenBack)).await;
    client.close().await;
    // Its checkpoint ends behind the one of the first, which closes what is paused.
    let mut other = door.client();
    begin(&mut other, "b", MAX).await;
    other.send(1, 0, &file).await;
    other.close().await;
    let mut client = door.client();
    assert_eq!(client.resume(1, id, SendingMode::PLAIN).await.offset, offset(100));
    declare(&mut client, file.len()).await;
    client.send(1, 100, &file[100..]).await;
    client.complete(1, claim(&file)).await;
    assert_eq!(door.read("a"), file);
    client.close().await;
}

/// Begins an upload without a length whose only block is held, and restarts the engine. The client
/// announces the block as the first of several, or as the only one.
async fn held_before_a_restart(door: &mut Door, file: &[u8], blocks: usize) -> DocumentId {
    let mut client = door.client();
    let length = Length::Open { max: size(MAX) };
    let new = NewUpload { length, ..new("a", 0, SendingMode::BLOCKS) };
    let (id, _) = client.begin(1, new).await;
    client.send(1, 0, file).await;
    let value = hash_block(BlockIndex::FIRST, size(blocks * MIB), file);
    client.say(1, Command::Announce { index: BlockIndex::FIRST, value }).await;
    client.durable(1, file.len()).await;
    client.close().await;
    door.restart().await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_was_held_need_not_be_announced_again_when_it_turns_out_to_be_the_only_one() {
    for blocks in [1, 2] {
        let mut door = Door::open().await;
        let file = bytes(MIB, 8);
        let id = held_before_a_restart(&mut door, &file, blocks).await;
        let mut client = door.client();
        client.resume(1, id, SendingMode::BLOCKS).await;
        declare(&mut client, MIB).await;
        client.complete(1, CompleteRequest::default()).await;
        assert_eq!(door.read("a"), file);
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_whose_bytes_the_disk_has_altered_is_asked_for_again() {
    let mut door = Door::open().await;
    let file = bytes(MIB, 9);
    let id = held_before_a_restart(&mut door, &file, 2).await;
    let staging = door.path().join(format!("uploads/.staging/{id}.tmp"));
    let mut altered = std::fs::read(&staging).unwrap();
    altered[1000] ^= 1;
    std::fs::write(&staging, altered).unwrap();
    let mut client = door.client();
    client.resume(1, id, SendingMode::BLOCKS).await;
    declare(&mut client, MIB).await;
    let rejection = client.rejected(1).await;
    assert_eq!(rejection.kind, RejectionKind::BlockMismatch { index: BlockIndex::FIRST });
    client.send(1, 0, &file).await;
    let value = hash_block(BlockIndex::FIRST, size(MIB), &file);
    client.say(1, Command::Announce { index: BlockIndex::FIRST, value }).await;
    client.complete(1, CompleteRequest::default()).await;
    assert_eq!(door.read("a"), file);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_file_says_how_much_has_come_while_the_length_is_not_known() {
    let mut door = Door::open().await;
    let mut client = door.client();
    let id = begin(&mut client, "a", MAX).await;
    client.send(1, 0, &bytes(1000, 1)).await;
    client.close().await;
    door.stop().await;
    let state = StateFile::at(door.path().join("state/uploads_state.json")).read().unwrap();
    let entry = &state.uploads[&id.to_string()];
    assert_eq!((entry.total_size, entry.offset), (size(1000), offset(1000)));
}
