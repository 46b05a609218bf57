//! A client that uploads one file after another over one connection, unfinished ones first, some
//! with the values of their blocks, and some of those with damaged blocks.

use super::crash_client::{CrashClient, Gone};
use super::ledger::{Entry, Ledger};
use crate::one_shot_frames::one_shot_frames;
use crate::raw_client::{Heard, about, chunk_frame, offset, position, resume, upload};
use crate::site::TestUser;
use crate::test_file::{BLOCK, TestFile};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use towline_protocol::request::{Complete, Resume, Upload, Withdraw};
use towline_protocol::{Channel, Code, Reply, Request, frame};
use towline_types::{BlockIndex, DocumentId, Offset};

/// The work on one connection.
pub(super) struct Uploader {
    pub(super) client: CrashClient,
    pub(super) user: TestUser,
    pub(super) ledger: Ledger,
    pub(super) chance: fastrand::Rng,
    /// Whether some blocks are sent damaged.
    pub(super) damages: bool,
}

/// What ends the work on an upload.
enum End {
    /// The connection has ended.
    Gone,
    /// The server has refused.
    Refused(Code),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// One upload that is being sent.
struct Cargo {
    id: DocumentId,
    channel: Channel,
    test_file: Arc<TestFile>,
    blocks: bool,
    /// With which probability the sending rests, in 1/256: disasters have to find unfinished
    /// uploads.
    rests: u8,
}

/// Each block is damaged at most once, so `complete` cannot be refused more often.
const ATTEMPTS: usize = 8;

/// A file of a random size: at most two bytes, small, whole blocks, or some blocks and a rest.
pub(super) fn any_file(chance: &mut fastrand::Rng) -> Arc<TestFile> {
    let size = match chance.u8(0..10) {
        0 => chance.usize(0..3),
        1..3 => chance.usize(1..70_000),
        3 => BLOCK * chance.usize(1..4),
        4..6 => chance.usize(1..BLOCK + 70_000),
        _ => chance.usize(BLOCK..4 * BLOCK + 70_000),
    };
    Arc::new(TestFile::of_seed(size, chance.u64(..)))
}

impl Uploader {
    /// Uploads until the connection ends or the server refuses to continue.
    pub(super) async fn work(&mut self) {
        loop {
            match self.one(None).await {
                Ok(()) | Err(End::Refused(Code::Superseded | Code::BadState)) => {}
                Err(_) => return,
            }
        }
    }

    /// Completes one unfinished upload, without damaged blocks.
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
            again.then(|| self.ledger.claim(self.user.id, &mut self.chance, |_| true)).flatten()
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

    /// Sends a small file at once, before any answer. Where the connection ends, its document
    /// number is unknown, and the file may be published or not.
    async fn throw(&mut self) -> Result<(), End> {
        let test_file = TestFile::of_seed(self.chance.usize(1..60_000), self.chance.u64(..));
        let test_file = Arc::new(test_file);
        let request = self.wish(&test_file);
        let (channel, owner) = (request.channel, self.user.id);
        self.ledger.will_be_put(owner, test_file.hash());
        let entry = Entry::thrown(owner, Arc::clone(&test_file), request.blocks);
        self.client.will_begin(channel, entry);
        self.client.send(&one_shot_frames(request, &test_file)).await?;
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

    /// A request for a new file, in a random folder.
    fn wish(&mut self, test_file: &TestFile) -> Upload {
        let blocks = self.chance.bool();
        let channel = self.client.channel();
        let mut request = Upload { channel, blocks, ..upload(&self.name(), test_file) };
        if self.chance.u8(..) < 60 {
            request.folder = vec!["in".to_owned(), format!("folder {}", self.chance.u8(..))];
        }
        request
    }

    async fn begin(&mut self) -> Result<(Cargo, Offset), End> {
        let test_file = any_file(&mut self.chance);
        let request = self.wish(&test_file);
        let (channel, blocks) = (request.channel, request.blocks);
        self.client.will_begin(channel, Entry::new(self.user.id, Arc::clone(&test_file), blocks));
        self.client.ask(&Request::Upload(request)).await?;
        match self.answer(channel).await? {
            Reply::Upload(granted) => {
                let id = granted.document_id;
                Ok((self.cargo(id, channel, test_file, blocks), granted.offset))
            }
            other => panic!("an upload is answered by {other:?}"),
        }
    }

    fn cargo(
        &mut self,
        id: DocumentId,
        channel: Channel,
        test_file: Arc<TestFile>,
        blocks: bool,
    ) -> Cargo {
        let rests = [0, 40, 120][self.chance.usize(0..3)];
        Cargo { id, channel, test_file, blocks, rests }
    }

    /// Some names are used again and again: the server stores them under another name.
    fn name(&mut self) -> String {
        match self.chance.u8(0..4) {
            0 => "the same.bin".to_owned(),
            _ => format!("file {}.bin", self.chance.u32(..)),
        }
    }

    /// Continues an upload; nothing where it is completed already.
    async fn go_on(&mut self, id: DocumentId) -> Result<Option<(Cargo, Offset)>, End> {
        let Some(entry) = self.ledger.entry(id) else { return Ok(None) };
        let channel = self.client.channel();
        let (test_file, blocks) = (entry.test_file, entry.blocks);
        self.client.ask(&Request::Resume(Resume { channel, blocks, ..resume(id) })).await?;
        match self.answer(channel).await? {
            Reply::Resume(granted) => {
                Ok(Some((self.cargo(id, channel, test_file, blocks), granted.offset)))
            }
            Reply::Success(_) => Ok(None),
            other => panic!("a resume is answered by {other:?}"),
        }
    }

    async fn send_from(&mut self, cargo: &Cargo, mut at: usize) -> Result<(), End> {
        while at < cargo.test_file.size() {
            let end = (at + self.chunk_length()).min(cargo.test_file.size());
            self.chunk(cargo, at, &cargo.test_file.bytes[at..end]).await?;
            at = end;
        }
        Ok(())
    }

    /// Sends every block that the server does not hold, in any order, and the block of the server's
    /// offset from that offset on.
    async fn send_blocks(&mut self, cargo: &Cargo, from: Offset, is_last: bool) -> Result<(), End> {
        let mut held = self.held(cargo).await?;
        if let Some(index) = self.chance.choice(held.clone()).filter(|_| self.chance.u8(..) < 30) {
            self.take_back(cargo, index).await?;
            held.remove(&index);
        }
        let open = position(from) / BLOCK;
        let mut missing: Vec<usize> =
            (0..cargo.test_file.block_count()).filter(|index| !held.contains(index)).collect();
        self.chance.shuffle(&mut missing);
        for index in missing {
            if cargo.test_file.block_end(index) <= position(from) {
                // The server has all bytes of the block; only its value was not announced.
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
        let test_file = &cargo.test_file;
        let mut bytes = test_file.bytes[start..test_file.block_end(index)].to_vec();
        if damage && !bytes.is_empty() {
            self.ledger.doubt(cargo.id, index);
            let turned = self.chance.usize(0..bytes.len());
            bytes[turned] ^= 1 << self.chance.u8(0..8);
        }
        // The value is sent before the bytes, or after them.
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
        let value = cargo.test_file.value(index);
        Ok(self.client.send(&frame::block(cargo.channel, place, value)).await?)
    }

    /// The verified blocks that the server holds. Their values must be those of the file.
    async fn held(&mut self, cargo: &Cargo) -> Result<BTreeSet<usize>, End> {
        let channel = self.client.channel();
        let question = towline_protocol::request::DocumentRef { channel, ..about(cargo.id) };
        self.client.ask(&Request::Blocks(question)).await?;
        let mut held = BTreeSet::new();
        loop {
            match self.client.heard().await? {
                Heard::BlockList(on, first, values) if on == channel => {
                    for (place, value) in values.into_iter().enumerate() {
                        let index = usize::try_from(first.get()).expect("a block") + place;
                        held.insert(index);
                        if value != cargo.test_file.value(index) {
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

    /// Withdraws a block, as a client does where its file has changed.
    async fn take_back(&mut self, cargo: &Cargo, index: usize) -> Result<(), End> {
        self.ledger.doubt(cargo.id, index);
        let first = BlockIndex::new(index as u64).expect("a block in memory");
        let request = Withdraw { channel: cargo.channel, ranges: vec![(first, 1)] };
        self.client.ask(&Request::Withdraw(request)).await?;
        self.answer(cargo.channel).await?;
        self.ledger.taken_back(cargo.id, index);
        Ok(())
    }

    /// Sends `complete`, and sends again what the server refused, until the document is completed.
    async fn complete(&mut self, cargo: &Cargo) -> Result<(), End> {
        let blake3 = self.chance.bool().then(|| cargo.test_file.hash());
        let request = Complete { channel: cargo.channel, blake3, ..Complete::default() };
        for _ in 0..ATTEMPTS {
            self.ledger.change(cargo.id, |entry| entry.may_be_completed = true);
            self.client.ask(&Request::Complete(request.clone())).await?;
            loop {
                match self.client.reply_on(cargo.channel).await? {
                    Reply::Success(_) => return Ok(()),
                    // Refused: `incomplete` says at which offset to continue.
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

    /// Cancels an upload of which the test does not know whether it was cancelled before.
    pub(super) async fn cancel_again(&mut self, id: DocumentId) {
        let channel = self.client.channel();
        let question = towline_protocol::request::DocumentRef { channel, ..about(id) };
        if self.client.ask(&Request::Cancel(question)).await.is_ok() {
            let _ = self.answer(channel).await;
        }
    }

    async fn cancel(&mut self, cargo: &Cargo) -> Result<(), End> {
        self.ledger.change(cargo.id, |entry| entry.may_be_cancelled = true);
        let channel = self.client.channel();
        let question = towline_protocol::request::DocumentRef { channel, ..about(cargo.id) };
        self.client.ask(&Request::Cancel(question)).await?;
        self.answer(channel).await.map(drop)
    }

    /// The answer to a request, unless it is a refusal.
    async fn answer(&mut self, channel: Channel) -> Result<Reply, End> {
        match self.client.reply_on(channel).await? {
            Reply::Error(error) => Err(End::Refused(error.code)),
            reply => Ok(reply),
        }
    }

    async fn chunk(&mut self, cargo: &Cargo, at: usize, payload: &[u8]) -> Result<(), End> {
        if self.chance.u8(..) < cargo.rests {
            tokio::time::sleep(Duration::from_millis(self.chance.u64(0..30))).await;
        }
        Ok(self.client.send(&chunk_frame(cargo.channel, at, payload)).await?)
    }

    fn chunk_length(&mut self) -> usize {
        match self.chance.u8(0..4) {
            0 => self.chance.usize(1..5000),
            _ => 64 << 10,
        }
    }
}

/// Whether an error about an upload means that this client cannot continue it.
fn ends(code: Code) -> bool {
    !matches!(code, Code::BlockMismatch | Code::Incomplete)
}
