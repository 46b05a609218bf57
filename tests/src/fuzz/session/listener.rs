//! Reads everything that a server sends, and checks each message against `SPEC.md`.

mod tree;

use super::content::CONTENT;
use super::fuzz_server::FILESIZE_MAX;
use super::questions::Questions;
use super::reads::Reads;
use super::shown::Shown;
use crate::raw_client::payload;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc::UnboundedSender;
use towline_protocol::frame::{self, Decoder, FrameLimits, Part};
use towline_protocol::reply::{Granted, Progress, Success};
use towline_protocol::{Channel, Code, ErrorReply, Reply};
use towline_types::{DocumentId, FileHash, Offset};

/// What the connections of one session share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// A chunk was sent with bytes that are not the file's.
    pub(super) has_lied: AtomicBool,
    /// Durable bytes may no longer be durable: blocks were withdrawn or announced.
    pub(super) takes_back: AtomicBool,
    /// Something may be moved, removed or replaced: what was published may lie elsewhere.
    pub(super) changes_tree: AtomicBool,
    /// What was shown of the tree.
    pub(super) shown: Shown,
    /// The largest document number that a message had.
    pub(super) last_document: AtomicU64,
    /// The latest lease of each document that a message had.
    pub(super) leases: Mutex<HashMap<u64, u64>>,
    /// The folder in which the user's documents are published.
    pub(super) documents: PathBuf,
}

/// See the module's description.
pub(super) struct Listener {
    shared: Arc<Shared>,
    pongs: UnboundedSender<Channel>,
    is_welcome: bool,
    /// The error after which no further message may come.
    last_words: Option<Code>,
    /// The durable offset of the last report about each document.
    durable: HashMap<DocumentId, Offset>,
    /// The number of values in the block lists of each channel that no count has confirmed yet.
    listed: HashMap<Channel, u64>,
    questions: Arc<Mutex<Questions>>,
    reads: Reads,
    /// The last entry of the list that is under way on each channel.
    entries: HashMap<Channel, tree::LastEntry>,
    /// The last change of which the server has told by itself.
    latest: u64,
    /// The work that was cut off before the client had ended: the server itself must be closing.
    cut_off: Option<ErrorReply>,
    /// Every message, for the output where a session fails.
    heard: Vec<Reply>,
}

impl Listener {
    pub(super) fn new(
        shared: Arc<Shared>,
        pongs: UnboundedSender<Channel>,
        questions: Arc<Mutex<Questions>>,
    ) -> Self {
        Self {
            shared,
            pongs,
            is_welcome: false,
            last_words: None,
            durable: HashMap::new(),
            listed: HashMap::new(),
            questions,
            reads: Reads::default(),
            entries: HashMap::new(),
            latest: 0,
            cut_off: None,
            heard: Vec::new(),
        }
    }

    /// Reads until the server closes.
    pub(super) async fn hear(mut self, mut reader: OwnedReadHalf) {
        let mut decoder = Decoder::new(FrameLimits::READING_CLIENT);
        let mut first = [0];
        match reader.read(&mut first).await.expect("closed in good order") {
            0 => return,
            _ if first[0] != 0 => return plain_text(first[0], &mut reader).await,
            _ => decoder.space()[0] = first[0],
        }
        let mut count = 1;
        while count > 0 {
            decoder.filled(count);
            while let Some(part) = decoder.next_part().expect("legal frames") {
                if let Part::Chunk { channel, offset, length } = part {
                    let bytes = payload(&mut decoder, &mut reader, length).await;
                    self.chunk(channel, offset, &bytes.expect("closed in good order").0);
                } else {
                    self.part(part);
                }
            }
            count = reader.read(decoder.space()).await.expect("closed in good order");
        }
        if self.questions().is_cut() {
            return;
        }
        assert!(decoder.is_between_frames(), "the end, inside a frame");
        if self.last_words.is_none() {
            assert_eq!(self.cut_off, None, "neither side was about to end");
            assert!(self.listed.values().all(|count| *count == 0), "every list is counted");
            self.questions().assert_all_answered();
            self.reads.assert_none();
        }
    }

    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.questions.lock().expect("a program that panics has ended the session")
    }

    fn chunk(&mut self, channel: Channel, offset: Offset, bytes: &[u8]) {
        assert_eq!(self.last_words, None, "nothing comes behind the last words");
        let is_content = !self.shared.has_lied.load(Ordering::SeqCst);
        self.reads.chunk(channel, offset, bytes, is_content);
    }

    fn part(&mut self, part: Part<'_>) {
        assert_eq!(self.last_words, None, "nothing comes behind the last words");
        match part {
            Part::Control(json) => {
                let reply = Reply::parse(json).expect("a legal message");
                assert_eq!(&frame::control(&reply)[5..], json, "as we print it ourselves");
                self.heard.push(reply.clone());
                self.reply(&reply);
            }
            Part::BlockList { channel, values, .. } => {
                *self.listed.entry(channel).or_default() += values.len() as u64;
            }
            Part::Block { channel, index, value } => self.reads.block(channel, index, value),
            other @ Part::Chunk { .. } => panic!("{other:?} has its own way"),
        }
    }

    fn reply(&mut self, reply: &Reply) {
        let is_first = !self.is_welcome;
        match reply {
            Reply::Welcome(_) => assert!(is_first, "one is welcome once"),
            // Every error before the login ends the connection.
            Reply::Error(error) if is_first => self.last_words = Some(error.code),
            Reply::Error(_) => {}
            other => assert!(!is_first, "a stranger is told {other:?}"),
        }
        self.is_welcome = true;
        match reply {
            Reply::Upload(granted) | Reply::Join(granted) => self.granted(granted),
            Reply::Resume(granted) => {
                self.granted(granted);
                self.keeps(granted.document_id, granted.offset);
            }
            Reply::Withdraw(granted) => {
                self.granted(granted);
                self.durable.remove(&granted.document_id);
            }
            Reply::Progress(progress) => self.progress(progress),
            Reply::Success(success) => self.success(success),
            Reply::Error(error) => self.error(error),
            Reply::Status(status) => {
                assert!(status.durable <= status.received, "{status:?}");
                assert!(status.received <= status.filesize.end(), "{status:?}");
                assert!(status.reason.is_none() || status.status != "completed", "{status:?}");
            }
            Reply::Uploads(uploads) => {
                for upload in &uploads.uploads {
                    assert!(upload.durable <= upload.received, "{upload:?}");
                    assert!(upload.received <= upload.filesize.end(), "{upload:?}");
                }
            }
            Reply::Blocks(blocks) => {
                let listed = self.listed.insert(blocks.channel, 0).unwrap_or(0);
                assert_eq!(listed, blocks.count, "as many as are counted");
            }
            Reply::Cancel(cancelled) => assert_eq!(cancelled.status, "cancelled"),
            Reply::Ping(pong) => drop(self.pongs.send(pong.channel)),
            Reply::Welcome(_)
            | Reply::Reauth(_)
            | Reply::Find(_)
            | Reply::DownloadUrl(_)
            | Reply::Receipts(_) => {}
            Reply::List(_)
            | Reply::Stat(_)
            | Reply::Mkdir(_)
            | Reply::Link(_)
            | Reply::Move(_)
            | Reply::Remove(_)
            | Reply::Restore(_)
            | Reply::Versions(_)
            | Reply::Read(_)
            | Reply::Delta(_)
            | Reply::Change(_) => self.tree_reply(reply),
        }
    }

    fn granted(&self, granted: &Granted) {
        assert!(granted.offset <= granted.filesize.end(), "{granted:?}");
        self.shared.last_document.fetch_max(granted.document_id.get(), Ordering::SeqCst);
        if let Some(lease) = granted.lease {
            let mut leases = self.shared.leases.lock().expect("nobody panics with it");
            leases.insert(granted.document_id.get(), lease.get());
        }
    }

    fn progress(&mut self, progress: &Progress) {
        let Progress { received, durable, filesize, .. } = *progress;
        assert!(durable <= received && received <= filesize.end(), "{progress:?}");
        // Where the length is not known yet, `filesize` is the most that it may become.
        let is_open = filesize.get() == FILESIZE_MAX;
        let words = [Progress::words(received, filesize), Progress::words_of_open(received)];
        assert!(words[..=usize::from(is_open)].contains(&progress.progress), "{progress:?}");
        self.keeps(progress.document_id, durable);
        self.durable.insert(progress.document_id, durable);
    }

    /// Checks that a promised offset is kept, unless the client itself has taken it back.
    fn keeps(&self, document: DocumentId, now: Offset) {
        let before = self.durable.get(&document).copied().unwrap_or(Offset::ZERO);
        let may_go_back = self.shared.takes_back.load(Ordering::SeqCst);
        assert!(before <= now || may_go_back, "{document} was durable up to {before}, now {now}");
    }

    /// Checks that the document is published with all of its bytes.
    fn success(&self, success: &Success) {
        assert!(success.durable);
        self.shared.shown.success(success);
        if self.shared.changes_tree.load(Ordering::SeqCst) {
            return;
        }
        let mut path = self.shared.documents.clone();
        path.extend(&success.folder);
        let bytes = std::fs::read(path.join(&success.filename)).expect("it is published");
        assert_eq!(bytes.len() as u64, success.filesize.get(), "{success:?}");
        assert_eq!(FileHash::from_bytes(blake3::hash(&bytes).into()), success.blake3);
        if !self.shared.has_lied.load(Ordering::SeqCst) {
            assert!(CONTENT.starts_with(&bytes), "what was sent is what is there");
        }
    }

    fn error(&mut self, error: &ErrorReply) {
        let code = error.code;
        assert_eq!((error.number, error.retry), (code.number(), code.can_retry()), "{error:?}");
        assert!((1..=1024).contains(&error.message.len()), "{error:?}");
        match code {
            Code::OffsetMismatch | Code::Incomplete => assert!(error.expected.is_some()),
            Code::BlockMismatch => assert!(error.index.is_some()),
            Code::Unseen => assert!(error.count.is_some_and(|count| count > 0), "{error:?}"),
            Code::CursorReset => assert!(error.reason.is_some(), "{error:?}"),
            // A copy that was under way when either side ended is one. The server tells of its own
            // end afterwards.
            Code::Internal if self.questions().is_ending() => {}
            Code::Internal => self.cut_off = Some(error.clone()),
            // The server, its disk and its clock have no fault.
            Code::Unknown
            | Code::NoSpace
            | Code::StorageFailed
            | Code::StorageReadOnly
            | Code::Damaged
            | Code::ShuttingDown
            | Code::AuthTimeout
            | Code::TooSlow => panic!("{error:?}"),
            _ => {}
        }
        if let Some(node) = &error.node {
            self.shared.shown.node(node);
        }
        if code.closes() {
            self.last_words = Some(code);
        } else {
            self.questions().refused(error.channel);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("heard:");
            self.heard.iter().for_each(|reply| eprintln!("{reply:?}"));
        }
    }
}

/// The answer to a client that does not speak Towline: one line of text, or an alert of TLS where it
/// began a handshake that is none; and the end.
async fn plain_text(first: u8, reader: &mut OwnedReadHalf) {
    let mut text = vec![first];
    reader.read_to_end(&mut text).await.expect("closed in good order");
    if text.starts_with(&[0x15, 3]) {
        return assert!(text.len() <= 64, "{text:?}");
    }
    let is_http = text.starts_with(b"HTTP/1.1 400 ");
    let most = if is_http { 512 } else { 64 };
    assert!(text.len() <= most && text.is_ascii() && text.ends_with(b"\n"), "{text:?}");
}
