//! The server and the model side by side: says each command to both, and holds the
//! answers against what the model allows.

use crate::command::{At, Belief, Break, CHANNELS, Claim, Command, LINES, Moment, SIZES, Target};
use crate::document::{Document, No, Order, Phase};
use crate::host::Host;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;
use towline_protocol::reply::{Progress, Status, Success};
use towline_protocol::request::{About, Complete, Find, Resume, Upload, Withdraw};
use towline_protocol::{Channel, Code, ErrorReply, Reply, Request};
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::site::Person;
use towline_tests::speaker::{
    Heard, Speaker, ZERO, find, nobodys_document, offset, position, resume, upload,
};
use towline_types::{BlockIndex, ChainingValue, FileHash, OnConflict};

const NAMES: [&str; 2] = ["a.bin", "b.bin"];

/// A chunk's most.
const CHUNK_MAX: usize = BLOCK;

/// What a channel stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Empty,
    Open {
        document: usize,
        order: Order,
    },
    Refused,
    Done {
        document: usize,
    },
    /// Empty or refused: the specification leaves it open.
    Vague,
}

/// One connection.
struct Line {
    speaker: Speaker,
    slots: [Slot; CHANNELS as usize],
    /// Heard on other channels than the one that was asked about.
    pending: Vec<Heard>,
    /// The durable offset that each channel's upload was last said to have.
    durable: [usize; CHANNELS as usize],
}

pub(crate) struct World {
    host: Host,
    people: Vec<Person>,
    lines: [Option<Line>; LINES],
    documents: Vec<Document>,
    counts: BTreeMap<&'static str, u64>,
}

/// Where something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    channel: u32,
}

impl Place {
    fn channel(self) -> Channel {
        Channel(self.channel)
    }

    fn user(self) -> usize {
        self.line / 2
    }
}

fn corpus(size: usize, salt: u64) -> Corpus {
    Corpus::new(SIZES[size], salt)
}

/// The error in a reply, whose number and retry must be those of the table.
fn error(heard: &Heard) -> Option<&ErrorReply> {
    match heard {
        Heard::Reply(Reply::Error(error)) => {
            assert_eq!((error.number, error.retry), (error.code.number(), error.code.can_retry()));
            Some(error)
        }
        _ => None,
    }
}

fn code(heard: &Heard) -> Option<Code> {
    error(heard).map(|error| error.code)
}

/// Exactly these errors, in that order.
#[track_caller]
fn assert_errors(heard: &[Heard], expected: &[Code]) {
    let codes: Vec<_> = heard.iter().map(code).collect();
    let expected: Vec<_> = expected.iter().copied().map(Some).collect();
    assert_eq!(codes, expected, "{heard:#?}");
}

#[track_caller]
fn assert_nos(heard: &[Heard], nos: &[No]) {
    let codes: Vec<_> = nos.iter().map(|no| no.code()).collect();
    assert_errors(heard, &codes);
    for (heard, no) in heard.iter().zip(nos) {
        let error = error(heard).unwrap();
        match *no {
            No::OffsetMismatch(expected) | No::Incomplete(expected) => {
                assert_eq!(error.expected, Some(offset(expected)), "{error:?}");
            }
            No::BlockMismatch(index) | No::UnknownBlock(index) => {
                assert_eq!(error.index.unwrap().get(), index as u64, "{error:?}");
            }
            No::SizeExceeded | No::HashMismatch => {}
        }
    }
}

/// The one reply that came.
#[track_caller]
fn only(heard: &[Heard]) -> &Reply {
    match heard {
        [Heard::Reply(reply)] => reply,
        other => panic!("one reply was expected: {other:#?}"),
    }
}

#[track_caller]
fn assert_within(what: &str, found: usize, allowed: &RangeInclusive<usize>) {
    assert!(allowed.contains(&found), "{what}: {found} is not in {allowed:?}");
}

impl World {
    pub(crate) fn new(host: Host, people: Vec<Person>) -> Self {
        let lines = std::array::from_fn(|_| None);
        Self { host, people, lines, documents: Vec::new(), counts: BTreeMap::new() }
    }

    /// What happened, and how often.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(what, count)| (*what, *count))
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) async fn apply(&mut self, command: &Command) {
        self.carry_out(command).await;
        for line in self.lines.iter().flatten() {
            assert!(line.pending.is_empty(), "nobody asked for {:?}", line.pending);
        }
    }

    async fn carry_out(&mut self, command: &Command) {
        match *command {
            Command::Upload { line, channel, name, size, salt, blocks, rejects, says_hash } => {
                let corpus = corpus(size, salt);
                let hash = says_hash.then(|| corpus.hash());
                let on_conflict = if rejects { OnConflict::Reject } else { OnConflict::Rename };
                let base = upload(NAMES[name], &corpus);
                let channel_of = Channel(channel);
                let request =
                    Upload { channel: channel_of, blake3: hash, on_conflict, blocks, ..base };
                self.upload(Place { line, channel }, request, NAMES[name], corpus).await;
            }
            Command::BadUpload { line, channel } => {
                let place = Place { line, channel };
                let base = upload("../a.bin", &Corpus::new(10, 0));
                let heard = self
                    .ask(place, &[Request::Upload(Upload { channel: place.channel(), ..base })])
                    .await;
                self.leave(place);
                assert_errors(&heard, &[Code::BadName]);
                self.set(place, Slot::Refused);
            }
            Command::Chunk { target, at, length, is_damaged } => {
                self.chunk(target, at, length, is_damaged).await;
            }
            Command::Fill { target } => self.fill(target).await,
            Command::Announce { target, block, is_right } => {
                self.announce(target, usize::from(block), is_right).await;
            }
            Command::Withdraw { target, first, count } => self.withdraw(target, first, count).await,
            Command::Complete { target, claim, renames } => {
                self.complete(target, claim, renames).await;
            }
            Command::CompleteByNumber { line, channel, document } => {
                self.complete_by_number(Place { line, channel }, document).await;
            }
            Command::Resume { line, channel, document, belief, blocks, other_size } => {
                let place = Place { line, channel };
                if let Some(document) = self.pick(document) {
                    let order = if blocks { Order::Blocks } else { Order::Sequence };
                    self.resume(place, document, belief, order, other_size).await;
                }
            }
            Command::TakeOver { target, length, blocks } => {
                let order = if blocks { Order::Blocks } else { Order::Sequence };
                self.take_over(target, length, order).await;
            }
            Command::Status { line, channel, document } => {
                self.status(Place { line, channel }, document).await;
            }
            Command::Blocks { line, channel, document } => {
                self.blocks(Place { line, channel }, document).await;
            }
            Command::Find { line, name, size, salt } => {
                self.find(line, NAMES[name], &corpus(size, salt)).await;
            }
            Command::Cancel { line, channel, document } => {
                self.cancel(Place { line, channel }, document).await;
            }
            Command::Break { target, how, length } => self.end_line(target, how, length).await,
            Command::Restart => self.restart().await,
            Command::Kill { target, moment, length, after_ms } => {
                if self.host.can_be_killed() {
                    self.kill(target, moment, length, Duration::from_millis(after_ms)).await;
                }
            }
        }
    }

    // Connections and channels.

    async fn line(&mut self, number: usize) -> &mut Line {
        if self.lines[number].is_none() {
            let token = &self.people[number / 2].token;
            let speaker = Speaker::login(self.host.address(), token).await;
            let slots = [Slot::Empty; CHANNELS as usize];
            self.lines[number] =
                Some(Line { speaker, slots, pending: Vec::new(), durable: [0; CHANNELS as usize] });
        }
        self.lines[number].as_mut().unwrap()
    }

    fn slot(&self, place: Place) -> Slot {
        self.lines[place.line]
            .as_ref()
            .map_or(Slot::Empty, |line| line.slots[place.channel as usize])
    }

    fn set(&mut self, place: Place, slot: Slot) {
        let line = self.lines[place.line].as_mut().unwrap();
        if let Slot::Open { .. } = slot {
            line.durable[place.channel as usize] = 0;
        }
        line.slots[place.channel as usize] = slot;
    }

    fn places() -> impl Iterator<Item = Place> {
        (0..LINES).flat_map(|line| (0..CHANNELS).map(move |channel| Place { line, channel }))
    }

    /// Every channel with an upload.
    fn open(&self) -> Vec<(Place, usize, Order)> {
        let open = |place| match self.slot(place) {
            Slot::Open { document, order } => Some((place, document, order)),
            _ => None,
        };
        Self::places().filter_map(open).collect()
    }

    fn writer(&self, document: usize) -> Option<Place> {
        self.open().into_iter().find(|(_, open, _)| *open == document).map(|(place, ..)| place)
    }

    fn aim(&self, target: Target) -> Place {
        let open = self.open();
        match target {
            Target::Open(number) if !open.is_empty() => open[usize::from(number) % open.len()].0,
            Target::Open(_) => Place { line: 0, channel: 0 },
            Target::Any { line, channel } => Place { line, channel },
        }
    }

    fn pick(&self, number: u8) -> Option<usize> {
        let count = self.documents.len();
        (count > 0).then(|| usize::from(number) % count)
    }

    /// The channel is wanted for something else.
    fn leave(&mut self, place: Place) {
        self.set(place, Slot::Empty);
    }

    // Saying and hearing.

    async fn ask(&mut self, place: Place, requests: &[Request]) -> Vec<Heard> {
        self.line(place.line).await;
        for request in requests {
            self.speaker(place).send(request).await;
        }
        self.answers(place).await
    }

    fn speaker(&mut self, place: Place) -> &mut Speaker {
        &mut self.lines[place.line].as_mut().unwrap().speaker
    }

    /// Everything that is said on the channel about what was sent on it so far. A
    /// question about nobody's document, whose answer comes behind all others, tells
    /// where it ends.
    async fn answers(&mut self, place: Place) -> Vec<Heard> {
        let channel = place.channel();
        let nobodys = About { channel, document_id: nobodys_document() };
        self.line(place.line).await;
        self.speaker(place).send(&Request::Status(nobodys)).await;
        let mut heard = self
            .until(place, "the answer to everything", |heard| {
                matches!(heard, Heard::Reply(Reply::Error(error))
                    if error.document_id == Some(nobodys_document()) && error.channel == channel)
            })
            .await;
        heard.pop();
        if let Slot::Open { document, .. } = self.slot(place) {
            let ebb = self.documents[document].ebb;
            let known = &mut self.lines[place.line].as_mut().unwrap().durable;
            let known = &mut known[place.channel as usize];
            *known = (*known).min(ebb);
            self.documents[document].all_heard();
        }
        heard
    }

    /// What came on that channel; progress is looked at and left out.
    async fn until(
        &mut self,
        place: Place,
        what: &str,
        is_last: impl Fn(&Heard) -> bool,
    ) -> Vec<Heard> {
        let heard = self.speaker(place).until(what, is_last).await;
        let mut answers = Vec::new();
        for heard in heard {
            // In the order in which it was said: a promise never goes back.
            if let Heard::Reply(Reply::Status(status)) = &heard {
                self.stands(status);
            }
            match &heard {
                Heard::Reply(Reply::Progress(progress)) => self.progressed(place.line, progress),
                Heard::Reply(reply) if reply.channel() == place.channel() => answers.push(heard),
                Heard::BlockList(channel, ..) if *channel == place.channel() => answers.push(heard),
                _ => self.lines[place.line].as_mut().unwrap().pending.push(heard),
            }
        }
        answers
    }

    /// Waits until the channel has been told that its upload is not its own any more.
    async fn told(&mut self, place: Place, word: Code) {
        let channel = place.channel();
        let is_it = move |heard: &Heard| {
            matches!(heard, Heard::Reply(Reply::Error(error))
                if error.channel == channel && error.code == word)
        };
        let pending = &mut self.lines[place.line].as_mut().unwrap().pending;
        if let Some(found) = pending.iter().position(is_it) {
            pending.remove(found);
        } else {
            let heard = self.until(place, word.as_str(), is_it).await;
            assert_errors(&heard, &[word]);
        }
        self.set(place, Slot::Refused);
    }

    fn stands(&mut self, status: &Status) {
        let known = |known: &&mut Document| known.id == status.document_id && known.is_uploading();
        let Some(document) = self.documents.iter_mut().find(known) else { return };
        let (received, durable) = (position(status.received), position(status.durable));
        assert!(durable <= received, "{status:?}");
        assert!(durable >= document.promised, "{} were promised: {status:?}", document.promised);
        document.promise(durable);
    }

    fn progressed(&mut self, line: usize, progress: &Progress) {
        let number = self.documents.iter().position(|known| known.id == progress.document_id);
        let number = number.unwrap_or_else(|| panic!("of which document? {progress:?}"));
        let document = &mut self.documents[number];
        assert_eq!(document.owner, line / 2, "{progress:?}");
        let (received, durable) = (position(progress.received), position(progress.durable));
        assert!(durable <= received && received <= document.corpus.size(), "{progress:?}");
        assert_eq!(progress.filesize, document.corpus.filesize());
        // What was said to a writer that is none any more may be old.
        let channel = progress.channel.0 as usize;
        let place = Place { line, channel: progress.channel.0 };
        if matches!(self.slot(place), Slot::Open { document, .. } if document == number) {
            let known = &mut self.lines[line].as_mut().unwrap().durable[channel];
            let document = &mut self.documents[number];
            // The model has been told already of blocks that were dropped.
            let floor = (*known).min(document.ebb);
            assert!(durable >= floor, "{durable} are durable, {floor} were: {progress:?}");
            *known = durable;
            document.promise(durable);
        }
    }

    // Commands.

    async fn upload(&mut self, place: Place, request: Upload, name: &'static str, corpus: Corpus) {
        self.count("upload");
        let rejects = request.on_conflict == OnConflict::Reject;
        let order = if request.blocks { Order::Blocks } else { Order::Sequence };
        let asked_for = request.blake3;
        self.line(place.line).await;
        self.leave(place);
        self.speaker(place).send(&Request::Upload(request)).await;
        // Progress of the new upload may come before its answers are looked at.
        let reply = self.until(place, "an answer to upload", |heard| {
            matches!(heard, Heard::Reply(reply)
                if reply.channel() == place.channel() && !matches!(reply, Reply::Progress(_)))
        });
        let mut heard = reply.await;
        // How far a copy is.
        heard.retain(|heard| !matches!(heard, Heard::Reply(Reply::Progress(_))));
        let has_them = |known: &&Document| {
            known.owner == place.user()
                && matches!(&known.phase, Phase::Completed(success)
                    if Some(success.blake3) == asked_for)
        };
        let mut same = self.documents.iter().filter(has_them);
        let is_there = same.clone().any(|known| known.is_at(name, rejects));
        let is_known = same.next().is_some();
        let is_refused = rejects && self.names_of(place.user()).contains(name);
        match only(&heard) {
            Reply::Error(_) if is_refused && !is_there => {
                self.count("exists");
                assert_errors(&heard, &[Code::Exists]);
                self.set(place, Slot::Refused);
            }
            Reply::Success(success) if is_there => {
                assert!(success.existing && !success.copied);
                let number = self.number_of(success);
                assert!(self.documents[number].is_at(name, rejects), "{success:?}");
                self.assert_receipt(number, success);
                assert_eq!(Some(success.blake3), asked_for);
                self.set(place, Slot::Done { document: number });
                self.count("existing");
            }
            Reply::Success(success) if is_known && !is_refused => {
                assert!(success.copied && !success.existing);
                let (id, owner) = (success.document_id, place.user());
                assert!(self.documents.iter().all(|known| known.id != id), "a number of its own");
                let document = Document::new(id, owner, name, corpus, rejects);
                self.documents.push(document.copied());
                let number = self.documents.len() - 1;
                self.completed(number, success.clone());
                self.set(place, Slot::Done { document: number });
                self.count("copied");
            }
            Reply::Upload(granted) if !is_known && !is_refused => {
                assert_eq!(granted.offset, offset(0));
                assert_eq!(granted.filesize, corpus.filesize());
                let id = granted.document_id;
                assert!(self.documents.iter().all(|known| known.id != id), "a number of its own");
                self.documents.push(Document::new(id, place.user(), name, corpus, rejects));
                self.set(place, Slot::Open { document: self.documents.len() - 1, order });
            }
            other => panic!("upload (known: {is_known}) was answered {other:?}"),
        }
    }

    async fn chunk(&mut self, target: Target, at: At, length: usize, is_damaged: bool) {
        let place = self.aim(target);
        self.line(place.line).await;
        let Slot::Open { document: number, order } = self.slot(place) else {
            self.count("chunk for nothing");
            self.speaker(place).chunk(place.channel(), 0, &[1]).await;
            let heard = self.answers(place).await;
            self.complain(place, &heard);
            return;
        };
        let document = &self.documents[number];
        let Some((at, mut bytes)) = piece(document, order, at, length) else { return };
        if is_damaged {
            *bytes.last_mut().unwrap() ^= 1;
        }
        self.count("chunk");
        self.speaker(place).chunk(place.channel(), at, &bytes).await;
        let nos = self.documents[number].chunk(order, at, &bytes);
        let mut heard = self.answers(place).await;
        if nos == [No::SizeExceeded] {
            self.count("beyond the end");
            // The part before the end may have had its own answers.
            let last = heard.pop().and_then(|heard| code(&heard));
            assert!(matches!(last, Some(Code::SizeExceeded | Code::OffsetMismatch)), "{last:?}");
            assert!(heard.iter().all(|heard| code(heard) == Some(Code::BlockMismatch)));
        } else {
            assert_nos(&heard, &nos);
        }
        self.after(place, &nos).await;
    }

    /// What follows from errors on a channel.
    async fn after(&mut self, place: Place, nos: &[No]) {
        if nos.iter().any(|no| matches!(no, No::BlockMismatch(_))) {
            self.count("block dropped");
        }
        if nos.iter().any(|no| no.refuses_channel()) {
            self.count("channel refused");
            self.set(place, Slot::Refused);
            return;
        }
        // Nothing more and nothing less is there.
        if let Slot::Open { document, .. } = self.slot(place) {
            self.check_status(place, document).await;
        }
    }

    /// What is said on a channel that has no upload.
    #[track_caller]
    fn complain(&mut self, place: Place, heard: &[Heard]) {
        match self.slot(place) {
            Slot::Empty => assert_errors(heard, &[Code::BadState]),
            Slot::Vague if !heard.is_empty() => assert_errors(heard, &[Code::BadState]),
            _ => assert!(heard.is_empty(), "{heard:#?}"),
        }
        if !matches!(self.slot(place), Slot::Done { .. }) {
            self.set(place, Slot::Refused);
        }
    }

    async fn fill(&mut self, target: Target) {
        let place = self.aim(target);
        let Slot::Open { document: number, order } = self.slot(place) else { return };
        self.count("fill");
        let mut nos = Vec::new();
        // A block that turns out to be damaged is sent again.
        for _ in 0..2 {
            let count = self.documents[number].corpus.block_count();
            for index in 0..count {
                let document = &self.documents[number];
                if document.content.held().contains(&index) {
                    continue;
                }
                let end = document.corpus.block_end(index);
                let at = document.content.next_in(index);
                if at < end {
                    let bytes = document.corpus.bytes[at..end].to_vec();
                    self.speaker(place).chunk(place.channel(), at, &bytes).await;
                    nos.extend(self.documents[number].chunk(order, at, &bytes));
                }
                let document = &mut self.documents[number];
                if order == Order::Blocks && !document.content.held().contains(&index) {
                    let value = document.corpus.value(index);
                    nos.extend(document.announce(index, value));
                    self.speaker(place).announce(place.channel(), index, value).await;
                }
            }
        }
        let heard = self.answers(place).await;
        assert_nos(&heard, &nos);
        self.after(place, &nos).await;
    }

    async fn announce(&mut self, target: Target, index: usize, is_right: bool) {
        let place = self.aim(target);
        // Without `blocks` an announcement has no meaning that is written down.
        let Slot::Open { document: number, order: Order::Blocks } = self.slot(place) else {
            return;
        };
        self.count("announce");
        let document = &mut self.documents[number];
        let value = if is_right && index < document.corpus.block_count() {
            document.corpus.value(index)
        } else {
            ChainingValue::from_bytes([7; 32])
        };
        let nos: Vec<No> = document.announce(index, value).into_iter().collect();
        self.speaker(place).announce(place.channel(), index, value).await;
        let heard = self.answers(place).await;
        assert_nos(&heard, &nos);
        self.after(place, &nos).await;
    }

    async fn withdraw(&mut self, target: Target, first: usize, count: usize) {
        let place = self.aim(target);
        if let Slot::Done { .. } = self.slot(place) {
            return;
        }
        self.count("withdraw");
        let ranges = vec![(BlockIndex::new(first as u64).unwrap(), count as u64)];
        let request = Withdraw { channel: place.channel(), ranges };
        if let Slot::Open { document, .. } = self.slot(place) {
            self.documents[document].withdraw(first, count);
        }
        let heard = self.ask(place, &[Request::Withdraw(request)]).await;
        let Slot::Open { document: number, .. } = self.slot(place) else {
            self.complain(place, &heard);
            return;
        };
        let document = &self.documents[number];
        let Reply::Withdraw(granted) = only(&heard) else { panic!("{heard:?}") };
        assert_eq!(granted.document_id, document.id);
        assert_eq!(granted.offset, offset(document.content.received()));
        self.after(place, &[]).await;
    }

    async fn complete(&mut self, target: Target, claim: Claim, renames: bool) {
        let place = self.aim(target);
        let slot = self.slot(place);
        let mut request = Complete { channel: place.channel(), ..Complete::default() };
        request.on_conflict = renames.then_some(OnConflict::Rename);
        if let Slot::Open { document, .. } = slot {
            let document = &self.documents[document];
            request.blake3 = match claim {
                Claim::Nothing => None,
                Claim::OfTheFile => Some(document.corpus.hash()),
                Claim::OfWhatIsThere => Some(document.content.hash()),
                Claim::Wrong => Some(FileHash::from_bytes([9; 32])),
            };
        }
        let claimed = request.blake3;
        let heard = self.ask(place, &[Request::Complete(request)]).await;
        let number = match slot {
            Slot::Open { document, .. } => document,
            Slot::Done { document } => {
                self.count("complete again");
                let Reply::Success(success) = only(&heard) else { panic!("{heard:?}") };
                self.assert_receipt(document, success);
                return;
            }
            _ => {
                self.complain(place, &heard);
                return;
            }
        };
        let document = &self.documents[number];
        match document.complete(claimed) {
            Err(allowed) => {
                let found = heard.first().and_then(code);
                let no = allowed.iter().find(|no| Some(no.code()) == found);
                let no = *no.unwrap_or_else(|| panic!("{allowed:?}: {heard:#?}"));
                assert_nos(&heard, &[no]);
                if no == No::HashMismatch {
                    self.count("hash mismatch");
                    self.documents[number].phase = Phase::Failed;
                } else {
                    self.count("incomplete");
                }
                self.after(place, &[no]).await;
            }
            Ok(()) if document.rejects && !renames && self.is_taken(number) => {
                self.count("exists");
                assert_errors(&heard, &[Code::Exists]);
                self.documents[number].vouched_for();
                self.after(place, &[]).await;
            }
            Ok(()) => {
                let Reply::Success(success) = only(&heard) else { panic!("{heard:?}") };
                self.completed(number, success.clone());
                self.set(place, Slot::Done { document: number });
            }
        }
    }

    /// The model's document is complete; the receipt is the one that it must get.
    fn completed(&mut self, number: usize, success: Success) {
        self.count("completed");
        let document = &self.documents[number];
        assert_eq!(success.document_id, document.id);
        assert_eq!(success.filename, self.free_name(number));
        assert_eq!(success.filesize, document.corpus.filesize());
        assert_eq!(success.blake3, document.content.hash(), "the hash of what was sent");
        assert!(success.durable && !success.existing);
        assert!(!success.copied || document.promised == 0, "no byte of it was sent");
        self.documents[number].phase = Phase::Completed(success);
    }

    fn number_of(&self, success: &Success) -> usize {
        let known = self.documents.iter().position(|known| known.id == success.document_id);
        known.unwrap_or_else(|| panic!("a receipt of whose? {success:?}"))
    }

    /// The same receipt as the first.
    #[track_caller]
    fn assert_receipt(&self, number: usize, success: &Success) {
        let Phase::Completed(first) = &self.documents[number].phase else {
            panic!("it is not completed: {success:?}")
        };
        let Success { channel, existing, copied, .. } = *success;
        assert_eq!(*success, Success { channel, existing, copied, ..first.clone() });
    }

    fn names_of(&self, owner: usize) -> BTreeSet<String> {
        let name = |known: &Document| match &known.phase {
            Phase::Completed(success) if known.owner == owner => Some(success.filename.clone()),
            _ => None,
        };
        self.documents.iter().filter_map(name).collect()
    }

    fn is_taken(&self, number: usize) -> bool {
        let document = &self.documents[number];
        self.names_of(document.owner).contains(document.name)
    }

    fn free_name(&self, number: usize) -> String {
        let document = &self.documents[number];
        let taken = self.names_of(document.owner);
        let (stem, extension) = document.name.split_once('.').unwrap();
        let copies = (1..).map(|copy| format!("{stem} ({copy}).{extension}"));
        let mut names = std::iter::once(document.name.to_owned()).chain(copies);
        names.find(|name| !taken.contains(name)).unwrap()
    }

    async fn complete_by_number(&mut self, place: Place, document: u8) {
        let Some(number) = self.pick(document) else { return };
        if self.writer(number) == Some(place) {
            return;
        }
        self.count("complete by number");
        let document_id = Some(self.documents[number].id);
        let request = Complete { channel: place.channel(), document_id, ..Complete::default() };
        let heard = self.ask(place, &[Request::Complete(request)]).await;
        if self.is_hidden(place, number, &heard) {
            return;
        }
        match self.documents[number].phase {
            Phase::Completed(_) => {
                let Reply::Success(success) = only(&heard) else { panic!("{heard:?}") };
                self.assert_receipt(number, success);
                if !matches!(self.slot(place), Slot::Open { .. }) {
                    self.set(place, Slot::Done { document: number });
                }
            }
            Phase::Uploading => assert_errors(&heard, &[Code::BadState]),
            Phase::Failed => assert_errors(&heard, &[Code::Failed]),
            Phase::Cancelled => assert_errors(&heard, &[Code::Cancelled]),
        }
    }

    /// Another user's document is not found.
    #[track_caller]
    fn is_hidden(&mut self, place: Place, number: usize, heard: &[Heard]) -> bool {
        let is_hidden = self.documents[number].owner != place.user();
        if is_hidden {
            self.count("somebody else's");
            assert_errors(heard, &[Code::NotFound]);
        }
        is_hidden
    }

    async fn resume(
        &mut self,
        place: Place,
        number: usize,
        belief: Belief,
        order: Order,
        other_size: bool,
    ) {
        let document = &self.documents[number];
        let expected = document.content.received();
        let belief = if document.is_in_doubt() { Belief::Unsaid } else { belief };
        let belief = if other_size { Belief::Unsaid } else { belief };
        let wish = Resume {
            channel: place.channel(),
            offset: match belief {
                Belief::Unsaid => None,
                Belief::Right => Some(offset(expected)),
                Belief::Wrong => Some(offset(expected + 1)),
            },
            filename: Some(document.name.to_owned()),
            filesize: Some(if other_size {
                Corpus::new(document.corpus.size() + 1, 0).filesize()
            } else {
                document.corpus.filesize()
            }),
            blocks: order == Order::Blocks,
            ..resume(document.id)
        };
        self.count("resume");
        self.line(place.line).await;
        let writer = self.writer(number).filter(|writer| *writer != place);
        self.leave(place);
        self.speaker(place).send(&Request::Resume(wish)).await;
        let heard = self
            .until(place, "an answer to resume", |heard| {
                matches!(heard, Heard::Reply(reply)
                    if reply.channel() == place.channel() && !matches!(reply, Reply::Progress(_)))
            })
            .await;
        self.set(place, Slot::Refused);
        if self.is_hidden(place, number, &heard) {
            return;
        }
        match &self.documents[number].phase {
            Phase::Completed(_) if other_size => assert_errors(&heard, &[Code::FileChanged]),
            Phase::Completed(_) => {
                let Reply::Success(success) = only(&heard) else { panic!("{heard:?}") };
                self.assert_receipt(number, success);
                self.set(place, Slot::Done { document: number });
            }
            Phase::Failed => assert_errors(&heard, &[Code::Failed]),
            Phase::Cancelled => assert_errors(&heard, &[Code::Cancelled]),
            Phase::Uploading if other_size => assert_errors(&heard, &[Code::FileChanged]),
            Phase::Uploading if matches!(belief, Belief::Wrong) => {
                assert_nos(&heard, &[No::OffsetMismatch(expected)]);
            }
            Phase::Uploading => {
                let Reply::Resume(granted) = only(&heard) else { panic!("{heard:?}") };
                assert_eq!(granted.document_id, self.documents[number].id);
                let offset = position(granted.offset);
                self.granted(place, number, writer, order, offset).await;
            }
        }
    }

    async fn granted(
        &mut self,
        place: Place,
        number: usize,
        writer: Option<Place>,
        order: Order,
        offset: usize,
    ) {
        self.count("resumed");
        self.documents[number].resume(order);
        assert_within("resumed at", offset, &self.documents[number].received());
        self.set(place, Slot::Open { document: number, order });
        if let Some(writer) = writer {
            self.count("superseded");
            self.told(writer, Code::Superseded).await;
        }
        let held = self.held(place, number).await;
        let document = &mut self.documents[number];
        assert!(document.may_hold(&held), "{held:?} are held: {:?}", document.content.held());
        document.learn(offset, &held);
        assert_eq!(document.content.received(), offset, "the first byte that is missing");
        self.check_status(place, number).await;
    }

    /// The blocks that the server lists; the values must be those of the bytes.
    async fn held(&mut self, place: Place, number: usize) -> BTreeSet<usize> {
        let document_id = self.documents[number].id;
        let request = Request::Blocks(About { channel: place.channel(), document_id });
        let heard = self.ask(place, &[request]).await;
        let mut held = BTreeSet::new();
        let (last, lists) = heard.split_last().unwrap();
        for list in lists {
            let Heard::BlockList(_, first, values) = list else { panic!("{heard:?}") };
            let first = usize::try_from(first.get()).unwrap();
            for (index, value) in (first..).zip(values) {
                assert!(held.insert(index), "block {index} comes once");
                assert_eq!(*value, self.documents[number].content.value(index), "block {index}");
            }
        }
        let Heard::Reply(Reply::Blocks(end)) = last else { panic!("{heard:?}") };
        assert_eq!((end.count, end.document_id), (held.len() as u64, document_id));
        held
    }

    async fn take_over(&mut self, target: Target, length: usize, order: Order) {
        let place = self.aim(target);
        let Slot::Open { document: number, order: before } = self.slot(place) else { return };
        self.count("taken over in full run");
        self.send_and_forget(place, number, before, length).await;
        // The other connection of the same user.
        let other = Place { line: place.line ^ 1, channel: place.channel };
        self.resume(other, number, Belief::Unsaid, order, false).await;
    }

    /// Sends what comes next and does not wait for its arrival.
    async fn send_and_forget(&mut self, place: Place, number: usize, order: Order, length: usize) {
        let document = &mut self.documents[number];
        if let Some((at, bytes)) = next_piece(document, order, length) {
            document.chunk_perhaps(order, at, &bytes);
            self.speaker(place).chunk(place.channel(), at, &bytes).await;
        }
    }

    async fn status(&mut self, place: Place, document: u8) {
        let Some(number) = self.pick(document) else { return };
        self.count("status");
        self.check_status(place, number).await;
    }

    async fn check_status(&mut self, place: Place, number: usize) {
        let document_id = self.documents[number].id;
        let request = Request::Status(About { channel: place.channel(), document_id });
        let heard = self.ask(place, &[request]).await;
        if self.is_hidden(place, number, &heard) {
            return;
        }
        let Reply::Status(status) = only(&heard) else { panic!("{heard:?}") };
        let is_written = self.writer(number).is_some();
        let document = &self.documents[number];
        assert_eq!(status.filesize, document.corpus.filesize());
        let (name, word) = match &document.phase {
            Phase::Uploading => (document.name, "uploading"),
            Phase::Completed(success) => (success.filename.as_str(), "completed"),
            Phase::Failed => (document.name, "failed"),
            Phase::Cancelled => (document.name, "cancelled"),
        };
        assert_eq!((status.filename.as_str(), status.status.as_str()), (name, word));
        assert_eq!(status.expires_at.is_some(), document.is_uploading());
        assert_eq!(status.reason.is_some(), matches!(word, "failed" | "cancelled"));
        if let Phase::Completed(success) = &document.phase {
            assert_eq!(status.blake3, Some(success.blake3));
            assert_eq!(status.created_at, Some(success.created_at));
        }
        if !document.is_uploading() {
            assert!(!status.active);
            return;
        }
        assert_within("received", position(status.received), &document.received());
        assert!(status.active || !is_written, "somebody sends it");
    }

    async fn blocks(&mut self, place: Place, document: u8) {
        let Some(number) = self.pick(document) else { return };
        self.count("blocks");
        let document = &self.documents[number];
        if document.owner != place.user() {
            let request = About { channel: place.channel(), document_id: document.id };
            let heard = self.ask(place, &[Request::Blocks(request)]).await;
            self.is_hidden(place, number, &heard);
            return;
        }
        if !document.is_uploading() {
            return;
        }
        let held = self.held(place, number).await;
        let document = &self.documents[number];
        assert!(document.may_hold(&held), "{held:?} are held: {:?}", document.content.held());
    }

    async fn find(&mut self, line: usize, name: &str, corpus: &Corpus) {
        self.count("find");
        let place = Place { line, channel: 0 };
        let blake3 = Some(corpus.hash());
        // What is heard later than the answer may promise more.
        let promised: Vec<_> = self.documents.iter().map(|known| known.promised).collect();
        let request = Find { channel: ZERO, blake3, ..find(name, corpus.filesize()) };
        let heard = self.ask(place, &[Request::Find(request)]).await;
        let Reply::Find(found) = only(&heard) else { panic!("{heard:?}") };
        let ours = || self.documents.iter().filter(|known| known.owner == line / 2);
        let is_same = |known: &Document| known.corpus.size() == corpus.size();
        let mut completed = ours().filter(|known| matches!(known.phase, Phase::Completed(_)));
        assert_eq!(found.same_size, completed.any(is_same));
        let same_bytes = |known: &&Document| matches!(&known.phase, Phase::Completed(success) if Some(success.blake3) == blake3);
        let same: Vec<_> = ours().filter(same_bytes).collect();
        let there: Vec<_> = same.iter().filter(|known| known.is_at(name, false)).collect();
        assert_eq!(found.document_id.is_some(), !there.is_empty());
        assert!(found.document_id.is_none_or(|id| there.iter().any(|known| known.id == id)));
        assert_eq!(found.known, there.is_empty() && !same.is_empty());
        let waits = |known: &&Document| known.is_uploading() && known.name == name;
        let waiting: Vec<_> = ours().filter(waits).filter(|known| is_same(known)).collect();
        assert_eq!(found.unfinished.is_some(), !waiting.is_empty());
        if let Some(unfinished) = &found.unfinished {
            let is_it = |known: &Document| known.id == unfinished.document_id;
            assert!(waiting.iter().any(|known| is_it(known)), "{found:?}");
            let number = self.documents.iter().position(is_it).unwrap();
            let allowed = promised[number]..=self.documents[number].content.received();
            assert_within("durable", position(unfinished.offset), &allowed);
        }
    }

    async fn cancel(&mut self, place: Place, document: u8) {
        let Some(number) = self.pick(document) else { return };
        self.count("cancel");
        let writer = self.writer(number);
        let request = About { channel: place.channel(), document_id: self.documents[number].id };
        let mut heard = self.ask(place, &[Request::Cancel(request)]).await;
        if self.is_hidden(place, number, &heard) {
            return;
        }
        match self.documents[number].phase {
            Phase::Completed(_) => return assert_errors(&heard, &[Code::BadState]),
            Phase::Failed => return assert_errors(&heard, &[Code::Failed]),
            Phase::Uploading | Phase::Cancelled => {}
        }
        self.documents[number].phase = Phase::Cancelled;
        match writer {
            Some(writer) if writer == place => {
                // Whether the channel is told twice, and what it is then, is left open.
                heard.retain(|heard| code(heard) != Some(Code::Cancelled));
                self.set(place, Slot::Vague);
            }
            Some(writer) => self.told(writer, Code::Cancelled).await,
            None => {}
        }
        let Reply::Cancel(cancelled) = only(&heard) else { panic!("{heard:?}") };
        assert_eq!(cancelled.status, "cancelled");
    }

    // Ends.

    async fn end_line(&mut self, target: Target, how: Break, length: usize) {
        let place = self.aim(target);
        if self.lines[place.line].is_none() {
            return;
        }
        if let Slot::Open { document, order } = self.slot(place) {
            if let Break::Pause = how {
                // All that was sent is taken, also what is still on its way.
                let pausing = &mut self.documents[document];
                if let Some((at, bytes)) = next_piece(pausing, order, length) {
                    pausing.chunk(order, at, &bytes);
                    self.speaker(place).chunk(place.channel(), at, &bytes).await;
                }
            } else {
                self.send_and_forget(place, document, order, length).await;
            }
        }
        let open: Vec<_> =
            self.open().into_iter().filter(|(open, ..)| open.line == place.line).collect();
        let line = self.lines[place.line].take().unwrap();
        match how {
            Break::Pause => {
                self.count("pause");
                let said = line.speaker.pause().await;
                for (open, number, _) in open {
                    let document = &mut self.documents[number];
                    document.paused_well();
                    let last = said.iter().find(|last| last.document_id == document.id);
                    let last = last.unwrap_or_else(|| panic!("no last word about {number}"));
                    let received = offset(document.content.received());
                    assert_eq!((last.received, last.durable), (received, received));
                    assert_eq!(last.channel, open.channel());
                }
            }
            Break::Close => {
                self.count("close");
                drop(line);
            }
            Break::Reset => {
                self.count("reset");
                line.speaker.reset();
            }
        }
    }

    async fn restart(&mut self) {
        self.count("restart");
        let ending = self.lines.iter_mut().filter_map(Option::take).map(|mut line| {
            // It waits a moment for those who do not hang up.
            tokio::spawn(async move { line.speaker.ended().await })
        });
        let ending: Vec<_> = ending.collect();
        self.host.restart().await;
        for told in ending {
            let told = told.await.unwrap();
            let is_told = told.iter().any(|heard| code(heard) == Some(Code::ShuttingDown));
            assert!(is_told, "it stops without a word: {told:#?}");
        }
        for document in &mut self.documents {
            document.paused_well();
        }
    }

    async fn kill(&mut self, target: Target, moment: Moment, length: usize, after: Duration) {
        let place = self.aim(target);
        let mut completing = None;
        if let Slot::Open { document: number, order } = self.slot(place) {
            match moment {
                Moment::Rest => {}
                Moment::Chunk => self.send_and_forget(place, number, order, length).await,
                Moment::Complete => {
                    let request = Complete { channel: place.channel(), ..Complete::default() };
                    self.speaker(place).send(&Request::Complete(request)).await;
                    completing = Some(number);
                }
            }
        }
        self.count("kill");
        // The moment is left to chance: there is nothing to wait for.
        tokio::time::sleep(after).await;
        self.host.kill_and_start_again().await;
        self.lines = std::array::from_fn(|_| None);
        if let Some(number) = completing {
            self.count("killed while completing");
            self.learn_phase(number).await;
        }
        for document in self.documents.iter_mut().filter(|known| known.is_uploading()) {
            document.killed();
        }
    }

    /// `complete` was said, and nobody heard the answer.
    async fn learn_phase(&mut self, number: usize) {
        let document = &self.documents[number];
        let may_be =
            document.complete(None).is_ok() && !(document.rejects && self.is_taken(number));
        let place = Place { line: document.owner * 2, channel: 0 };
        self.line(place.line).await;
        let document_id = Some(self.documents[number].id);
        let again = Complete { channel: place.channel(), document_id, ..Complete::default() };
        let heard = self.ask(place, &[Request::Complete(again)]).await;
        match only(&heard) {
            Reply::Success(success) => {
                assert!(may_be, "{success:?}");
                self.completed(number, success.clone());
                self.set(place, Slot::Done { document: number });
                self.count("completed under the kill");
            }
            _ => assert_errors(&heard, &[Code::BadState]),
        }
    }

    /// Ends every upload well, and holds what is on the disk against the model: what
    /// was promised is there (P1), names are whole (P2), what was completed stayed (P3),
    /// and nothing else was (P5).
    pub(crate) async fn finish(&mut self) {
        self.restart().await;
        for number in 0..self.documents.len() {
            if !self.documents[number].is_uploading() {
                continue;
            }
            let place = Place { line: self.documents[number].owner * 2, channel: 0 };
            self.resume(place, number, Belief::Unsaid, Order::Sequence, false).await;
            self.fill(Target::Any { line: place.line, channel: 0 }).await;
            let target = Target::Any { line: place.line, channel: 0 };
            self.complete(target, Claim::OfWhatIsThere, true).await;
        }
        for number in 0..self.documents.len() {
            for owner in 0..self.people.len() {
                self.check_status(Place { line: owner * 2, channel: 1 }, number).await;
            }
        }
        self.restart().await;
        let mut expected = BTreeSet::new();
        for document in &self.documents {
            if let Phase::Completed(success) = &document.phase {
                let person = &self.people[document.owner];
                let path = self.host.site().document(person, &success.filename);
                let bytes = std::fs::read(&path).unwrap();
                let here = FileHash::from_bytes(*blake3::hash(&bytes).as_bytes());
                assert_eq!(here, success.blake3, "{} is what was sent", path.display());
                assert_eq!(here, document.content.hash());
                expected.insert(path);
            } else {
                assert!(!document.is_uploading());
            }
        }
        let site = self.host.site();
        let found: BTreeSet<_> = site.on_disk().into_keys().filter(|path| !path.is_dir()).collect();
        assert_eq!(found, expected, "nothing else is there");
    }
}

/// A chunk that is in order, of whichever block wants one first.
fn next_piece(document: &Document, order: Order, length: usize) -> Option<(usize, Vec<u8>)> {
    let blocks = u8::try_from(document.corpus.block_count()).unwrap();
    (0..blocks).find_map(|block| {
        let piece = piece(document, order, At::Next { block }, length)?;
        document.takes(order, piece.0, &piece.1).then_some(piece)
    })
}

/// A chunk of the document's own file.
fn piece(document: &Document, order: Order, at: At, length: usize) -> Option<(usize, Vec<u8>)> {
    let size = document.corpus.size();
    let length = length.min(CHUNK_MAX);
    let blocks = document.corpus.block_count().max(1);
    let next = match (order, at) {
        (Order::Blocks, At::Next { block }) => {
            document.content.next_in(usize::from(block) % blocks)
        }
        _ => document.content.received(),
    };
    let at = match at {
        At::Next { .. } => next,
        At::Duplicate => next.saturating_sub(length),
        At::Gap(gap) => next + gap,
        At::PastEnd => {
            let at = size.saturating_sub(length / 2);
            let mut bytes = document.corpus.bytes[at..].to_vec();
            bytes.resize(bytes.len().max(length / 2) + 1, 0);
            bytes.truncate(CHUNK_MAX);
            return (at + bytes.len() > size).then_some((at, bytes));
        }
    };
    let end = size.min(at + length);
    (at < end).then(|| (at, document.corpus.bytes[at..end].to_vec()))
}
