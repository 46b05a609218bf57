//! One connection to a server. Nothing else here touches the socket.

use crate::attempt_end::AttemptEnd;
use crate::block_reader::Block;
use crate::long_work::{Advance, LongWork, done_bytes};
use crate::route::{Greeting, NoServer, Route};
use crate::send_queue::{SLICES, SendQueue};
use crate::system::in_words;
use crate::token::Token;
use socket2::{SockRef, TcpKeepalive};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use towline_protocol::frame::{self, Decoder, FrameLimits, Part};
use towline_protocol::limits::{CHANNELS_MAX, CHUNK_BYTES_MAX};
use towline_protocol::reply::{Progress, Welcome};
use towline_protocol::request::{DocumentRef, Hello, Ping, Resume, VERSION};
use towline_protocol::{Channel, Code, ErrorReply, Reply, Request};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{BlockIndex, ChainingValue, DocumentId};

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to one address.
    pub connect: Duration,
    /// For the answer to a question once it is sent, whatever else the server says
    /// meanwhile.
    pub answer: Duration,
    /// For anything to come of what is sent, whatever the server says meanwhile.
    pub progress: Duration,
    /// For any sign of life, before a `ping` asks for one.
    pub ping_after: Duration,
    /// For the answer to that `ping`; then the connection counts as lost. The
    /// system gives a link up that long after it last delivered anything, too.
    pub ping_answer: Duration,
    /// For the server's last word at a pause.
    pub closing: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            progress: Duration::from_secs(300),
            ping_after: Duration::from_secs(15),
            ping_answer: Duration::from_secs(30),
            closing: Duration::from_secs(2),
        }
    }
}

/// What the server said.
#[derive(Debug)]
pub(crate) enum Incoming {
    Reply(Reply),
    BlockList { channel: Channel, first: BlockIndex, values: Vec<ChainingValue> },
}

/// What [`Connection::next`] came back for.
#[derive(Debug)]
pub(crate) enum Step {
    Incoming(Incoming),
    /// There is room for one more block.
    Room,
}

/// A connection that is logged in.
///
/// Frames are queued with [`queue`](Self::queue) and [`queue_block`](Self::queue_block);
/// they travel while [`next`](Self::next) waits for what the server says. Reading
/// never waits for writing, so two full buffers cannot hold each other up.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    decoder: Decoder,
    send_queue: SendQueue,
    timeouts: Timeouts,
    /// When the peer last took or sent something.
    alive: Instant,
    /// When it last took bytes of a file.
    wrote: Instant,
    /// All that it has sent, in bytes.
    heard_bytes: u64,
    /// The first bytes of that.
    greeting: Greeting,
    pinged: bool,
    /// The server has closed its side in order.
    is_closed: bool,
    /// Writing has failed; what the server said before may still be read.
    broken: Option<io::Error>,
    channel: u32,
    welcome: Welcome,
}

impl Connection {
    /// Connects and logs in. `login` is how long the answer to that may take.
    pub(crate) async fn open(
        route: &Route,
        token: &Token,
        timeouts: Timeouts,
        login: Duration,
    ) -> Result<Self, AttemptEnd> {
        let stream = route.connect(timeouts.connect).await?;
        tune(&stream, timeouts)?;
        let mut connection = Self {
            stream,
            decoder: Decoder::new(FrameLimits::CLIENT),
            send_queue: SendQueue::default(),
            timeouts,
            alive: Instant::now(),
            wrote: Instant::now(),
            heard_bytes: 0,
            greeting: Greeting::default(),
            pinged: false,
            is_closed: false,
            broken: None,
            channel: 0,
            welcome: nothing_said(),
        };
        connection.queue(&Request::Hello(Hello {
            channel: Channel::default(),
            version: VERSION,
            token: token.reveal().to_owned(),
            client: Some(concat!("towline/", env!("CARGO_PKG_VERSION")).to_owned()),
        }));
        // `ask` would send a ping into the silence, which before login is an error.
        let said = timeout(login, connection.next(false)).await;
        match said
            .unwrap_or(Err(NoServer::Silent.into()))
            .map_err(|end| connection.at_login(end))?
        {
            Step::Incoming(Incoming::Reply(Reply::Welcome(welcome))) => {
                connection.welcome = checked(welcome)?;
                Ok(connection)
            }
            Step::Incoming(Incoming::Reply(Reply::Error(error))) => Err(AttemptEnd::refused(error)),
            other => Err(AttemptEnd::protocol(format!("'welcome' was expected, not {other:?}"))),
        }
    }

    /// What the end of a login means. What came is no frame, or none that a server may send:
    /// another service answers there.
    fn at_login(&self, end: AttemptEnd) -> AttemptEnd {
        match end {
            AttemptEnd::Garbled(_) | AttemptEnd::Failed(_) => {
                NoServer::OtherService(self.greeting).into()
            }
            _ if self.greeting.is_foreign() => NoServer::OtherService(self.greeting).into(),
            AttemptEnd::Lost(_) if self.is_closed && self.heard_bytes == 0 => {
                NoServer::Closes.into()
            }
            end => end,
        }
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    pub(crate) fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Whether the server has a feature.
    pub(crate) fn knows(&self, feature: &str) -> bool {
        self.welcome.features.iter().any(|word| word == feature)
    }

    /// A channel on which nothing was said lately.
    pub(crate) fn new_channel(&mut self) -> Channel {
        // Half of what a server must bear, so that a number comes back long
        // after the last reply on it.
        let cycle = u32::try_from(CHANNELS_MAX / 2).unwrap_or(1).min(self.welcome.max_channels);
        self.channel = self.channel % cycle.max(1) + 1;
        Channel(self.channel)
    }

    pub(crate) fn queue(&mut self, request: &Request) {
        self.send_queue.push_frames(frame::control(request));
    }

    /// Queues frames that are made already.
    pub(crate) fn queue_frames(&mut self, frames: Vec<u8>) {
        self.send_queue.push_frames(frames);
    }

    pub(crate) fn queue_block(&mut self, channel: Channel, chunk_bytes: u32, block: Block) {
        let chunk_bytes = chunk_bytes.min(self.welcome.max_chunk_size);
        self.send_queue.push_block(channel, chunk_bytes, block);
    }

    /// Whether one more block may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.send_queue.has_room()
    }

    /// How many bytes of files were handed to the system so far.
    pub(crate) fn payload_bytes(&self) -> u64 {
        self.send_queue.payload_bytes()
    }

    /// Whether nothing is queued.
    pub(crate) fn is_idle(&self) -> bool {
        self.send_queue.is_empty()
    }

    /// Has the system forget what it has not sent yet, when this is dropped: what is sent
    /// again elsewhere must not come twice.
    pub(crate) fn abandon(&self) {
        // Where that fails there is nothing left to forget.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Drops what is queued, up to the end of the frame that is half written.
    pub(crate) fn drop_queue(&mut self) {
        self.send_queue.cut_after_frame();
    }

    /// Writes what is queued until the server says something or, where
    /// `room_wanted`, until there is room for a block.
    ///
    /// Cancel-safe: whatever was read or written is accounted for in `self`
    /// before anything is awaited.
    pub(crate) async fn next(&mut self, room_wanted: bool) -> Result<Step, AttemptEnd> {
        loop {
            if let Some(said) = self.decoded()? {
                return Ok(Step::Incoming(said));
            }
            if room_wanted && self.send_queue.has_room() {
                return Ok(Step::Room);
            }
            let payload_bytes = self.send_queue.payload_bytes();
            let wrote = self.write_some();
            let read = self.read_some()?;
            if read || wrote {
                self.alive = Instant::now();
                if self.send_queue.payload_bytes() > payload_bytes {
                    self.wrote = self.alive;
                }
                // Only what the server says answers a ping: a socket takes bytes
                // for a server that is long gone.
                self.pinged &= !read;
                // A flood from the server must not keep this thread from all else.
                tokio::task::consume_budget().await;
                continue;
            }
            // Cancel-safe: tokio documents `ready` so.
            match timeout_at(self.silence_ends(), self.stream.ready(self.interest())).await {
                Ok(ready) => {
                    ready?;
                }
                Err(_) if self.pinged => {
                    return Err(AttemptEnd::Silent("no answer from the server".to_owned()));
                }
                Err(_) => {
                    self.pinged = true;
                    self.queue(&Request::Ping(Ping::default()));
                }
            }
        }
    }

    /// Asks, and waits for the answer on the same channel. What is said on
    /// other channels, about uploads that are over, is passed over.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Reply, AttemptEnd> {
        self.ask_and_watch(request, |_| {}).await
    }

    /// The same for a question over which the server works for a while: `watch` is told how
    /// far it is. The time for the answer begins anew whenever the work gets on.
    pub(crate) async fn ask_and_watch(
        &mut self,
        request: &Request,
        mut watch: impl FnMut(&Progress),
    ) -> Result<Reply, AttemptEnd> {
        self.queue(request);
        let mut question = self.question(work_of(request), 0);
        loop {
            match self.next_in_time(&mut question).await? {
                Step::Incoming(Incoming::Reply(reply)) => {
                    match for_channel(reply, request.channel())? {
                        Some(Reply::Progress(progress)) => {
                            watch(&progress);
                            if let Some(done_bytes) = done_bytes(request, &progress) {
                                self.work_reported(&mut question, done_bytes);
                            }
                        }
                        Some(reply) => return Ok(reply),
                        None => {}
                    }
                }
                Step::Incoming(Incoming::BlockList { channel, .. })
                    if channel != request.channel() => {}
                other => return Err(AttemptEnd::protocol(format!("unexpected: {other:?}"))),
            }
        }
    }

    /// A question that was just queued. The server may take `work` longer than for others,
    /// and `answer_bytes` may come besides control messages.
    fn question(&self, work: Duration, answer_bytes: u64) -> Question {
        let allowed = self.timeouts.answer + work;
        let heard_bytes_max = self.heard_bytes.saturating_add(HEARD_BYTES_MAX + answer_bytes);
        let work = LongWork::default();
        Question { asked: Instant::now(), allowed, heard_bytes_max, work }
    }

    /// The server has said how far its work on the answer is.
    fn work_reported(&self, question: &mut Question, done_bytes: u64) {
        match question.work.reported(done_bytes) {
            Advance::Further => {
                question.asked = Instant::now();
                question.heard_bytes_max = self.heard_bytes.saturating_add(HEARD_BYTES_MAX);
            }
            Advance::Queued => question.asked = Instant::now(),
            Advance::None => {}
        }
    }

    /// The next step, while an answer is waited for. Other words do not prolong that; a
    /// question that is still on its way behind other bytes does.
    ///
    /// Cancel-safe, as [`next`](Self::next) is.
    async fn next_in_time(&mut self, question: &mut Question) -> Result<Step, AttemptEnd> {
        loop {
            if self.heard_bytes > question.heard_bytes_max {
                let what = "the server says much, and nothing that was asked".to_owned();
                return Err(AttemptEnd::Garbled(crate::Failure::Protocol(what)));
            }
            let deadline = question.asked.max(self.wrote) + question.allowed;
            if Instant::now() >= deadline {
                return Err(AttemptEnd::Lost("the server leaves a question unanswered".to_owned()));
            }
            // Cancel-safe.
            if let Ok(step) = timeout_at(deadline, self.next(false)).await {
                return step;
            }
        }
    }

    /// Asks which blocks the server holds of a file with that many blocks.
    pub(crate) async fn held_blocks(
        &mut self,
        channel: Channel,
        document_id: DocumentId,
        count: u64,
    ) -> Result<BTreeMap<u64, ChainingValue>, AttemptEnd> {
        self.queue(&Request::Blocks(DocumentRef { channel, document_id }));
        // A value has 32 bytes, and a list of few values a head that is as long.
        let mut question = self.question(Duration::ZERO, count.saturating_mul(64));
        let mut held = BTreeMap::new();
        loop {
            match self.next_in_time(&mut question).await? {
                Step::Incoming(Incoming::BlockList { channel: on, first, values })
                    if on == channel =>
                {
                    // Bounded by the file's own blocks: an endless list ends here.
                    let beyond = first.get().saturating_add(values.len() as u64) > count;
                    let backwards =
                        held.last_key_value().is_some_and(|(last, _)| *last >= first.get());
                    if beyond || backwards {
                        return Err(AttemptEnd::protocol(
                            "a block list that does not fit the file",
                        ));
                    }
                    held.extend((first.get()..).zip(values));
                }
                Step::Incoming(Incoming::BlockList { .. }) | Step::Room => {}
                Step::Incoming(Incoming::Reply(reply)) => match for_channel(reply, channel)? {
                    None | Some(Reply::Progress(_)) => {}
                    Some(Reply::Blocks(end)) => {
                        if end.count != held.len() as u64 || end.document_id != document_id {
                            return Err(AttemptEnd::protocol(
                                "a block list of another length than said",
                            ));
                        }
                        return Ok(held);
                    }
                    Some(Reply::Error(error)) => return Err(AttemptEnd::refused(error)),
                    Some(other) => {
                        return Err(AttemptEnd::protocol(format!("unexpected: {other:?}")));
                    }
                },
            }
        }
    }

    /// Stops sending between two frames, asks a last question, says so by closing this
    /// side, and hands what the server says until it closes its own to `listen`. Waits no
    /// longer than patience allows.
    pub(crate) async fn close_gracefully(
        mut self,
        question: Option<Request>,
        mut listen: impl FnMut(Reply),
    ) {
        self.drop_queue();
        if let Some(question) = question {
            self.queue(&question);
        }
        // However it ends, there is nothing more to be done.
        let _ = timeout(self.timeouts.closing, self.drain(&mut listen)).await;
    }

    /// Ends with an error, as all connections do.
    async fn drain(&mut self, listen: &mut impl FnMut(Reply)) -> Result<Infallible, AttemptEnd> {
        let mut open = true;
        loop {
            if self.send_queue.is_empty() && open {
                SockRef::from(&self.stream).shutdown(Shutdown::Write)?;
                open = false;
            }
            while let Some(said) = self.decoded()? {
                if let Incoming::Reply(reply) = said {
                    listen(reply);
                }
            }
            let wrote = self.write_some();
            if self.read_some()? || wrote {
                // A server that talks without end must not keep this thread from its clock.
                tokio::task::consume_budget().await;
            } else {
                self.stream.ready(self.interest()).await?;
            }
        }
    }

    fn interest(&self) -> Interest {
        if self.send_queue.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        }
    }

    fn silence_ends(&self) -> Instant {
        let ping_after = self.timeouts.ping_after;
        self.alive + if self.pinged { ping_after + self.timeouts.ping_answer } else { ping_after }
    }

    fn decoded(&mut self) -> Result<Option<Incoming>, AttemptEnd> {
        Ok(match self.decoder.next_part()? {
            None => None,
            Some(Part::Control(json)) => {
                Some(Incoming::Reply(Reply::parse(json).map_err(|error| {
                    AttemptEnd::Garbled(crate::Failure::Protocol(format!("not a reply: {error}")))
                })?))
            }
            Some(Part::BlockList { channel, first, values }) => {
                Some(Incoming::BlockList { channel, first, values })
            }
            // The frame limits forbid both.
            Some(Part::Chunk { .. } | Part::Block { .. }) => {
                return Err(AttemptEnd::protocol("a server does not send chunks"));
            }
        })
    }

    /// Writes once, as much as the socket takes. A failure is kept until there
    /// is nothing more to read: the server may have said why.
    fn write_some(&mut self) -> bool {
        if self.send_queue.is_empty() || self.broken.is_some() {
            return false;
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = self.send_queue.slices(&mut slices);
        match self.stream.try_write_vectored(&slices[..count]) {
            Ok(written) => {
                self.send_queue.advance(written);
                written > 0
            }
            Err(error) if is_for_now(&error) => false,
            Err(error) => {
                self.broken = Some(error);
                self.send_queue.clear();
                false
            }
        }
    }

    fn read_some(&mut self) -> Result<bool, AttemptEnd> {
        let space = self.decoder.space();
        match self.stream.try_read(space) {
            Ok(0) => Err(AttemptEnd::Lost(match self.broken.take() {
                Some(error) => in_words(&error),
                None => {
                    self.is_closed = true;
                    "the server has closed the connection".to_owned()
                }
            })),
            Ok(count) => {
                self.greeting.came(&space[..count]);
                self.decoder.filled(count);
                self.heard_bytes += count as u64;
                Ok(true)
            }
            Err(error) if is_for_now(&error) => match self.broken.take() {
                Some(broken) => Err(broken.into()),
                None => Ok(false),
            },
            Err(error) => Err(error.into()),
        }
    }
}

fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The reply, if it is for that channel. An error on channel 0 is about the
/// connection as a whole.
pub(crate) fn for_channel(reply: Reply, channel: Channel) -> Result<Option<Reply>, AttemptEnd> {
    match reply {
        reply if reply.channel() == channel => Ok(Some(reply)),
        Reply::Error(error) if error.channel == Channel::default() => {
            Err(AttemptEnd::refused(error))
        }
        _ => Ok(None),
    }
}

/// What a server may say before it answers, about uploads that are over.
const HEARD_BYTES_MAX: u64 = 16 << 20;

/// A question that is not answered yet.
struct Question {
    /// When it was asked, or when the work on the answer last got on.
    asked: Instant,
    allowed: Duration,
    heard_bytes_max: u64,
    work: LongWork,
}

/// How long the server may have to work for an answer: it reserves room for an upload, or
/// copies a file that it has, at the pace of a slow disk.
fn work_of(request: &Request) -> Duration {
    match request {
        Request::Upload(upload) => slow_disk(upload.filesize.get()),
        // It may be complete, and on its way to another disk.
        Request::Resume(Resume { filesize: Some(filesize), .. }) => slow_disk(filesize.get()),
        _ => Duration::ZERO,
    }
}

/// How long a slow disk takes for that many bytes.
pub(crate) fn slow_disk(bytes: u64) -> Duration {
    const BYTES_PER_SECOND: u64 = 8 << 20;
    Duration::from_secs(bytes / BYTES_PER_SECOND)
}

/// A link that is gone must be noticed within seconds, both while bytes wait
/// for their acknowledgement and while all is quiet.
fn tune(stream: &TcpStream, timeouts: Timeouts) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // The system counts whole seconds here, and takes no zero.
    let quiet = timeouts.ping_after.max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(quiet).with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    // A disk that stalls at the other end closes the window for a while.
    socket.set_tcp_user_timeout(Some(timeouts.ping_answer * 2))?;
    Ok(())
}

/// What is known of a server before it has said anything.
fn nothing_said() -> Welcome {
    Welcome {
        version: VERSION,
        server: String::new(),
        server_id: None,
        user_id: towline_types::UserId::MIN,
        user: String::new(),
        max_filesize: towline_types::FileSize::MIN,
        chunk_size: 1,
        max_chunk_size: 1,
        block_size: BLOCK_SIZE_BYTES,
        max_channels: 1,
        features: Vec::new(),
    }
}

/// The server's terms, if this client can live with them.
fn checked(mut welcome: Welcome) -> Result<Welcome, AttemptEnd> {
    if welcome.version != VERSION {
        let mut reply = ErrorReply::new(Code::VersionUnsupported, "");
        reply.max = Some(welcome.version.into());
        return Err(AttemptEnd::refused(reply));
    }
    if welcome.block_size != BLOCK_SIZE_BYTES {
        let bytes = welcome.block_size;
        return Err(AttemptEnd::protocol(format!("blocks of {bytes} bytes, and not of 1 MiB")));
    }
    if welcome.max_chunk_size == 0 || welcome.max_channels == 0 {
        return Err(AttemptEnd::protocol("a server that takes no chunk or no channel"));
    }
    welcome.max_chunk_size = welcome.max_chunk_size.min(CHUNK_BYTES_MAX);
    welcome.chunk_size = welcome.chunk_size.clamp(1, welcome.max_chunk_size);
    Ok(welcome)
}
