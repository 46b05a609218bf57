//! Small files that come in one command, or whose commands come close together.

use crate::kit::scripted::{full, passing};
use crate::kit::{
    Call, Extensions, Moment, Scripted, Server, ada, file, hash_of, kind, new_upload, offset,
    value_of,
};
use towline_engine::{
    Command, CompleteRequest, Event, EventKind, SendingMode, WHOLE_BYTES_MAX, WholeUpload,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_is_stored_without_an_unfinished_upload() {
    let server = Server::new().await;
    for (number, length) in [0, 1, 4096, WHOLE_BYTES_MAX].into_iter().enumerate() {
        let (bytes, place) = (file(length, 3), format!("a/{length}"));
        server.storage.take_calls();
        let completion = server.put_whole(new_upload(&place, length), &bytes).await.unwrap();
        let receipt = &completion.receipt;
        assert!(receipt.is_durable() && !completion.existing && !receipt.is_copy());
        assert_eq!(receipt.document_id().get(), number as u64 + 1);
        assert_eq!((receipt.path().to_string(), receipt.hash()), (place.clone(), hash_of(&bytes)));
        let made = |call| server.storage.count(call);
        assert_eq!((made(Call::CreateWhole), made(Call::Create), made(Call::Sync)), (1, 0, 0));
        assert_eq!((made(Call::SyncData), made(Call::Publish)), (1, 1));
        assert_eq!(server.storage.areas(), []);
    }
    let server = server.cut_power().await;
    for length in [0, 1, 4096, WHOLE_BYTES_MAX] {
        assert!(server.storage.bytes(ada(), &format!("a/{length}")).unwrap() == file(length, 3));
    }
    assert_eq!(server.status(crate::kit::id(3)).await.phase.as_str(), "completed");
    assert_eq!(server.read(crate::kit::id(3)).await, file(4096, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_commands_one_after_the_other_cost_the_same() {
    let server = Server::new().await;
    let bytes = file(5000, 1);
    let mut client = server.client();
    server.storage.take_calls();
    client.tell_held_back(4, Command::Begin(Box::new(new_upload("doc", 5000)))).await;
    assert!(client.session().is_holding_back());
    let buffer = server.buffer(&bytes).await;
    client.tell_held_back(4, Command::Data { offset: offset(0), buffer }).await;
    assert!(client.session().is_holding_back());
    client.tell_held_back(4, Command::Complete(CompleteRequest::default())).await;
    assert!(!client.session().is_holding_back());
    assert_eq!(client.hear().await, "4: granted Begin at 0 of 5000, unshared #1");
    assert_eq!(client.hear().await, "4: completed doc (5000) #1");
    assert_eq!(server.storage.count(Call::CreateWhole), 1);
    assert_eq!(server.storage.count(Call::Create), 0);
    assert_eq!(server.read(crate::kit::id(1)).await, bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_small_file_is_said_as_of_any_other() {
    let server = Server::new().await;
    let bytes = file(1000, 1);
    let mut client = server.client();
    let send =
        async |client: &mut crate::kit::Client, length, change: &dyn Fn(&mut WholeUpload)| {
            let data = server.buffer(&bytes).await;
            let new = new_upload("doc", length);
            let mut whole = WholeUpload { new, data, value: None, hash: None };
            change(&mut whole);
            client.tell(0, Command::Whole(Box::new(whole))).await;
            let granted = client.hear().await;
            assert!(granted.starts_with("0: granted Begin at 0 of"), "{granted}");
            client.hear().await
        };
    let wrong_hash = |whole: &mut WholeUpload| whole.hash = Some(hash_of(b"other"));
    let heard = send(&mut client, 1000, &wrong_hash).await;
    assert!(heard.starts_with("0: rejected HashMismatch"), "{heard}");
    let wrong_value = |whole: &mut WholeUpload| whole.value = Some(value_of(b"other", 0));
    let heard = send(&mut client, 1000, &wrong_value).await;
    assert!(heard.starts_with("0: rejected BlockMismatch { index: BlockIndex(0) }"), "{heard}");
    client.settle(0).await;
    let mut client = server.client();
    for (length, expected) in [
        (999, "SizeExceeded { filesize: FileSize(999) }"),
        (1001, "Incomplete { expected: Offset(1000) }"),
    ] {
        let heard = send(&mut client, length, &|_| {}).await;
        assert!(heard.starts_with(&format!("0: rejected {expected}")), "{heard}");
        client.settle(0).await;
    }
    assert_eq!(server.storage.bytes(ada(), "doc"), None);
    let right = |whole: &mut WholeUpload| {
        (whole.hash, whole.value) = (Some(hash_of(&bytes)), Some(value_of(&bytes, 0)));
    };
    let mut client = server.client();
    let heard = send(&mut client, 1000, &right).await;
    assert!(heard.starts_with("0: completed doc (1000)"), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_or_without_room_it_leaves_nothing() {
    let server = Server::over(Scripted::new(100, Extensions::default()), |config| {
        config.max_filesize = crate::kit::size(2000);
    })
    .await;
    let answer = server.put_whole(new_upload("doc", 2001), &file(2001, 1)).await;
    assert_eq!(kind(answer), "SizeLimit { max: Some(FileSize(2000)) }");
    let answer = server.put_whole(new_upload("doc", 101), &file(101, 1)).await;
    assert_eq!(kind(answer), "NoSpace { missing_bytes: Some(1) }");
    assert_eq!(server.storage.areas(), []);
    let stored = server.put_whole(new_upload("doc", 100), &file(100, 1)).await.unwrap();
    assert_eq!(stored.receipt.path().to_string(), "doc");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_at_once_takes_the_way_of_an_upload() {
    for renames in [false, true] {
        let name_step = if renames { Call::Rename } else { Call::Publish };
        for (call, error) in [
            (Call::CreateWhole, passing as fn() -> _),
            (Call::CreateWhole, full),
            (name_step, passing),
            (name_step, full),
        ] {
            let storage = Scripted::new(64 << 20, Extensions { renames, ..Extensions::default() });
            let server = Server::over(storage, |_| {}).await;
            let bytes = file(1000, 1);
            server.storage.fail(call, 1, error);
            let first = server.put_whole(new_upload("doc", 1000), &bytes).await;
            // What cannot be made at once takes the way of an upload, which has no fault here.
            // What cannot be made at once takes the way of an upload, which has no fault here.
            assert_eq!(first.unwrap().receipt.path().to_string(), "doc", "{call:?}");
            assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), bytes);
            let server = server.restart().await;
            let again = server.put_whole(new_upload("doc", 1000), &bytes).await.unwrap();
            assert_eq!(again.receipt.path().to_string(), "doc (1)");
            assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), bytes);
            assert_eq!(server.storage.areas(), [], "{call:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_each_step_leaves_all_of_it_or_nothing() {
    for renames in [false, true] {
        let name_step = if renames { Call::Rename } else { Call::Publish };
        let mut steps = vec![
            (Moment::After, Call::CreateWhole),
            (Moment::After, Call::SyncData),
            (Moment::Before, name_step),
            (Moment::After, name_step),
        ];
        if renames {
            steps.push((Moment::After, Call::SyncName));
        }
        for (moment, call) in steps {
            for is_cut in [false, true] {
                let extensions = Extensions { renames, ..Extensions::default() };
                let server = Server::over(Scripted::new(64 << 20, extensions), |_| {}).await;
                let crash = server.crash_at(moment, call, 1);
                let bytes = file(1000, 1);
                server.put_whole(new_upload("doc", 1000), &bytes).await.unwrap();
                let crash = crash.take().unwrap_or_else(|| panic!("{call:?} was not reached"));
                let left = if is_cut { crash.after_power_cut() } else { crash.after_kill() };
                let bytes_left = left.storage.bytes(ada(), "doc");
                assert!(
                    bytes_left.is_none() || bytes_left.unwrap() == bytes,
                    "{moment:?} {call:?}"
                );
                assert_eq!(left.storage.areas(), [], "{moment:?} {call:?} {is_cut}");
                let new = new_upload("doc", 1000);
                let again = left.put_whole(new, &bytes).await.unwrap();
                let was_there = left.storage.bytes(ada(), "doc (1)").is_some();
                let expected = if was_there { "doc (1)" } else { "doc" };
                assert_eq!(again.receipt.path().to_string(), expected);
                assert_eq!(left.read(again.receipt.document_id()).await, bytes);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_and_in_any_order_it_is_one_file_too() {
    let server = Server::new().await;
    for mode in [SendingMode::BLOCKS, SendingMode::RANGES] {
        let bytes = file(2000, 1);
        let mut new = new_upload("doc", 2000);
        new.mode = mode;
        let mut client = server.client();
        client.tell_held_back(0, Command::Begin(Box::new(new))).await;
        client.data(0, &bytes, 0..2000).await;
        client.announce(0, &bytes, 0).await;
        client.tell(0, Command::Complete(CompleteRequest::default())).await;
        loop {
            let Event { kind, document, .. } = client.event().await;
            match kind {
                EventKind::Completed { .. } => {
                    assert_eq!(server.read(document.unwrap()).await, bytes);
                    break;
                }
                EventKind::Granted(_) | EventKind::Progress(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
