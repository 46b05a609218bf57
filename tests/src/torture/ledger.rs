//! The record of every promise of the server, written when its message is read. After each disaster
//! it is compared with the server's answers and files.

use super::tree_ledger::TreeLedger;
use crate::test_file::{BLOCK, TestFile};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use towline_protocol::reply::{Status, Success};
use towline_protocol::{Code, ErrorReply, Reply};
use towline_types::{DocumentId, FileHash, Offset, UserId};

/// All promises. Clones share the same record.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    book: Arc<Mutex<Book>>,
    trees: TreeLedger,
}

#[derive(Debug, Default)]
struct Book {
    documents: BTreeMap<DocumentId, Entry>,
    /// Files that were sent, and whose document number the test does not know yet.
    told_to_put: Vec<(UserId, FileHash)>,
    /// Documents that a raw client of the test is sending at this moment.
    claimed: BTreeSet<DocumentId>,
    heard: Heard,
    broken: Option<String>,
    /// SUCCESS may say that the document is not durable, and is then no promise.
    is_relaxed: bool,
}

/// How many messages of each kind were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// Uploads that were granted.
    pub begun: u64,
    /// Resumes that were granted.
    pub resumed: u64,
    /// Durable offsets above zero.
    pub durable: u64,
    /// SUCCESS, without repetitions.
    pub receipts: u64,
    /// Damaged blocks that were refused.
    pub damaged: u64,
    /// Blocks that their client has withdrawn.
    pub taken_back: u64,
    /// Uploads that were cancelled.
    pub cancelled: u64,
    /// Answers that said that a tree was changed.
    pub tree_changes: u64,
    /// Answers over HTTP that promised something. The other numbers have them as well.
    pub over_http: u64,
    /// Documents, or parts of them, that were read over HTTP.
    pub http_reads: u64,
}

impl Heard {
    /// The promises that a crash can break. A grant is one of them: after a crash its upload has to
    /// be found under the number that the client was told.
    pub fn promises(&self) -> u64 {
        self.begun + self.resumed + self.durable + self.receipts + self.tree_changes
    }
}

/// One document, as far as the test knows.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) owner: UserId,
    pub(super) test_file: Arc<TestFile>,
    pub(super) hash: FileHash,
    pub(super) blocks: bool,
    /// The real client sends it; the raw test clients do not send it.
    pub(super) by_client: bool,
    /// It was sent at once, together with `complete`.
    is_thrown: bool,
    durable: u64,
    /// Blocks that were sent damaged on purpose, or are being withdrawn. The server may take back
    /// what it has promised from there on, until the blocks are settled.
    doubts: BTreeSet<u64>,
    pub(super) may_be_completed: bool,
    pub(super) may_be_cancelled: bool,
    is_cancelled: bool,
    /// The server has said that it has given the upload up.
    told_failed: bool,
    pub(super) receipt: Option<Success>,
    /// SUCCESS was received, by a raw client or by the real one.
    is_confirmed: bool,
    /// The document will not change any more, and it was checked after a disaster.
    pub(super) is_settled: bool,
}

impl Entry {
    pub(super) fn new(owner: UserId, test_file: Arc<TestFile>, blocks: bool) -> Self {
        Self {
            owner,
            hash: test_file.hash(),
            test_file,
            blocks,
            by_client: false,
            is_thrown: false,
            durable: 0,
            doubts: BTreeSet::new(),
            may_be_completed: false,
            may_be_cancelled: false,
            is_cancelled: false,
            told_failed: false,
            receipt: None,
            is_confirmed: false,
            is_settled: false,
        }
    }

    /// A document that the real client sends. That client sends `complete` on its own decision.
    pub(super) fn of_client(owner: UserId, test_file: Arc<TestFile>) -> Self {
        Self { by_client: true, may_be_completed: true, ..Self::new(owner, test_file, true) }
    }

    /// A small file that is sent at once.
    pub(super) fn thrown(owner: UserId, test_file: Arc<TestFile>, blocks: bool) -> Self {
        Self { is_thrown: true, may_be_completed: true, ..Self::new(owner, test_file, blocks) }
    }

    /// The number of bytes that the server must hold in any case.
    pub(super) fn promised(&self) -> u64 {
        let doubt = self.doubts.first().map_or(u64::MAX, |index| index * BLOCK as u64);
        self.durable.min(doubt)
    }

    /// The server has dropped that block, or holds it with the right content. It may have taken
    /// back meanwhile what it had promised beyond the block.
    fn settle_block(&mut self, index: u64) {
        if self.doubts.remove(&index) {
            self.durable = self.durable.min(index * BLOCK as u64);
        }
    }

    /// The document has to be there, whatever happens.
    pub(super) fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    pub(super) fn is_unfinished(&self) -> bool {
        !self.is_confirmed && !self.may_be_cancelled && !self.told_failed && !self.is_settled
    }
}

impl Ledger {
    /// The record for a server whose durability is relaxed, or is not.
    pub(super) fn of_server(is_relaxed: bool) -> Self {
        let book = Arc::new(Mutex::new(Book { is_relaxed, ..Book::default() }));
        Self { book, trees: TreeLedger::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record of the users' trees.
    pub(super) fn trees(&self) -> &TreeLedger {
        &self.trees
    }

    /// The first promise that was broken, in words.
    pub(super) fn broken(&self) -> Option<String> {
        self.book().broken.clone()
    }

    pub(super) fn heard(&self) -> Heard {
        Heard { tree_changes: self.trees.changes_shown(), ..self.book().heard }
    }

    /// Records that a promise was broken. Only the first one is kept.
    pub(super) fn breach(&self, what: String) {
        self.book().breach(what);
    }

    /// An upload was granted.
    pub(super) fn begun(&self, id: DocumentId, entry: Entry) {
        let mut book = self.book();
        book.heard.begun += 1;
        if entry.is_thrown {
            // Its document number is known now, and one file in the folder belongs to it.
            let file = (entry.owner, entry.hash);
            if let Some(at) = book.told_to_put.iter().position(|told| *told == file) {
                book.told_to_put.swap_remove(at);
            }
        }
        if book.documents.insert(id, entry).is_some() {
            book.breach(format!("document {id} was given out twice"));
        }
    }

    /// Changes the entry of a document.
    pub(super) fn change<T>(&self, id: DocumentId, how: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.book().documents.get_mut(&id).map(how)
    }

    /// Block `index` is about to be sent damaged.
    pub(super) fn doubt(&self, id: DocumentId, index: usize) {
        self.change(id, |entry| entry.doubts.insert(index as u64));
    }

    /// The server holds these blocks, with the right values.
    pub(super) fn held(&self, id: DocumentId, blocks: &BTreeSet<usize>) {
        self.change(id, |entry| blocks.iter().for_each(|index| entry.settle_block(*index as u64)));
    }

    /// The server holds a block with a value that is not the file's value.
    pub(super) fn held_otherwise(&self, id: DocumentId, index: usize) {
        let words = self.entry(id).map_or_else(String::new, |entry| entry.words());
        self.breach(format!("{id}: block {index} is held with another value; {words}"));
    }

    /// Block `index` was withdrawn, together with what was promised of it.
    pub(super) fn taken_back(&self, id: DocumentId, index: usize) {
        let mut book = self.book();
        book.heard.taken_back += 1;
        if let Some(entry) = book.documents.get_mut(&id) {
            entry.settle_block(index as u64);
        }
    }

    /// An upload of that owner that lacks bytes and is fit for the caller, claimed for it.
    pub(super) fn claim(
        &self,
        owner: UserId,
        chance: &mut fastrand::Rng,
        is_fit: impl Fn(&Entry) -> bool,
    ) -> Option<DocumentId> {
        let mut book = self.book();
        // With some probability, one that another client is sending: a takeover.
        let takeover = chance.u8(..) < 20;
        let free: Vec<DocumentId> = book
            .documents
            .iter()
            .filter(|(id, _)| takeover || !book.claimed.contains(id))
            .filter(|(_, entry)| entry.owner == owner && !entry.by_client && entry.is_unfinished())
            .filter(|(_, entry)| is_fit(entry))
            .map(|(id, _)| *id)
            .collect();
        let id = chance.choice(free)?;
        book.claimed.insert(id);
        Some(id)
    }

    /// No client sends it any more.
    pub(super) fn release_all(&self) {
        self.book().claimed.clear();
    }

    pub(super) fn entry(&self, id: DocumentId) -> Option<Entry> {
        self.book().documents.get(&id).cloned()
    }

    /// This file is sent by a client that may end before it has read the document number: the real
    /// client, or a raw client that sends the file at once.
    pub(super) fn will_be_put(&self, owner: UserId, hash: FileHash) {
        self.book().told_to_put.push((owner, hash));
    }

    /// How many files with that hash the folder of that owner may have.
    pub(super) fn may_lie_there(&self, owner: UserId, hash: &str) -> usize {
        let book = self.book();
        let own = book.documents.values().filter(|entry| entry.owner == owner);
        let asked = own.filter(|entry| entry.may_be_completed && entry.hash.to_string() == hash);
        let put = book.told_to_put.iter();
        let put = put.filter(|(user, file)| *user == owner && file.to_string() == hash);
        asked.count() + put.count()
    }

    /// Every document of that owner for which the condition is true.
    pub(super) fn of(&self, owner: UserId, is_it: impl Fn(&Entry) -> bool) -> Vec<DocumentId> {
        let book = self.book();
        let own = book.documents.iter().filter(|(_, entry)| entry.owner == owner && is_it(entry));
        own.map(|(id, _)| *id).collect()
    }

    /// Uploads of which the test does not know whether they were cancelled.
    pub(super) fn half_cancelled(&self, owner: UserId) -> Vec<DocumentId> {
        self.of(owner, |entry| entry.may_be_cancelled && !entry.is_cancelled && !entry.is_settled)
    }

    /// Every document of that owner that lacks bytes, as far as the test knows.
    pub(super) fn unfinished(&self, owner: UserId) -> Vec<DocumentId> {
        self.of(owner, Entry::is_unfinished)
    }

    /// Records a message of the server, other than a grant.
    pub(super) fn hear(&self, user: UserId, reply: &Reply) {
        if let Err(wrong) = self.trees.hear(user, reply) {
            self.breach(format!("what is shown of a tree: {wrong}"));
        }
        let mut book = self.book();
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

    /// The number of bytes of a document that the server has called durable.
    pub(super) fn durable(&self, id: DocumentId, durable: Offset) {
        self.book().durable(id, durable);
    }

    /// The real client has printed that a document is completed, with that hash.
    pub(super) fn completed_by_client(&self, id: DocumentId, hash: &str) {
        let mut book = self.book();
        book.heard.receipts += 1;
        let is_relaxed = book.is_relaxed;
        let Some(entry) = book.documents.get_mut(&id) else { return };
        // The client does not print whether the server called the document durable.
        entry.is_confirmed |= !is_relaxed;
        if entry.hash.to_string() != hash {
            book.breach(format!("{id}: the client says completed, with the hash {hash}"));
        }
    }

    /// An answer over HTTP has promised something.
    pub(super) fn promised_over_http(&self) {
        self.book().heard.over_http += 1;
    }

    /// A document was read over HTTP, and its bytes were right.
    pub(super) fn read_over_http(&self) {
        self.book().heard.http_reads += 1;
    }

    /// An answer over HTTP has said that a document is stored, and survives a power cut or will.
    pub(super) fn stored(&self, id: DocumentId, survives: Survives) {
        let mut book = self.book();
        let Some(entry) = book.documents.get_mut(&id) else { return };
        let is_first = !entry.is_confirmed;
        entry.is_confirmed |= survives == Survives::PowerCuts;
        let broken = (!entry.may_be_completed).then(|| entry.words());
        book.heard.receipts += u64::from(is_first);
        if let Some(words) = broken {
            book.breach(format!("{id}: stored, and nobody asked (P2); {words}"));
        }
    }

    /// An answer over HTTP has said that an upload is cancelled.
    pub(super) fn cancelled(&self, id: DocumentId) {
        let mut book = self.book();
        book.heard.cancelled += 1;
        if let Some(entry) = book.documents.get_mut(&id) {
            entry.is_cancelled = true;
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
        self.breach(format!("{id}: granted, and not found; {}", known.words()));
    }

    /// Compares a status after a disaster with what was promised before it. `known` is the entry as
    /// it was before the question.
    pub(super) fn status(&self, id: DocumentId, known: &Entry, status: &Status) {
        if let Some(breach) = breach(known, status) {
            self.breach(format!("{id}: {breach}; {known}; {status:?}", known = known.words()));
        }
    }
}

/// What a document outlives, as the server has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survives {
    /// The death of the server; its sync follows.
    Kills,
    /// A power cut as well.
    PowerCuts,
}

/// How a status breaks a promise, if it does.
fn breach(known: &Entry, status: &Status) -> Option<&'static str> {
    match status.status.as_str() {
        "uploading" | "publishing" if known.is_confirmed => Some("SUCCESS was undone (P3)"),
        "uploading" | "publishing" if known.is_cancelled => Some("a cancel was undone"),
        "uploading" if status.durable.get() < known.promised() => {
            Some("durable bytes were lost (P1)")
        }
        "uploading" | "publishing" => None,
        "completed" if !known.may_be_completed => Some("completed, and nobody asked (P2)"),
        "completed" if known.is_cancelled => Some("a cancel was undone"),
        "completed" if status.blake3 != Some(known.hash) => Some("completed with other bytes (P2)"),
        "completed" => None,
        "cancelled" if known.may_be_cancelled => None,
        "failed" if known.is_confirmed => Some("SUCCESS was undone (P3)"),
        // An upload without a promised byte may be lost: it begins again at 0.
        "failed" if known.told_failed || known.promised() == 0 => None,
        "failed" => Some("given up, with durable bytes (P1)"),
        _ => Some("ended, and nobody asked"),
    }
}

impl Entry {
    /// The entry for the message of a broken promise, without the bytes of the file.
    fn words(&self) -> String {
        let Self { durable, doubts, may_be_completed, may_be_cancelled, blocks, .. } = self;
        format!(
            "of {} bytes; known: durable {durable}, doubts {doubts:?}, complete asked \
             {may_be_completed}, cancel asked {may_be_cancelled}, blocks {blocks}, by client {}, \
             receipt {:?}",
            self.test_file.size(),
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
        let (channel, durable) = (towline_protocol::Channel(0), true);
        let said = Success { channel, durable, ..success.clone() };
        let breach = if said.blake3 != entry.hash {
            Some("SUCCESS for other bytes (P2)")
        } else if !entry.may_be_completed {
            Some("SUCCESS, and nobody asked (P2)")
        } else if !success.durable && !self.is_relaxed {
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
        entry.is_confirmed |= success.durable;
        if let Some(breach) = breach {
            self.breach(format!("{}: {breach}; {words}; {success:?}", success.document_id));
        }
    }

    /// In this test no disk fails and no disk is full. So a server whose power is on may refuse a
    /// request only because of what its client did.
    fn error(&mut self, error: &ErrorReply) {
        if matches!(
            error.code,
            Code::Internal
                | Code::StorageFailed
                | Code::StorageReadOnly
                | Code::NoSpace
                | Code::Damaged
        ) {
            self.breach(format!("nothing is wrong with the disk: {error:?}"));
        }
        let Some(id) = error.document_id else { return };
        let Some(entry) = self.documents.get_mut(&id) else { return };
        match error.code {
            Code::Failed if entry.promised() > 0 => {
                let words = entry.words();
                self.breach(format!("{id}: given up, with durable bytes (P1); {words}"));
            }
            Code::Failed => entry.told_failed = true,
            Code::HashMismatch => {
                entry.told_failed = true;
                self.breach(format!("{id}: what was sent right is not what was kept: {error:?}"));
            }
            Code::BlockMismatch => {
                let index = error.index.map_or(0, |index| index.get());
                let is_ours = entry.doubts.contains(&index);
                entry.settle_block(index);
                self.heard.damaged += 1;
                if !is_ours {
                    self.breach(format!("{id}: block {index} was sent right and is refused"));
                }
            }
            _ => {}
        }
    }
}
