//! What the tests share: an engine over a [scripted](scripted::Scripted) store, clients with
//! sessions, what they hear as text, and files to send.

mod around;
mod client;
pub(crate) mod scripted;

pub(crate) use around::{edit_catalog, logged};
pub(crate) use client::{Client, found_text, text};
pub(crate) use scripted::{Call, Extensions, Gate, Moment, Scripted};

use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};
use towline_engine::storage::DataFolder;
use towline_engine::{
    Account, Answer, Begun, BlockBuffer, BufferPool, Client as Ending, Command, CompleteRequest,
    Completion, Engine, EngineConfig, Event, EventKind, EventReceiver, Found, Grant, NewUpload,
    Opened, Origin, Position, Query, ReadEvent, ReadRequest, Rejection, ResumeRequest, SendingMode,
    Session, Status, Tag, UploadHandle, WholeUpload,
};
use towline_state::catalog::Length;
use towline_types::block::hash_block;
use towline_types::file_hash::hash_file;
use towline_types::{
    BlockIndex, ChainingValue, DocumentId, DocumentPath, FileHash, FileSize, Generation, Offset,
    UserId,
};

pub(crate) const BLOCK: usize = 1 << 20;

/// A folder for a data folder. Where there is a file system in memory it lies there: these tests
/// cut no real power, and a thousand catalogs need not be synced to a disk.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Room of a store, unless a test wants less.
pub(crate) const CAPACITY_BYTES: u64 = 256 << 20;

/// Longer than anything here takes; a test that waits that long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What ends soon, unless something is wrong.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes for ever")
}

pub(crate) fn ada() -> UserId {
    UserId::try_from(1).unwrap()
}

pub(crate) fn bob() -> UserId {
    UserId::try_from(2).unwrap()
}

pub(crate) fn path(text: &str) -> DocumentPath {
    DocumentPath::parse(text).unwrap()
}

pub(crate) fn size(bytes: usize) -> FileSize {
    FileSize::try_from(bytes as u64).unwrap()
}

/// The length that is declared for that many bytes.
pub(crate) fn length(bytes: usize) -> Length {
    Length::Declared(size(bytes))
}

pub(crate) fn offset(bytes: usize) -> Offset {
    Offset::try_from(bytes as u64).unwrap()
}

pub(crate) fn index(number: u64) -> BlockIndex {
    BlockIndex::new(number).unwrap()
}

pub(crate) fn id(number: u64) -> DocumentId {
    DocumentId::try_from(number).unwrap()
}

/// A file of that length, other than that of any other seed below 241, with no two blocks alike.
pub(crate) fn file(length: usize, seed: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
    for (number, block) in bytes.chunks_mut(BLOCK).enumerate() {
        block[0] = seed;
        let last = block.len() - 1;
        block[last] = u8::try_from(number).unwrap() ^ seed;
    }
    bytes
}

pub(crate) fn value_of(bytes: &[u8], number: u64) -> ChainingValue {
    let start = usize::try_from(number).unwrap() * BLOCK;
    let end = bytes.len().min(start + BLOCK);
    hash_block(index(number), size(bytes.len()), &bytes[start..end])
}

pub(crate) fn hash_of(bytes: &[u8]) -> FileHash {
    let blocks = bytes.len().div_ceil(BLOCK) as u64;
    hash_file(size(bytes.len()), (0..blocks).map(|number| value_of(bytes, number)))
}

pub(crate) fn new_upload(place: &str, filesize: usize) -> NewUpload {
    NewUpload::new(path(place), length(filesize), SendingMode::PLAIN)
}

/// The pieces of a part of a file, each of one block.
pub(crate) fn pieces(part: Range<usize>) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut at = part.start;
    while at < part.end {
        let end = part.end.min((at / BLOCK + 1) * BLOCK);
        pieces.push(at..end);
        at = end;
    }
    pieces
}

/// What changes a configuration.
type Configure = Arc<dyn Fn(&mut EngineConfig) + Send + Sync>;

/// An engine with its data folder and its store, in which ada and bob are users.
pub(crate) struct Server {
    pub(crate) engine: Engine,
    pub(crate) storage: Scripted,
    pub(crate) folder: Arc<TempDir>,
    configure: Configure,
}

/// What a crash leaves.
pub(crate) struct Crash {
    pub(crate) folder: TempDir,
    pub(crate) killed: Scripted,
    pub(crate) cut: Scripted,
    pub(crate) cut_without_names: Scripted,
}

impl Server {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(
        configure: impl Fn(&mut EngineConfig) + Send + Sync + 'static,
    ) -> Self {
        Self::over(Scripted::new(CAPACITY_BYTES, Extensions::default()), configure).await
    }

    pub(crate) async fn extended(extensions: Extensions) -> Self {
        Self::over(Scripted::new(CAPACITY_BYTES, extensions), |_| {}).await
    }

    pub(crate) async fn over(
        storage: Scripted,
        configure: impl Fn(&mut EngineConfig) + Send + Sync + 'static,
    ) -> Self {
        let folder = Arc::new(scratch());
        let server = Self::open(folder, storage, Arc::new(configure));
        server.engine.add_user("ada").await.unwrap();
        server.engine.add_user("bob").await.unwrap();
        server
    }

    /// Over a data folder that an engine has let go of.
    pub(crate) async fn over_folder(folder: Arc<TempDir>, storage: Scripted) -> Self {
        Self::open(folder, storage, Arc::new(|_| {}))
    }

    pub(crate) async fn over_folder_with(
        folder: Arc<TempDir>,
        storage: Scripted,
        configure: impl Fn(&mut EngineConfig) + Send + Sync + 'static,
    ) -> Self {
        Self::open(folder, storage, Arc::new(configure))
    }

    /// A second engine over the folder of one that is open.
    pub(crate) async fn try_open_again(server: &Self, storage: Scripted) -> Option<Self> {
        Self::try_open(Arc::clone(&server.folder), storage, Arc::new(|_| {}))
    }

    /// The same, where it opens.
    pub(crate) async fn try_over_folder(folder: Arc<TempDir>, storage: Scripted) -> Option<Self> {
        let opened = Self::try_open(Arc::clone(&folder), storage, Arc::new(|_| {}));
        if opened.is_none() {
            wait_until_free(&folder).await;
        }
        opened
    }

    fn open(folder: Arc<TempDir>, storage: Scripted, configure: Configure) -> Self {
        Self::try_open(folder, storage, configure).unwrap()
    }

    fn try_open(folder: Arc<TempDir>, storage: Scripted, configure: Configure) -> Option<Self> {
        let mut config = test_config(folder.path());
        configure(&mut config);
        let shared = Arc::new(storage.clone());
        let open = || Engine::open_with_storage(config, shared, &Handle::current());
        match block_in_place(open) {
            Ok(engine) => Some(Self { engine, storage, folder, configure }),
            Err(error) => {
                println!("it does not open: {error}");
                None
            }
        }
    }

    pub(crate) fn account(&self) -> Account {
        self.engine.account(ada(), Origin::new("a test"))
    }

    pub(crate) fn account_of(&self, user: UserId) -> Account {
        self.engine.account(user, Origin::new("a test"))
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.engine, &self.account(), 8)
    }

    pub(crate) fn client_with(&self, writers_max: usize) -> Client {
        Client::new(&self.engine, &self.account(), writers_max)
    }

    /// A buffer with these bytes.
    pub(crate) async fn buffer(&self, bytes: &[u8]) -> BlockBuffer {
        buffer(self.engine.buffers(), bytes).await
    }

    pub(crate) async fn begin(&self, place: &str, length: usize) -> UploadHandle {
        self.begin_new(new_upload(place, length)).await
    }

    pub(crate) async fn begin_new(&self, new: NewUpload) -> UploadHandle {
        uploading(soon(self.account().begin(new)).await.unwrap())
    }

    pub(crate) async fn resume(&self, id: DocumentId) -> UploadHandle {
        self.resume_in(id, SendingMode::PLAIN).await
    }

    pub(crate) async fn resume_in(&self, id: DocumentId, mode: SendingMode) -> UploadHandle {
        uploading(soon(self.account().resume(ResumeRequest::of(id, mode))).await.unwrap())
    }

    /// Writes that part of a file.
    pub(crate) async fn write(&self, upload: &mut UploadHandle, bytes: &[u8], part: Range<usize>) {
        for piece in pieces(part) {
            let buffer = self.buffer(&bytes[piece.clone()]).await;
            soon(upload.write(offset(piece.start), buffer)).await.unwrap();
        }
    }

    /// Writes that part of a file, with the value of each block that ends in it.
    pub(crate) async fn write_announced(
        &self,
        upload: &mut UploadHandle,
        bytes: &[u8],
        part: Range<usize>,
    ) {
        for piece in pieces(part) {
            self.write(upload, bytes, piece.clone()).await;
            if piece.end % BLOCK == 0 || piece.end == bytes.len() {
                let number = ((piece.end - 1) / BLOCK) as u64;
                let value = value_of(bytes, number);
                soon(upload.announce(index(number), value)).await.unwrap();
            }
        }
    }

    /// Uploads a file with chunks.
    pub(crate) async fn put(&self, place: &str, bytes: &[u8]) -> Completion {
        let mut upload = self.begin(place, bytes.len()).await;
        self.write(&mut upload, bytes, 0..bytes.len()).await;
        complete(upload, None).await.unwrap()
    }

    /// Uploads a small file in one step.
    pub(crate) async fn put_whole(
        &self,
        new: NewUpload,
        bytes: &[u8],
    ) -> Result<Completion, Rejection> {
        let buffer = self.buffer(bytes).await;
        soon(self.account().put_whole(new, buffer, None)).await
    }

    pub(crate) async fn status(&self, id: DocumentId) -> Status {
        soon(self.account().status(id)).await.unwrap()
    }

    /// The blocks of an upload that are held.
    pub(crate) async fn held(&self, id: DocumentId) -> Vec<(BlockIndex, ChainingValue)> {
        let account = self.account();
        soon(account.held_blocks(id, BlockIndex::FIRST, u32::MAX)).await.unwrap()
    }

    /// The document's bytes as a reader gets them.
    pub(crate) async fn read(&self, id: DocumentId) -> Vec<u8> {
        read(&self.account(), ReadRequest::whole(id)).await.unwrap()
    }

    /// Stops in good order.
    pub(crate) async fn stop(self) -> (Arc<TempDir>, Scripted) {
        soon(self.engine.shut_down(Instant::now() + Duration::from_secs(5))).await.unwrap();
        (self.folder, self.storage)
    }

    /// Stops in good order and starts again.
    pub(crate) async fn restart(self) -> Self {
        let configure = Arc::clone(&self.configure);
        let (folder, storage) = self.stop().await;
        Self::open(folder, storage.after_kill(), configure)
    }

    /// Drops the engine without a stop, as the last thing that a process does, and waits until
    /// its threads have let go of the data folder.
    pub(crate) async fn drop_engine(self) -> (Arc<TempDir>, Scripted, Configure) {
        let Self { engine, storage, folder, configure } = self;
        drop(engine);
        wait_until_free(&folder).await;
        (folder, storage, configure)
    }

    /// Ends without a stop, and starts again over what a kill leaves.
    pub(crate) async fn kill(self) -> Self {
        let (folder, storage, configure) = self.drop_engine().await;
        Self::open(folder, storage.after_kill(), configure)
    }

    /// Ends without a stop, and starts again over what a power cut leaves.
    pub(crate) async fn cut_power(self) -> Self {
        let (folder, storage, configure) = self.drop_engine().await;
        Self::open(folder, storage.after_power_cut(), configure)
    }

    /// Keeps what a crash leaves at the `nth` call from now on, once the call is reached. The
    /// engine goes on. Nothing else may be recorded at that time.
    pub(crate) fn crash_at(&self, moment: Moment, call: Call, nth: usize) -> CrashSlot {
        let slot = CrashSlot::default();
        let (kept, storage) = (Arc::clone(&slot.0), self.storage.clone());
        let folder = Arc::clone(&self.folder);
        self.storage.on(moment, call, nth, move || {
            *kept.lock().unwrap() = Some(Crash::of(folder.path(), &storage));
            Ok(())
        });
        slot
    }

    /// What a crash would leave now. Nothing may be recorded meanwhile.
    pub(crate) fn crash(&self) -> Crash {
        Crash::of(self.folder.path(), &self.storage)
    }
}

/// The bytes of a part of a document, which follow each other without a gap.
pub(crate) async fn read(account: &Account, request: ReadRequest) -> Result<Vec<u8>, Rejection> {
    let mut content = soon(account.read(request)).await?;
    let (mut bytes, mut at) = (Vec::new(), content.range().start);
    while let Some(piece) = soon(content.next()).await? {
        assert_eq!(piece.offset(), at);
        assert!(!piece.bytes().is_empty());
        at = at.plus(piece.bytes().len() as u64);
        bytes.extend_from_slice(piece.bytes());
    }
    assert_eq!(at, content.range().end);
    Ok(bytes)
}

/// A part of a document, as a range of its bytes.
pub(crate) fn part(id: DocumentId, range: Range<usize>) -> ReadRequest {
    let length_bytes = Some(range.len() as u64);
    ReadRequest { offset: offset(range.start), length_bytes, ..ReadRequest::whole(id) }
}

/// Waits until all threads of an engine have let go of its data folder. What they record until
/// then, they have synced before.
async fn wait_until_free(folder: &TempDir) {
    let data_folder = DataFolder::find(folder.path()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while data_folder.lock().is_err() {
        assert!(Instant::now() < deadline, "the engine does not end");
        tokio::task::yield_now().await;
    }
}

/// Where a crash is kept.
#[derive(Clone, Default)]
pub(crate) struct CrashSlot(Arc<Mutex<Option<Crash>>>);

impl CrashSlot {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }

    pub(crate) fn take(&self) -> Option<Crash> {
        self.0.lock().unwrap().take()
    }
}

impl Crash {
    fn of(folder: &Path, storage: &Scripted) -> Self {
        let left = scratch();
        copy_folder(folder, left.path());
        Self {
            folder: left,
            killed: storage.after_kill(),
            cut: storage.after_power_cut(),
            cut_without_names: storage.after_power_cut_with_names_lost(),
        }
    }

    pub(crate) fn after_kill(self) -> Server {
        Server::open(Arc::new(self.folder), self.killed, Arc::new(|_| {}))
    }

    pub(crate) fn after_power_cut(self) -> Server {
        Server::open(Arc::new(self.folder), self.cut, Arc::new(|_| {}))
    }

    /// With relaxed durability, and no name that was not synced.
    pub(crate) fn after_power_cut_with_names_lost(self) -> Server {
        Server::open(Arc::new(self.folder), self.cut_without_names, Arc::new(|_| {}))
    }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            match std::fs::copy(entry.path(), target) {
                // The state file is replaced by a new one now and then; nothing depends on it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

/// The defaults, with checkpoints that come at once.
pub(crate) fn test_config(folder: &Path) -> EngineConfig {
    let mut config = EngineConfig::new(folder);
    config.reserve_bytes = 0;
    config.timings.checkpoint = Duration::from_millis(10);
    config
}

/// An engine over a disk.
pub(crate) fn open_disk(folder: &Path, configure: impl Fn(&mut EngineConfig)) -> Engine {
    let mut config = test_config(folder);
    configure(&mut config);
    block_in_place(|| Engine::open(config, &Handle::current())).unwrap()
}

pub(crate) fn resume_command(id: DocumentId) -> Command {
    Command::Resume(Box::new(ResumeRequest::of(id, SendingMode::PLAIN)))
}

/// Checkpoints come by bytes, pauses and stops alone.
pub(crate) fn without_timed_checkpoints(config: &mut EngineConfig) {
    config.timings.checkpoint = Duration::from_secs(3600);
    config.timings.checkpoint_rest = Duration::from_secs(3600);
}

pub(crate) async fn buffer(pool: &Arc<BufferPool>, bytes: &[u8]) -> BlockBuffer {
    let mut buffer = soon(pool.take(ada(), bytes.len())).await;
    buffer.space()[..bytes.len()].copy_from_slice(bytes);
    buffer.filled(bytes.len());
    buffer
}

pub(crate) fn uploading(begun: Begun) -> UploadHandle {
    match begun {
        Begun::Uploading(upload) => *upload,
        Begun::Stored(completion) => panic!("stored as {}", completion.receipt.path()),
        Begun::Unfinished(found) => panic!("unfinished: {found:?}"),
    }
}

pub(crate) fn stored(begun: Begun) -> Completion {
    match begun {
        Begun::Stored(completion) => completion,
        Begun::Uploading(_) => panic!("it takes bytes"),
        Begun::Unfinished(found) => panic!("unfinished: {found:?}"),
    }
}

pub(crate) fn refused<T>(answer: Result<T, Rejection>) -> Rejection {
    match answer {
        Ok(_) => panic!("it was not refused"),
        Err(rejection) => rejection,
    }
}

/// Completes an upload and lets go of it.
pub(crate) async fn complete(
    mut upload: UploadHandle,
    hash: Option<FileHash>,
) -> Result<Completion, Rejection> {
    soon(upload.complete(hash)).await
}

/// The kind of a rejection, with its figures.
pub(crate) fn kind<T>(answer: Result<T, Rejection>) -> String {
    format!("{:?}", refused(answer).kind)
}
