//! What is the disk's alone: files and folders that other programs can reach.

use crate::kit::{
    BLOCK, ada, buffer, complete, file, hash_of, kind, new_upload, offset, open_disk, path, pieces,
    read, size, soon, stored, uploading,
};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;
use towline_engine::{
    Account, Begun, Completion, Durability, Engine, EngineConfig, NewUpload, Origin, Phase,
    ReadRequest,
};
use towline_types::DocumentId;

const LENGTH: usize = 2 * BLOCK + 5;

struct Disk {
    engine: Engine,
    folder: TempDir,
}

impl Disk {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(configure: impl Fn(&mut EngineConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = open_disk(folder.path(), configure);
        engine.add_user("ada").await.unwrap();
        Self { engine, folder }
    }

    fn account(&self) -> Account {
        self.engine.account(ada(), Origin::new("a test"))
    }

    async fn begin(&self, new: NewUpload) -> Begun {
        soon(self.account().begin(new)).await.unwrap()
    }

    async fn put(&self, place: &str, bytes: &[u8]) -> Completion {
        let mut upload = uploading(self.begin(new_upload(place, bytes.len())).await);
        for piece in pieces(0..bytes.len()) {
            let block = buffer(self.engine.buffers(), &bytes[piece.clone()]).await;
            soon(upload.write(offset(piece.start), block)).await.unwrap();
        }
        complete(upload, None).await.unwrap()
    }

    async fn put_whole(&self, new: NewUpload, bytes: &[u8]) -> Completion {
        let data = buffer(self.engine.buffers(), bytes).await;
        soon(self.account().put_whole(new, data, None)).await.unwrap()
    }

    fn file(&self, place: &str) -> PathBuf {
        self.folder.path().join("uploads/1").join(place)
    }

    fn staged(&self) -> Vec<String> {
        let entries = self.folder.path().join("uploads/.staging").read_dir().unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "orphans" && name != ".towline-store").collect()
    }

    async fn restart(self) -> Self {
        let folder = self.stop().await;
        let engine = open_disk(folder.path(), |_| {});
        Self { engine, folder }
    }

    async fn stop(self) -> TempDir {
        let deadline = Instant::now() + Duration::from_secs(5);
        soon(self.engine.shut_down(deadline)).await.unwrap();
        self.folder
    }

    async fn phase(&self, id: DocumentId) -> Phase {
        soon(self.account().status(id)).await.unwrap().phase
    }

    async fn read(&self, id: DocumentId) -> Vec<u8> {
        read(&self.account(), ReadRequest::whole(id)).await.unwrap()
    }
}

fn known(place: &str, bytes: &[u8]) -> NewUpload {
    let mut new = new_upload(place, bytes.len());
    new.hash = Some(hash_of(bytes));
    new
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_lie_under_their_names_and_nothing_else_is_left() {
    let disk = Disk::new().await;
    let bytes = file(LENGTH, 1);
    let id = disk.put("a/b/doc.bin", &bytes).await.receipt.document_id();
    disk.put_whole(new_upload("small", 5), b"small").await;
    assert!(fs::read(disk.file("a/b/doc.bin")).unwrap() == bytes);
    assert_eq!(fs::read(disk.file("small")).unwrap(), b"small");
    assert_eq!(disk.staged(), [""; 0]);
    assert!(disk.read(id).await == bytes);
    let disk = disk.restart().await;
    assert!(disk.read(id).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_program_is_not_overwritten() {
    let disk = Disk::new().await;
    disk.put("first", b"x").await;
    fs::write(disk.file("doc"), b"not ours").unwrap();
    fs::create_dir_all(disk.file("doc (1)/theirs")).unwrap();
    fs::write(disk.file("doc (1)/theirs/note"), b"not ours").unwrap();
    assert_eq!(disk.put("doc", b"ours").await.receipt.path().to_string(), "doc (2)");
    let small = disk.put_whole(new_upload("doc", 5), b"small").await;
    assert_eq!(small.receipt.path().to_string(), "doc (3)");
    assert_eq!(fs::read(disk.file("doc")).unwrap(), b"not ours");
    let mut rejecting = new_upload("doc", 5);
    rejecting.on_conflict = towline_types::OnConflict::Reject;
    assert_eq!(kind(soon(disk.account().begin(rejecting)).await), "NameTaken");
    let folder = soon(disk.account().begin(new_upload("doc/inside", 5))).await;
    assert_eq!(kind(folder), "FolderTaken");
    assert_eq!(disk.staged(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_file_is_no_document_any_more() {
    let disk = Disk::new().await;
    let bytes = file(1000, 1);
    let id = disk.put("doc", &bytes).await.receipt.document_id();
    fs::remove_file(disk.file("doc")).unwrap();
    let answer = read(&disk.account(), ReadRequest::whole(id)).await;
    assert_eq!(kind(answer), "Damaged { index: None }");
    let mut upload = uploading(disk.begin(known("doc", &bytes)).await);
    let block = buffer(disk.engine.buffers(), &bytes).await;
    soon(upload.write(offset(0), block)).await.unwrap();
    let again = complete(upload, None).await.unwrap();
    assert_eq!(again.receipt.path().to_string(), "doc");
    assert_eq!(disk.phase(id).await, Phase::Failed);
    assert!(soon(disk.account().status(id)).await.unwrap().reason.is_some());
    assert_eq!(fs::read(disk.file("doc")).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_changed_is_neither_served_nor_copied() {
    let disk = Disk::new().await;
    let bytes = file(1000, 1);
    let id = disk.put("doc", &bytes).await.receipt.document_id();
    fs::write(disk.file("doc"), file(1000, 2)).unwrap();
    drop(uploading(disk.begin(known("other", &bytes)).await));
    let found = soon(disk.account().find(path("doc"), size(1000), Some(hash_of(&bytes)))).await;
    assert_eq!(found.unwrap().same_place, None);
    let answer = read(&disk.account(), ReadRequest::whole(id)).await;
    assert_eq!(kind(answer), "Damaged { index: Some(BlockIndex(0)) }");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_replaced_by_its_like_is_read_and_found_good() {
    let disk = Disk::new().await;
    let bytes = file(1000, 1);
    let id = disk.put("doc", &bytes).await.receipt.document_id();
    fs::write(disk.file("copy"), &bytes).unwrap();
    fs::rename(disk.file("copy"), disk.file("doc")).unwrap();
    assert!(disk.read(id).await == bytes);
    assert!(stored(disk.begin(known("doc", &bytes)).await).existing);
    let copy = stored(disk.begin(known("other", &bytes)).await);
    assert!(copy.receipt.is_copy());
    assert_eq!(fs::read(disk.file("other")).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_are_copied_too() {
    let disk = Disk::new().await;
    let bytes = file(5 * BLOCK + 9, 1);
    let source = disk.put("doc", &bytes).await.receipt.document_id();
    let copy = stored(disk.begin(known("b/doc", &bytes)).await);
    assert!(copy.receipt.is_copy() && copy.receipt.is_durable() && !copy.existing);
    assert!(fs::read(disk.file("b/doc")).unwrap() == bytes);
    fs::remove_file(disk.file("doc")).unwrap();
    assert!(disk.read(copy.receipt.document_id()).await == bytes);
    // The copy is a source itself.
    let second = stored(disk.begin(known("c/doc", &bytes)).await);
    assert!(second.receipt.is_copy());
    assert_eq!(kind(read(&disk.account(), ReadRequest::whole(source)).await), "Failed");
    assert_eq!(disk.staged(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_row_knows_among_the_staging_areas_is_set_aside() {
    let disk = Disk::new().await;
    disk.put("doc", b"x").await;
    let folder = disk.stop().await;
    let staging = folder.path().join("uploads/.staging");
    fs::write(staging.join("77.tmp"), b"of no row").unwrap();
    fs::write(staging.join("letter.txt"), b"of a person").unwrap();
    let engine = open_disk(folder.path(), |_| {});
    let disk = Disk { engine, folder };
    assert_eq!(disk.staged(), [""; 0]);
    let orphans = disk.folder.path().join("uploads/.staging/orphans");
    let kept: Vec<_> =
        orphans.read_dir().unwrap().map(|kept| fs::read(kept.unwrap().path()).unwrap()).collect();
    assert_eq!(kept.len(), 2);
    assert!(kept.contains(&b"of no row".to_vec()) && kept.contains(&b"of a person".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_file_was_replaced_or_removed_has_failed() {
    for is_removed in [true, false] {
        let disk = Disk::new().await;
        let bytes = file(1000, 1);
        let mut upload = uploading(disk.begin(new_upload("doc", 1000)).await);
        let id = upload.id();
        let block = buffer(disk.engine.buffers(), &bytes).await;
        soon(upload.write(offset(0), block)).await.unwrap();
        soon(upload.durable()).await.unwrap();
        let staged = disk.folder.path().join("uploads/.staging").join(format!("{id}.tmp"));
        fs::remove_file(&staged).unwrap();
        if !is_removed {
            fs::write(&staged, &bytes).unwrap();
        }
        assert_eq!(kind(complete(upload, None).await), "Failed");
        assert_eq!(disk.phase(id).await, Phase::Failed);
        assert!(!disk.file("doc").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relaxed_durability_on_a_disk() {
    let disk = Disk::with(|config| config.durability = Durability::Relaxed).await;
    if disk.engine.config().durability != Durability::Relaxed {
        println!("skipped: the temporary folder's file system cannot defer a sync");
        return;
    }
    let (large, small) = (file(LENGTH, 1), file(1000, 2));
    let first = disk.put("large", &large).await.receipt;
    let second = disk.put_whole(new_upload("small", 1000), &small).await.receipt;
    assert!(!second.is_durable());
    assert!(fs::read(disk.file("large")).unwrap() == large);
    assert_eq!(fs::read(disk.file("small")).unwrap(), small);
    let again = soon(disk.account().receipt(second.document_id())).await.unwrap().receipt;
    assert!(again.is_durable());
    assert_eq!(again.created_at(), second.created_at());
    assert_eq!(disk.phase(second.document_id()).await, Phase::Completed);
    assert!(soon(disk.account().receipt(first.document_id())).await.unwrap().receipt.is_durable());
    let third = disk.put_whole(new_upload("third", 1000), &small).await.receipt;
    let disk = disk.restart().await;
    assert_eq!(disk.phase(third.document_id()).await, Phase::Completed);
    assert_eq!(disk.read(third.document_id()).await, small);
    assert!(disk.read(first.document_id()).await == large);
}

/// A crash behind a relaxed receipt, as a copy of the data folder has it: the bytes are read
/// before they are believed.
#[tokio::test(flavor = "multi_thread")]
async fn relaxed_documents_are_verified_after_a_crash_and_damaged_ones_set_aside() {
    let disk = Disk::with(|config| config.durability = Durability::Relaxed).await;
    if disk.engine.config().durability != Durability::Relaxed {
        println!("skipped: the temporary folder's file system cannot defer a sync");
        return;
    }
    let bytes = file(1000, 1);
    let mut ids = Vec::new();
    for name in ["good", "damaged", "gone"] {
        let receipt = disk.put_whole(new_upload(name, 1000), &bytes).await.receipt;
        assert!(!receipt.is_durable());
        ids.push(receipt.document_id());
    }
    let left = tempfile::tempdir().unwrap();
    crate::kit::copy_folder(disk.folder.path(), left.path());
    fs::write(left.path().join("uploads/1/damaged"), [0; 1000]).unwrap();
    fs::remove_file(left.path().join("uploads/1/gone")).unwrap();
    let engine = open_disk(left.path(), |_| {});
    let left = Disk { engine, folder: left };
    // A copy has other inode numbers, so each file is another one than was named; what has the
    // right bytes is the document, and nothing else is.
    let phases = [left.phase(ids[0]).await, left.phase(ids[1]).await, left.phase(ids[2]).await];
    assert_eq!(phases[1..], [Phase::Failed, Phase::Failed]);
    if phases[0] == Phase::Completed {
        assert_eq!(left.read(ids[0]).await, bytes);
    }
    assert!(!left.file("gone").exists());
}
