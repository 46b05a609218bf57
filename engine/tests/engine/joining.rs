//! Several writers of one upload.

use crate::kit::{
    BLOCK, Call, Moment, Server, file, hash_of, kind, new_upload, offset, soon, uploading,
};
use towline_engine::{Client as Ending, Command, CompleteRequest, NewUpload, SendingMode};
use towline_types::{Generation, limits};

const LENGTH: usize = 3 * BLOCK + 5;

fn shared(mode: SendingMode) -> NewUpload {
    let mut new = new_upload("doc", LENGTH);
    new.mode = mode;
    new
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_on_several_sessions_make_one_document() {
    for mode in [SendingMode::BLOCKS, SendingMode::RANGES] {
        let server = Server::new().await;
        let bytes = file(LENGTH, 1);
        let mut first = server.client();
        let (id, grant) = first.begin(0, shared(mode)).await;
        let mut second = server.client();
        let joined = second.join(5, id, grant.lease.unwrap()).await;
        assert_eq!(joined, format!("5: granted Join at 0 of {LENGTH} #{id}"));
        for number in [3, 1] {
            second.data(5, &bytes, number * BLOCK..LENGTH.min((number + 1) * BLOCK)).await;
            second.announce(5, &bytes, number as u64).await;
        }
        for number in [2, 0] {
            first.data(0, &bytes, number * BLOCK..(number + 1) * BLOCK).await;
            first.announce(0, &bytes, number as u64).await;
        }
        assert_eq!(second.settle(5).await, [""; 0]);
        assert_eq!(first.settle(0).await, [""; 0]);
        assert_eq!(second.complete(5).await, format!("5: completed doc ({LENGTH}) #{id}"));
        // The receipt goes only to the writer that asked.
        assert_eq!(first.settle(0).await, [""; 0]);
        // Another one gets it when it asks, whatever it has said since; its bytes are dropped.
        first.data(0, &file(LENGTH, 2), 0..10).await;
        assert_eq!(first.settle(0).await, [""; 0]);
        for _ in 0..2 {
            assert_eq!(first.complete(0).await, format!("0: completed doc ({LENGTH}) #{id}"));
        }
        assert_eq!(server.status(id).await.hash, Some(hash_of(&bytes)));
        assert!(server.read(id).await == bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_with_one_writer_is_not_shared() {
    let server = Server::new().await;
    let upload = server.begin_new(shared(SendingMode::PLAIN)).await;
    let answer = soon(server.account().join(upload.id(), upload.lease().unwrap())).await;
    assert_eq!(kind(answer), "NotShared");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_over_takes_no_writer() {
    let server = Server::new().await;
    let upload = server.begin_new(shared(SendingMode::BLOCKS)).await;
    let (id, lease) = (upload.id(), upload.lease().unwrap());
    let other = Generation::try_from(lease.get() + 1).unwrap();
    assert_eq!(kind(soon(server.account().join(id, other)).await), "Superseded");
    soon(upload.pause()).await;
    // A paused upload has no lease.
    assert_eq!(kind(soon(server.account().join(id, lease)).await), "Superseded");
    let server = server.restart().await;
    assert_eq!(kind(soon(server.account().join(id, lease)).await), "Superseded");
    assert_eq!(kind(soon(server.account().join(crate::kit::id(99), lease)).await), "NotFound");
    soon(server.account().cancel(id)).await.unwrap();
    assert_eq!(kind(soon(server.account().join(id, lease)).await), "Cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_has_at_most_sixteen_writers() {
    let server = Server::new().await;
    let upload = server.begin_new(shared(SendingMode::BLOCKS)).await;
    let (id, lease) = (upload.id(), upload.lease().unwrap());
    let mut others = Vec::new();
    for _ in 1..limits::WRITERS_MAX {
        others.push(uploading(soon(server.account().join(id, lease)).await.unwrap()));
    }
    assert_eq!(kind(soon(server.account().join(id, lease)).await), "TooMany { max: 16 }");
    // One that leaves makes room.
    soon(others.pop().unwrap().pause()).await;
    uploading(soon(server.account().join(id, lease)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upload_is_paused_when_the_last_writer_leaves() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut first = server.begin_new(shared(SendingMode::BLOCKS)).await;
    let (id, lease) = (first.id(), first.lease().unwrap());
    let mut second = uploading(soon(server.account().join(id, lease)).await.unwrap());
    assert_eq!((second.id(), second.lease()), (id, Some(lease)));
    server.write_announced(&mut first, &bytes, 0..BLOCK).await;
    soon(first.pause()).await;
    assert!(server.status(id).await.is_active);
    server.write_announced(&mut second, &bytes, BLOCK..2 * BLOCK).await;
    let left = soon(second.pause()).await.unwrap();
    assert_eq!((left.received, left.durable.get()), (offset(2 * BLOCK), offset(2 * BLOCK)));
    assert!(!server.status(id).await.is_active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_a_writer_left_begun_is_taken_back_by_another() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut client = server.client();
    let (id, grant) = client.begin(0, shared(SendingMode::BLOCKS)).await;
    let mut other = server.client();
    other.join(1, id, grant.lease.unwrap()).await;
    other.data(1, &file(LENGTH, 2), BLOCK..BLOCK + 99).await;
    other.settle(1).await;
    other.close(Ending::Gone).await;
    let blocks = vec![crate::kit::index(1)..crate::kit::index(2)];
    let withdrawn = client.ask(0, Command::Withdraw(blocks)).await;
    assert_eq!(withdrawn, format!("0: withdrawn to 0 of {LENGTH} #{id}"));
    for number in 0..4_usize {
        client.data(0, &bytes, number * BLOCK..LENGTH.min((number + 1) * BLOCK)).await;
        client.announce(0, &bytes, number as u64).await;
    }
    assert_eq!(client.complete(0).await, format!("0: completed doc ({LENGTH}) #{id}"));
    assert!(server.read(id).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_upload_is_told_to_every_writer() {
    let server = Server::new().await;
    let mut first = server.client();
    let (id, grant) = first.begin(0, shared(SendingMode::BLOCKS)).await;
    let mut second = server.client();
    second.join(1, id, grant.lease.unwrap()).await;
    soon(server.account().cancel(id)).await.unwrap();
    assert_eq!(first.hear().await, format!("0: rejected Cancelled #{id}"));
    assert_eq!(second.hear().await, format!("1: rejected Cancelled #{id}"));
    assert_eq!(server.storage.areas(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_whole_is_told_to_every_writer() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut first = server.client();
    let (id, grant) = first.begin(0, shared(SendingMode::RANGES)).await;
    let mut second = server.client();
    second.join(1, id, grant.lease.unwrap()).await;
    first.data(0, &bytes, 0..LENGTH).await;
    let hash = Some(hash_of(&file(LENGTH, 2)));
    let complete = Command::Complete(CompleteRequest { hash, ..CompleteRequest::default() });
    assert_eq!(first.ask(0, complete).await, format!("0: rejected HashMismatch #{id}"));
    let told = second.hear().await;
    assert!(
        told == format!("1: rejected HashMismatch #{id}")
            || told == format!("1: rejected Failed #{id}"),
        "{told}"
    );
    assert_eq!(server.status(id).await.phase.as_str(), "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_dropped_does_not_wait_for_another_writer() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut first = server.client();
    let (id, grant) = first.begin(0, shared(SendingMode::BLOCKS)).await;
    let mut second = server.client();
    second.join(0, id, grant.lease.unwrap()).await;
    let gate = server.storage.hold(Moment::Before, Call::Write, 1);
    first.data(0, &bytes, 0..BLOCK).await;
    gate.reached().await;
    // As a task does that is cancelled. While the other writer writes, it has a lock of the upload.
    soon(tokio::spawn(async move { drop(second) })).await.unwrap();
    gate.open();
    first.close(Ending::Gone).await;
    let both_have_let_go = async {
        while server.status(id).await.is_active {
            tokio::task::yield_now().await;
        }
    };
    soon(both_have_let_go).await;
}
