//! What the tests share: an engine over a [scripted](scripted::Scripted) store, clients with
//! sessions, what they hear as text, and files to send.

pub(crate) mod scripted;

pub(crate) use scripted::{Call, Extensions, Moment, Scripted};

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
    Origin, Query, Rejection, ResumeRequest, SendingMode, Session, Status, Tag, UploadHandle,
    WholeUpload,
};
use towline_state::catalog::Length;
use towline_types::block::{hash_block, hash_file};
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
        soon(upload.complete(None)).await.unwrap()
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
        let content = soon(self.account().read(id)).await.unwrap();
        soon(content.read_at(Offset::ZERO, usize::MAX)).await.unwrap()
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
}

pub(crate) async fn buffer(pool: &Arc<BufferPool>, bytes: &[u8]) -> BlockBuffer {
    let mut buffer = soon(pool.take(bytes.len())).await;
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

/// The kind of a rejection, with its figures.
pub(crate) fn kind<T>(answer: Result<T, Rejection>) -> String {
    format!("{:?}", refused(answer).kind)
}

/// A client with a session of several writers.
pub(crate) struct Client {
    session: Session,
    events: EventReceiver,
    buffers: Arc<BufferPool>,
}

impl Client {
    pub(crate) fn new(engine: &Engine, account: &Account, writers_max: usize) -> Self {
        let (session, events) = account.session(writers_max);
        Self { session, events, buffers: Arc::clone(engine.buffers()) }
    }

    /// Gives a writer a command; says what the session refuses.
    pub(crate) async fn try_tell(&mut self, tag: u32, command: Command) -> Result<bool, Rejection> {
        let Some(mut admitted) = self.session.admit(Tag(tag), command)? else { return Ok(false) };
        soon(admitted.granted()).await;
        self.session.push(admitted);
        self.session.release_held_back();
        Ok(true)
    }

    pub(crate) async fn tell(&mut self, tag: u32, command: Command) {
        assert!(self.try_tell(tag, command).await.unwrap(), "the command is dropped");
    }

    /// As [`tell`](Self::tell), and no thread is woken yet where that can be put off.
    pub(crate) async fn tell_held_back(&mut self, tag: u32, command: Command) {
        let mut admitted = self.session.admit(Tag(tag), command).unwrap().unwrap();
        soon(admitted.granted()).await;
        self.session.push(admitted);
    }

    /// The next event that is no report of progress.
    pub(crate) async fn hear(&mut self) -> String {
        loop {
            let event = soon(self.events.recv()).await.expect("the session has ended");
            if !matches!(event.kind, EventKind::Progress(_) | EventKind::AtWork { .. }) {
                return text(&event);
            }
        }
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Event {
        soon(self.events.recv()).await.expect("the session has ended")
    }

    pub(crate) async fn ask(&mut self, tag: u32, command: Command) -> String {
        self.tell(tag, command).await;
        self.hear().await
    }

    /// What is said until all that was told to that writer is done.
    pub(crate) async fn settle(&mut self, tag: u32) -> Vec<String> {
        self.tell(tag, Command::Query(Query::Fence)).await;
        let mut heard = Vec::new();
        let fence = format!("{tag}: fence");
        loop {
            let event = self.hear().await;
            if event == fence {
                return heard;
            }
            heard.push(event);
        }
    }

    /// Begins, and returns the number of the document and the lease.
    pub(crate) async fn begin(&mut self, tag: u32, new: NewUpload) -> (DocumentId, Grant) {
        self.tell(tag, Command::Begin(Box::new(new))).await;
        self.granted().await
    }

    /// Waits for a grant.
    pub(crate) async fn granted(&mut self) -> (DocumentId, Grant) {
        loop {
            let event = self.event().await;
            match event.kind {
                EventKind::Granted(grant) => return (event.document.unwrap(), grant),
                EventKind::Progress(_) => {}
                _ => panic!("{}", text(&event)),
            }
        }
    }

    pub(crate) async fn data(&mut self, tag: u32, bytes: &[u8], part: Range<usize>) {
        for piece in pieces(part) {
            let buffer = buffer(&self.buffers, &bytes[piece.clone()]).await;
            let command = Command::Data { offset: offset(piece.start), buffer };
            let _ = self.try_tell(tag, command).await.unwrap();
        }
    }

    pub(crate) async fn data_at(&mut self, tag: u32, at: usize, bytes: &[u8]) {
        let buffer = buffer(&self.buffers, bytes).await;
        let _ = self.try_tell(tag, Command::Data { offset: offset(at), buffer }).await.unwrap();
    }

    pub(crate) async fn announce(&mut self, tag: u32, bytes: &[u8], number: u64) {
        let value = value_of(bytes, number);
        let _ = self.try_tell(tag, Command::Announce { index: index(number), value }).await;
    }

    pub(crate) async fn complete(&mut self, tag: u32) -> String {
        self.ask(tag, Command::Complete(CompleteRequest::default())).await
    }

    pub(crate) async fn resume(&mut self, tag: u32, id: DocumentId, mode: SendingMode) -> String {
        self.ask(tag, Command::Resume(Box::new(ResumeRequest::of(id, mode)))).await
    }

    pub(crate) async fn join(&mut self, tag: u32, id: DocumentId, lease: Generation) -> String {
        self.ask(tag, Command::Join { id, lease }).await
    }

    /// What is said of a small file in one command.
    pub(crate) async fn whole(&mut self, tag: u32, new: NewUpload, bytes: &[u8]) -> Vec<String> {
        let data = buffer(&self.buffers, bytes).await;
        let whole = WholeUpload { new, data, value: None, hash: None };
        self.tell(tag, Command::Whole(Box::new(whole))).await;
        self.settle(tag).await
    }

    /// Ends the session; returns the last events, those that were on their way first.
    pub(crate) async fn close(self, ending: Ending) -> Vec<String> {
        let Self { session, mut events, .. } = self;
        let closed = soon(session.close(ending)).await;
        let last = soon(closed.last_events()).await;
        let mut heard = Vec::new();
        while events.len() > 0 {
            let event = soon(events.recv()).await.unwrap();
            if !matches!(event.kind, EventKind::Progress(_)) {
                heard.push(text(&event));
            }
        }
        heard.extend(last.iter().map(text));
        heard
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}

fn long(length: Length) -> String {
    match length {
        Length::Declared(filesize) => filesize.to_string(),
        Length::Open { max } => format!("at most {max}"),
    }
}

/// An event in words.
pub(crate) fn text(event: &Event) -> String {
    let tag = event.tag.0;
    let about = event.document.map_or_else(String::new, |id| format!(" #{id}"));
    let said = match &event.kind {
        EventKind::Granted(grant) => {
            let unshared = if grant.lease.is_none() { ", unshared" } else { "" };
            format!(
                "granted {:?} at {} of {}{unshared}",
                grant.by,
                grant.offset,
                long(grant.length)
            )
        }
        EventKind::Withdrawn { offset, length } => {
            format!("withdrawn to {offset} of {}", long(*length))
        }
        EventKind::Progress(at) => {
            format!("progress {}/{} of {}", at.received, at.durable.get(), long(at.length))
        }
        EventKind::AtWork { position, copied } => {
            format!("at work {} of {}, copied {copied:?}", position.received, long(position.length))
        }
        EventKind::Completed { receipt, existing } => {
            let existing = if *existing { ", existing" } else { "" };
            let copied = if receipt.is_copy() { ", copied" } else { "" };
            let soon = if receipt.is_durable() { "" } else { ", not durable" };
            format!("completed {} ({}){existing}{copied}{soon}", receipt.path(), receipt.filesize())
        }
        EventKind::Answer(answer) => match &**answer {
            Answer::Fence => "fence".to_owned(),
            Answer::Found(found) => found_text(found),
            Answer::Status(status) => format!(
                "{} {}/{} of {}{}",
                status.phase,
                status.position.received,
                status.position.durable.get(),
                long(status.position.length),
                if status.is_active { ", active" } else { "" }
            ),
            Answer::HeldBlocks { blocks, .. } => {
                let held: Vec<_> = blocks.iter().map(|(index, _)| index.get()).collect();
                format!("held {held:?}")
            }
            Answer::Cancelled => "cancelled".to_owned(),
        },
        EventKind::Rejected(rejection) => format!("rejected {:?}", rejection.kind),
        EventKind::Panicked => "panicked".to_owned(),
    };
    format!("{tag}: {said}{about}")
}

pub(crate) fn found_text(found: &Found) -> String {
    let unfinished = found.unfinished.map(|(id, durable)| (id.get(), durable.get().get()));
    format!(
        "found same_size={} same_place={:?} known={} unfinished={unfinished:?}",
        found.same_size,
        found.same_place.map(DocumentId::get),
        found.is_known
    )
}
