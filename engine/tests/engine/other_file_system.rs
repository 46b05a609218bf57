//! Documents whose folder is on another file system than the staging areas: no rename leads there,
//! so each file is copied, while its row says that it is being published.

use crate::kit::scripted::full;
use crate::kit::{
    BLOCK, Call, Client, Crash, Extensions, Gate, Moment, Scripted, Server, ada, complete, file,
    hash_of, id, kind, new_upload, offset, refused, resume_command, soon,
    without_timed_checkpoints,
};
use std::sync::Arc;
use std::time::Duration;
use towline_engine::{
    Client as Ending, Command, CompleteRequest, Durability, EngineConfig, Phase, RejectionKind,
};
use towline_types::DocumentId;

const LENGTH: usize = 2 * BLOCK + 5;

const ELSEWHERE: Extensions = Extensions { copies: true, elsewhere: true, ..Extensions::NONE };

/// How many large files are copied at the same time.
const PERMITS: usize = 4;

/// Whenever something can be reported, it is.
fn reporting(config: &mut EngineConfig) {
    without_timed_checkpoints(config);
    config.timings.report = Duration::ZERO;
}

async fn elsewhere() -> Server {
    Server::over(Scripted::new(256 << 20, ELSEWHERE), reporting).await
}

/// A client that has sent a file and asks for its end.
async fn completing(server: &Server, place: &str, bytes: &[u8]) -> (Client, DocumentId) {
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload(place, bytes.len())).await;
    client.data(0, bytes, 0..bytes.len()).await;
    client.settle(0).await;
    client.tell(0, Command::Complete(CompleteRequest::default())).await;
    (client, id)
}

/// Clients whose files are copied, each held before its first block, and the documents; the files
/// have the names `0`, `1`, ….
async fn held_copies(
    server: &Server,
    count: usize,
    bytes: &[u8],
) -> (Vec<(Client, Gate)>, Vec<DocumentId>) {
    let (mut copying, mut ids) = (Vec::new(), Vec::new());
    for number in 0..count {
        let gate = server.storage.hold(Moment::Before, Call::CopyBlock, 1);
        let (client, id) = completing(server, &number.to_string(), bytes).await;
        gate.reached().await;
        copying.push((client, gate));
        ids.push(id);
    }
    (copying, ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_wait_for_a_copy_hear_how_far_it_is() {
    let server = elsewhere().await;
    let bytes = file(LENGTH, 1);
    let gate = server.storage.hold(Moment::Before, Call::CopyBlock, 3);
    let (mut client, id) = completing(&server, "a/doc", &bytes).await;
    gate.reached().await;
    let mut second = server.client();
    second.tell(0, resume_command(id)).await;
    for client in [&mut client, &mut second] {
        soon(async {
            loop {
                let (position, copied) = client.copied().await;
                assert_eq!(position.received, offset(LENGTH));
                assert_eq!(position.durable.get(), offset(LENGTH), "all of it is promised");
                if copied == offset(2 * BLOCK) {
                    break;
                }
            }
        })
        .await;
    }
    assert_eq!(server.status(id).await.phase, Phase::Publishing);
    assert_eq!(server.storage.bytes(ada(), "a/doc"), None);
    gate.open();
    for client in [&mut client, &mut second] {
        assert_eq!(client.hear().await, format!("0: completed a/doc ({LENGTH}) #{id}"));
    }
    assert!(server.storage.bytes(ada(), "a/doc").unwrap() == bytes);
    assert_eq!(server.storage.areas(), [], "the copy is all that is left");
    drop((client, second));
    let server = server.cut_power().await;
    assert!(server.read(id).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_waits_for_no_large_one_and_a_large_one_for_its_turn() {
    let server = elsewhere().await;
    let bytes = file(LENGTH, 1);
    let (mut copying, _) = held_copies(&server, PERMITS, &bytes).await;
    // A file of one block takes no turn.
    for place in ["small", "small too"] {
        let receipt = server.put(place, &file(BLOCK, 2)).await.receipt;
        assert_eq!(receipt.path().to_string(), place);
    }
    // One byte more, and it waits, and its client hears that it does.
    let large = file(BLOCK + 1, 3);
    let (mut waiting, _) = completing(&server, "large", &large).await;
    assert_eq!(waiting.copied().await.1, offset(0));
    assert_eq!(waiting.copied().await.1, offset(0));
    assert_eq!(server.storage.bytes(ada(), "large"), None);
    let (mut first, gate) = copying.remove(0);
    gate.open();
    assert!(first.hear().await.starts_with("0: completed 0 "));
    assert!(waiting.hear().await.starts_with("0: completed large "));
    assert!(server.storage.bytes(ada(), "large").unwrap() == large);
    for (mut client, gate) in copying {
        gate.open();
        assert!(client.hear().await.starts_with("0: completed "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_while_its_file_waits_leaves_it_to_the_server() {
    let server = elsewhere().await;
    let bytes = file(LENGTH, 1);
    let (copying, _) = held_copies(&server, PERMITS, &bytes).await;
    let mut left = Vec::new();
    for place in ["asked for", "forgotten"] {
        let (mut client, id) = completing(&server, place, &bytes).await;
        assert_eq!(client.copied().await.1, offset(0));
        client.close(Ending::Gone).await;
        assert_eq!(server.status(id).await.phase, Phase::Publishing);
        left.push(id);
    }
    // Who asks for one of them hears that it waits.
    let mut asking = server.client();
    asking.tell(0, resume_command(left[0])).await;
    let (position, copied) = asking.copied().await;
    assert_eq!((position.received, copied), (offset(LENGTH), offset(0)));
    for (mut client, gate) in copying {
        gate.open();
        assert!(client.hear().await.starts_with("0: completed "));
    }
    let heard = asking.hear().await;
    assert_eq!(heard, format!("0: completed asked for ({LENGTH}) #{}", left[0]));
    server.comes_to(left[1], Phase::Completed).await;
    assert!(server.storage.bytes(ada(), "forgotten").unwrap() == bytes);
    server.has_no_area().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_stop_cuts_off_is_made_by_the_next_start() {
    let server = elsewhere().await;
    let bytes = file(LENGTH, 1);
    let (copying, ids) = held_copies(&server, 3, &bytes).await;
    server.engine.begin_shut_down();
    for (mut client, gate) in copying {
        gate.open();
        assert!(client.hear().await.starts_with("0: rejected Stopping"));
    }
    for id in &ids {
        assert_eq!(server.status(*id).await.phase, Phase::Publishing);
    }
    assert_eq!(server.storage.areas().len(), 3, "what was promised is where it was");
    assert_eq!(server.storage.bytes(ada(), "0"), None, "no half copy");
    // No client asks for them.
    let server = server.restart().await;
    for (number, id) in ids.iter().enumerate() {
        server.comes_to(*id, Phase::Completed).await;
        assert!(server.storage.bytes(ada(), &number.to_string()).unwrap() == bytes);
        let receipt = soon(server.account().receipt(*id)).await.unwrap().receipt;
        assert_eq!(receipt.hash(), hash_of(&bytes));
    }
    server.has_no_area().await;
}

/// A start begins with the copies that an earlier run left, one after the other. A client may ask
/// for one of them, and what it then begins may not come to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_client_began_and_did_not_end_is_made_by_the_server() {
    let server = elsewhere().await;
    let bytes = file(LENGTH, 1);
    let (copying, ids) = held_copies(&server, 3, &bytes).await;
    let crash = server.crash();
    copying.into_iter().for_each(|(_, gate)| gate.open());

    let first = crash.killed.hold(Moment::Before, Call::CopyBlock, 1);
    let mistake = || panic!("a mistake in our code, for this test");
    let second = crash.killed.hold_then(Moment::Before, Call::CopyBlock, 1, mistake);
    let folder = Arc::new(crash.folder);
    let server = Server::over_folder_with(folder, crash.killed, reporting).await;
    first.reached().await;
    let mut client = server.client();
    client.tell(0, resume_command(ids[1])).await;
    second.reached().await;
    first.open();
    // The server has come past the second one, which the client copies.
    server.comes_to(ids[2], Phase::Completed).await;
    assert_eq!(server.status(ids[0]).await.phase, Phase::Completed);
    assert_eq!(server.status(ids[1]).await.phase, Phase::Publishing);
    second.open();
    server.comes_to(ids[1], Phase::Completed).await;
    assert!(server.storage.bytes(ada(), "1").unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_leaves_an_upload_that_can_be_completed() {
    let server = elsewhere().await;
    let bytes = file(LENGTH, 1);
    server.storage.fail(Call::CopyBlock, 2, full);
    let (mut client, id) = completing(&server, "doc", &bytes).await;
    assert!(client.hear().await.starts_with("0: rejected NoSpace"));
    assert_eq!(server.status(id).await.phase, Phase::Uploading);
    assert_eq!(server.storage.bytes(ada(), "doc"), None);
    let upload = server.resume(id).await;
    assert_eq!(upload.offset(), offset(LENGTH));
    let receipt = complete(upload, None).await.unwrap().receipt;
    assert_eq!(receipt.path().to_string(), "doc");
    assert!(server.storage.bytes(ada(), "doc").unwrap() == bytes);
}

/// The bytes of another document become one of their own; of an upload of them no client knows.
#[tokio::test(flavor = "multi_thread")]
async fn known_bytes_that_do_not_get_to_their_place_leave_no_upload() {
    let server = elsewhere().await;
    let bytes = file(LENGTH, 1);
    server.put("a/doc", &bytes).await;
    server.storage.fail(Call::CopyBlock, 2, full);
    let mut new = new_upload("b/doc", LENGTH);
    new.hash = Some(hash_of(&bytes));
    let rejection = refused(soon(server.account().begin(new.clone())).await);
    assert_eq!(rejection.kind, RejectionKind::NoSpace { missing_bytes: Some(4711) });
    let status = server.status(id(2)).await;
    assert_eq!((status.phase, status.reason.is_some()), (Phase::Failed, true));
    assert_eq!(server.storage.areas(), []);
    let again = crate::kit::stored(soon(server.account().begin(new)).await.unwrap());
    assert!(again.receipt.is_copy());
    assert_eq!(again.receipt.path().to_string(), "b/doc");
    assert!(server.storage.bytes(ada(), "b/doc").unwrap() == bytes);
    assert_eq!(server.storage.areas(), []);
}

/// A copy takes long: before it is made, the bytes are durable, also where durability is relaxed.
#[tokio::test(flavor = "multi_thread")]
async fn where_durability_is_relaxed_a_file_elsewhere_is_durable() {
    let extensions = Extensions { deferred: true, ..ELSEWHERE };
    let server = Server::over(Scripted::new(256 << 20, extensions), |config| {
        reporting(config);
        config.durability = Durability::Relaxed;
    })
    .await;
    assert_eq!(server.engine.config().durability, Durability::Relaxed);
    let bytes = file(LENGTH, 1);
    let gate = server.storage.hold(Moment::Before, Call::CopyBlock, 1);
    let (mut client, number) = completing(&server, "large", &bytes).await;
    gate.reached().await;
    let crash = server.crash();
    let (position, _) = client.copied().await;
    assert_eq!(position.durable.get(), offset(LENGTH), "it was synced before the copy");
    gate.open();
    assert_eq!(client.hear().await, format!("0: completed large ({LENGTH}) #{number}"));
    let small = server.put("small", &file(BLOCK, 2)).await.receipt;
    assert!(small.is_durable());
    let whole = server.put_whole(new_upload("whole", 1000), &file(1000, 3)).await.unwrap().receipt;
    assert!(whole.is_durable());
    assert_eq!(server.storage.count(Call::SyncAll), 0);
    assert_eq!(server.storage.areas(), []);
    // The next start makes the copy, and need not read the bytes before.
    let left = crash.cut.clone();
    let server = Server::over_folder(Arc::new(crash.folder), crash.cut).await;
    server.comes_to(number, Phase::Completed).await;
    assert_eq!((left.count(Call::Read), left.count(Call::SyncAll)), (0, 0));
    assert!(left.bytes(ada(), "large").unwrap() == bytes);
}

/// The staging area that a copy leaves is needed until the row says that the document is
/// completed. Where it cannot be removed then, the next start removes it, unless it has the only
/// bytes that are left.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_copy_leaves_is_removed_by_a_start_unless_the_copy_is_gone() {
    for is_gone in [false, true] {
        let server = elsewhere().await;
        let bytes = file(BLOCK, 1);
        server.storage.fail_always(Call::Discard, crate::kit::scripted::passing);
        let id = server.put("doc", &bytes).await.receipt.document_id();
        assert_eq!(server.status(id).await.phase, Phase::Completed);
        let area = (id.get(), false, BLOCK as u64);
        assert_eq!(server.storage.areas(), [area]);
        let (folder, storage) = server.stop().await;
        let left = storage.after_kill();
        if is_gone {
            left.take_away(ada(), "doc");
        }
        let server = Server::over_folder(folder, left).await;
        let expected = if is_gone { vec![area] } else { vec![] };
        assert_eq!(server.storage.areas(), expected);
    }
}

/// Bytes that are there already, because a crash came between the copy and the row, are the
/// document; other bytes are not.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_made_before_a_crash_is_not_made_again() {
    let server = elsewhere().await;
    let bytes = file(LENGTH, 1);
    let slot = server.crash_at(Moment::After, Call::Publish, 1);
    let id = server.put("doc", &bytes).await.receipt.document_id();
    let crash = slot.take().unwrap();
    assert!(crash.cut.bytes(ada(), "doc").unwrap() == bytes);
    let left = crash.cut.clone();
    let server = Server::over_folder(Arc::new(crash.folder), crash.cut).await;
    server.comes_to(id, Phase::Completed).await;
    assert_eq!(left.count(Call::CopyBlock), 0);
    server.has_no_area().await;
    assert!(server.read(id).await == bytes);
    assert_eq!(kind(soon(server.account().cancel(id)).await), "WrongPhase { phase: Completed }");
}

/// What a client hears of a copy is a promise: a power cut leaves the bytes, and their name.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_durable_during_a_copy_survive_a_power_cut() {
    for is_started_again in [false, true] {
        let mut server = elsewhere().await;
        let bytes = file(LENGTH, 1);
        let slot = server.crash_at(Moment::Before, Call::Sync, 1);
        let mut gate = server.storage.hold(Moment::Before, Call::CopyBlock, 1);
        let (mut client, number) = completing(&server, "doc", &bytes).await;
        gate.reached().await;
        if is_started_again {
            // A kill came before the copy, and the next start makes it.
            gate.open();
            client.hear().await;
            let crash = slot.take().unwrap();
            gate = crash.killed.hold(Moment::Before, Call::CopyBlock, 1);
            let folder = Arc::new(crash.folder);
            server = Server::over_folder_with(folder, crash.killed, reporting).await;
            gate.reached().await;
            client = server.client();
            client.tell(0, resume_command(number)).await;
        }
        let (position, copied) = client.copied().await;
        assert_eq!((position.durable.get(), copied), (offset(LENGTH), offset(0)));
        let Crash { folder, cut, .. } = server.crash();
        gate.open();
        let left = Server::over_folder(Arc::new(folder), cut).await;
        left.comes_to(number, Phase::Completed).await;
        assert!(left.storage.bytes(ada(), "doc").unwrap() == bytes);
    }
}
