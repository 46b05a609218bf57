//! The oracle: everything that the server has promised, written down as it is
//! heard, and held against what it says and has after each disaster.

use crate::corpus::{BLOCK, Corpus};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use towline_protocol::reply::{Status, Success};
use towline_protocol::{Code, DocumentId, ErrorReply, FileHash, Offset, Reply, UserId};

/// What was promised. Clones are the same ledger.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    documents: BTreeMap<DocumentId, Entry>,
    /// Being sent at this moment by one of us.
    claimed: BTreeSet<DocumentId>,
    heard: Heard,
    /// The power is going: a machine without power says nothing any more.
    is_deaf: bool,
    broken: Option<String>,
}

/// How much has been heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// Uploads granted.
    pub begun: u64,
    /// Resumes granted.
    pub resumed: u64,
    /// Durable offsets above zero.
    pub durable: u64,
    /// SUCCESS, repetitions not counted.
    pub receipts: u64,
    /// Damaged blocks that were refused.
    pub damaged: u64,
    /// Blocks taken back by their client.
    pub taken_back: u64,
    /// Uploads cancelled.
    pub cancelled: u64,
}

/// One document, as we know it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) owner: UserId,
    pub(super) corpus: Arc<Corpus>,
    pub(super) hash: FileHash,
    pub(super) blocks: bool,
    /// The real client sends it; our own speakers leave it alone.
    pub(super) by_client: bool,
    durable: u64,
    /// Where a block begins that was sent damaged on purpose: what is promised of it
    /// may be taken back.
    doubt: Option<u64>,
    pub(super) may_be_completed: bool,
    pub(super) may_be_cancelled: bool,
    is_cancelled: bool,
    /// The server said that it has given the upload up.
    told_failed: bool,
    /// Granted by a server that had no power any more: it need not exist.
    pub(super) is_hearsay: bool,
    pub(super) receipt: Option<Success>,
    /// SUCCESS was heard, by us or by the real client.
    is_confirmed: bool,
    /// Nothing will change any more, and it was looked at after a disaster.
    pub(super) is_settled: bool,
}

impl Entry {
    pub(super) fn new(owner: UserId, corpus: Arc<Corpus>, blocks: bool) -> Self {
        Self {
            owner,
            hash: corpus.hash(),
            corpus,
            blocks,
            by_client: false,
            durable: 0,
            doubt: None,
            may_be_completed: false,
            may_be_cancelled: false,
            is_cancelled: false,
            told_failed: false,
            is_hearsay: false,
            receipt: None,
            is_confirmed: false,
            is_settled: false,
        }
    }

    /// A document that the real client sends. It says `complete` by itself.
    pub(super) fn of_client(owner: UserId, corpus: Arc<Corpus>) -> Self {
        Self { by_client: true, may_be_completed: true, ..Self::new(owner, corpus, true) }
    }

    /// What the server must hold, whatever happens.
    pub(super) fn promised(&self) -> u64 {
        self.durable.min(self.doubt.unwrap_or(u64::MAX))
    }

    fn is_unfinished(&self) -> bool {
        !self.is_confirmed && !self.may_be_cancelled && !self.told_failed && !self.is_settled
    }
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first promise that was broken, in words.
    pub(super) fn broken(&self) -> Option<String> {
        self.book().broken.clone()
    }

    pub(super) fn heard(&self) -> Heard {
        self.book().heard
    }

    /// Writes down that a promise was broken. The first one is kept.
    pub(super) fn breach(&self, what: String) {
        self.book().breach(what);
    }

    /// From here on nothing that is heard is a promise.
    ///
    /// The machine goes on for a moment after its file systems were shut down, which
    /// a real one does not. What it says then can be wrong without anybody's fault:
    /// a sync that waits for a commit of the journal is told OK when it comes to look
    /// after the aborted commit has ended (`jbd2_complete_transaction`).
    pub(super) fn go_deaf(&self) {
        self.book().is_deaf = true;
    }

    /// The power is back.
    pub(super) fn hear_again(&self) {
        self.book().is_deaf = false;
    }

    /// An upload was granted.
    pub(super) fn begun(&self, id: DocumentId, mut entry: Entry) {
        let mut book = self.book();
        book.heard.begun += 1;
        entry.is_hearsay = book.is_deaf;
        if book.documents.get(&id).is_some_and(|earlier| earlier.is_hearsay) {
            book.documents.remove(&id);
        }
        if book.documents.insert(id, entry).is_some() {
            book.breach(format!("document {id} was given out twice"));
        }
    }

    /// Changes what is known of a document.
    pub(super) fn change<T>(&self, id: DocumentId, how: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.book().documents.get_mut(&id).map(how)
    }

    /// Block `index` is about to be sent damaged.
    pub(super) fn doubt(&self, id: DocumentId, index: usize) {
        let start = (index * BLOCK) as u64;
        self.change(id, |entry| {
            entry.doubt = Some(entry.doubt.map_or(start, |earlier| earlier.min(start)));
        });
    }

    /// Block `index` was taken back, and what was promised of it.
    pub(super) fn taken_back(&self, id: DocumentId, index: usize) {
        let mut book = self.book();
        book.heard.taken_back += 1;
        if let Some(entry) = book.documents.get_mut(&id) {
            entry.durable = entry.durable.min((index * BLOCK) as u64);
        }
    }

    /// An upload of that owner that wants bytes, claimed for the caller.
    pub(super) fn claim(&self, owner: UserId, chance: &mut fastrand::Rng) -> Option<DocumentId> {
        let mut book = self.book();
        // Now and then one that somebody else is sending: a takeover.
        let takeover = chance.u8(..) < 20;
        let free: Vec<DocumentId> = book
            .documents
            .iter()
            .filter(|(id, _)| takeover || !book.claimed.contains(id))
            .filter(|(_, entry)| entry.owner == owner && !entry.by_client && entry.is_unfinished())
            .map(|(id, _)| *id)
            .collect();
        let id = chance.choice(free)?;
        book.claimed.insert(id);
        Some(id)
    }

    /// Nobody sends any more.
    pub(super) fn release_all(&self) {
        self.book().claimed.clear();
    }

    pub(super) fn entry(&self, id: DocumentId) -> Option<Entry> {
        self.book().documents.get(&id).cloned()
    }

    /// Every document of that owner of which that is true.
    pub(super) fn of(&self, owner: UserId, is_it: impl Fn(&Entry) -> bool) -> Vec<DocumentId> {
        let book = self.book();
        let own = book.documents.iter().filter(|(_, entry)| entry.owner == owner && is_it(entry));
        own.map(|(id, _)| *id).collect()
    }

    /// Every document of that owner that wants bytes, as far as we know.
    pub(super) fn unfinished(&self, owner: UserId) -> Vec<DocumentId> {
        self.of(owner, Entry::is_unfinished)
    }

    /// What the server says, other than grants.
    pub(super) fn hear(&self, reply: &Reply) {
        let mut book = self.book();
        if book.is_deaf && !matches!(reply, Reply::Error(_)) {
            return;
        }
        match reply {
            Reply::Progress(progress) => {
                let (durable, received) = (progress.durable, progress.received);
                book.durable(progress.document_id, durable);
                if durable > received {
                    let id = progress.document_id;
                    book.breach(format!("{id}: durable {durable} beyond received {received}"));
                }
            }
            Reply::Success(success) => book.receipt(success),
            Reply::Cancel(cancelled) => {
                book.heard.cancelled += 1;
                if let Some(entry) = book.documents.get_mut(&cancelled.document_id) {
                    entry.is_cancelled = true;
                }
            }
            Reply::Error(error) => book.error(error),
            _ => {}
        }
    }

    /// So much of a document was called durable.
    pub(super) fn durable(&self, id: DocumentId, durable: Offset) {
        let mut book = self.book();
        if !book.is_deaf {
            book.durable(id, durable);
        }
    }

    /// The real client says that a document is completed, with that hash.
    pub(super) fn completed_by_client(&self, id: DocumentId, hash: &str) {
        let mut book = self.book();
        if book.is_deaf {
            return;
        }
        book.heard.receipts += 1;
        let Some(entry) = book.documents.get_mut(&id) else { return };
        entry.is_confirmed = true;
        if entry.hash.to_string() != hash {
            book.breach(format!("{id}: the client says completed, with the hash {hash}"));
        }
    }

    /// A resume was granted at that offset.
    pub(super) fn resumed(&self, id: DocumentId, offset: Offset) {
        let mut book = self.book();
        book.heard.resumed += 1;
        let Some(promised) = book.documents.get(&id).map(Entry::promised) else { return };
        if offset.get() < promised {
            book.breach(format!("{id}: resumed at {offset}, {promised} bytes were durable (P1)"));
        }
    }

    /// The server does not know a document.
    pub(super) fn unknown(&self, id: DocumentId, known: &Entry) {
        let mut book = self.book();
        if known.is_hearsay {
            book.documents.remove(&id);
        } else {
            book.breach(format!("{id}: granted, and not found; {}", known.words()));
        }
    }

    /// Holds a status after a disaster against what was promised before it. `known`
    /// is the entry as it was before the question.
    pub(super) fn status(&self, id: DocumentId, known: &Entry, status: &Status) {
        if let Some(breach) = breach(known, status) {
            self.breach(format!("{id}: {breach}; {known}; {status:?}", known = known.words()));
        }
    }
}

/// How a status breaks a promise.
fn breach(known: &Entry, status: &Status) -> Option<&'static str> {
    match status.status.as_str() {
        "uploading" | "publishing" if known.is_confirmed => Some("SUCCESS was undone (P3)"),
        "uploading" | "publishing" if known.is_cancelled => Some("a cancel was undone"),
        "uploading" if status.durable.get() < known.promised() => {
            Some("durable bytes were lost (P1)")
        }
        "uploading" | "publishing" => None,
        "completed" if !known.may_be_completed => Some("completed, and nobody asked (P2)"),
        "completed" if status.blake3 != Some(known.hash) => Some("completed with other bytes (P2)"),
        "completed" => None,
        "cancelled" if known.may_be_cancelled => None,
        "failed" if known.is_confirmed => Some("SUCCESS was undone (P3)"),
        // An upload of which nothing was promised may be gone: it begins again at 0.
        "failed" if known.told_failed || known.promised() == 0 => None,
        "failed" => Some("given up, with durable bytes (P1)"),
        _ => Some("ended, and nobody asked"),
    }
}

impl Entry {
    /// For the words of a breach: without the bytes.
    fn words(&self) -> String {
        let Self { durable, doubt, may_be_completed, may_be_cancelled, blocks, .. } = self;
        format!(
            "of {} bytes; known: durable {durable}, doubt {doubt:?}, complete asked \
             {may_be_completed}, cancel asked {may_be_cancelled}, blocks {blocks}, by client {}, \
             receipt {:?}",
            self.corpus.size(),
            self.by_client,
            self.receipt
        )
    }
}

impl Book {
    fn breach(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    fn durable(&mut self, id: DocumentId, durable: Offset) {
        let Some(entry) = self.documents.get_mut(&id) else { return };
        self.heard.durable += u64::from(durable > Offset::ZERO);
        entry.durable = entry.durable.max(durable.get());
    }

    fn receipt(&mut self, success: &Success) {
        let Some(entry) = self.documents.get_mut(&success.document_id) else { return };
        let said = Success { channel: towline_protocol::Channel(0), ..success.clone() };
        let breach = if said.blake3 != entry.hash {
            Some("SUCCESS for other bytes (P2)")
        } else if !entry.may_be_completed {
            Some("SUCCESS, and nobody asked (P2)")
        } else if !said.durable {
            Some("SUCCESS that is not durable (P3)")
        } else if entry.receipt.as_ref().is_some_and(|earlier| *earlier != said) {
            Some("two receipts that differ")
        } else {
            None
        };
        if entry.receipt.is_none() {
            self.heard.receipts += 1;
        }
        let words = entry.words();
        entry.receipt = Some(said);
        entry.is_confirmed = true;
        if let Some(breach) = breach {
            self.breach(format!("{}: {breach}; {words}; {success:?}", success.document_id));
        }
    }

    fn error(&mut self, error: &ErrorReply) {
        let Some(id) = error.document_id else { return };
        let Some(entry) = self.documents.get_mut(&id) else { return };
        // What a server refuses whose disk is gone proves nothing.
        let is_deaf = self.is_deaf;
        match error.code {
            Code::HashMismatch | Code::BlockMismatch if is_deaf => {}
            Code::Failed | Code::StorageFailed => entry.told_failed = true,
            Code::HashMismatch => {
                entry.told_failed = true;
                self.breach(format!("{id}: what was sent right is not what was kept: {error:?}"));
            }
            Code::BlockMismatch => {
                let index = error.index.map_or(0, |index| index.get());
                let start = index * BLOCK as u64;
                let is_ours = entry.doubt.is_some_and(|doubt| doubt <= start);
                entry.durable = entry.durable.min(start);
                self.heard.damaged += 1;
                if !is_ours {
                    self.breach(format!("{id}: block {index} was sent right and is refused"));
                }
            }
            _ => {}
        }
    }
}
