//! The whole list, on real files.

use super::granted::write_down;
use super::wanted::{find, key_of};
use super::*;
use crate::proof::Proof;
use std::path::{Path, PathBuf};
use towline_state::state_file::{EntryStatus, KnownServer, ModifiedNs, UploadEntry};
use towline_state::{StateFile, StateFileError, UploadsState};
use towline_types::{DocumentId, DocumentPath, FileSize, Name, Offset, Timestamp, UserId};

fn granted(document_id: u64, server: &str, name: &str) -> Granted {
    Granted {
        document_id: document_id.try_into().unwrap(),
        server: at(server),
        remote: DocumentPath::parse(name).unwrap(),
        local: PathBuf::from("/home/me").join(name),
        filesize: FileSize::try_from(1000).unwrap(),
        modified: Some(ModifiedNs::from(7)),
        chunk_bytes: 65_536,
        user_id: UserId::MIN,
        offset: Offset::ZERO,
        token_file: Some("/home/me/token".into()),
        proof: nothing(),
    }
}

fn at(address: &str) -> KnownServer {
    KnownServer::new(format!("{address}:8695"), None)
}

fn with_id(address: &str, digit: &str) -> KnownServer {
    KnownServer { id: digit.repeat(32).parse().ok(), ..at(address) }
}

async fn found(uploads: &Uploads, wanted: Wanted) -> Option<(DocumentId, UploadEntry)> {
    match uploads.find(wanted).await {
        Remembered::Entry(document_id, entry) => Some((document_id, *entry)),
        Remembered::OtherServer | Remembered::Nothing => None,
    }
}

fn nothing() -> Proof {
    Proof::of(crate::source::Identity::default(), &[], Offset::ZERO)
}

fn wanted(server: &str, name: &str) -> Wanted {
    Wanted {
        server: at(server),
        remote: DocumentPath::parse(name).unwrap(),
        local: PathBuf::from("/home/me").join(name),
        user_id: UserId::MIN,
        document_id: None,
    }
}

#[tokio::test]
async fn an_upload_is_written_down_found_again_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let file = StateFile::at(folder.path().join("state/uploads_state.json"));
    let uploads = Uploads::kept_in(file.clone());
    uploads.granted(granted(1, "a", "x.pdf")).await.unwrap();
    uploads.granted(granted(1, "b", "x.pdf")).await.unwrap();
    let server = at("b");
    let id = DocumentId::MIN;
    uploads.reached(&server, id, Offset::try_from(500).unwrap(), nothing());
    uploads.paused(&server, id, Offset::try_from(600).unwrap(), nothing());
    let (document_id, entry) = found(&uploads, wanted("b", "x.pdf")).await.unwrap();
    assert_eq!((document_id, entry.offset.get(), entry.status), (id, 600, EntryStatus::Paused));
    assert_eq!(token_file(&entry), Some("/home/me/token".into()));
    let (_, entry) = found(&uploads, wanted("a", "x.pdf")).await.unwrap();
    assert_eq!((entry.offset.get(), entry.status), (0, EntryStatus::Uploading));
    assert!(found(&uploads, wanted("a", "y.pdf")).await.is_none());

    uploads.remove(&server, id).await.unwrap();
    assert!(found(&uploads, wanted("b", "x.pdf")).await.is_none());
    // A report that comes after the removal does not bring the entry back.
    uploads.reached(&server, id, Offset::ZERO, nothing());
    uploads.settle().await;
    assert_eq!(file.read().unwrap().uploads.len(), 1);
}

#[test]
fn a_server_is_known_by_its_identity_and_not_by_its_address() {
    let mut state = UploadsState::default();
    let of_server = |server| Granted { server, ..granted(7, "a", "x.pdf") };
    write_down(&mut state, of_server(with_id("a", "1")));
    let find = |server, document_id| {
        let document_id: Option<u64> = document_id;
        let document_id = document_id.map(|number| number.try_into().unwrap());
        find(&state, &Wanted { server, document_id, ..wanted("a", "x.pdf") })
    };
    let is_found = |remembered| matches!(remembered, Remembered::Entry(..));
    for number in [None, Some(7)] {
        assert!(is_found(find(with_id("a", "1"), number)), "where it was");
        assert!(is_found(find(with_id("b", "1"), number)), "it has moved");
        assert_eq!(find(with_id("a", "2"), number), Remembered::OtherServer, "made anew");
        assert!(is_found(find(at("a"), number)), "an older server again");
    }
    assert_eq!(find(with_id("b", "2"), None), Remembered::Nothing);
    assert_eq!(find(at("b"), None), Remembered::Nothing, "there is nothing to tell it by");
    assert!(is_found(find(at("b"), Some(7))), "a number that was named is asked for");

    // The document of the other server with the same number has an entry of its own.
    write_down(&mut state, of_server(with_id("a", "2")));
    assert_eq!(state.uploads.len(), 2);
    assert_eq!(state.uploads["7"].server_id, with_id("a", "1").id);
    // The entry of the server that has moved gets the new address.
    write_down(&mut state, of_server(with_id("b", "1")));
    assert_eq!(state.uploads.len(), 2);
    assert_eq!(state.uploads["7"].server.as_deref(), Some("b:8695"));
}

#[test]
fn an_entry_without_a_server_is_not_overwritten_by_another_files() {
    let mut state = UploadsState::default();
    let size = FileSize::try_from(5).unwrap();
    let name = Name::new("x.zip").unwrap();
    let entry = UploadEntry::new(name, size, Offset::ZERO, EntryStatus::Paused);
    state.uploads.insert("7".into(), entry.clone());
    write_down(&mut state, granted(7, "a", "y.pdf"));
    assert_eq!(state.uploads["7"], entry);
    assert_eq!(key_of(&state, DocumentId::try_from(7).unwrap(), &at("a")).unwrap(), "7@a:8695");
}

#[test]
fn the_clock_alone_drops_nothing_and_damage_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let file = StateFile::at(folder.path().join("uploads_state.json"));
    let name = Name::new("old.pdf").unwrap();
    let size = FileSize::try_from(1).unwrap();
    let mut entry = UploadEntry::new(name, size, Offset::ZERO, EntryStatus::Paused);
    // The entries were written while the clock stood at 1970, and while it was far ahead.
    for (key, seconds) in [("1", 0), ("2", 1 << 33)] {
        entry.last_chunk_time = Some(Timestamp::from_secs(seconds));
        file.update(|state| state.uploads.insert(key.to_owned(), entry.clone())).unwrap();
    }
    let found = read(&file).unwrap();
    assert_eq!(found.state.uploads.keys().collect::<Vec<_>>(), ["1", "2"]);
    assert!(found.notices.is_empty());

    std::fs::write(file.path(), "{torn").unwrap();
    let found = read(&file).unwrap();
    assert!(found.state.uploads.is_empty() && found.notices.len() == 1);
    assert!(read(&file).unwrap().notices.is_empty());

    std::fs::write(file.path(), r#"{"version":99,"uploads":{}}"#).unwrap();
    assert!(matches!(read(&file), Err(StateFileError::NewerVersion { .. })));
}

#[tokio::test]
async fn what_rested_for_long_on_a_server_is_asked_about_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = StateFile::at(folder.path().join("uploads_state.json"));
    let uploads = Uploads::kept_in(file.clone());
    for (number, server) in [(1, "a"), (2, "a"), (3, "b")] {
        uploads.granted(granted(number, server, "x.pdf")).await.unwrap();
    }
    let old = |key: &str, state: &mut UploadsState| {
        state.uploads.get_mut(key).unwrap().last_chunk_time = Some(Timestamp::from_secs(1));
    };
    file.update(|state| ["1", "3"].map(|key| old(key, state))).unwrap();
    assert_eq!(uploads.resting(&at("a"), UserId::MIN).await, [DocumentId::MIN]);
    let other = UserId::try_from(9).unwrap();
    assert!(uploads.resting(&at("a"), other).await.is_empty());
}

#[tokio::test]
async fn an_upload_whose_file_was_moved_is_told_from_another_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = StateFile::at(folder.path().join("uploads_state.json"));
    let uploads = Uploads::kept_in(file);
    let (old, new) = (folder.path().join("x.pdf"), folder.path().join("moved/x.pdf"));
    uploads.granted(Granted { local: old.clone(), ..granted(1, "a", "x.pdf") }).await.unwrap();
    let server = at("a");
    let begun_with = async |local: &Path| uploads.begun_with(&server, DocumentId::MIN, local).await;
    assert_eq!(begun_with(&old).await, BegunWith::This);
    assert_eq!(begun_with(&new).await, BegunWith::Gone(Some(ModifiedNs::from(7))));
    std::fs::write(&old, "it is there").unwrap();
    assert_eq!(begun_with(&new).await, BegunWith::Another);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_read_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = StateFile::at(folder.path().join("uploads_state.json"));
    Uploads::kept_in(file.clone()).granted(granted(1, "a", "x.pdf")).await.unwrap();
    let uploads = Uploads::read_from(file.clone());
    assert!(found(&uploads, wanted("a", "x.pdf")).await.is_some());
    uploads.granted(granted(2, "a", "y.pdf")).await.unwrap();
    uploads.remove(&at("a"), DocumentId::MIN).await.unwrap();
    uploads.settle().await;
    assert_eq!(file.read().unwrap().uploads.keys().collect::<Vec<_>>(), ["1"]);
}

#[tokio::test]
async fn without_a_file_nothing_is_kept() {
    let uploads = Uploads::default();
    uploads.granted(granted(1, "a", "x.pdf")).await.unwrap();
    assert!(found(&uploads, wanted("a", "x.pdf")).await.is_none());
    uploads.settle().await;
}
