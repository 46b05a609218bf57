//! Commands that begin an upload, continue it, or change its bytes.

use super::{CHUNK_MAX, Place, Slot, World, assert_errors, assert_nos, assert_within, code, only};
use crate::command::{At, Belief, Target};
use crate::document::{Document, No, Order, Phase};
use towline_protocol::request::{Resume, Upload, Withdraw};
use towline_protocol::{Code, Reply, Request};
use towline_tests::raw_client::{Heard, offset, position, resume};
use towline_tests::test_file::TestFile;
use towline_types::{BlockIndex, ChainingValue, OnConflict};

impl World {
    pub(super) async fn upload(
        &mut self,
        place: Place,
        request: Upload,
        name: &'static str,
        test_file: TestFile,
    ) {
        self.count("upload");
        let rejects = request.on_conflict == OnConflict::Reject;
        let order = if request.blocks { Order::Blocks } else { Order::Sequence };
        let asked_for = request.blake3;
        self.line(place.line).await;
        self.leave(place);
        self.client(place).send(&Request::Upload(request)).await;
        // Progress of the new upload may come before its answer is checked.
        let reply = self.until(place, "an answer to upload", |heard| {
            matches!(heard, Heard::Reply(reply)
                if reply.channel() == place.channel() && !matches!(reply, Reply::Progress(_)))
        });
        let mut heard = reply.await;
        // Progress reports of a copy.
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
                let document = Document::new(id, owner, name, test_file, rejects);
                self.documents.push(document.copied());
                let number = self.documents.len() - 1;
                self.completed(number, success.clone());
                self.set(place, Slot::Done { document: number });
                self.count("copied");
            }
            Reply::Upload(granted) if !is_known && !is_refused => {
                assert_eq!(granted.offset, offset(0));
                assert_eq!(granted.filesize, test_file.filesize());
                let id = granted.document_id;
                assert!(self.documents.iter().all(|known| known.id != id), "a number of its own");
                self.documents.push(Document::new(id, place.user(), name, test_file, rejects));
                self.set(place, Slot::Open { document: self.documents.len() - 1, order });
            }
            other => panic!("upload (known: {is_known}) was answered {other:?}"),
        }
    }

    pub(super) async fn chunk(&mut self, target: Target, at: At, length: usize, is_damaged: bool) {
        let place = self.aim(target);
        self.line(place.line).await;
        let Slot::Open { document: number, order } = self.slot(place) else {
            self.count("chunk for nothing");
            self.client(place).chunk(place.channel(), 0, &[1]).await;
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
        self.client(place).chunk(place.channel(), at, &bytes).await;
        let nos = self.documents[number].chunk(order, at, &bytes);
        let mut heard = self.answers(place).await;
        if nos == [No::SizeExceeded] {
            self.count("beyond the end");
            // The part of the chunk before the end may have had answers of its own.
            let last = heard.pop().and_then(|heard| code(&heard));
            assert!(matches!(last, Some(Code::SizeExceeded | Code::OffsetMismatch)), "{last:?}");
            assert!(heard.iter().all(|heard| code(heard) == Some(Code::BlockMismatch)));
        } else {
            assert_nos(&heard, &nos);
        }
        self.after(place, &nos).await;
    }

    /// Does what has to follow errors on a channel.
    pub(super) async fn after(&mut self, place: Place, nos: &[No]) {
        if nos.iter().any(|no| matches!(no, No::BlockMismatch(_))) {
            self.count("block dropped");
        }
        if nos.iter().any(|no| no.refuses_channel()) {
            self.count("channel refused");
            self.set(place, Slot::Refused);
            return;
        }
        // The server has exactly the bytes of the model.
        if let Slot::Open { document, .. } = self.slot(place) {
            self.check_status(place, document).await;
        }
    }

    /// Checks the answers on a channel that has no upload.
    #[track_caller]
    pub(super) fn complain(&mut self, place: Place, heard: &[Heard]) {
        match self.slot(place) {
            Slot::Empty => assert_errors(heard, &[Code::BadState]),
            Slot::Vague if !heard.is_empty() => assert_errors(heard, &[Code::BadState]),
            _ => assert!(heard.is_empty(), "{heard:#?}"),
        }
        if !matches!(self.slot(place), Slot::Done { .. }) {
            self.set(place, Slot::Refused);
        }
    }

    pub(super) async fn fill(&mut self, target: Target) {
        let place = self.aim(target);
        let Slot::Open { document: number, order } = self.slot(place) else { return };
        self.count("fill");
        let mut nos = Vec::new();
        // A block that the server finds damaged is sent again.
        for _ in 0..2 {
            let count = self.documents[number].test_file.block_count();
            for index in 0..count {
                let document = &self.documents[number];
                if document.content.held().contains(&index) {
                    continue;
                }
                let end = document.test_file.block_end(index);
                let at = document.content.next_in(index);
                if at < end {
                    let bytes = document.test_file.bytes[at..end].to_vec();
                    self.client(place).chunk(place.channel(), at, &bytes).await;
                    nos.extend(self.documents[number].chunk(order, at, &bytes));
                }
                let document = &mut self.documents[number];
                if order == Order::Blocks && !document.content.held().contains(&index) {
                    let value = document.test_file.value(index);
                    nos.extend(document.announce(index, value));
                    self.client(place).announce(place.channel(), index, value).await;
                }
            }
        }
        let heard = self.answers(place).await;
        assert_nos(&heard, &nos);
        self.after(place, &nos).await;
    }

    pub(super) async fn announce(&mut self, target: Target, index: usize, is_right: bool) {
        let place = self.aim(target);
        // Without `blocks` the specification gives an announcement no meaning.
        let Slot::Open { document: number, order: Order::Blocks } = self.slot(place) else {
            return;
        };
        self.count("announce");
        let document = &mut self.documents[number];
        let value = if is_right && index < document.test_file.block_count() {
            document.test_file.value(index)
        } else {
            ChainingValue::from_bytes([7; 32])
        };
        let nos: Vec<No> = document.announce(index, value).into_iter().collect();
        self.client(place).announce(place.channel(), index, value).await;
        let heard = self.answers(place).await;
        assert_nos(&heard, &nos);
        self.after(place, &nos).await;
    }

    pub(super) async fn withdraw(&mut self, target: Target, first: usize, count: usize) {
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

    pub(super) async fn resume(
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
                TestFile::new(document.test_file.size() + 1, 0).filesize()
            } else {
                document.test_file.filesize()
            }),
            blocks: order == Order::Blocks,
            ..resume(document.id)
        };
        self.count("resume");
        self.line(place.line).await;
        let writer = self.writer(number).filter(|writer| *writer != place);
        self.leave(place);
        self.client(place).send(&Request::Resume(wish)).await;
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

    pub(super) async fn take_over(&mut self, target: Target, length: usize, order: Order) {
        let place = self.aim(target);
        let Slot::Open { document: number, order: before } = self.slot(place) else { return };
        self.count("taken over in full run");
        self.send_and_forget(place, number, before, length).await;
        // The other connection of the same user.
        let other = Place { line: place.line ^ 1, channel: place.channel };
        self.resume(other, number, Belief::Unsaid, order, false).await;
    }

    /// Sends the next bytes and does not wait until they have arrived.
    pub(super) async fn send_and_forget(
        &mut self,
        place: Place,
        number: usize,
        order: Order,
        length: usize,
    ) {
        let document = &mut self.documents[number];
        if let Some((at, bytes)) = next_piece(document, order, length) {
            document.chunk_perhaps(order, at, &bytes);
            self.client(place).chunk(place.channel(), at, &bytes).await;
        }
    }
}

/// A chunk at the right offset, of the first block that needs one.
pub(super) fn next_piece(
    document: &Document,
    order: Order,
    length: usize,
) -> Option<(usize, Vec<u8>)> {
    let blocks = u8::try_from(document.test_file.block_count()).unwrap();
    (0..blocks).find_map(|block| {
        let piece = piece(document, order, At::Next { block }, length)?;
        document.takes(order, piece.0, &piece.1).then_some(piece)
    })
}

/// A chunk of the document's own file.
fn piece(document: &Document, order: Order, at: At, length: usize) -> Option<(usize, Vec<u8>)> {
    let size = document.test_file.size();
    let length = length.min(CHUNK_MAX);
    let blocks = document.test_file.block_count().max(1);
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
            let mut bytes = document.test_file.bytes[at..].to_vec();
            bytes.resize(bytes.len().max(length / 2) + 1, 0);
            bytes.truncate(CHUNK_MAX);
            return (at + bytes.len() > size).then_some((at, bytes));
        }
    };
    let end = size.min(at + length);
    (at < end).then(|| (at, document.test_file.bytes[at..end].to_vec()))
}
