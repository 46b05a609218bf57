//! The end of an upload: what is verified, what is refused, and what a refusal leaves.

use crate::kit::scripted::{damage, full, passing};
use crate::kit::{
    BLOCK, Call, Extensions, Moment, Scripted, Server, ada, complete, file, hash_of, id, kind,
    new_upload, offset, refused, soon,
};
use towline_engine::{Command, CompleteRequest, RejectionKind, SendingMode, UploadHandle};
use towline_types::OnConflict;

const LENGTH: usize = BLOCK + 5;

async fn sent(server: &Server, bytes: &[u8]) -> UploadHandle {
    let mut upload = server.begin("a/doc", bytes.len()).await;
    server.write(&mut upload, bytes, 0..bytes.len()).await;
    upload
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_not_whole_says_where_it_goes_on() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", LENGTH)).await;
    for sent in [0, 1000, BLOCK, LENGTH - 1] {
        let at = if sent == 0 { 0 } else { server.status(id).await.position.received.get() };
        client.data(0, &bytes, usize::try_from(at).unwrap()..sent).await;
        let expected = format!("0: rejected Incomplete {{ expected: Offset({sent}) }} #{id}");
        assert_eq!(client.complete(0).await, expected);
        assert_eq!(server.storage.bytes(ada(), "doc"), None);
    }
    client.data(0, &bytes, LENGTH - 1..LENGTH).await;
    assert_eq!(client.complete(0).await, format!("0: completed doc ({LENGTH}) #{id}"));
    // Said twice, it is the same receipt.
    assert_eq!(client.complete(0).await, format!("0: completed doc ({LENGTH}) #{id}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_blocks_that_were_not_announced_need_the_hash_of_the_whole() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut new = new_upload("doc", LENGTH);
    new.mode = SendingMode::BLOCKS;
    let mut client = server.client();
    let (id, _) = client.begin(0, new).await;
    client.data(0, &bytes, 0..LENGTH).await;
    let missing = client.complete(0).await;
    assert!(missing.starts_with("0: rejected Incomplete { expected: Offset("), "{missing}");
    let complete = CompleteRequest { hash: Some(hash_of(&bytes)), ..CompleteRequest::default() };
    let completed = client.ask(0, Command::Complete(complete)).await;
    assert_eq!(completed, format!("0: completed doc ({LENGTH}) #{id}"));
    assert!(server.read(id).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_hash_fails_the_upload_for_good_and_its_bytes_go() {
    for is_restarted in [false, true] {
        let mut server = Server::new().await;
        let bytes = file(LENGTH, 1);
        let mut upload = sent(&server, &bytes).await;
        let id = upload.id();
        if is_restarted {
            soon(upload.pause()).await;
            server = server.restart().await;
            upload = server.resume(id).await;
        }
        let wrong = Some(hash_of(&file(LENGTH, 2)));
        assert_eq!(refused(complete(upload, wrong).await).kind, RejectionKind::HashMismatch);
        assert_eq!(server.status(id).await.phase.as_str(), "failed");
        assert_eq!(server.storage.bytes(ada(), "a/doc"), None);
        assert_eq!(server.storage.areas(), []);
        let server = server.restart().await;
        let status = server.status(id).await;
        assert_eq!((status.phase.as_str(), status.reason.is_some()), ("failed", true));
        let resume = towline_engine::ResumeRequest::of(id, SendingMode::PLAIN);
        assert_eq!(kind(soon(server.account().resume(resume)).await), "Failed");
        assert_eq!(kind(soon(server.account().cancel(id)).await), "Failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_changed_on_the_way_to_the_disk_are_never_published() {
    // The staging area is shorter, longer, gone, or another one when it is to be published.
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let upload = sent(&server, &bytes).await;
    let id = upload.id();
    let memory = server.storage.memory().clone();
    server.storage.on(Moment::Before, Call::FindAgain, 1, move || {
        towline_engine::storage::Storage::discard(&memory, id)
    });
    assert_eq!(kind(complete(upload, None).await), "Failed");
    assert_eq!(server.status(id).await.phase.as_str(), "failed");
    assert_eq!(server.storage.bytes(ada(), "a/doc"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_named_by_its_number_too() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let upload = sent(&server, &bytes).await;
    let number = upload.id();
    let by_number =
        |id| Command::Complete(CompleteRequest { id: Some(id), ..CompleteRequest::default() });
    let mut client = server.client();
    // It has a writer and wants its end from there.
    let busy = client.ask(3, by_number(number)).await;
    assert_eq!(busy, format!("3: rejected NoActiveUpload #{number}"));
    soon(upload.pause()).await;
    let paused = client.ask(3, by_number(number)).await;
    assert_eq!(paused, format!("3: rejected NoActiveUpload #{number}"));
    let upload = server.resume(number).await;
    complete(upload, None).await.unwrap();
    let done = client.ask(3, by_number(number)).await;
    assert_eq!(done, format!("3: completed a/doc ({LENGTH}) #{number}"));
    let none = client.ask(3, by_number(id(99))).await;
    assert_eq!(none, "3: rejected NotFound #99");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_taken_meanwhile_can_still_be_changed() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut new = new_upload("doc", LENGTH);
    new.on_conflict = OnConflict::Reject;
    let mut client = server.client();
    let (number, _) = client.begin(0, new).await;
    client.data(0, &bytes, 0..LENGTH).await;
    server.put("doc", b"first").await;
    for _ in 0..2 {
        assert_eq!(client.complete(0).await, format!("0: rejected NameTaken #{number}"));
    }
    assert_eq!(server.status(number).await.phase.as_str(), "uploading");
    let rename =
        CompleteRequest { on_conflict: Some(OnConflict::Rename), ..CompleteRequest::default() };
    let done = client.ask(0, Command::Complete(rename)).await;
    assert_eq!(done, format!("0: completed doc (1) ({LENGTH}) #{number}"));
    assert!(server.read(number).await == bytes);
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), b"first");
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_may_also_ask_for_no_other_name() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut client = server.client();
    let (number, _) = client.begin(0, new_upload("doc", LENGTH)).await;
    client.data(0, &bytes, 0..LENGTH).await;
    server.put("doc", b"first").await;
    let reject = |on_conflict| {
        Command::Complete(CompleteRequest { on_conflict, ..CompleteRequest::default() })
    };
    let taken = client.ask(0, reject(Some(OnConflict::Reject))).await;
    assert_eq!(taken, format!("0: rejected NameTaken #{number}"));
    let done = client.ask(0, reject(None)).await;
    assert_eq!(done, format!("0: completed doc (1) ({LENGTH}) #{number}"));
}

/// The publishing fails at each step with an error that passes: nothing is lost, and the end comes
/// the next time.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_passes_loses_nothing() {
    for renames in [false, true] {
        let step = if renames { Call::Rename } else { Call::Publish };
        for (call, error) in
            [(Call::FindAgain, passing as fn() -> _), (step, passing), (step, full), (step, damage)]
        {
            let storage = Scripted::new(64 << 20, Extensions { renames, ..Extensions::default() });
            let server = Server::over(storage, |_| {}).await;
            let bytes = file(LENGTH, 1);
            let mut upload = sent(&server, &bytes).await;
            let id = upload.id();
            soon(upload.durable()).await.unwrap();
            server.storage.fail(call, 1, error);
            let kind = refused(complete(upload, None).await).kind;
            let expected = matches!(kind, RejectionKind::Internal)
                || kind == RejectionKind::NoSpace { missing_bytes: Some(4711) };
            assert!(expected, "{call:?}: {kind:?}");
            assert_ne!(server.status(id).await.phase.as_str(), "failed", "{call:?}");
            let server = server.restart().await;
            let again = towline_engine::ResumeRequest::of(id, SendingMode::PLAIN);
            match soon(server.account().resume(again)).await.unwrap() {
                towline_engine::Begun::Uploading(upload) => {
                    assert_eq!(upload.offset(), offset(LENGTH));
                    complete(*upload, None).await.unwrap();
                }
                other => drop(crate::kit::stored(other)),
            }
            assert!(server.storage.bytes(ada(), "a/doc").unwrap() == bytes);
            assert!(server.read(id).await == bytes);
            assert_eq!(server.storage.bytes(ada(), "a/doc (1)"), None);
        }
    }
}

/// The same without a restart: the client asks again.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_that_passes_the_same_client_can_end_it() {
    for renames in [false, true] {
        let storage = Scripted::new(64 << 20, Extensions { renames, ..Extensions::default() });
        let server = Server::over(storage, |_| {}).await;
        let bytes = file(LENGTH, 1);
        let upload = sent(&server, &bytes).await;
        let id = upload.id();
        let step = if renames { Call::Rename } else { Call::Publish };
        server.storage.fail(step, 1, passing);
        assert_eq!(kind(complete(upload, None).await), "Internal");
        let again = towline_engine::ResumeRequest::of(id, SendingMode::PLAIN);
        match soon(server.account().resume(again)).await.unwrap() {
            towline_engine::Begun::Uploading(upload) => {
                complete(*upload, None).await.unwrap();
            }
            other => drop(crate::kit::stored(other)),
        }
        assert!(server.read(id).await == bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_waits_for_the_name_to_be_durable() {
    let storage = Scripted::new(64 << 20, Extensions { renames: true, ..Extensions::default() });
    let server = Server::over(storage, |_| {}).await;
    let bytes = file(LENGTH, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", LENGTH)).await;
    client.data(0, &bytes, 0..LENGTH).await;
    client.settle(0).await;
    let gate = server.storage.hold(Moment::Before, Call::SyncName, 1);
    client.tell(0, Command::Complete(CompleteRequest::default())).await;
    gate.reached().await;
    assert_eq!(server.status(id).await.phase.as_str(), "publishing");
    gate.open();
    assert_eq!(client.hear().await, format!("0: completed doc ({LENGTH}) #{id}"));
    assert_eq!(server.status(id).await.phase.as_str(), "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_are_durable_before_they_have_their_name() {
    for renames in [false, true] {
        let storage = Scripted::new(64 << 20, Extensions { renames, ..Extensions::default() });
        let server = Server::over(storage, crate::kit::without_timed_checkpoints).await;
        let bytes = file(LENGTH, 1);
        let upload = sent(&server, &bytes).await;
        let step = if renames { Call::Rename } else { Call::Publish };
        let crash = server.crash_at(Moment::After, step, 1);
        let id = upload.id();
        complete(upload, None).await.unwrap();
        let cut = crash.take().unwrap();
        assert!(cut.cut.bytes(ada(), "a/doc").unwrap() == bytes);
        let server = cut.after_power_cut();
        assert_eq!(server.status(id).await.phase.as_str(), "completed");
        assert!(server.read(id).await == bytes);
    }
}

/// The name was given, and whether it is durable is not known for a moment: the next question
/// finishes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_publishing_that_was_cut_off_is_finished_by_the_next_question() {
    for question in 0..4 {
        let storage =
            Scripted::new(64 << 20, Extensions { renames: true, ..Extensions::default() });
        let server = Server::over(storage, |_| {}).await;
        let bytes = file(LENGTH, 1);
        let upload = sent(&server, &bytes).await;
        let id = upload.id();
        server.storage.fail(Call::SyncName, 1, passing);
        assert_eq!(kind(complete(upload, None).await), "Internal");
        assert_eq!(server.status(id).await.phase.as_str(), "publishing");
        server.storage.take_calls();
        match question {
            0 => assert!(soon(server.account().receipt(id)).await.unwrap().receipt.is_durable()),
            1 => {
                let resume = towline_engine::ResumeRequest::of(id, SendingMode::PLAIN);
                let stored =
                    crate::kit::stored(soon(server.account().resume(resume)).await.unwrap());
                assert!(stored.receipt.is_durable());
            }
            2 => {
                let cancelled = kind(soon(server.account().cancel(id)).await);
                assert_eq!(cancelled, "WrongPhase { phase: Completed }");
            }
            _ => {
                server.storage.fail(Call::SyncPublished, 1, passing);
                assert_eq!(kind(soon(server.account().receipt(id)).await), "Internal");
                assert_eq!(server.status(id).await.phase.as_str(), "publishing");
                soon(server.account().receipt(id)).await.unwrap();
            }
        }
        assert!(server.storage.count(Call::SyncPublished) > 0, "{question}");
        assert_eq!(server.status(id).await.phase.as_str(), "completed");
        assert!(server.read(id).await == bytes);
    }
}
