//! A resume takes an upload over from the writers that it has.

use crate::kit::{BLOCK, Call, Moment, Server, complete, file, new_upload, offset};
use towline_engine::{Client as Ending, SendingMode};

const LENGTH: usize = BLOCK + 5;

#[tokio::test(flavor = "multi_thread")]
async fn the_writers_before_are_told_and_nothing_they_send_is_written() {
    let server = Server::new().await;
    let (bytes, other) = (file(LENGTH, 1), file(LENGTH, 2));
    let mut old = server.client();
    let (id, grant) = old.begin(7, new_upload("doc", LENGTH)).await;
    old.data(7, &bytes, 0..1000).await;
    assert_eq!(old.settle(7).await, [""; 0]);
    let mut new = server.client();
    let granted = format!("3: granted Resume at 1000 of {LENGTH} #{id}");
    assert_eq!(new.resume(3, id, SendingMode::PLAIN).await, granted);
    assert_eq!(old.hear().await, format!("7: rejected Superseded #{id}"));
    // What still comes is dropped without a word, `complete` too.
    old.data(7, &other, 1000..2000).await;
    old.tell(7, towline_engine::Command::Complete(Default::default())).await;
    assert_eq!(old.settle(7).await, [""; 0]);
    new.data(3, &bytes, 1000..LENGTH).await;
    assert_eq!(new.complete(3).await, format!("3: completed doc ({LENGTH}) #{id}"));
    assert!(server.read(id).await == bytes);
    // Nor is its `complete` answered when the upload is complete: it was told that it is over.
    old.tell(7, towline_engine::Command::Complete(Default::default())).await;
    assert_eq!(old.settle(7).await, [""; 0]);
    let joined = old.join(7, id, grant.lease.unwrap()).await;
    assert_eq!(joined, format!("7: rejected WrongPhase {{ phase: Completed }} #{id}"));
    assert_eq!(old.close(Ending::Listens).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_from_one_writer_of_a_session_to_another() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut client = server.client();
    let (id, _) = client.begin(1, new_upload("doc", LENGTH)).await;
    client.data(1, &bytes, 0..10).await;
    client.settle(1).await;
    client.tell(2, resume(id)).await;
    let mut heard = [client.hear().await, client.hear().await];
    heard.sort();
    let granted = format!("2: granted Resume at 10 of {LENGTH} #{id}");
    assert_eq!(heard, [format!("1: rejected Superseded #{id}"), granted]);
    client.data(2, &bytes, 10..LENGTH).await;
    assert_eq!(client.complete(2).await, format!("2: completed doc ({LENGTH}) #{id}"));
}

fn resume(id: towline_types::DocumentId) -> towline_engine::Command {
    let request = towline_engine::ResumeRequest::of(id, SendingMode::PLAIN);
    towline_engine::Command::Resume(Box::new(request))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_writers_of_a_shared_lease_are_told() {
    let server = Server::new().await;
    let mut new = new_upload("doc", LENGTH);
    new.mode = SendingMode::BLOCKS;
    let mut first = server.client();
    let (id, grant) = first.begin(0, new).await;
    let mut second = server.client();
    let joined = second.join(4, id, grant.lease.unwrap()).await;
    assert_eq!(joined, format!("4: granted Join at 0 of {LENGTH} #{id}"));
    let mut third = server.client();
    third.resume(9, id, SendingMode::BLOCKS).await;
    assert_eq!(first.hear().await, format!("0: rejected Superseded #{id}"));
    assert_eq!(second.hear().await, format!("4: rejected Superseded #{id}"));
    assert_eq!(
        second.join(4, id, grant.lease.unwrap()).await,
        format!("4: rejected Superseded #{id}")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_hangs_in_the_disk_blocks_no_one_else_for_good() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut old = server.client();
    let (id, _) = old.begin(0, new_upload("doc", LENGTH)).await;
    let gate = server.storage.hold(Moment::Before, Call::Write, 1);
    old.data(0, &bytes, 0..1000).await;
    gate.reached().await;
    // The other upload is none of its business.
    server.put("elsewhere", &bytes).await;
    let mut new = server.client();
    new.tell(0, resume(id)).await;
    gate.open();
    assert_eq!(new.hear().await, format!("0: granted Resume at 1000 of {LENGTH} #{id}"));
    assert_eq!(old.hear().await, format!("0: rejected Superseded #{id}"));
    new.data(0, &bytes, 1000..LENGTH).await;
    assert_eq!(new.complete(0).await, format!("0: completed doc ({LENGTH}) #{id}"));
    assert!(server.read(id).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_old_session_does_not_pause_the_new_one() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut old = server.client();
    let (id, _) = old.begin(0, new_upload("doc", LENGTH)).await;
    old.data(0, &bytes, 0..1000).await;
    old.settle(0).await;
    let mut upload = server.resume(id).await;
    assert_eq!(upload.offset(), offset(1000));
    old.close(Ending::Gone).await;
    assert!(server.status(id).await.is_active);
    server.write(&mut upload, &bytes, 1000..LENGTH).await;
    complete(upload, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_was_silent_all_the_time_hears_that_it_is_over_and_nothing_else() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut old = server.client();
    let (id, _) = old.begin(7, new_upload("doc", LENGTH)).await;
    let mut upload = server.resume(id).await;
    server.write(&mut upload, &bytes, 0..LENGTH).await;
    complete(upload, None).await.unwrap();
    old.data(7, &bytes, 0..10).await;
    old.tell(7, towline_engine::Command::Complete(Default::default())).await;
    assert_eq!(old.settle(7).await, [format!("7: rejected Superseded #{id}")]);
}
