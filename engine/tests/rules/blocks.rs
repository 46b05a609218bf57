//! The list of held blocks of a file that is far larger than any answer.

use crate::door::{Client, Door, MIB, new, size};
use std::ops::Range;
use towline_engine::{
    Answer, BlockPages, Command, EventKind, Length, NewUpload, PAGE_BLOCKS, Query, SendingMode, Tag,
};
use towline_state::Catalog;
use towline_state::catalog::Checkpoint;
use towline_types::{BlockIndex, ChainingValue, DocumentId, Offset, Timestamp};

/// More than two pages; the first block is missing.
const HELD: Range<u64> = 1..70_001;

fn block(index: u64) -> (BlockIndex, ChainingValue) {
    let mut value = [7; 32];
    value[..8].copy_from_slice(&index.to_le_bytes());
    (BlockIndex::new(index).unwrap(), ChainingValue::from_bytes(value))
}

/// An upload of 70 GiB whose blocks the catalog knows; its file has holes instead of bytes.
async fn large_upload(door: &mut Door) -> DocumentId {
    let mut client = door.client();
    let length = Length::Open { max: size(100_000 * MIB) };
    let (id, _) = client.begin(1, NewUpload { length, ..new("a", 0, SendingMode::BLOCKS) }).await;
    client.close().await;
    door.stop().await;
    let staging = door.path().join(format!("uploads/.staging/{id}.tmp"));
    std::fs::File::options().write(true).open(staging).unwrap().set_len(HELD.end << 20).unwrap();
    let catalog = Catalog::open(door.path().join("state/catalog.db")).unwrap();
    let checkpoint = Checkpoint {
        document_id: id,
        durable_offset: Offset::ZERO,
        new_blocks: HELD.map(block).collect(),
        last_chunk_at: Timestamp::from_secs(4_000_000_000),
    };
    assert_eq!(catalog.checkpoint(vec![checkpoint]).await.unwrap().len(), 1);
    catalog.close().await.unwrap();
    door.start().await;
    id
}

async fn page(client: &mut Client) -> Answer {
    match client.answer(1).await {
        EventKind::Answer(answer) => *answer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_comes_in_pages_and_the_next_waits_until_the_one_before_is_taken() {
    let mut door = Door::open().await;
    let id = large_upload(&mut door).await;
    let mut client = door.client();
    let query = Query::HeldBlocks { id, pages: BlockPages::All };
    client.say(1, Command::Query(query)).await;
    let mut all = Vec::new();
    loop {
        let answer = page(&mut client).await;
        // Questions on another tag are answered, and no further page has been made.
        client.say(2, Command::Query(Query::Status(id))).await;
        let other = client.hear().await;
        assert_eq!(other.tag, Tag(2), "a page follows only when the one before is dropped");
        let Answer::HeldBlocks { blocks, count, hold } = answer else { panic!("{answer:?}") };
        assert!(blocks.len() <= PAGE_BLOCKS as usize);
        all.extend(blocks);
        drop(hold);
        if let Some(count) = count {
            assert_eq!(count, all.len() as u64);
            break;
        }
        assert_eq!(all.len() % PAGE_BLOCKS as usize, 0);
    }
    assert!(all.into_iter().eq(HELD.map(block)));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_does_not_wait_for_the_rest_of_a_list() {
    let mut door = Door::open().await;
    let id = large_upload(&mut door).await;
    let mut client = door.client();
    let query = Query::HeldBlocks { id, pages: BlockPages::All };
    client.say(1, Command::Query(query)).await;
    let first = page(&mut client).await;
    client.close().await;
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_its_answers_gets_every_page_while_its_session_closes() {
    let mut door = Door::open().await;
    let id = large_upload(&mut door).await;
    let mut client = door.client();
    client.say(1, Command::Query(Query::HeldBlocks { id, pages: BlockPages::All })).await;
    let (pages, counts): (Vec<_>, Vec<_>) =
        client.close_and_receive_pages().await.into_iter().unzip();
    assert!(pages.into_iter().flatten().eq(HELD.map(block)));
    assert_eq!(counts, [None, None, Some(HELD.end - HELD.start)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_receives_no_more_ends_a_list_that_its_client_waited_for() {
    let mut door = Door::open().await;
    let id = large_upload(&mut door).await;
    let mut client = door.client();
    client.say(1, Command::Query(Query::HeldBlocks { id, pages: BlockPages::All })).await;
    client.close_and_receive_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_page_begins_where_it_is_asked_for() {
    let mut door = Door::open().await;
    let id = large_upload(&mut door).await;
    let account = door.account();
    let from = |index| BlockIndex::new(index).unwrap();
    let page = account.held_blocks(id, from(40_000), 3).await.unwrap();
    assert_eq!(page, [40_000, 40_001, 40_002].map(block));
    let page = account.held_blocks(id, from(0), u32::MAX).await.unwrap();
    assert_eq!(page.len(), PAGE_BLOCKS as usize);
    assert_eq!(account.held_blocks(id, from(HELD.end), 3).await.unwrap(), []);
}
