//! A door without a transport: says commands to an engine and hears its events.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use towline_engine::{
    Account, Answer, BlockBuffer, Client as Listener, Command, CompleteRequest, Engine,
    EngineConfig, Event, EventKind, EventReceiver, Grant, Length, NewUpload, Origin, Position,
    Query, Receipt, Rejection, ResumeRequest, SendingMode, Session, Status, Tag, WHOLE_BYTES,
};
use towline_state::Catalog;
use towline_state::catalog::Description;
use towline_types::{
    BlockIndex, ChainingValue, DocumentId, DocumentPath, FileHash, FileSize, Offset, OnConflict,
    SecondDigest, Timestamp, UserId,
};

pub(crate) const MIB: usize = 1 << 20;

/// No answer takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine over a data folder of its own, with one user.
pub(crate) struct Door {
    path: PathBuf,
    /// Removed with the door, where it is the door's own.
    _folder: Option<TempDir>,
    engine: Option<Engine>,
    user: UserId,
    /// How many paused uploads an engine that is started keeps open.
    pub(crate) paused_kept_open: usize,
}

/// A page of the blocks that are held, and how many there are in all pages, if it says so.
pub(crate) type Page = (Vec<(BlockIndex, ChainingValue)>, Option<u64>);

/// One session, and what was heard of it.
pub(crate) struct Client {
    account: Account,
    session: Session,
    events: EventReceiver,
}

impl Door {
    pub(crate) async fn open() -> Self {
        let folder = TempDir::new().unwrap();
        let mut door = Self::over(folder.path());
        door._folder = Some(folder);
        door.make().await;
        door
    }

    /// A door that is not open yet, over a folder that outlives it.
    pub(crate) fn over(folder: &Path) -> Self {
        let user = UserId::try_from(1).unwrap();
        Self { path: folder.to_owned(), _folder: None, engine: None, user, paused_kept_open: 256 }
    }

    /// Makes the store, with one user, and opens it.
    pub(crate) async fn make(&mut self) {
        let door = self;
        // The first start makes the store; a user is added as an operator does it.
        door.start().await;
        door.stop().await;
        let catalog = Catalog::open(door.path.join("state/catalog.db")).unwrap();
        let added = catalog.add_user("ada", Some(door.user), Timestamp::from_secs(1)).await;
        added.unwrap();
        catalog.close().await.unwrap();
        door.start().await;
    }

    pub(crate) async fn start(&mut self) {
        let mut config = EngineConfig { reserve_bytes: 0, ..EngineConfig::new(&self.path) };
        config.limits.paused_kept_open = self.paused_kept_open;
        let runtime = Handle::current();
        let opened = spawn_blocking(move || Engine::open(config, &runtime)).await.unwrap();
        self.engine = Some(opened.unwrap());
    }

    pub(crate) async fn stop(&mut self) {
        let engine = self.engine.take().unwrap();
        engine.shut_down(Instant::now() + Duration::from_secs(5)).await.unwrap();
    }

    /// Ends the engine in good order and opens it anew.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    pub(crate) fn client(&self) -> Client {
        self.client_of("a test", 16)
    }

    /// A client of that origin, with at most that many writers.
    pub(crate) fn client_of(&self, origin: &str, writers_max: usize) -> Client {
        let engine = self.engine.as_ref().unwrap();
        let account = engine.account(self.user, Origin::new(origin));
        let (session, events) = account.session(writers_max);
        Client { account, session, events }
    }

    /// The data folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn account(&self) -> Account {
        self.engine.as_ref().unwrap().account(self.user, Origin::new("a test"))
    }

    /// A buffer with these bytes.
    pub(crate) async fn buffer(&self, bytes: &[u8]) -> BlockBuffer {
        let mut buffer = self.account().buffer(bytes.len()).await;
        buffer.space()[..bytes.len()].copy_from_slice(bytes);
        buffer.filled(bytes.len());
        buffer
    }

    /// The bytes of a document in its place.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let place = self.path.join("uploads").join(self.user.to_string()).join(name);
        std::fs::read(place).unwrap()
    }
}

impl Client {
    pub(crate) async fn say(&mut self, tag: u32, command: Command) {
        let Some(mut admitted) = self.session.admit(Tag(tag), command).unwrap() else { return };
        timeout(PATIENCE, admitted.granted()).await.expect("the engine takes no more");
        self.session.push(admitted);
        self.session.release_held_back();
    }

    pub(crate) async fn hear(&mut self) -> Event {
        let event = timeout(PATIENCE, self.events.recv()).await;
        event.expect("the engine says nothing").expect("the session has ended")
    }

    /// What comes for that writer and is no report.
    pub(crate) async fn answer(&mut self, tag: u32) -> EventKind {
        loop {
            let event = self.hear().await;
            if event.tag == Tag(tag) && !matches!(event.kind, EventKind::Progress(_)) {
                return event.kind;
            }
        }
    }

    pub(crate) async fn begin(&mut self, tag: u32, new: NewUpload) -> (DocumentId, Grant) {
        self.say(tag, Command::Begin(Box::new(new))).await;
        loop {
            let event = self.hear().await;
            match event.kind {
                EventKind::Granted(grant) => return (event.document.unwrap(), grant),
                EventKind::Progress(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Begins with that tag; says whether the session has a writer for it.
    pub(crate) async fn may_begin(&mut self, tag: u32, new: NewUpload) -> bool {
        let command = Command::Begin(Box::new(new));
        let Ok(Some(mut admitted)) = self.session.admit(Tag(tag), command) else { return false };
        timeout(PATIENCE, admitted.granted()).await.expect("the engine takes no more");
        self.session.push(admitted);
        self.session.release_held_back();
        true
    }

    pub(crate) async fn granted(&mut self, tag: u32, command: Command) -> Grant {
        self.say(tag, command).await;
        match self.answer(tag).await {
            EventKind::Granted(grant) => grant,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn resume(&mut self, tag: u32, id: DocumentId, mode: SendingMode) -> Grant {
        let (filename, filesize, offset, grow) = (None, None, None, false);
        let request = ResumeRequest { id, mode, filename, filesize, grow, offset };
        self.granted(tag, Command::Resume(Box::new(request))).await
    }

    /// Sends bytes as a door does: in buffers of at most 1 MiB.
    pub(crate) async fn send(&mut self, tag: u32, at: usize, bytes: &[u8]) {
        for (index, piece) in bytes.chunks(WHOLE_BYTES).enumerate() {
            let mut buffer = self.account.buffer(piece.len()).await;
            buffer.space()[..piece.len()].copy_from_slice(piece);
            buffer.filled(piece.len());
            let offset = offset(at + index * WHOLE_BYTES);
            self.say(tag, Command::Data { offset, buffer }).await;
        }
    }

    pub(crate) async fn status(&mut self, tag: u32, id: DocumentId) -> Status {
        self.say(tag, Command::Query(Query::Status(id))).await;
        match self.answer(tag).await {
            EventKind::Answer(answer) => match *answer {
                Answer::Status(status) => status,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Waits until a checkpoint has made that much of the writer's upload durable.
    pub(crate) async fn durable(&mut self, tag: u32, bytes: usize) -> Position {
        loop {
            let event = self.hear().await;
            match event.kind {
                EventKind::Progress(position) if event.tag == Tag(tag) => {
                    assert!(position.durable.get() <= offset(bytes), "{position:?}");
                    if position.durable.get() == offset(bytes) {
                        return position;
                    }
                }
                EventKind::Progress(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn complete(&mut self, tag: u32, request: CompleteRequest) -> Arc<Receipt> {
        self.say(tag, Command::Complete(request)).await;
        match self.answer(tag).await {
            EventKind::Completed { receipt, .. } => receipt,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn rejected(&mut self, tag: u32) -> Rejection {
        match self.answer(tag).await {
            EventKind::Rejected(rejection) => rejection,
            other => panic!("{other:?}"),
        }
    }

    /// Lets go of all uploads; what came is durable then.
    pub(crate) async fn close(self) {
        let Self { account, session, events } = self;
        drop(account);
        let closed = session.close(Listener::Listens).await;
        closed.last_events().await;
        drop(events);
    }

    /// Closes the session for a client that waits for all its answers; returns the pages of blocks
    /// that it receives meanwhile, each with the count of them all, if the page says it.
    pub(crate) async fn close_and_receive_pages(self) -> Vec<Page> {
        let Self { session, mut events, .. } = self;
        let receiving = tokio::spawn(async move {
            let mut pages = Vec::new();
            while let Some(event) = events.recv().await {
                let EventKind::Answer(answer) = event.kind else { panic!("{event:?}") };
                let Answer::HeldBlocks { blocks, count, hold } = *answer else {
                    panic!("{answer:?}")
                };
                drop(hold);
                pages.push((blocks, count));
            }
            pages
        });
        let closed = timeout(PATIENCE, session.close(Listener::AwaitsAnswers)).await;
        closed.expect("the session is not closed").last_events().await;
        timeout(PATIENCE, receiving).await.expect("a sender is left").unwrap()
    }

    /// Closes the session for such a client, and receives nothing more of it.
    pub(crate) async fn close_and_receive_nothing(self) {
        let Self { session, events, .. } = self;
        let closing = session.close(Listener::AwaitsAnswers);
        drop(events);
        timeout(PATIENCE, closing).await.expect("the session is not closed").last_events().await;
    }
}

/// A new upload of a file of that many bytes.
pub(crate) fn new(name: &str, bytes: usize, mode: SendingMode) -> NewUpload {
    NewUpload {
        path: DocumentPath::parse(name).unwrap(),
        length: Length::Declared(size(bytes)),
        on_conflict: OnConflict::Reject,
        mode,
        hash: None,
        description: Description::default(),
        second_digest: SecondDigest::None,
        new_only: false,
        chunk_size: None,
        wish: towline_state::catalog::NodeWish::default(),
    }
}

pub(crate) fn size(bytes: usize) -> FileSize {
    FileSize::try_from(bytes as u64).unwrap()
}

pub(crate) fn offset(bytes: usize) -> Offset {
    Offset::try_from(bytes as u64).unwrap()
}

/// Bytes that differ from one place to the next, and from one salt to another.
pub(crate) fn bytes(count: usize, salt: u8) -> Vec<u8> {
    let byte = |at: usize| u8::try_from(at % 251).unwrap() ^ u8::try_from(at / 251 % 256).unwrap();
    (0..count).map(|at| byte(at) ^ salt).collect()
}

pub(crate) fn hash(bytes: &[u8]) -> FileHash {
    FileHash::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// The claim that the whole has that hash.
pub(crate) fn claim(bytes: &[u8]) -> CompleteRequest {
    CompleteRequest { hash: Some(hash(bytes)), ..CompleteRequest::default() }
}
