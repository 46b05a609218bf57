//! The engine over a store in memory: no document touches a disk, and a kill and a power cut
//! leave what the store says.
#![allow(clippy::unwrap_used, reason = "helpers of tests may stop where a test may")]

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::Instant;
use towline_engine::storage::{DataFolder, MemoryStorage, Storage as _};
use towline_engine::{
    Account, Begun, Engine, EngineConfig, Length, NewUpload, Origin, RejectionKind, ResumeRequest,
    SendingMode, UploadHandle,
};
use towline_types::{DocumentPath, FileSize, Offset, OnConflict, SecondDigest, UserId};

const CAPACITY_BYTES: u64 = 64 << 20;
const BLOCK: usize = 1 << 20;

fn user() -> UserId {
    UserId::try_from(1).unwrap()
}

fn place() -> DocumentPath {
    DocumentPath::parse("a/doc").unwrap()
}

fn offset(bytes: usize) -> Offset {
    Offset::try_from(bytes as u64).unwrap()
}

fn bytes() -> Vec<u8> {
    (0..=250).cycle().take(2 * BLOCK + 5).collect()
}

fn new_upload() -> NewUpload {
    NewUpload {
        path: place(),
        length: Length::Declared(FileSize::try_from(bytes().len() as u64).unwrap()),
        second_digest: SecondDigest::None,
        on_conflict: OnConflict::Reject,
        mode: SendingMode::PLAIN,
        hash: None,
        new_only: false,
        chunk_size: None,
    }
}

fn account(engine: &Engine) -> Account {
    engine.account(user(), Origin::new("a test"))
}

fn uploading(begun: Begun) -> UploadHandle {
    let Begun::Uploading(upload) = begun else { panic!("the upload takes bytes") };
    *upload
}

/// Sends what lies between these positions of the file; each command has bytes of one block.
async fn send(engine: &Engine, upload: &mut UploadHandle, from: usize, end: usize) {
    let mut at = from;
    while at < end {
        let piece = &bytes()[at..end.min((at / BLOCK + 1) * BLOCK)];
        let mut buffer = engine.buffers().take(piece.len()).await;
        buffer.space()[..piece.len()].copy_from_slice(piece);
        buffer.filled(piece.len());
        upload.write(offset(at), buffer).await.unwrap();
        at += piece.len();
    }
}

async fn shut_down(engine: Engine) {
    engine.shut_down(Instant::now() + Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_goes_through_an_engine_in_memory_and_nothing_is_left_of_it() {
    let open = || Engine::open_in_memory(CAPACITY_BYTES, &Handle::current()).unwrap();
    let engine = block_in_place(open);
    engine.add_user("ada").await.unwrap();
    let folder = engine.config().data_dir.clone();
    assert!(folder.exists());
    let account = account(&engine);
    let mut upload = uploading(account.begin(new_upload()).await.unwrap());
    send(&engine, &mut upload, 0, bytes().len()).await;
    let id = upload.id();
    upload.complete(None).await.unwrap();

    let content = account.read(id).await.unwrap();
    assert!(content.read_at(offset(BLOCK - 1), 100).await.unwrap() == bytes()[BLOCK - 1..][..100]);
    drop((content, account));
    shut_down(engine).await;
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_a_power_cut_from_what_was_promised() {
    let data_dir = tempfile::tempdir().unwrap();
    let storage = MemoryStorage::new(CAPACITY_BYTES);
    let engine = open(&data_dir, &storage);
    engine.add_user("ada").await.unwrap();
    let half = BLOCK + 7;
    let mut upload = uploading(account(&engine).begin(new_upload()).await.unwrap());
    send(&engine, &mut upload, 0, half).await;
    let promised = upload.durable().await.unwrap().durable.get();
    assert_eq!(promised, offset(half));
    // What comes behind the promise need not be promised before the power is cut.
    send(&engine, &mut upload, half, half + 100).await;
    let id = upload.id();
    drop(upload);
    drop(engine);
    wait_until_free(&data_dir).await;
    let left = storage.after_power_cut();
    assert_eq!(read(&left), None);

    let engine = open(&data_dir, &left);
    let resume = ResumeRequest {
        id,
        mode: SendingMode::PLAIN,
        filename: None,
        filesize: None,
        grow: false,
        offset: None,
    };
    let mut upload = uploading(account(&engine).resume(resume).await.unwrap());
    let from = upload.offset();
    assert!(from >= promised && from <= offset(half + 100), "{from}");
    send(&engine, &mut upload, usize::try_from(from.get()).unwrap(), bytes().len()).await;
    let completion = upload.complete(None).await.unwrap();
    assert!(completion.receipt.is_durable());
    shut_down(engine).await;
    // So the document survives the next power cut.
    assert!(read(&left.after_power_cut()).unwrap() == bytes());
}

/// Room can be reserved only for a file whose length is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_unknown_length_leaves_the_reserve_free() {
    let data_dir = tempfile::tempdir().unwrap();
    let block_bytes = BLOCK as u64;
    let storage = MemoryStorage::new(4 * block_bytes);
    let engine = open_with_reserve(&data_dir, &storage, 3 * block_bytes);
    engine.add_user("ada").await.unwrap();
    let length = Length::Open { max: FileSize::MAX };
    let new = NewUpload { length, ..new_upload() };
    let mut upload = uploading(account(&engine).begin(new).await.unwrap());
    send(&engine, &mut upload, 0, BLOCK).await;
    assert_eq!(upload.position().await.unwrap().received, offset(BLOCK));
    send(&engine, &mut upload, BLOCK, BLOCK + 1000).await;
    let full = upload.position().await.unwrap_err();
    assert_eq!(full.kind, RejectionKind::NoSpace { missing_bytes: Some(1000) });
    assert_eq!(storage.free_bytes().unwrap(), 3 * block_bytes);
    shut_down(engine).await;
}

fn open(data_dir: &TempDir, storage: &MemoryStorage) -> Engine {
    open_with_reserve(data_dir, storage, 0)
}

fn open_with_reserve(data_dir: &TempDir, storage: &MemoryStorage, reserve_bytes: u64) -> Engine {
    let mut config = EngineConfig::new(data_dir.path());
    config.reserve_bytes = reserve_bytes;
    let storage = Arc::new(storage.clone());
    block_in_place(|| Engine::open_with_storage(config, storage, &Handle::current()).unwrap())
}

/// Waits until all threads of a dropped engine have let go of the data folder: what they have
/// recorded in the catalog until then, they have synced before.
async fn wait_until_free(data_dir: &TempDir) {
    let folder = DataFolder::find(data_dir.path()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while folder.lock().is_err() {
        assert!(Instant::now() < deadline, "the engine does not end");
        tokio::task::yield_now().await;
    }
}

fn read(storage: &MemoryStorage) -> Option<Vec<u8>> {
    let mut found = Vec::new();
    let all = Offset::ZERO..offset(1 << 40);
    let mut reader = storage.read(user(), &place(), all).unwrap()?;
    reader.read_to_end(&mut found).unwrap();
    Some(found)
}
