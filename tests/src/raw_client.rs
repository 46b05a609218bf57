//! A client that sends exactly the bytes that a test wants, right or wrong, and keeps
//! everything that the server answered.
//!
//! A task of its own reads, so that the server can always write. What was read waits
//! until the test asks for it. Where an expected reply does not come, the test fails with
//! a list of everything that was read so far.

use crate::PATIENCE;
use crate::test_file::{BLOCK, TestFile};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use towline_protocol::frame::{self, Decoder, FrameLimits, Part};
use towline_protocol::reply::{Blocks, Cancelled, Found, Granted, Progress, Status, Success};
use towline_protocol::request::{
    Complete, DocumentRef, Find, Hello, Join, Ping, Resume, Upload, Withdraw,
};
use towline_protocol::{Channel, Code, ErrorReply, Reply, Request};
use towline_types::{BlockIndex, ChainingValue, DocumentId, FileSize, Offset, OnConflict};

/// The payload of a chunk where a test has no wish of its own.
pub const CHUNK: usize = 64 << 10;

/// Channel 0, where everything is that names no channel.
pub const ZERO: Channel = Channel(0);

/// What came from the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A control message.
    Reply(Reply),
    /// A block list.
    BlockList(Channel, BlockIndex, Vec<ChainingValue>),
    /// The server closed the connection in good order.
    Closed,
    /// The connection broke.
    Reset(io::ErrorKind),
    /// Something that is no frame, or no message.
    Nonsense(String),
}

/// The errors among it, and which document each is about.
pub fn errors(heard: &[Heard]) -> Vec<(Code, Option<DocumentId>)> {
    let errors = heard.iter().filter_map(|heard| match heard {
        Heard::Reply(Reply::Error(error)) => Some((error.code, error.document_id)),
        _ => None,
    });
    errors.collect()
}

/// One connection. See the module's description.
pub struct RawClient {
    /// Gone once the connection was broken on purpose.
    writer: Option<OwnedWriteHalf>,
    inbox: mpsc::UnboundedReceiver<Heard>,
    reader: AbortHandle,
    /// Heard and not asked for yet.
    waiting: VecDeque<Heard>,
    /// Everything heard, in words, for a failing test.
    log: Vec<String>,
    sent_bytes: u64,
}

impl Drop for RawClient {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// An `upload` with nothing but what it must have.
#[must_use]
pub fn upload(filename: &str, test_file: &TestFile) -> Upload {
    upload_of_size(filename, test_file.filesize())
}

/// The same without a file at hand.
#[must_use]
pub fn upload_of_size(filename: &str, filesize: FileSize) -> Upload {
    Upload {
        channel: ZERO,
        filename: filename.to_owned(),
        folder: Vec::new(),
        filesize,
        user_id: None,
        chunk_size: None,
        blake3: None,
        on_conflict: OnConflict::Rename,
        blocks: false,
        new_only: false,
    }
}

/// A `resume` that asks where to go on.
#[must_use]
pub fn resume(document_id: DocumentId) -> Resume {
    Resume {
        channel: ZERO,
        document_id,
        offset: None,
        filename: None,
        filesize: None,
        user_id: None,
        blocks: false,
        grow: false,
    }
}

/// A `join` of the lease that was granted so.
///
/// # Panics
/// Where the grant names no lease.
#[must_use]
pub fn join(granted: &Granted) -> Join {
    let lease = granted.lease.expect("a grant names its lease");
    Join { channel: ZERO, document_id: granted.document_id, lease }
}

/// A `find` by name and size.
#[must_use]
pub fn find(filename: &str, filesize: FileSize) -> Find {
    Find {
        channel: ZERO,
        filename: filename.to_owned(),
        folder: Vec::new(),
        filesize,
        blake3: None,
    }
}

/// A question about a document.
#[must_use]
pub fn about(document_id: DocumentId) -> DocumentRef {
    DocumentRef { channel: ZERO, document_id }
}

/// A position, as the protocol says it.
#[must_use]
pub fn offset(bytes: usize) -> Offset {
    Offset::try_from(bytes as u64).expect("memory is smaller than 2^63")
}

/// A position, as slices want it.
#[must_use]
pub fn position(offset: Offset) -> usize {
    usize::try_from(offset.get()).expect("an offset in memory")
}

/// A document that nobody has.
#[must_use]
pub fn nobodys_document() -> DocumentId {
    DocumentId::try_from(987_654).expect("a positive number")
}

fn hello_with(token: &str) -> Request {
    let client = Some("towline-tests".to_owned());
    Request::Hello(Hello { channel: ZERO, version: 1, token: token.to_owned(), client })
}

/// Sends bytes, closes the sending half, and returns all that comes back until
/// the server closes.
///
/// # Panics
/// Where it does not close in time.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    // A server that has read enough may close before everything is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the server closes in time");
    answer
}

impl RawClient {
    /// A connection on which nothing has been said.
    ///
    /// # Panics
    /// Where nobody accepts it.
    pub async fn connect(address: SocketAddr) -> Self {
        let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
        Self::over(connected.expect("accepted in time").expect("the server accepts"))
    }

    /// The same over a connection that somebody else has made.
    ///
    /// # Panics
    /// Where it is none any more.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket");
        let (reader, writer) = stream.into_split();
        let (outbox, inbox) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read(reader, outbox)).abort_handle();
        let (waiting, log) = (VecDeque::new(), Vec::new());
        Self { writer: Some(writer), inbox, reader, waiting, log, sent_bytes: 0 }
    }

    /// A connection that is logged in.
    pub async fn login(address: SocketAddr, token: &str) -> Self {
        Self::connect(address).await.welcomed(token).await
    }

    /// Says `hello` and is welcome.
    ///
    /// # Panics
    /// Where it is not.
    pub async fn welcomed(mut self, token: &str) -> Self {
        self.hello(token).await;
        match self.reply().await {
            Reply::Welcome(_) => self,
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// The same where the server may be gone, or go in the middle of it, or refuse.
    pub async fn try_login(address: SocketAddr, token: &str) -> Option<Self> {
        let connected = timeout(PATIENCE, TcpStream::connect(address)).await.ok()?;
        let mut client = Self::over(connected.ok()?);
        let _ = client.try_send(&hello_with(token)).await;
        let welcomed = matches!(client.next().await, Some(Heard::Reply(Reply::Welcome(_))));
        welcomed.then_some(client)
    }

    // What it says.

    /// Says `hello` and does not wait for what comes.
    pub async fn hello(&mut self, token: &str) {
        self.send(&hello_with(token)).await;
    }

    /// Sends a control message.
    pub async fn send(&mut self, request: &Request) {
        self.send_raw(&frame::control(request)).await;
    }

    /// Sends a control frame with that text in it, whatever it is.
    pub async fn send_json(&mut self, text: impl AsRef<[u8]>) {
        self.send_frame(1, text.as_ref()).await;
    }

    /// Sends a frame of that kind.
    pub async fn send_frame(&mut self, kind: u8, body: &[u8]) {
        let length = u32::try_from(body.len() + 1).expect("a short frame");
        self.send_raw(&[&length.to_be_bytes()[..], &[kind], body].concat()).await;
    }

    /// Sends one chunk.
    pub async fn chunk(&mut self, channel: Channel, at: usize, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a chunk");
        let head = frame::chunk_head(channel, offset(at), length);
        self.send_raw(&[&head[..], payload].concat()).await;
    }

    /// Sends that part of a file in chunks of 64 KiB.
    pub async fn chunks(&mut self, channel: Channel, test_file: &TestFile, range: Range<usize>) {
        self.chunks_of(channel, test_file, range, CHUNK).await;
    }

    /// Sends that part of a file in chunks of that length.
    pub async fn chunks_of(
        &mut self,
        channel: Channel,
        test_file: &TestFile,
        range: Range<usize>,
        length: usize,
    ) {
        let mut at = range.start;
        while at < range.end {
            let end = (at + length).min(range.end);
            self.chunk(channel, at, &test_file.bytes[at..end]).await;
            at = end;
        }
    }

    /// Announces the value of a block.
    pub async fn announce(&mut self, channel: Channel, index: usize, value: ChainingValue) {
        let index = BlockIndex::new(index as u64).expect("a block in memory");
        self.send_raw(&frame::block(channel, index, value)).await;
    }

    /// Sends one block with its announcement.
    pub async fn block(&mut self, channel: Channel, test_file: &TestFile, index: usize) {
        self.chunks(channel, test_file, index * BLOCK..test_file.block_end(index)).await;
        self.announce(channel, index, test_file.value(index)).await;
    }

    /// Sends all blocks from a position on, the first one perhaps in part.
    pub async fn blocks_from(&mut self, channel: Channel, test_file: &TestFile, at: usize) {
        for index in at / BLOCK..test_file.block_count() {
            let start = at.max(index * BLOCK);
            self.chunks(channel, test_file, start..test_file.block_end(index)).await;
            self.announce(channel, index, test_file.value(index)).await;
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// Where the connection is broken, or the server has not read for a long time.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        if let Err(error) = self.try_send_raw(bytes).await {
            self.fail(&format!("nothing can be sent ({error})")).await;
        }
    }

    /// The same where the server may have closed.
    ///
    /// # Errors
    /// What the system says.
    pub async fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = timeout(PATIENCE, self.writer().write_all(bytes)).await;
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        self.sent_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Sends a control message where the server may have closed.
    ///
    /// # Errors
    /// What the system says.
    pub async fn try_send(&mut self, request: &Request) -> io::Result<()> {
        self.try_send_raw(&frame::control(request)).await
    }

    /// How many bytes it has sent: the place of the next one in the stream.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    // What it hears.

    /// The next that came, whatever it is; nothing once the connection has ended in
    /// whatever way.
    ///
    /// # Panics
    /// Where the server keeps the connection and says nothing for a long time.
    pub async fn next(&mut self) -> Option<Heard> {
        let heard = if let Some(heard) = self.waiting.pop_front() {
            heard
        } else if let Ok(heard) = timeout(PATIENCE, self.inbox.recv()).await {
            let heard = heard?;
            self.log.push(format!("{heard:?}"));
            heard
        } else {
            self.fail("nothing comes").await
        };
        let is_end = matches!(heard, Heard::Closed | Heard::Reset(_) | Heard::Nonsense(_));
        (!is_end).then_some(heard)
    }

    /// The next that came and is no progress, of whatever channel.
    pub async fn heard(&mut self) -> Heard {
        self.first("anything", |heard| !matches!(heard, Heard::Reply(Reply::Progress(_)))).await
    }

    /// The next message that is no progress.
    pub async fn reply(&mut self) -> Reply {
        match self.heard().await {
            Heard::Reply(reply) => reply,
            other => self.fail(&format!("no message but {other:?}")).await,
        }
    }

    /// The next message on a channel that is no progress.
    pub async fn reply_on(&mut self, channel: Channel) -> Reply {
        let what = format!("a reply on channel {channel}");
        let is_end = |heard: &Heard| !matches!(heard, Heard::Reply(_) | Heard::BlockList(..));
        let found = self.first(&what, |heard| {
            is_end(heard)
                || matches!(heard, Heard::Reply(reply)
                    if reply.channel() == channel && !matches!(reply, Reply::Progress(_)))
        });
        match found.await {
            Heard::Reply(reply) => reply,
            end => self.fail(&format!("{what} does not come but {end:?}")).await,
        }
    }

    /// The next progress on any channel.
    pub async fn progress(&mut self) -> Progress {
        self.progress_that("progress", |_| true).await
    }

    /// The next progress of which that is true; earlier ones are passed over.
    pub async fn progress_that(
        &mut self,
        what: &str,
        is_it: impl Fn(&Progress) -> bool,
    ) -> Progress {
        let found = self.first(
            what,
            |heard| matches!(heard, Heard::Reply(Reply::Progress(progress)) if is_it(progress)),
        );
        match found.await {
            Heard::Reply(Reply::Progress(progress)) => progress,
            other => unreachable!("{other:?} was not asked for"),
        }
    }

    /// Waits for the end of the connection, and returns what came before and was
    /// not asked for.
    ///
    /// # Panics
    /// Where the server does not close, or the connection breaks instead.
    pub async fn closed(&mut self) -> Vec<Heard> {
        let last = self.first("the end", |heard| {
            matches!(heard, Heard::Closed | Heard::Reset(_) | Heard::Nonsense(_))
        });
        match last.await {
            Heard::Closed => self.waiting.drain(..).collect(),
            other => self.fail(&format!("not closed in good order: {other:?}")).await,
        }
    }

    /// Everything that is left until the connection ends in whatever way.
    pub async fn ended(&mut self) -> Vec<Heard> {
        let last = self.first("the end", |heard| {
            matches!(heard, Heard::Closed | Heard::Reset(_) | Heard::Nonsense(_))
        });
        let last = last.await;
        self.waiting.drain(..).chain([last]).collect()
    }

    /// Everything that came so far and was not asked for, without waiting for more.
    pub fn heard_so_far(&mut self) -> Vec<Heard> {
        while let Ok(heard) = self.inbox.try_recv() {
            self.keep(heard);
        }
        self.waiting.drain(..).collect()
    }

    /// Pauses in good order: closes the sending half, and returns the last
    /// progress of each upload that the server reports before it closes.
    ///
    /// # Panics
    /// Where anything else comes.
    pub async fn pause(mut self) -> Vec<Progress> {
        self.writer().shutdown().await.expect("the connection stands");
        let mut last: Vec<Progress> = Vec::new();
        for heard in self.closed().await {
            match heard {
                Heard::Reply(Reply::Progress(progress)) => {
                    last.retain(|earlier| earlier.document_id != progress.document_id);
                    last.push(progress);
                }
                other => panic!("the server pauses with {other:?}; {:#?}", self.log),
            }
        }
        last
    }

    /// Everything that was heard and not asked for, up to the first of which that is
    /// true, which comes last.
    pub async fn until(&mut self, what: &str, is_it: impl Fn(&Heard) -> bool) -> Vec<Heard> {
        let mut found = Vec::new();
        loop {
            found.push(self.first(what, |_| true).await);
            if found.last().is_some_and(&is_it) {
                return found;
            }
        }
    }

    /// Breaks the connection: the server gets a reset. What it has not read yet may be
    /// lost.
    pub fn reset(mut self) {
        if let Some(writer) = self.writer.take() {
            let _ = SockRef::from(writer.as_ref()).set_linger(Some(Duration::ZERO));
            // A shutdown would say goodbye first.
            writer.forget();
        }
    }

    /// Closes the sending half and stays to listen.
    ///
    /// # Panics
    /// Where the connection is broken.
    pub async fn finish_sending(&mut self) {
        self.writer().shutdown().await.expect("the connection stands");
    }

    /// Closes the sending half where the server may have closed already.
    pub async fn try_finish_sending(&mut self) {
        let _ = self.writer().shutdown().await;
    }

    // Whole exchanges.

    /// `upload`, granted.
    pub async fn upload(&mut self, upload: Upload) -> Granted {
        let channel = upload.channel;
        self.send(&Request::Upload(upload)).await;
        match self.reply_on(channel).await {
            Reply::Upload(granted) => granted,
            other => self.fail(&format!("the upload is not granted but {other:?}")).await,
        }
    }

    /// `upload`, refused with that word.
    pub async fn upload_refused(&mut self, upload: Upload, code: Code) -> ErrorReply {
        self.refused(&Request::Upload(upload), code).await
    }

    /// `resume`, granted.
    pub async fn resume(&mut self, resume: Resume) -> Granted {
        let channel = resume.channel;
        self.send(&Request::Resume(resume)).await;
        match self.reply_on(channel).await {
            Reply::Resume(granted) => granted,
            other => self.fail(&format!("the resume is not granted but {other:?}")).await,
        }
    }

    /// `resume`, refused with that word.
    pub async fn resume_refused(&mut self, resume: Resume, code: Code) -> ErrorReply {
        self.refused(&Request::Resume(resume), code).await
    }

    /// `join`, granted.
    pub async fn join(&mut self, join: Join) -> Granted {
        let channel = join.channel;
        self.send(&Request::Join(join)).await;
        match self.reply_on(channel).await {
            Reply::Join(granted) => granted,
            other => self.fail(&format!("the join is not granted but {other:?}")).await,
        }
    }

    /// `join`, refused with that word.
    pub async fn join_refused(&mut self, join: Join, code: Code) -> ErrorReply {
        self.refused(&Request::Join(join), code).await
    }

    async fn refused(&mut self, request: &Request, code: Code) -> ErrorReply {
        self.send(request).await;
        self.error_on(request.channel(), code).await
    }

    /// `complete` on that channel, and `SUCCESS`.
    pub async fn complete(&mut self, channel: Channel) -> Success {
        self.complete_with(Complete { channel, ..Complete::default() }).await
    }

    /// `complete`, and `SUCCESS`.
    pub async fn complete_with(&mut self, complete: Complete) -> Success {
        let channel = complete.channel;
        self.send(&Request::Complete(complete)).await;
        self.success_on(channel).await
    }

    /// `SUCCESS` on that channel.
    pub async fn success_on(&mut self, channel: Channel) -> Success {
        match self.reply_on(channel).await {
            Reply::Success(success) => success,
            other => self.fail(&format!("no SUCCESS but {other:?}")).await,
        }
    }

    /// `complete`, refused with that word.
    pub async fn complete_refused(&mut self, complete: Complete, code: Code) -> ErrorReply {
        self.refused(&Request::Complete(complete), code).await
    }

    /// An error with that word, next on channel 0.
    pub async fn error(&mut self, code: Code) -> ErrorReply {
        self.error_on(ZERO, code).await
    }

    /// An error with that word, next on that channel. Its number and whether a
    /// retry can help are held against the table.
    pub async fn error_on(&mut self, channel: Channel, code: Code) -> ErrorReply {
        match self.reply_on(channel).await {
            Reply::Error(error) if error.code == code => {
                assert_eq!(error.number, code.number(), "{error:?}");
                assert_eq!(error.retry, code.can_retry(), "{error:?}");
                assert!((1..=1024).contains(&error.message.len()), "{error:?}");
                error
            }
            other => self.fail(&format!("no `{code}` on channel {channel} but {other:?}")).await,
        }
    }

    /// `status`.
    pub async fn status(&mut self, document_id: DocumentId) -> Status {
        self.send(&Request::Status(about(document_id))).await;
        match self.reply_on(ZERO).await {
            Reply::Status(status) => status,
            other => self.fail(&format!("no status but {other:?}")).await,
        }
    }

    /// `find`.
    pub async fn find(&mut self, find: Find) -> Found {
        self.send(&Request::Find(find)).await;
        match self.reply_on(ZERO).await {
            Reply::Find(found) => found,
            other => self.fail(&format!("no answer to find but {other:?}")).await,
        }
    }

    /// `cancel`.
    pub async fn cancel(&mut self, document_id: DocumentId) -> Cancelled {
        self.send(&Request::Cancel(about(document_id))).await;
        match self.reply_on(ZERO).await {
            Reply::Cancel(cancelled) => cancelled,
            other => self.fail(&format!("not cancelled but {other:?}")).await,
        }
    }

    /// `withdraw` of those blocks: first and number, each.
    pub async fn withdraw(&mut self, channel: Channel, ranges: &[(usize, u64)]) -> Granted {
        let index = |first: usize| BlockIndex::new(first as u64).expect("a block in memory");
        let ranges = ranges.iter().map(|&(first, count)| (index(first), count)).collect();
        self.send(&Request::Withdraw(Withdraw { channel, ranges })).await;
        match self.reply_on(channel).await {
            Reply::Withdraw(granted) => granted,
            other => self.fail(&format!("nothing withdrawn but {other:?}")).await,
        }
    }

    /// `blocks`: the blocks that the server holds, with their values. The count
    /// and the order of the lists are checked.
    pub async fn blocks(&mut self, document_id: DocumentId) -> Vec<(usize, ChainingValue)> {
        self.send(&Request::Blocks(about(document_id))).await;
        let mut held: Vec<(usize, ChainingValue)> = Vec::new();
        loop {
            match self.heard().await {
                Heard::BlockList(_, first, values) => {
                    let first = usize::try_from(first.get()).expect("a block in memory");
                    if let Some((last, _)) = held.last() {
                        assert!(first > *last, "block lists ascend");
                    }
                    held.extend(
                        values.into_iter().enumerate().map(|(i, value)| (first + i, value)),
                    );
                }
                Heard::Reply(Reply::Blocks(Blocks { count, .. })) => {
                    assert_eq!(count, held.len() as u64, "as many as are counted");
                    return held;
                }
                other => self.fail(&format!("no block list but {other:?}")).await,
            }
        }
    }

    /// Says `ping` and waits for the answer: the connection stands, and what was
    /// sent before has been read, if not carried out.
    pub async fn ping(&mut self) {
        // A channel of its own, so that no other answer is taken for it.
        let channel = Channel(u32::MAX);
        self.send(&Request::Ping(Ping { channel })).await;
        match self.reply_on(channel).await {
            Reply::Ping(_) => {}
            other => self.fail(&format!("ping is answered by {other:?}")).await,
        }
    }

    /// Waits until the server says that it holds so much of an upload. An answer to
    /// `ping` does not say so: it may overtake.
    pub async fn has_received(&mut self, document_id: DocumentId, bytes: usize) {
        let began = Instant::now();
        while self.status(document_id).await.received < offset(bytes) {
            if began.elapsed() > PATIENCE {
                self.fail(&format!("{bytes} bytes are never received")).await;
            }
        }
    }

    /// The local end of the connection.
    ///
    /// # Panics
    /// Where it is none any more.
    #[must_use]
    pub fn local_address(&mut self) -> SocketAddr {
        self.writer().local_addr().expect("an address")
    }

    fn writer(&mut self) -> &mut OwnedWriteHalf {
        self.writer.as_mut().expect("it was not broken")
    }

    async fn first(&mut self, what: &str, wanted: impl Fn(&Heard) -> bool) -> Heard {
        if let Some(found) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(found).expect("it was found there");
        }
        loop {
            let Ok(next) = timeout(PATIENCE, self.inbox.recv()).await else {
                panic!("{what} does not come; heard so far: {:#?}", self.log);
            };
            let Some(heard) = next else {
                panic!("{what} cannot come, the connection has ended; heard: {:#?}", self.log);
            };
            self.log.push(format!("{heard:?}"));
            if wanted(&heard) {
                return heard;
            }
            self.waiting.push_back(heard);
        }
    }

    fn keep(&mut self, heard: Heard) {
        self.log.push(format!("{heard:?}"));
        self.waiting.push_back(heard);
    }

    /// Ends the test with all that was heard. What is on its way still gets a
    /// moment to arrive: it most often says why.
    async fn fail(&mut self, why: &str) -> ! {
        let moment = Duration::from_millis(200);
        while let Ok(Some(heard)) = timeout(moment, self.inbox.recv()).await {
            self.keep(heard);
        }
        panic!("{why}; heard: {:#?}", self.log);
    }
}

/// Reads to the end, and hands on what it reads.
pub(crate) async fn read(mut socket: OwnedReadHalf, outbox: mpsc::UnboundedSender<Heard>) {
    let mut decoder = Decoder::new(FrameLimits::CLIENT);
    loop {
        loop {
            let heard = match decoder.next_part() {
                Ok(None) => break,
                Ok(Some(Part::Control(bytes))) => match Reply::parse(bytes) {
                    Ok(reply) => Heard::Reply(reply),
                    Err(error) => Heard::Nonsense(format!(
                        "{error}: {}",
                        String::from_utf8_lossy(bytes).escape_debug()
                    )),
                },
                Ok(Some(Part::BlockList { channel, first, values })) => {
                    Heard::BlockList(channel, first, values)
                }
                other => Heard::Nonsense(format!("{other:?}")),
            };
            let is_end = matches!(heard, Heard::Nonsense(_));
            let _ = outbox.send(heard);
            if is_end {
                return;
            }
        }
        let end = match socket.read(decoder.space()).await {
            Ok(0) if decoder.is_between_frames() => Heard::Closed,
            Ok(0) => Heard::Nonsense("the end, inside a frame".to_owned()),
            Ok(count) => {
                decoder.filled(count);
                continue;
            }
            Err(error) => Heard::Reset(error.kind()),
        };
        let _ = outbox.send(end);
        return;
    }
}
