//! Somebody who uploads: one file after another over one connection, old ones
//! first, some with values of their blocks, some of those damaged on the way.

use super::ledger::{Entry, Ledger};
use super::talk::{Gone, Talk};
use crate::corpus::{BLOCK, Corpus};
use crate::parcel::parcel;
use crate::site::Person;
use crate::speaker::{Heard, about, offset, position, resume, upload};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use towline_protocol::request::{Complete, Resume, Upload, Withdraw};
use towline_protocol::{Channel, Code, Reply, Request, frame};
use towline_types::{BlockIndex, DocumentId, Offset};

/// One connection's work.
pub(super) struct Uploader {
    pub(super) talk: Talk,
    pub(super) person: Person,
    pub(super) ledger: Ledger,
    pub(super) chance: fastrand::Rng,
    /// Whether some blocks are sent damaged.
    pub(super) damages: bool,
}

/// What ends an upload, or at least our part of it.
enum End {
    /// The connection.
    Gone,
    /// The server said no.
    Refused(Code),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// One upload on its way.
struct Cargo {
    id: DocumentId,
    channel: Channel,
    corpus: Arc<Corpus>,
    blocks: bool,
    /// How often it rests: disasters are to find uploads half done.
    rests: u8,
}

/// Each block is damaged once at the most, so `complete` cannot be refused more often.
const ATTEMPTS: usize = 8;

/// A file of a size at which something could go wrong.
pub(super) fn any_file(chance: &mut fastrand::Rng) -> Arc<Corpus> {
    let size = match chance.u8(0..10) {
        0 => chance.usize(0..3),
        1..3 => chance.usize(1..70_000),
        3 => BLOCK * chance.usize(1..4),
        4..6 => chance.usize(1..BLOCK + 70_000),
        _ => chance.usize(BLOCK..4 * BLOCK + 70_000),
    };
    Arc::new(Corpus::of_seed(size, chance.u64(..)))
}

impl Uploader {
    /// Works until the connection ends or the server refuses to go on.
    pub(super) async fn work(&mut self) {
        loop {
            match self.one(None).await {
                Ok(()) | Err(End::Refused(Code::Superseded | Code::BadState)) => {}
                Err(_) => return,
            }
        }
    }

    /// Brings one unfinished upload to its end, without harming it.
    pub(super) async fn finish(&mut self, id: DocumentId) -> Result<(), String> {
        match self.one(Some(id)).await {
            Ok(()) => Ok(()),
            Err(End::Gone) => Err("the connection ended".to_owned()),
            Err(End::Refused(code)) => Err(format!("refused with {code}")),
        }
    }

    async fn one(&mut self, wanted: Option<DocumentId>) -> Result<(), End> {
        let is_last = wanted.is_some();
        let claimed = wanted.or_else(|| {
            let again = self.chance.u8(..) < 200;
            again.then(|| self.ledger.claim(self.person.id, &mut self.chance)).flatten()
        });
        if claimed.is_none() && self.chance.u8(..) < 100 {
            return self.throw().await;
        }
        let (cargo, from) = match claimed {
            Some(id) => match self.go_on(id).await? {
                Some(going) => going,
                None => return Ok(()),
            },
            None => self.begin().await?,
        };
        if cargo.blocks {
            self.send_blocks(&cargo, from, is_last).await?;
        } else {
            self.send_from(&cargo, position(from)).await?;
        }
        if !is_last && self.chance.u8(..) < 6 {
            return self.cancel(&cargo).await;
        }
        self.complete(&cargo).await
    }

    /// Sends a small file and waits for nothing before it has sent all of it. Where it is
    /// cut off nobody knows its number: it may lie there, whole, or not.
    async fn throw(&mut self) -> Result<(), End> {
        let corpus = Corpus::of_seed(self.chance.usize(1..60_000), self.chance.u64(..));
        let corpus = Arc::new(corpus);
        let request = self.wish(&corpus);
        let (channel, owner) = (request.channel, self.person.id);
        self.ledger.will_be_put(owner, corpus.hash());
        let entry = Entry::thrown(owner, Arc::clone(&corpus), request.blocks);
        self.talk.will_begin(channel, entry);
        self.talk.send(&parcel(request, &corpus)).await?;
        match self.answer(channel).await? {
            Reply::Upload(_) => {}
            other => panic!("an upload is answered by {other:?}"),
        }
        loop {
            match self.answer(channel).await? {
                Reply::Success(_) => return Ok(()),
                Reply::Progress(_) => {}
                other => panic!("complete is answered by {other:?}"),
            }
        }
    }

    /// A new file, in some folder.
    fn wish(&mut self, corpus: &Corpus) -> Upload {
        let blocks = self.chance.bool();
        let channel = self.talk.channel();
        let mut request = Upload { channel, blocks, ..upload(&self.name(), corpus) };
        if self.chance.u8(..) < 60 {
            request.folder = vec!["in".to_owned(), format!("folder {}", self.chance.u8(..))];
        }
        request
    }

    async fn begin(&mut self) -> Result<(Cargo, Offset), End> {
        let corpus = any_file(&mut self.chance);
        let request = self.wish(&corpus);
        let (channel, blocks) = (request.channel, request.blocks);
        self.talk.will_begin(channel, Entry::new(self.person.id, Arc::clone(&corpus), blocks));
        self.talk.ask(&Request::Upload(request)).await?;
        match self.answer(channel).await? {
            Reply::Upload(granted) => {
                let id = granted.document_id;
                Ok((self.cargo(id, channel, corpus, blocks), granted.offset))
            }
            other => panic!("an upload is answered by {other:?}"),
        }
    }

    fn cargo(
        &mut self,
        id: DocumentId,
        channel: Channel,
        corpus: Arc<Corpus>,
        blocks: bool,
    ) -> Cargo {
        let rests = [0, 40, 120][self.chance.usize(0..3)];
        Cargo { id, channel, corpus, blocks, rests }
    }

    /// Some names come again and again: the server finds another for them.
    fn name(&mut self) -> String {
        match self.chance.u8(0..4) {
            0 => "the same.bin".to_owned(),
            _ => format!("file {}.bin", self.chance.u32(..)),
        }
    }

    /// Goes on with an upload; nothing where it was completed already.
    async fn go_on(&mut self, id: DocumentId) -> Result<Option<(Cargo, Offset)>, End> {
        let Some(entry) = self.ledger.entry(id) else { return Ok(None) };
        let channel = self.talk.channel();
        let (corpus, blocks) = (entry.corpus, entry.blocks);
        self.talk.ask(&Request::Resume(Resume { channel, blocks, ..resume(id) })).await?;
        match self.answer(channel).await? {
            Reply::Resume(granted) => {
                Ok(Some((self.cargo(id, channel, corpus, blocks), granted.offset)))
            }
            Reply::Success(_) => Ok(None),
            other => panic!("a resume is answered by {other:?}"),
        }
    }

    async fn send_from(&mut self, cargo: &Cargo, mut at: usize) -> Result<(), End> {
        while at < cargo.corpus.size() {
            let end = (at + self.chunk_length()).min(cargo.corpus.size());
            self.chunk(cargo, at, &cargo.corpus.bytes[at..end]).await?;
            at = end;
        }
        Ok(())
    }

    /// Every block that the server does not hold, in any order; the one in which it
    /// stands from where it stands.
    async fn send_blocks(&mut self, cargo: &Cargo, from: Offset, is_last: bool) -> Result<(), End> {
        let mut held = self.held(cargo).await?;
        if let Some(index) = self.chance.choice(held.clone()).filter(|_| self.chance.u8(..) < 30) {
            self.take_back(cargo, index).await?;
            held.remove(&index);
        }
        let open = position(from) / BLOCK;
        let mut missing: Vec<usize> =
            (0..cargo.corpus.block_count()).filter(|index| !held.contains(index)).collect();
        self.chance.shuffle(&mut missing);
        for index in missing {
            if cargo.corpus.block_end(index) <= position(from) {
                // It is all there; only nobody said which value it has.
                self.announce(cargo, index).await?;
                continue;
            }
            let start = if index == open { position(from) } else { index * BLOCK };
            let damage = self.damages && !is_last && self.chance.u8(..) < 12;
            self.block(cargo, index, start, damage).await?;
        }
        Ok(())
    }

    async fn block(
        &mut self,
        cargo: &Cargo,
        index: usize,
        start: usize,
        damage: bool,
    ) -> Result<(), End> {
        let corpus = &cargo.corpus;
        let mut bytes = corpus.bytes[start..corpus.block_end(index)].to_vec();
        if damage && !bytes.is_empty() {
            self.ledger.doubt(cargo.id, index);
            let turned = self.chance.usize(0..bytes.len());
            bytes[turned] ^= 1 << self.chance.u8(0..8);
        }
        // The value comes before the bytes, or behind them.
        let first = self.chance.bool();
        if first {
            self.announce(cargo, index).await?;
        }
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + self.chunk_length()).min(bytes.len());
            self.chunk(cargo, start + at, &bytes[at..end]).await?;
            at = end;
        }
        if !first {
            self.announce(cargo, index).await?;
        }
        Ok(())
    }

    async fn announce(&mut self, cargo: &Cargo, index: usize) -> Result<(), End> {
        let place = BlockIndex::new(index as u64).expect("a block in memory");
        let value = cargo.corpus.value(index);
        Ok(self.talk.send(&frame::block(cargo.channel, place, value)).await?)
    }

    /// The blocks that the server holds verified. Their values must be the file's.
    async fn held(&mut self, cargo: &Cargo) -> Result<BTreeSet<usize>, End> {
        let channel = self.talk.channel();
        let question = towline_protocol::request::About { channel, ..about(cargo.id) };
        self.talk.ask(&Request::Blocks(question)).await?;
        let mut held = BTreeSet::new();
        loop {
            match self.talk.heard().await? {
                Heard::BlockList(on, first, values) if on == channel => {
                    for (place, value) in values.into_iter().enumerate() {
                        let index = usize::try_from(first.get()).expect("a block") + place;
                        held.insert(index);
                        if value != cargo.corpus.value(index) {
                            let id = cargo.id;
                            self.ledger.held_otherwise(id, index);
                        }
                    }
                }
                Heard::Reply(Reply::Blocks(blocks)) if blocks.channel == channel => {
                    self.ledger.held(cargo.id, &held);
                    return Ok(held);
                }
                Heard::Reply(Reply::Error(error))
                    if ends(error.code) && [channel, cargo.channel].contains(&error.channel) =>
                {
                    return Err(End::Refused(error.code));
                }
                _ => {}
            }
        }
    }

    /// Takes back a block, as a client does whose file has changed there.
    async fn take_back(&mut self, cargo: &Cargo, index: usize) -> Result<(), End> {
        self.ledger.doubt(cargo.id, index);
        let first = BlockIndex::new(index as u64).expect("a block in memory");
        let request = Withdraw { channel: cargo.channel, ranges: vec![(first, 1)] };
        self.talk.ask(&Request::Withdraw(request)).await?;
        self.answer(cargo.channel).await?;
        self.ledger.taken_back(cargo.id, index);
        Ok(())
    }

    /// Says `complete`, and sends again what the server refused, until it is done.
    async fn complete(&mut self, cargo: &Cargo) -> Result<(), End> {
        let blake3 = self.chance.bool().then(|| cargo.corpus.hash());
        let request = Complete { channel: cargo.channel, blake3, ..Complete::default() };
        for _ in 0..ATTEMPTS {
            self.ledger.change(cargo.id, |entry| entry.may_be_completed = true);
            self.talk.ask(&Request::Complete(request.clone())).await?;
            loop {
                match self.talk.reply_on(cargo.channel).await? {
                    Reply::Success(_) => return Ok(()),
                    // Refused: `incomplete` says where to go on.
                    Reply::Error(error) if error.code == Code::BlockMismatch => {}
                    Reply::Error(error) if error.code == Code::Incomplete && cargo.blocks => {
                        let at = position(error.expected.unwrap_or(offset(0)));
                        self.block(cargo, at / BLOCK, at, false).await?;
                        break;
                    }
                    Reply::Error(error) => return Err(End::Refused(error.code)),
                    _ => {}
                }
            }
        }
        self.ledger.breach(format!("{}: everything was sent, and it stays incomplete", cargo.id));
        Err(End::Gone)
    }

    /// Cancels an upload of which nobody knows whether it was cancelled before.
    pub(super) async fn cancel_again(&mut self, id: DocumentId) {
        let channel = self.talk.channel();
        let question = towline_protocol::request::About { channel, ..about(id) };
        if self.talk.ask(&Request::Cancel(question)).await.is_ok() {
            let _ = self.answer(channel).await;
        }
    }

    async fn cancel(&mut self, cargo: &Cargo) -> Result<(), End> {
        self.ledger.change(cargo.id, |entry| entry.may_be_cancelled = true);
        let channel = self.talk.channel();
        let question = towline_protocol::request::About { channel, ..about(cargo.id) };
        self.talk.ask(&Request::Cancel(question)).await?;
        self.answer(channel).await.map(drop)
    }

    /// The answer to a request, if it is no refusal.
    async fn answer(&mut self, channel: Channel) -> Result<Reply, End> {
        match self.talk.reply_on(channel).await? {
            Reply::Error(error) => Err(End::Refused(error.code)),
            reply => Ok(reply),
        }
    }

    async fn chunk(&mut self, cargo: &Cargo, at: usize, payload: &[u8]) -> Result<(), End> {
        if self.chance.u8(..) < cargo.rests {
            tokio::time::sleep(Duration::from_millis(self.chance.u64(0..30))).await;
        }
        let length = u32::try_from(payload.len()).expect("a chunk");
        let head = frame::chunk_head(cargo.channel, offset(at), length);
        Ok(self.talk.send(&[&head[..], payload].concat()).await?)
    }

    fn chunk_length(&mut self) -> usize {
        match self.chance.u8(0..4) {
            0 => self.chance.usize(1..5000),
            _ => 64 << 10,
        }
    }
}

/// Whether an error about an upload says that there is no going on with it here.
fn ends(code: Code) -> bool {
    !matches!(code, Code::BlockMismatch | Code::Incomplete)
}
