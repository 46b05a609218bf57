//! What is said to be durable, against what a power cut leaves.

use crate::kit::{
    BLOCK, Call, Moment, Server, complete, file, hash_of, new_upload, offset, size, soon, text,
    without_timed_checkpoints,
};
use std::time::Duration;
use towline_engine::{EventKind, Position, SendingMode};

const LENGTH: usize = 2 * BLOCK + 5;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_durable_before_it_was_synced_and_recorded() {
    let server = Server::with(without_timed_checkpoints).await;
    let bytes = file(LENGTH, 1);
    let mut upload = server.begin("doc", LENGTH).await;
    server.write(&mut upload, &bytes, 0..BLOCK).await;
    let position = soon(upload.position()).await.unwrap();
    assert_eq!((position.received, position.durable.get()), (offset(BLOCK), offset(0)));
    assert_eq!(server.storage.count(Call::Sync), 0);
    let id = upload.id();
    let left = server.crash().after_power_cut();
    assert_eq!(left.resume(id).await.offset(), offset(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_behind_the_last_checkpoint_may_be_lost_and_nothing_else() {
    let server = Server::with(without_timed_checkpoints).await;
    let bytes = file(LENGTH, 1);
    let mut upload = server.begin("doc", LENGTH).await;
    let id = upload.id();
    server.write(&mut upload, &bytes, 0..BLOCK + 7).await;
    soon(upload.pause()).await;
    let mut upload = server.resume(id).await;
    // A checkpoint may come at any time; this one does not end before the crash.
    let gate = server.storage.hold(Moment::Before, Call::Sync, 1);
    server.write(&mut upload, &bytes, BLOCK + 7..BLOCK + 100).await;
    let position = soon(upload.position()).await.unwrap();
    assert_eq!(
        (position.received, position.durable.get()),
        (offset(BLOCK + 100), offset(BLOCK + 7))
    );
    for is_cut in [true, false] {
        let crash = server.crash();
        let left = if is_cut { crash.after_power_cut() } else { crash.after_kill() };
        // Longer than promised is cut to what was promised: only that was verified.
        let mut resumed = left.resume(id).await;
        assert_eq!(resumed.offset(), offset(BLOCK + 7), "{is_cut}");
        let other = file(LENGTH, 1);
        left.write(&mut resumed, &other, BLOCK + 7..LENGTH).await;
        let receipt = complete(resumed, Some(hash_of(&bytes))).await.unwrap().receipt;
        assert_eq!(receipt.filesize(), size(LENGTH));
        assert!(left.read(id).await == bytes);
    }
    gate.open();
    assert_eq!(soon(upload.pause()).await.unwrap().durable.get(), offset(BLOCK + 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_come_by_time() {
    let server = Server::with(|config| {
        config.timings.checkpoint = Duration::from_millis(20);
        config.timings.report = Duration::from_secs(3600);
    })
    .await;
    let bytes = file(LENGTH, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", LENGTH)).await;
    client.data(0, &bytes, 0..1000).await;
    // Whenever more has become durable, the client hears of it.
    let durable = loop {
        let event = client.event().await;
        let EventKind::Progress(position) = event.kind else { panic!("{}", text(&event)) };
        if position.durable.get() > offset(0) {
            break position;
        }
    };
    assert_eq!((durable.received, durable.durable.get()), (offset(1000), offset(1000)));
    let left = server.crash().after_power_cut();
    assert_eq!(left.resume(id).await.offset(), offset(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_around_a_sync_keeps_what_was_said_before() {
    for (moment, call) in [(Moment::Before, Call::Sync), (Moment::After, Call::Sync)] {
        let server = Server::with(without_timed_checkpoints).await;
        let bytes = file(LENGTH, 1);
        let mut upload = server.begin("doc", LENGTH).await;
        let id = upload.id();
        server.write(&mut upload, &bytes, 0..1000).await;
        soon(upload.pause()).await;
        let mut upload = server.resume(id).await;
        server.write(&mut upload, &bytes, 1000..BLOCK + 1).await;
        soon(upload.position()).await.unwrap();
        let crash = server.crash_at(moment, call, 1);
        soon(upload.pause()).await;
        let left = crash.take().unwrap().after_power_cut();
        // The sync alone is no promise: it was not recorded.
        assert_eq!(left.resume(id).await.offset(), offset(1000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_recording_is_for_all_uploads_that_moved() {
    let server =
        Server::with(|config| config.timings.checkpoint = Duration::from_millis(100)).await;
    let bytes = file(1000, 1);
    let mut uploads = Vec::new();
    for number in 0..5 {
        let mut upload = server.begin(&format!("{number}"), 2000).await;
        server.write(&mut upload, &bytes, 0..1000).await;
        uploads.push(upload);
    }
    for upload in &mut uploads {
        let position = soon(upload.durable()).await.unwrap();
        assert_eq!(position.durable.get(), offset(1000));
    }
    let left = server.crash().after_power_cut();
    for upload in uploads {
        assert_eq!(left.status(upload.id()).await.position.durable.get(), offset(1000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bytes_are_checkpointed_before_their_time() {
    // At most 64 MiB wait; a file of 72 MiB has a checkpoint by bytes on its way.
    let length = 72 * BLOCK;
    let server = Server::with(without_timed_checkpoints).await;
    let bytes = file(length, 1);
    let mut upload = server.begin("doc", length).await;
    let id = upload.id();
    server.write(&mut upload, &bytes, 0..length - 1).await;
    let position = soon(upload.position()).await.unwrap();
    assert_eq!(position.received, offset(length - 1));
    loop {
        let Position { durable, .. } = server.status(id).await.position;
        if durable.get() > offset(0) {
            break;
        }
        tokio::task::yield_now().await;
    }
    soon(upload.pause()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_only_paused_and_resumed_is_not_synced_again() {
    let server = Server::with(without_timed_checkpoints).await;
    let mut upload = server.begin("doc", LENGTH).await;
    let id = upload.id();
    server.write(&mut upload, &file(LENGTH, 1), 0..1000).await;
    soon(upload.pause()).await;
    server.storage.take_calls();
    for _ in 0..3 {
        soon(server.resume(id).await.pause()).await;
    }
    assert_eq!(server.storage.count(Call::Sync), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_out_of_order_survive_and_do_not_move_the_offset() {
    let server = Server::with(without_timed_checkpoints).await;
    let bytes = file(LENGTH, 1);
    let mut new = new_upload("doc", LENGTH);
    new.mode = SendingMode::BLOCKS;
    let mut upload = server.begin_new(new).await;
    let id = upload.id();
    server.write_announced(&mut upload, &bytes, BLOCK..LENGTH).await;
    let position = soon(upload.pause()).await.unwrap();
    assert_eq!((position.received, position.durable.get()), (offset(0), offset(0)));
    let left = server.crash().after_power_cut();
    let held = left.held(id).await;
    assert_eq!(held.iter().map(|(index, _)| index.get()).collect::<Vec<_>>(), [1, 2]);
    let mut upload = left.resume_in(id, SendingMode::BLOCKS).await;
    left.write_announced(&mut upload, &bytes, 0..BLOCK).await;
    complete(upload, None).await.unwrap();
    assert!(left.read(id).await == bytes);
}

/// At each call of a whole upload the machine loses power or the process is killed; whatever was
/// said before holds, and the upload comes to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_each_call_keeps_every_promise() {
    for moment in [Moment::Before, Moment::After] {
        for (call, nth) in
            [(Call::Create, 1), (Call::Write, 2), (Call::Sync, 2), (Call::SyncData, 1)]
        {
            for is_cut in [false, true] {
                let at = format!("{moment:?} {call:?} {nth} {is_cut}");
                let server = Server::with(without_timed_checkpoints).await;
                let bytes = file(LENGTH, 1);
                let crash = server.crash_at(moment, call, nth);
                let mut promised = 0;
                let mut upload = server.begin("a/doc", LENGTH).await;
                let id = upload.id();
                for part in [0..1000, 1000..BLOCK + 9] {
                    server.write(&mut upload, &bytes, part).await;
                    soon(upload.pause()).await;
                    upload = server.resume(id).await;
                    if crash.is_empty() {
                        promised = usize::try_from(upload.offset().get()).unwrap();
                    }
                }
                server.write(&mut upload, &bytes, BLOCK + 9..LENGTH).await;
                complete(upload, None).await.unwrap();
                let Some(crash) = crash.take() else { continue };
                let left = if is_cut { crash.after_power_cut() } else { crash.after_kill() };
                let named = left.storage.bytes(crate::kit::ada(), "a/doc");
                assert!(named.is_none() || named.unwrap() == bytes, "{at}");
                let account = left.account();
                let request = towline_engine::ResumeRequest::of(id, SendingMode::PLAIN);
                match soon(account.resume(request)).await {
                    Ok(towline_engine::Begun::Uploading(mut upload)) => {
                        let from = usize::try_from(upload.offset().get()).unwrap();
                        assert!(from >= promised, "{at}: {from} {promised}");
                        left.write(&mut upload, &bytes, from..LENGTH).await;
                        complete(*upload, Some(hash_of(&bytes))).await.unwrap();
                    }
                    Ok(towline_engine::Begun::Stored(_)) => {}
                    Ok(_) => panic!("{at}"),
                    Err(rejection) => {
                        assert_eq!(promised, 0, "{at}: {rejection}");
                        assert!(call == Call::Create, "{at}: {rejection:?}");
                        left.put("a/doc", &bytes).await;
                    }
                }
                assert!(left.storage.bytes(crate::kit::ada(), "a/doc").unwrap() == bytes, "{at}");
                assert_eq!(left.storage.areas(), [], "{at}");
            }
        }
    }
}
