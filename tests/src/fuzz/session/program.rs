//! A small language for the actions of a client. An input is a program in it: every byte has a
//! meaning, and so does almost every change of a byte.

mod tree;

use super::super::input::Input;
use super::content::CONTENT;
use super::fuzz_server::{FILESIZE_MAX, FuzzServer};
use super::listener::{Listener, Shared};
use super::questions::Questions;
use super::shown::Shown;
use crate::raw_client::RawClient;
use crate::tree_audit::{all_changes, assert_tree_is_one};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use towline_protocol::request::{Hello, Ping};
use towline_protocol::{Channel, Request, frame, limits};
use towline_types::{BlockHasher, BlockIndex, ChainingValue, FileSize, Offset};

const BLOCK: u64 = 1 << 20;

/// The largest number of operations, and of payload bytes, of one program.
const OPERATIONS_MAX: usize = 256;
const PAYLOAD_BYTES_MAX: u64 = 6 << 20;

/// How long the program waits for an answer that may never come.
const MOMENT: Duration = Duration::from_millis(5);

/// The channel of the program's pings.
const OWN_CHANNEL: Channel = Channel(u32::MAX);

/// See the module's description.
pub(super) struct Program {
    address: SocketAddr,
    token: String,
    /// Documents and nodes of this session have larger numbers than these.
    documents_before: u64,
    nodes_before: u64,
    /// The requests about the tree so far that had a channel of their own.
    asked: u32,
    /// A connection was broken: what the server does for it may go on.
    is_cut: bool,
    shared: Arc<Shared>,
    /// The state of the upload on each channel, as far as the client knows.
    uploads: HashMap<u32, Believed>,
    /// Two connections, so that one can take over an upload of the other.
    connections: [Option<Connection>; 2],
    current: usize,
    payload_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Believed {
    filesize: u64,
    at: u64,
}

struct Connection {
    writer: OwnedWriteHalf,
    waiting: Vec<u8>,
    pongs: UnboundedReceiver<Channel>,
    listener: JoinHandle<()>,
    questions: Arc<Mutex<Questions>>,
}

/// Which operations an input may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// Uploads alone.
    Uploads,
    /// Requests about the tree, the changes and the bytes of documents as well, in place of `ping`.
    Tree,
}

impl Program {
    pub(super) fn new(server: &FuzzServer) -> Self {
        let user = server.user();
        let documents = server.site().documents(user);
        let shown = Shown::new(server.last_node(), server.last_document());
        Self {
            address: server.address(),
            token: user.token.clone(),
            documents_before: server.last_document(),
            nodes_before: server.last_node(),
            asked: 0,
            is_cut: false,
            shared: Arc::new(Shared { documents, shown, ..Shared::default() }),
            uploads: HashMap::new(),
            connections: [None, None],
            current: 0,
            payload_bytes: 0,
        }
    }

    /// The largest document number that a message had.
    pub(super) fn last_document(&self) -> u64 {
        self.shared.last_document.load(Ordering::SeqCst)
    }

    /// The largest number of a node that a message had.
    pub(super) fn last_node(&self) -> u64 {
        self.shared.shown.last_node()
    }

    /// Sends bytes without a login.
    pub(super) async fn raw(&mut self, input: Input<'_>) {
        self.connections[0] = Some(Connection::open(self.address, &self.shared).await);
        self.believe_nothing().await;
        self.send_raw(input).await;
    }

    /// Sends bytes after a login.
    pub(super) async fn raw_behind_login(&mut self, input: Input<'_>) {
        self.believe_nothing().await;
        self.send_raw(input).await;
    }

    async fn send_raw(&mut self, mut input: Input<'_>) {
        let split = usize::from(input.byte());
        let bytes = input.rest();
        let pieces = if split == 0 { bytes.len().max(1) } else { split };
        for piece in bytes.chunks(pieces) {
            self.put(piece).await;
            self.flush().await;
        }
        self.end().await;
    }

    /// Carries a program out, and reads everything that the server sends.
    pub(super) async fn carry_out(&mut self, language: Language, mut input: Input<'_>) {
        self.connected().await;
        for _ in 0..OPERATIONS_MAX {
            if input.is_empty() {
                break;
            }
            self.step(language, &mut input).await;
        }
        for current in [0, 1] {
            self.current = current;
            self.end().await;
        }
    }

    /// One operation: four bits choose the operation, two the channel, two when it is sent.
    async fn step(&mut self, language: Language, input: &mut Input<'_>) {
        let byte = input.byte();
        let channel = u32::from(byte >> 4 & 3);
        match byte & 15 {
            0 => self.upload(channel, input).await,
            1 => self.chunk(channel, None, input).await,
            2 => self.chunk(channel, Some(position(input)), input).await,
            3 => self.block(channel, input).await,
            4 => self.all_that_is_left(channel, input).await,
            5 => self.complete(channel, input).await,
            6 => self.resume(channel, input).await,
            7 => self.about(channel, input).await,
            8 => self.withdraw(channel, input).await,
            9 => self.find(channel, input).await,
            10 if language == Language::Tree => self.tree(channel, input).await,
            10 => self.control(channel, "ping", json!({})).await,
            11 => self.frame(input).await,
            12 => {
                let count = usize::from(input.byte() % 32);
                self.believe_nothing().await;
                self.put(input.take(count)).await;
            }
            13 => {
                let count = usize::from(input.byte());
                self.believe_nothing().await;
                self.put_frame(1, input.take(count)).await;
            }
            14 => self.connection(input.byte()).await,
            _ => self.hear().await,
        }
        match byte >> 6 {
            0 => self.flush().await,
            1 => self.flush_half().await,
            _ => {}
        }
    }

    async fn upload(&mut self, channel: u32, input: &mut Input<'_>) {
        let (flags, name, filesize) = (input.byte(), input.byte(), filesize(input));
        let mut fields = json!({ "filename": filename(name), "filesize": filesize });
        if flags & 1 != 0 {
            fields["blocks"] = true.into();
        }
        if flags & 2 != 0 {
            fields["on_conflict"] = "reject".into();
        }
        if flags & 4 != 0 {
            fields["folder"] = json!(["a", filename(name / 8)]);
        }
        if flags & 8 != 0 {
            fields["blake3"] = hash(filesize, flags & 16 != 0).into();
        }
        if flags & 32 != 0 {
            fields["chunk_size"] = filesize.into();
        }
        if flags & 64 != 0 {
            fields["user_id"] = u64::from(name).into();
        }
        self.uploads.insert(channel, Believed { filesize, at: 0 });
        self.control(channel, "upload", fields).await;
    }

    /// A chunk at the end of the last one, or at another offset.
    async fn chunk(&mut self, channel: u32, at: Option<u64>, input: &mut Input<'_>) {
        let length = length(input);
        let lies = at.is_some() && input.byte() & 7 == 7;
        let at = at.unwrap_or_else(|| self.believed(channel).at);
        self.put_chunk(channel, at, length, lies).await;
    }

    async fn all_that_is_left(&mut self, channel: u32, input: &mut Input<'_>) {
        let (flags, length) = (input.byte(), length(input).clamp(1 << 10, BLOCK));
        let Believed { filesize, mut at } = self.believed(channel);
        while at < filesize.min(FILESIZE_MAX) {
            let end = (at + length).min(filesize);
            self.put_chunk(channel, at, end - at, false).await;
            let is_end_of_block = end / BLOCK > at / BLOCK || end == filesize;
            if flags & 1 != 0 && is_end_of_block {
                self.put_block(channel, at / BLOCK, false).await;
            }
            at = end;
        }
    }

    async fn block(&mut self, channel: u32, input: &mut Input<'_>) {
        let byte = input.byte();
        self.put_block(channel, u64::from(byte % 5), byte & 0x80 != 0).await;
    }

    async fn complete(&mut self, channel: u32, input: &mut Input<'_>) {
        let flags = input.byte();
        let mut fields = json!({});
        if flags & 1 != 0 {
            fields["blake3"] = hash(self.believed(channel).filesize, flags & 2 != 0).into();
        }
        if flags & 4 != 0 {
            fields["document_id"] = self.document(flags >> 5).into();
        }
        if flags & 8 != 0 {
            let word = if flags & 16 == 0 { "rename" } else { "reject" };
            fields["on_conflict"] = word.into();
        }
        self.control(channel, "complete", fields).await;
    }

    async fn resume(&mut self, channel: u32, input: &mut Input<'_>) {
        let (flags, reference) = (input.byte(), input.byte());
        if flags >> 5 == 7 {
            return self.join(channel, reference).await;
        }
        let mut fields = json!({ "document_id": self.document(reference) });
        let mut believed = self.believed(channel);
        match flags & 3 {
            0 => {}
            1 => fields["offset"] = believed.at.into(),
            2 => fields["offset"] = position(input).into(),
            _ => fields["offset"] = 0.into(),
        }
        if flags & 4 != 0 {
            fields["blocks"] = true.into();
        }
        if flags & 8 != 0 {
            fields["filename"] = filename(reference >> 3).into();
        }
        if flags & 16 != 0 {
            believed.filesize = filesize(input);
            fields["filesize"] = believed.filesize.into();
        }
        if let Some(at) = fields["offset"].as_u64() {
            believed.at = at;
        }
        self.uploads.insert(channel, believed);
        self.control(channel, "resume", fields).await;
    }

    /// `join` with the latest lease, or with a lease that never existed.
    async fn join(&mut self, channel: u32, reference: u8) {
        let document = self.document(reference);
        let leases = self.shared.leases.lock().map(|leases| leases.get(&document).copied());
        let lease = leases.ok().flatten().unwrap_or(1);
        self.control(channel, "join", json!({ "document_id": document, "lease": lease })).await;
    }

    async fn about(&mut self, channel: u32, input: &mut Input<'_>) {
        let byte = input.byte();
        let fields = json!({ "document_id": self.document(byte >> 2) });
        let action = ["status", "blocks", "cancel", "status"][usize::from(byte & 3)];
        self.control(channel, action, fields).await;
    }

    async fn withdraw(&mut self, channel: u32, input: &mut Input<'_>) {
        self.shared.takes_back.store(true, Ordering::SeqCst);
        let count = input.byte() % 4;
        let ranges: Vec<_> = (0..count).map(|_| (input.byte() % 5, input.byte())).collect();
        self.control(channel, "withdraw", json!({ "ranges": ranges })).await;
    }

    async fn find(&mut self, channel: u32, input: &mut Input<'_>) {
        let (flags, filesize) = (input.byte(), filesize(input));
        let mut fields = json!({ "filename": filename(flags >> 3), "filesize": filesize });
        if flags & 1 != 0 {
            fields["blake3"] = hash(filesize, flags & 2 != 0).into();
        }
        self.control(channel, "find", fields).await;
    }

    async fn frame(&mut self, input: &mut Input<'_>) {
        let (kind, count) = (input.byte() % 6, usize::from(input.byte()));
        self.believe_nothing().await;
        self.put_frame(kind, input.take(count)).await;
    }

    async fn connection(&mut self, byte: u8) {
        match byte % 4 {
            0 => {
                self.flush().await;
                self.current = 1 - self.current;
            }
            1 => self.end().await,
            2 => self.is_cut |= self.connections[self.current].take().is_some(),
            _ => {
                if let Some(connection) = &mut self.connections[self.current] {
                    connection.flush().await;
                    // What the program asks from now on is not sent.
                    connection.questions().lose_track();
                    connection.questions().end();
                    let _ = connection.writer.shutdown().await;
                }
            }
        }
    }

    /// Waits until the server has read everything that was sent.
    async fn hear(&mut self) {
        let ping = frame::control(&Request::Ping(Ping { channel: OWN_CHANNEL }));
        self.put(&ping).await;
        self.flush().await;
        let Some(connection) = &mut self.connections[self.current] else { return };
        // No answer comes where the server has closed, or is in the middle of a frame.
        let _ = timeout(MOMENT, connection.pongs.recv()).await;
    }

    /// The number of a document: by its order in this session, of another user, or of no document.
    fn document(&self, reference: u8) -> u64 {
        match reference % 8 {
            6 => self.documents_before.max(1),
            7 => u64::MAX >> 1,
            number => self.documents_before + 1 + u64::from(number),
        }
    }

    /// The next bytes are sent unchecked: they may have wrong content and withdraw blocks.
    async fn believe_nothing(&mut self) {
        self.shared.has_lied.store(true, Ordering::SeqCst);
        self.shared.takes_back.store(true, Ordering::SeqCst);
        self.shared.changes_tree.store(true, Ordering::SeqCst);
        self.connected().await.questions().lose_track();
    }

    /// Remembers that a request is sent on the connection in use.
    async fn asks(&mut self, channel: u32, action: &'static str) {
        self.connected().await.questions().ask(Channel(channel), action);
    }

    fn believed(&self, channel: u32) -> Believed {
        self.uploads.get(&channel).copied().unwrap_or_default()
    }

    async fn put_chunk(&mut self, channel: u32, at: u64, length: u64, lies: bool) {
        self.payload_bytes += length;
        if self.payload_bytes > PAYLOAD_BYTES_MAX {
            return;
        }
        let mut payload: Vec<u8> = (at..at + length).map(byte_at).collect();
        // Beyond the content no byte can be right, and the server keeps none.
        if let (true, Some(byte)) = (lies, payload.first_mut()) {
            self.shared.has_lied.store(true, Ordering::SeqCst);
            *byte ^= 1;
        }
        let Ok(offset) = Offset::try_from(at) else { return };
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.uploads.entry(channel).or_default().at = at + u64::from(length);
        self.put(&frame::chunk_head(Channel(channel), offset, length)).await;
        self.put(&payload).await;
    }

    async fn put_block(&mut self, channel: u32, index: u64, lies: bool) {
        self.shared.takes_back.store(true, Ordering::SeqCst);
        let index = BlockIndex::new(index).expect("a small number");
        let filesize = self.believed(channel).filesize.min(FILESIZE_MAX);
        let filesize = FileSize::try_from(filesize).expect("a small number");
        let span = index.span(filesize);
        let value = if lies || span.is_empty() {
            ChainingValue::from_bytes([7; 32])
        } else {
            let mut hasher = BlockHasher::new(index, filesize);
            hasher.update(&CONTENT[to_usize(span.start)..to_usize(span.end)]);
            hasher.finish()
        };
        self.put(&frame::block(Channel(channel), index, value)).await;
    }

    async fn control(&mut self, channel: u32, action: &str, mut fields: Value) {
        if let Some(fields) = fields.as_object_mut() {
            let mut message = Map::new();
            message.insert("action".to_owned(), action.into());
            if channel > 0 {
                message.insert("channel".to_owned(), channel.into());
            }
            message.append(fields);
            self.put_frame(1, Value::Object(message).to_string().as_bytes()).await;
        }
    }

    async fn put_frame(&mut self, kind: u8, body: &[u8]) {
        let length = u32::try_from(body.len() + 1).unwrap_or(u32::MAX);
        self.put(&[&length.to_be_bytes()[..], &[kind], body].concat()).await;
    }

    /// The connection in use; opens one where there is none.
    async fn connected(&mut self) -> &mut Connection {
        let slot = &mut self.connections[self.current];
        if slot.is_none() {
            let mut connection = Connection::open(self.address, &self.shared).await;
            let hello = Request::Hello(Hello::with_token(self.token.clone()));
            connection.waiting = frame::control(&hello);
            *slot = Some(connection);
        }
        slot.as_mut().expect("it was opened")
    }

    /// Sends bytes on the connection in use.
    async fn put(&mut self, bytes: &[u8]) {
        self.connected().await.waiting.extend_from_slice(bytes);
    }

    async fn flush(&mut self) {
        if let Some(connection) = &mut self.connections[self.current] {
            connection.flush().await;
        }
    }

    /// Sends half of the bytes that wait: the cut is probably within a frame.
    async fn flush_half(&mut self) {
        if let Some(connection) = &mut self.connections[self.current] {
            let rest = connection.waiting.split_off(connection.waiting.len() / 2);
            connection.flush().await;
            connection.waiting = rest;
        }
    }

    /// What a client that comes afterwards finds: the log of changes has all that was shown, and
    /// list, log and disk are one.
    pub(super) async fn look_afterwards(&self, server: &FuzzServer) {
        let mut client = RawClient::login(self.address, &self.token).await;
        let changes = all_changes(&mut client, 2000).await;
        self.shared.shown.assert_recorded(&changes);
        if !self.is_cut {
            assert_tree_is_one(server.site(), server.user(), &mut client).await;
        }
    }

    /// The client closes its sending half, and reads the rest.
    async fn end(&mut self) {
        let Some(mut connection) = self.connections[self.current].take() else { return };
        connection.flush().await;
        connection.questions().end();
        let _ = connection.writer.shutdown().await;
        let heard = (&mut connection.listener).await;
        assert!(heard.is_ok(), "what was heard is wrong; why stands above");
    }
}

impl Connection {
    async fn open(address: SocketAddr, shared: &Arc<Shared>) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a socket");
        let (reader, writer) = stream.into_split();
        let (outbox, pongs) = mpsc::unbounded_channel();
        let questions = Arc::default();
        let listener = Listener::new(Arc::clone(shared), outbox, Arc::clone(&questions));
        let listener = tokio::spawn(listener.hear(reader));
        Self { writer, waiting: Vec::new(), pongs, listener, questions }
    }

    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.questions.lock().expect("a listener that panics has ended the session")
    }

    /// Where the server has closed, the bytes are not needed.
    async fn flush(&mut self) {
        let _ = self.writer.write_all(&self.waiting).await;
        self.waiting.clear();
    }
}

impl Drop for Connection {
    /// A connection that was not ended is cut. The listener may be at work in another thread at this
    /// moment, and an abort takes effect only where it waits the next time.
    fn drop(&mut self) {
        if let Ok(mut questions) = self.questions.lock() {
            questions.cut();
        }
        self.listener.abort();
    }
}

fn byte_at(position: u64) -> u8 {
    CONTENT.get(to_usize(position)).copied().unwrap_or(0)
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The hash of a file of that size, or another hash.
fn hash(filesize: u64, lies: bool) -> String {
    let content = &CONTENT[..to_usize(filesize.min(FILESIZE_MAX))];
    let mut hash = blake3::hash(content).to_hex().to_string();
    if lies {
        let first = if hash.starts_with('0') { "1" } else { "0" };
        hash.replace_range(..1, first);
    }
    hash
}

/// A size near the end of a block, near a limit, or small.
fn filesize(input: &mut Input<'_>) -> u64 {
    let byte = input.byte();
    match byte {
        0..=200 => u64::from(byte),
        201..=210 => input.short() as u64,
        211..=230 => u64::from(byte - 210) * (BLOCK / 8) + u64::from(input.byte()),
        231..=240 => (u64::from(byte - 231) / 3 + 1) * BLOCK + u64::from(byte % 3) - 1,
        241..=250 => FILESIZE_MAX + 250 - u64::from(byte),
        251 => u64::MAX,
        252 => u64::MAX >> 1,
        253 => FILESIZE_MAX,
        _ => 1 << (input.byte() % 64),
    }
}

fn position(input: &mut Input<'_>) -> u64 {
    let byte = input.byte();
    let block = u64::from(byte % 5) * BLOCK;
    match byte / 64 {
        0 => block,
        1 => block + u64::from(input.byte()),
        2 => block + input.short() as u64,
        _ => (block + BLOCK).saturating_sub(u64::from(input.byte())),
    }
}

fn length(input: &mut Input<'_>) -> u64 {
    let byte = input.byte();
    match byte {
        0..=200 => u64::from(byte) + 1,
        201..=230 => u64::from(byte - 200) << 10,
        231..=250 => u64::from(byte - 230) << 15,
        251..=253 => u64::from(limits::CHUNK_BYTES_MAX),
        254 => u64::from(limits::CHUNK_BYTES_MAX) + 1,
        _ => BLOCK - 1,
    }
}

/// The server refuses some of these names.
fn filename(choice: u8) -> &'static str {
    ["a", "b.txt", "A", "\u{e9}.pdf", "e\u{301}.pdf", "..", "a/b", "CON"][usize::from(choice % 8)]
}
