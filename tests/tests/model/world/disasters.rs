//! Connections that end, servers that stop or are killed, and what is on the disk in the end.

use super::uploading::next_piece;
use super::{Place, Slot, World, assert_errors, code, only};
use crate::command::{Belief, Break, Claim, Moment, Target};
use crate::document::{Order, Phase};
use std::collections::BTreeSet;
use std::time::Duration;
use towline_protocol::request::Complete;
use towline_protocol::{Code, Reply, Request};
use towline_tests::raw_client::offset;
use towline_types::FileHash;

impl World {
    pub(super) async fn end_line(&mut self, target: Target, how: Break, length: usize) {
        let place = self.aim(target);
        if self.lines[place.line].is_none() {
            return;
        }
        if let Slot::Open { document, order } = self.slot(place) {
            if let Break::Pause = how {
                // A pause takes in everything that was sent, also bytes that are still on their
                // way.
                let pausing = &mut self.documents[document];
                if let Some((at, bytes)) = next_piece(pausing, order, length) {
                    pausing.chunk(order, at, &bytes);
                    self.client(place).chunk(place.channel(), at, &bytes).await;
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
                let said = line.client.pause().await;
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
                line.client.reset();
            }
        }
    }

    pub(super) async fn restart(&mut self) {
        self.count("restart");
        let ending = self.lines.iter_mut().filter_map(Option::take).map(|mut line| {
            // The server waits a moment for clients that do not close.
            tokio::spawn(async move { line.client.ended().await })
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

    pub(super) async fn kill(
        &mut self,
        target: Target,
        moment: Moment,
        length: usize,
        after: Duration,
    ) {
        let place = self.aim(target);
        let mut completing = None;
        if let Slot::Open { document: number, order } = self.slot(place) {
            match moment {
                Moment::Rest => {}
                Moment::Chunk => self.send_and_forget(place, number, order, length).await,
                Moment::Complete => {
                    let request = Complete { channel: place.channel(), ..Complete::default() };
                    self.client(place).send(&Request::Complete(request)).await;
                    completing = Some(number);
                }
            }
        }
        self.count("kill");
        // A random moment: there is no event to wait for.
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

    /// `complete` was sent, and its answer was lost.
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

    /// Completes every upload, and compares the disk with the model: promised bytes are there (P1),
    /// published files are complete (P2), completed documents have stayed (P3), and there are no
    /// others (P5).
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
            for owner in 0..self.users.len() {
                self.check_status(Place { line: owner * 2, channel: 1 }, number).await;
            }
        }
        self.restart().await;
        let mut expected = BTreeSet::new();
        for document in &self.documents {
            if let Phase::Completed(success) = &document.phase {
                let user = &self.users[document.owner];
                let path = self.host.site().document(user, &success.filename);
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
