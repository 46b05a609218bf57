//! Bytes that the server has already.

use crate::kit::scripted::{damage, full, passing};
use crate::kit::{
    BLOCK, Call, Extensions, Moment, Server, ada, bob, complete, file, hash_of, kind, new_upload,
    read, soon, stored, uploading,
};
use towline_engine::{Begun, Client as Ending, Command, EventKind, NewUpload, ReadRequest};
use towline_types::{OnConflict, SecondDigest};

const COPIES: Extensions = Extensions { copies: true, ..Extensions::NONE };

fn known(place: &str, bytes: &[u8]) -> NewUpload {
    let mut new = new_upload(place, bytes.len());
    new.hash = Some(hash_of(bytes));
    new
}

async fn begin(server: &Server, new: NewUpload) -> Begun {
    soon(server.account().begin(new)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_in_its_own_place_is_there_already() {
    let server = Server::extended(COPIES).await;
    let bytes = file(BLOCK + 5, 1);
    let first = server.put("a/doc", &bytes).await.receipt;
    server.storage.take_calls();
    let mut client = server.client();
    for place in ["a/doc", "a/DOC"] {
        client.tell(0, Command::Begin(Box::new(known(place, &bytes)))).await;
        let heard = client.hear().await;
        assert_eq!(
            heard,
            format!("0: completed a/doc ({}), existing #{}", BLOCK + 5, first.document_id())
        );
    }
    assert_eq!(server.storage.count(Call::Create), 0);
    assert_eq!(server.storage.count(Call::CreateCopy), 0);
    // Of the same length and with other bytes it is another file.
    let other = file(BLOCK + 5, 2);
    drop(uploading(begin(&server, known("a/doc", &other)).await));
    // Without the hash nothing is compared.
    drop(uploading(begin(&server, new_upload("a/doc", BLOCK + 5)).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbered_name_that_it_got_is_its_place_too_unless_no_other_is_wanted() {
    let server = Server::extended(COPIES).await;
    let bytes = file(100, 1);
    server.put("doc", b"first").await;
    let second = server.put("doc", &bytes).await.receipt;
    assert_eq!(second.path().to_string(), "doc (1)");
    let again = stored(begin(&server, known("doc", &bytes)).await);
    assert!(again.existing);
    assert_eq!(again.receipt.document_id(), second.document_id());
    let mut rejecting = known("doc", &bytes);
    rejecting.on_conflict = OnConflict::Reject;
    assert_eq!(kind(soon(server.account().begin(rejecting)).await), "NameTaken");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_from_elsewhere_become_a_document_of_their_own() {
    let server = Server::extended(COPIES).await;
    let bytes = file(2 * BLOCK + 5, 1);
    let source = server.put("a/doc", &bytes).await.receipt;
    server.storage.take_calls();
    let copy = stored(begin(&server, known("b/doc", &bytes)).await);
    assert!(!copy.existing && copy.receipt.is_copy() && copy.receipt.is_durable());
    assert_ne!(copy.receipt.document_id(), source.document_id());
    assert_eq!(copy.receipt.path().to_string(), "b/doc");
    assert_eq!(copy.receipt.hash(), source.hash());
    assert_eq!(
        (server.storage.count(Call::CreateCopy), server.storage.count(Call::Create)),
        (1, 0)
    );
    assert!(server.storage.count(Call::SyncData) == 1);
    assert!(server.storage.bytes(ada(), "b/doc").unwrap() == bytes);
    assert_eq!(server.storage.areas(), []);
    // Under the rules of names.
    server.put("c/doc", b"x").await;
    let copy = stored(begin(&server, known("c/doc", &bytes)).await);
    assert_eq!(copy.receipt.path().to_string(), "c/doc (1)");
    assert!(copy.receipt.is_copy());
    let mut rejecting = known("d/doc", &bytes);
    rejecting.on_conflict = OnConflict::Reject;
    assert!(stored(begin(&server, rejecting.clone()).await).receipt.is_copy());
    let mut client = server.client();
    client.tell(0, Command::Begin(Box::new(rejecting))).await;
    assert!(client.hear().await.contains(", existing"));
    drop(client);
    let server = server.cut_power().await;
    for place in ["a/doc", "b/doc", "c/doc (1)", "d/doc"] {
        assert!(server.storage.bytes(ada(), place).unwrap() == bytes, "{place}");
    }
    assert!(server.read(copy.receipt.document_id()).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_copied_from_another_user_or_where_the_store_cannot() {
    let bytes = file(1000, 1);
    let server = Server::extended(COPIES).await;
    server.put("doc", &bytes).await;
    let bobs = soon(server.account_of(bob()).begin(known("doc", &bytes))).await.unwrap();
    drop(uploading(bobs));
    let server = Server::new().await;
    server.put("doc", &bytes).await;
    drop(uploading(begin(&server, known("b/doc", &bytes)).await));
    assert!(stored(begin(&server, known("doc", &bytes)).await).existing);
}

/// The second hash of a copy would not be known.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_copied_for_a_client_that_wants_a_second_hash() {
    let server = Server::extended(COPIES).await;
    let bytes = file(1000, 1);
    server.put("a/doc", &bytes).await;
    let second_digest = SecondDigest::Sha256;
    let new = NewUpload { second_digest, ..known("b/doc", &bytes) };
    let mut upload = uploading(begin(&server, new).await);
    server.write(&mut upload, &bytes, 0..1000).await;
    let receipt = complete(upload, None).await.unwrap().receipt;
    assert!(receipt.sha256().is_some() && !receipt.is_copy());
    assert!(stored(begin(&server, known("c/doc", &bytes)).await).receipt.is_copy());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_does_not_succeed_becomes_an_upload() {
    for (call, error) in [
        (Call::CreateCopy, passing as fn() -> _),
        (Call::CreateCopy, full),
        (Call::ReadPublished, damage),
    ] {
        let server = Server::extended(COPIES).await;
        let bytes = file(2000, 1);
        server.put("a/doc", &bytes).await;
        server.storage.fail_always(call, error);
        let mut upload = uploading(begin(&server, known("b/doc", &bytes)).await);
        server.storage.heal();
        server.write(&mut upload, &bytes, 0..2000).await;
        let completion = complete(upload, None).await.unwrap();
        assert!(!completion.receipt.is_copy() && !completion.existing);
        assert_eq!(server.storage.bytes(ada(), "b/doc").unwrap(), bytes);
        assert_eq!(server.storage.areas(), []);
    }
}

/// The file of the document is gone, or has other bytes, without the server having done it.
#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_looked_at_before_anything_is_said() {
    let server = Server::extended(COPIES).await;
    let bytes = file(2000, 1);
    let id = server.put("a/doc", &bytes).await.receipt.document_id();
    let (folder, storage) = server.stop().await;
    // The catalog is there, and the store has lost the file.
    let empty = crate::kit::Scripted::new(64 << 20, COPIES);
    drop(storage);
    let server = Server::over_folder(folder, empty).await;
    drop(uploading(begin(&server, known("b/doc", &bytes)).await));
    let mut upload = uploading(begin(&server, known("a/doc", &bytes)).await);
    let status = server.status(id).await;
    assert_eq!((status.phase.as_str(), status.reason.is_some()), ("failed", true));
    server.write(&mut upload, &bytes, 0..2000).await;
    let completion = complete(upload, None).await.unwrap();
    assert_eq!(completion.receipt.path().to_string(), "a/doc", "the name is free");
    assert_eq!(kind(read(&server.account(), ReadRequest::whole(id)).await), "Failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_hears_how_far_the_copy_is_and_can_leave() {
    let server = Server::extended(COPIES).await;
    let bytes = file(2 * BLOCK, 1);
    server.put("a/doc", &bytes).await;
    let gate = server.storage.hold(Moment::Before, Call::ReadPublished, 1);
    let mut client = server.client();
    client.tell(0, Command::Begin(Box::new(known("b/doc", &bytes)))).await;
    gate.reached().await;
    client.session().begin_end(Ending::Listens);
    gate.open();
    loop {
        let event = client.event().await;
        match event.kind {
            EventKind::AtWork { position, copied } => {
                assert_eq!((position.durable.get().get(), copied), (0, None));
                assert_eq!(position.length, crate::kit::length(2 * BLOCK));
            }
            EventKind::Rejected(rejection) => {
                assert_eq!(format!("{:?}", rejection.kind), "Internal");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(server.storage.bytes(ada(), "b/doc"), None);
    assert_eq!(server.storage.areas(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_each_step_of_a_copy_leaves_all_of_it_or_nothing() {
    for (moment, call) in [
        (Moment::After, Call::CreateCopy),
        (Moment::After, Call::SyncData),
        (Moment::Before, Call::Publish),
        (Moment::After, Call::Publish),
    ] {
        for is_cut in [false, true] {
            let server = Server::extended(COPIES).await;
            let bytes = file(2000, 1);
            server.put("a/doc", &bytes).await;
            let crash = server.crash_at(moment, call, 1);
            let copy = stored(begin(&server, known("b/doc", &bytes)).await);
            assert!(copy.receipt.is_copy());
            let crash = crash.take().unwrap();
            let left = if is_cut { crash.after_power_cut() } else { crash.after_kill() };
            assert_eq!(left.storage.areas(), [], "{moment:?} {call:?}");
            let there = left.storage.bytes(ada(), "b/doc");
            assert!(there.is_none() || there.unwrap() == bytes);
            let again = stored(begin(&left, known("b/doc", &bytes)).await);
            assert!(again.existing != again.receipt.is_copy());
            assert_eq!(again.receipt.path().to_string(), "b/doc");
        }
    }
}
