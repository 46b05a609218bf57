//! Documents whose files were removed from the store by hand: their names are free for uploads.

use crate::kit::{
    CAPACITY_BYTES, Extensions, Scripted, Server, ada, complete, file, hash_of, id, kind,
    new_upload, path, soon, uploading,
};
use towline_engine::storage::Storage as _;
use towline_engine::{Begun, Client as Ending, NewUpload, Phase, Rejection};
use towline_state::catalog::{NodeRef, RemovalGuard};
use towline_types::{NodePath, OnConflict};

const LENGTH: usize = 1000;

fn new(place: &str, on_conflict: OnConflict) -> NewUpload {
    NewUpload { on_conflict, ..new_upload(place, LENGTH) }
}

async fn begin(server: &Server, new: NewUpload) -> Result<Begun, Rejection> {
    soon(server.account().begin(new)).await
}

/// A server that has a document of that name, and whose store has lost its file.
async fn with_missing(place: &str) -> Server {
    let server = Server::new().await;
    server.put(place, b"missing").await;
    let (folder, _) = server.stop().await;
    let empty = Scripted::new(CAPACITY_BYTES, Extensions::default());
    Server::over_folder(folder, empty).await
}

#[tokio::test(flavor = "multi_thread")]
async fn its_name_is_free_for_an_upload_that_wants_no_other() {
    for on_conflict in OnConflict::ALL {
        let server = with_missing("a/doc").await;
        let mut upload = uploading(begin(&server, new("a/doc", on_conflict)).await.unwrap());
        server.write(&mut upload, &file(LENGTH, 1), 0..LENGTH).await;
        let receipt = complete(upload, None).await.unwrap().receipt;
        assert_eq!(receipt.path().to_string(), "a/doc", "{on_conflict:?}");
        if on_conflict != OnConflict::Replace {
            let status = server.status(id(1)).await;
            let has_ended = (status.phase, status.reason.is_some());
            assert_eq!(has_ended, (Phase::Failed, true), "{on_conflict:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_its_name_is_free_as_well() {
    for on_conflict in [OnConflict::Rename, OnConflict::Reject] {
        let server = with_missing("a").await;
        let mut upload = uploading(begin(&server, new("a/doc", on_conflict)).await.unwrap());
        assert_eq!(server.status(id(1)).await.phase, Phase::Failed);
        server.write(&mut upload, &file(LENGTH, 1), 0..LENGTH).await;
        let receipt = complete(upload, None).await.unwrap().receipt;
        assert_eq!(receipt.path().to_string(), "a/doc", "{on_conflict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_whose_file_is_there_stays_taken() {
    let server = Server::new().await;
    server.put("a/doc", b"there").await;
    server.put("b", b"there").await;
    for turn in 0..2 {
        let taken = begin(&server, new("a/doc", OnConflict::Reject)).await;
        assert_eq!(kind(taken), "NameTaken", "{turn}");
        let taken = begin(&server, new("b/doc", OnConflict::Rename)).await;
        assert_eq!(kind(taken), "FolderTaken", "{turn}");
    }
    assert_eq!(server.status(id(1)).await.phase, Phase::Completed);
    assert_eq!(server.storage.areas(), []);
}

/// A file that no document is known of has the name: that is said before a byte is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_program_is_said_to_be_there_at_once() {
    use towline_engine::storage::TreeStorage as _;
    let server = Server::new().await;
    let memory = server.storage.memory();
    memory.create_whole(id(900), b"stray").unwrap().sync_data().unwrap();
    memory.publish(id(900), ada(), &path("doc"), hash_of(b"stray"), &mut |_| true).unwrap();
    memory.make_folder(ada(), &path("folder")).unwrap();
    for place in ["doc", "folder"] {
        for on_conflict in [OnConflict::Reject, OnConflict::Skip] {
            for hash in [None, Some(hash_of(b"stray")), Some(hash_of(b"other"))] {
                let new = NewUpload { hash, ..new(place, on_conflict) };
                let at = format!("{place} {on_conflict:?} {hash:?}");
                assert_eq!(kind(begin(&server, new).await), "NameTaken", "{at}");
            }
        }
        drop(uploading(begin(&server, new(place, OnConflict::Rename)).await.unwrap()));
    }
    assert_eq!(server.storage.areas().len(), 2, "of the two that may get another name");
}

/// A document with a numbered name stands for the name that was asked for only while something
/// else has that name.
#[tokio::test(flavor = "multi_thread")]
async fn a_numbered_name_is_not_the_place_of_a_name_that_is_free() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    server.put("doc", b"first").await;
    assert_eq!(server.put("doc", &bytes).await.receipt.path().to_string(), "doc (1)");
    let first = NodeRef::Path(NodePath::typed("doc").unwrap());
    soon(server.account().remove(first, RemovalGuard::default())).await.unwrap();
    let known = NewUpload { hash: Some(hash_of(&bytes)), ..new_upload("doc", LENGTH) };
    let mut client = server.client();
    let (number, _) = client.begin(0, known).await;
    client.data(0, &bytes, 0..LENGTH).await;
    assert_eq!(client.complete(0).await, format!("0: completed doc ({LENGTH}) #{number}"));
    assert_eq!(client.close(Ending::Listens).await, [""; 0]);
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), bytes);
    assert_eq!(server.storage.bytes(ada(), "doc (1)").unwrap(), bytes);
}

/// A store that does not take the file of a new upload: its row says why, in the words that the
/// client hears.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_file_cannot_be_made_ends_with_the_reason() {
    use crate::kit::Call;
    use crate::kit::scripted::{full, passing};
    let server = Server::with(|config| config.limits.unfinished_per_user = 1).await;
    for (number, error) in [(1, full as fn() -> _), (2, passing)] {
        server.storage.fail(Call::Create, 1, error);
        let rejection = crate::kit::refused(begin(&server, new_upload("doc", LENGTH)).await);
        let status = server.status(id(number)).await;
        assert_eq!(status.phase, Phase::Failed);
        assert_eq!(status.reason.as_deref(), Some(&*rejection.message));
        assert_eq!(server.storage.areas(), []);
    }
    // It takes no place among the unfinished uploads of its user.
    assert!(begin(&server, new_upload("doc", LENGTH)).await.is_ok());
}
