//! When received bytes are made durable, for all uploads together.

use crate::kit::{
    BLOCK, Call, Client, Moment, Server, complete, edit_catalog, file, new_upload, offset, soon,
    without_timed_checkpoints,
};
use std::sync::Arc;
use std::time::Duration;
use towline_engine::Client as Ending;

const LENGTH: usize = BLOCK + 5;
const LONG: Duration = Duration::from_secs(3600);

/// Between two checkpoints the disk has a rest, also where an upload is left out of the first one
/// because its `complete` is about to come, and syncs by itself.
#[tokio::test(flavor = "multi_thread")]
async fn between_two_checkpoints_there_is_a_pause() {
    const REST: Duration = Duration::from_millis(400);
    let server = Server::with(|config| {
        config.timings.checkpoint = Duration::from_secs(10);
        config.timings.checkpoint_rest = REST;
    })
    .await;
    let bytes = file(LENGTH, 1);
    let mut whole = server.begin("whole", LENGTH).await;
    server.write(&mut whole, &bytes, 0..LENGTH).await;
    soon(whole.position()).await.unwrap();
    let first = server.storage.when(Moment::After, Call::Sync, 1);
    let mut one = server.begin("one", LENGTH).await;
    server.write(&mut one, &bytes, 0..1000).await;
    let first = soon(first).await.unwrap();
    let second = server.storage.when(Moment::Before, Call::Sync, 1);
    let mut two = server.begin("two", LENGTH).await;
    server.write(&mut two, &bytes, 0..1000).await;
    let second = soon(second).await.unwrap();
    assert!(second - first >= REST, "{:?}", second - first);
    assert_eq!(soon(two.durable()).await.unwrap().durable.get(), offset(1000));
    complete(whole, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_checkpoint_that_succeeds_the_next_one_comes_soon() {
    let server = Server::with(|config| {
        config.timings.checkpoint = LONG;
        config.timings.checkpoint_rest = Duration::from_millis(1);
    })
    .await;
    let bytes = file(LENGTH, 1);
    let mut upload = server.begin("doc", LENGTH).await;
    for end in [1000, 2000, 3000] {
        server.write(&mut upload, &bytes, end - 1000..end).await;
        assert_eq!(soon(upload.durable()).await.unwrap().durable.get(), offset(end));
    }
}

/// The disk of the catalog may be full for days: a checkpoint that was not recorded is tried again
/// after the longest pause, and nothing that came is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_not_recorded_is_made_again_after_a_pause() {
    const PAUSE: Duration = Duration::from_millis(600);
    let server = Server::with(|config| {
        config.timings.checkpoint = PAUSE;
        config.timings.checkpoint_rest = Duration::from_millis(1);
    })
    .await;
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE OF durable_offset ON documents \
                  WHEN NEW.durable_offset > 0 BEGIN SELECT RAISE(ABORT, 'for this test'); END";
    edit_catalog(server.folder.path(), refuse);
    let first = server.storage.when(Moment::After, Call::Sync, 1);
    let second = server.storage.when(Moment::After, Call::Sync, 1);
    let folder = Arc::clone(&server.folder);
    server.storage.on(Moment::Before, Call::Sync, 2, move || {
        edit_catalog(folder.path(), "DROP TRIGGER refuse");
        Ok(())
    });
    let bytes = file(LENGTH, 1);
    let mut upload = server.begin("doc", LENGTH).await;
    server.write(&mut upload, &bytes, 0..1000).await;
    let first = soon(first).await.unwrap();
    assert_eq!(soon(upload.position()).await.unwrap().durable.get(), offset(0));
    let second = soon(second).await.unwrap();
    assert!(second - first >= PAUSE, "{:?}", second - first);
    assert_eq!(soon(upload.durable()).await.unwrap().durable.get(), offset(1000));
    let id = upload.id();
    let left = server.crash().after_power_cut();
    assert_eq!(left.resume(id).await.offset(), offset(1000));
}

/// One that is paused waits for the few that are synced with it, and not for all others.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_does_not_wait_for_the_syncs_of_all_others() {
    let server = Server::with(without_timed_checkpoints).await;
    let mut uploads = Vec::new();
    for number in 0..60 {
        let mut upload = server.begin(&format!("{number}"), 20).await;
        server.write(&mut upload, b"0123456789", 0..10).await;
        soon(upload.position()).await.unwrap();
        uploads.push(upload);
    }
    let gate = server.storage.hold(Moment::Before, Call::Sync, 10);
    let last = uploads.pop().unwrap();
    assert_eq!(soon(last.pause()).await.unwrap().durable.get(), offset(10));
    gate.reached().await;
    gate.open();
    // The others get their turns in the same pass.
    for upload in &uploads {
        let id = upload.id();
        soon(async {
            while server.status(id).await.position.durable.get() < offset(10) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// One writer of a session has let go of its upload long before the last one, and its bytes have
/// become durable meanwhile: the end of the session finds nothing left to sync.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_though_all_its_bytes_are_durable_already() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut client: Client = server.client();
    let (id, _) = client.begin(1, new_upload("doc", LENGTH)).await;
    client.data(1, &bytes, 0..1000).await;
    client.settle(1).await;
    let gate = server.storage.hold(Moment::Before, Call::CreateWhole, 1);
    let data = server.buffer(&bytes[..10]).await;
    let new = new_upload("whole", 10);
    let whole = towline_engine::WholeUpload { new, data, value: None, hash: None };
    client.tell(2, towline_engine::Command::Whole(Box::new(whole))).await;
    gate.reached().await;
    let closing = tokio::spawn(client.close(Ending::Listens));
    soon(async {
        while server.status(id).await.is_active {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Two checkpoints that came after it was let go of.
    let mut other = server.begin("other", LENGTH).await;
    for end in [1000, 2000] {
        server.write(&mut other, &bytes, end - 1000..end).await;
        soon(other.durable()).await.unwrap();
    }
    assert_eq!(server.status(id).await.position.durable.get(), offset(1000));
    gate.open();
    let heard = soon(closing).await.unwrap();
    assert_eq!(heard.last().unwrap(), &format!("1: progress 1000/1000 of {LENGTH} #{id}"));
    assert_eq!(server.storage.bytes(crate::kit::ada(), "whole").unwrap(), &bytes[..10]);
}
