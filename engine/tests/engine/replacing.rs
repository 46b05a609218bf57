//! Documents that become the next version of a file.

use crate::kit::{
    Call, Extensions, Moment, Scripted, Server, ada, file, id, kind, new_upload, soon,
};
use towline_engine::storage::{Entry, Spot, TreeStorage as _};
use towline_engine::{Durability, NewUpload, Phase};
use towline_types::{DocumentId, OnConflict};

const LENGTH: usize = 3000;

fn replacing(place: &str) -> NewUpload {
    let mut new = new_upload(place, LENGTH);
    new.on_conflict = OnConflict::Replace;
    new
}

/// Uploads with chunks, or in one step.
async fn put(server: &Server, seed: u8, is_whole: bool) -> DocumentId {
    let bytes = file(LENGTH, seed);
    let receipt = if is_whole {
        server.put_whole(replacing("a/doc"), &bytes).await.unwrap().receipt
    } else {
        let mut upload = server.begin_new(replacing("a/doc")).await;
        server.write(&mut upload, &bytes, 0..LENGTH).await;
        soon(upload.complete(None)).await.unwrap().receipt
    };
    assert_eq!(receipt.path().to_string(), "a/doc");
    receipt.document_id()
}

/// Whether the store has the bytes of that version.
fn is_kept(server: &Server, version: DocumentId, seed: u8) -> bool {
    let spot = Spot::Version(version);
    let Some(kept) = server.storage.memory().open_spot(ada(), &spot, &[]).unwrap() else {
        return false;
    };
    let mut bytes = vec![0; LENGTH];
    kept.read_exact_at(&mut bytes, crate::kit::offset(0)).unwrap();
    assert_eq!(bytes, file(LENGTH, seed));
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_replaces_another_and_keeps_it() {
    let server = Server::new().await;
    let mut ids = Vec::new();
    for seed in 1..=4 {
        ids.push(put(&server, seed, seed % 2 == 0).await);
        assert_eq!(server.storage.bytes(ada(), "a/doc").unwrap(), file(LENGTH, seed));
    }
    for (version, seed) in ids[..3].iter().zip(1..) {
        assert!(is_kept(&server, *version, seed));
        assert_eq!(server.status(*version).await.phase, Phase::Completed);
    }
    assert_eq!(server.storage.areas(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_each_call_leaves_the_old_file_or_the_new_one() {
    let mut reached = 0;
    for moment in [Moment::Before, Moment::After] {
        for call in [Call::SyncData, Call::Replace, Call::Discard] {
            for is_whole in [false, true] {
                let server = Server::new().await;
                let old = put(&server, 1, true).await;
                let slot = server.crash_at(moment, call, 1);
                let new = put(&server, 2, is_whole).await;
                let Some(crash) = slot.take() else { continue };
                reached += 1;
                println!("{moment:?} {call:?} whole={is_whole}");
                let server = crash.after_power_cut();
                let found = server.storage.bytes(ada(), "a/doc").unwrap();
                if found == file(LENGTH, 2) {
                    assert!(is_kept(&server, old, 1));
                    assert_eq!(server.status(new).await.phase, Phase::Completed);
                } else {
                    assert_eq!(found, file(LENGTH, 1));
                    put(&server, 2, is_whole).await;
                }
                assert!(is_kept(&server, old, 1));
                assert_eq!(server.storage.bytes(ada(), "a/doc").unwrap(), file(LENGTH, 2));
                assert_eq!(server.status(old).await.phase, Phase::Completed);
            }
        }
    }
    assert!(reached >= 8, "{reached}");
}

/// A replacement is durable before its `SUCCESS`, also where others are not; a document that
/// replaces nothing is not.
#[tokio::test(flavor = "multi_thread")]
async fn where_durability_is_relaxed_a_replacement_is_durable() {
    let extensions = Extensions { deferred: true, renames: true, ..Extensions::NONE };
    let storage = Scripted::new(crate::kit::CAPACITY_BYTES, extensions);
    let server = Server::over(storage, |config| config.durability = Durability::Relaxed).await;
    for is_whole in [false, true] {
        let place = if is_whole { "b" } else { "c" };
        for (seed, is_durable) in [(1, false), (2, true)] {
            let bytes = file(LENGTH, seed);
            let receipt = if is_whole {
                server.put_whole(replacing(place), &bytes).await.unwrap().receipt
            } else {
                let mut upload = server.begin_new(replacing(place)).await;
                server.write(&mut upload, &bytes, 0..LENGTH).await;
                soon(upload.complete(None)).await.unwrap().receipt
            };
            assert_eq!(
                (receipt.path().to_string(), receipt.is_durable()),
                (place.to_owned(), is_durable)
            );
            assert_eq!(server.storage.bytes(ada(), place).unwrap(), bytes);
            // The receipt that is asked for again makes the document durable.
            soon(server.account().receipt(receipt.document_id())).await.unwrap();
        }
    }
}

/// A start finds the file that is to replace another by its name. Any other small file has none
/// until it has its place, where durability is relaxed.
#[tokio::test(flavor = "multi_thread")]
async fn where_durability_is_relaxed_a_file_that_may_replace_another_has_a_name_from_the_start() {
    let extensions = Extensions { deferred: true, renames: true, ..Extensions::NONE };
    let storage = Scripted::new(crate::kit::CAPACITY_BYTES, extensions);
    let server = Server::over(storage, |config| config.durability = Durability::Relaxed).await;
    for on_conflict in OnConflict::ALL {
        server.storage.take_calls();
        let new = NewUpload { on_conflict, ..new_upload(on_conflict.as_str(), LENGTH) };
        let receipt = server.put_whole(new, &file(LENGTH, 1)).await.unwrap().receipt;
        assert!(!receipt.is_durable());
        let made =
            (server.storage.count(Call::CreateWhole), server.storage.count(Call::CreateUnnamed));
        let is_named = on_conflict == OnConflict::Replace;
        assert_eq!(made, if is_named { (1, 0) } else { (0, 1) }, "{on_conflict:?}");
    }
}

/// What another program has put in the place of the document is not replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_replaced() {
    use towline_engine::storage::Storage as _;
    let server = Server::new().await;
    let (memory, stray) = (server.storage.memory(), id(900));
    memory.create_whole(stray, b"stray").unwrap().sync_data().unwrap();
    let hash = crate::kit::hash_of(b"stray");
    memory.publish(stray, ada(), &crate::kit::path("doc"), hash, &mut |_| true).unwrap();
    let bytes = file(LENGTH, 1);
    let mut upload = server.begin_new(replacing("doc")).await;
    server.write(&mut upload, &bytes, 0..LENGTH).await;
    assert_eq!(kind(soon(upload.complete(None)).await), "NameTaken");
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), b"stray");
    let entry = server.storage.memory().is_there(ada(), &Spot::Living(crate::kit::path("doc")));
    assert!(matches!(entry, Ok(Some(Entry::File { .. }))));
}
