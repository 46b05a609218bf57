//! Ranges of several writers that begin wherever they like.

use crate::door::{Door, MIB, bytes, claim, new, offset};
use towline_engine::{Command, RejectionKind, SendingMode};

/// No multiple of a block, nor of a page.
const RANGE: usize = 700_001;

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_fill_a_file_with_ranges_that_end_inside_blocks() {
    let door = Door::open().await;
    let mut client = door.client();
    let file = bytes(5 * MIB + 4321, 1);
    let (id, grant) = client.begin(1, new("a", file.len(), SendingMode::RANGES)).await;
    let join = Command::Join { id, lease: grant.lease.unwrap() };
    client.granted(2, join).await;
    let mut ranges: Vec<_> = (0..file.len().div_ceil(RANGE)).collect();
    // Backwards, and every second one first: each block has a gap for a while.
    ranges.reverse();
    ranges.sort_by_key(|range| range % 2);
    for (turn, range) in ranges.into_iter().enumerate() {
        let tag = if turn % 2 == 0 { 1 } else { 2 };
        let at = range * RANGE;
        client.send(tag, at, &file[at..file.len().min(at + RANGE)]).await;
        if turn % 3 == 0 {
            // Before the other writer begins its range in the same block.
            client.status(tag, id).await;
        }
    }
    assert_eq!(client.status(2, id).await.phase.as_str(), "uploading");
    client.status(1, id).await;
    client.complete(1, claim(&file)).await;
    assert_eq!(door.read("a"), file);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_stay_over_a_pause_and_no_byte_is_taken_twice() {
    let door = Door::open().await;
    let mut client = door.client();
    let file = bytes(2 * MIB, 2);
    let (id, _) = client.begin(1, new("a", file.len(), SendingMode::RANGES)).await;
    client.send(1, MIB - 100, &file[MIB - 100..MIB + 100]).await;
    client.send(1, 0, &file[..50]).await;
    client.status(1, id).await;
    let grant = client.resume(2, id, SendingMode::RANGES).await;
    assert_eq!(grant.offset, offset(50));
    client.send(2, MIB + 99, &file[MIB + 99..MIB + 200]).await;
    let rejection = client.rejected(2).await;
    assert_eq!(rejection.kind, RejectionKind::OffsetMismatch { expected: offset(50) });
    client.resume(3, id, SendingMode::RANGES).await;
    client.send(3, MIB + 100, &file[MIB + 100..]).await;
    client.send(3, 50, &file[50..MIB - 100]).await;
    client.complete(3, claim(&file)).await;
    assert_eq!(door.read("a"), file);
    client.close().await;
}

/// What is here is told of an upload with a writer, of one without, and of a document.
#[tokio::test(flavor = "multi_thread")]
async fn the_ranges_that_are_here_are_told_over_a_restart() {
    let mut door = Door::open().await;
    let mut client = door.client();
    let file = bytes(6 * MIB + 99, 3);
    let (id, _) = client.begin(1, new("a", file.len(), SendingMode::RANGES)).await;
    client.send(1, 0, &file[..MIB + 50]).await;
    client.send(1, 3 * MIB, &file[3 * MIB..5 * MIB + 10]).await;
    client.status(1, id).await;
    let ranges = async |door: &Door, from: usize, max| {
        let ranges = door.account().received_ranges(id, offset(from), max).await.unwrap();
        ranges.into_iter().map(|range| (range.start, range.end)).collect::<Vec<_>>()
    };
    let mib = MIB as u64;
    let (first, second) = ((0, mib + 50), (3 * mib, 5 * mib + 10));
    assert_eq!(ranges(&door, 0, 9).await, [first, second]);
    assert_eq!(ranges(&door, 0, 1).await, [first]);
    assert_eq!(ranges(&door, MIB, 9).await, [(mib, mib + 50), second]);
    assert_eq!(ranges(&door, 2 * MIB, 9).await, [second]);
    let status = door.account().status_when_durable(id).await.unwrap();
    assert_eq!(status.position.durable.get(), offset(MIB + 50));
    client.close().await;
    door.restart().await;
    // A begun block behind a gap is not recorded.
    let second = (3 * mib, 5 * mib);
    assert_eq!(ranges(&door, 0, 9).await, [first, second]);
    assert_eq!(ranges(&door, 4 * MIB, 9).await, [(4 * mib, 5 * mib)]);
    assert_eq!(ranges(&door, 0, 1).await, [first]);

    let mut client = door.client();
    client.resume(1, id, SendingMode::RANGES).await;
    client.send(1, MIB + 50, &file[MIB + 50..3 * MIB]).await;
    client.send(1, 5 * MIB, &file[5 * MIB..]).await;
    client.complete(1, claim(&file)).await;
    assert_eq!(ranges(&door, 7, 9).await, [(7, file.len() as u64)]);
    assert_eq!(ranges(&door, file.len(), 9).await, []);
    client.close().await;
}
