//! Questions about documents, and cancelling one.

use super::{Place, Slot, World, assert_errors, assert_within, code, only};
use crate::document::{Document, Phase};
use std::collections::BTreeSet;
use towline_protocol::request::{DocumentRef, Find};
use towline_protocol::{Code, Reply, Request};
use towline_tests::raw_client::{Heard, ZERO, find, position};
use towline_tests::test_file::TestFile;

impl World {
    /// Checks that a document of another user is not found.
    #[track_caller]
    pub(super) fn is_hidden(&mut self, place: Place, number: usize, heard: &[Heard]) -> bool {
        let is_hidden = self.documents[number].owner != place.user();
        if is_hidden {
            self.count("somebody else's");
            assert_errors(heard, &[Code::NotFound]);
        }
        is_hidden
    }

    /// The blocks that the server lists; the values must be those of the bytes.
    pub(super) async fn held(&mut self, place: Place, number: usize) -> BTreeSet<usize> {
        let document_id = self.documents[number].id;
        let request = Request::Blocks(DocumentRef { channel: place.channel(), document_id });
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

    pub(super) async fn status(&mut self, place: Place, document: u8) {
        let Some(number) = self.pick(document) else { return };
        self.count("status");
        self.check_status(place, number).await;
    }

    pub(super) async fn check_status(&mut self, place: Place, number: usize) {
        let document_id = self.documents[number].id;
        let request = Request::Status(DocumentRef { channel: place.channel(), document_id });
        let heard = self.ask(place, &[request]).await;
        if self.is_hidden(place, number, &heard) {
            return;
        }
        let Reply::Status(status) = only(&heard) else { panic!("{heard:?}") };
        let is_written = self.writer(number).is_some();
        let document = &self.documents[number];
        assert_eq!(status.filesize, document.test_file.filesize());
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

    pub(super) async fn blocks(&mut self, place: Place, document: u8) {
        let Some(number) = self.pick(document) else { return };
        self.count("blocks");
        let document = &self.documents[number];
        if document.owner != place.user() {
            let request = DocumentRef { channel: place.channel(), document_id: document.id };
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

    pub(super) async fn find(&mut self, line: usize, name: &str, test_file: &TestFile) {
        self.count("find");
        let place = Place { line, channel: 0 };
        let blake3 = Some(test_file.hash());
        // Messages after the answer may promise more.
        let promised: Vec<_> = self.documents.iter().map(|known| known.promised).collect();
        let request = Find { channel: ZERO, blake3, ..find(name, test_file.filesize()) };
        let heard = self.ask(place, &[Request::Find(request)]).await;
        let Reply::Find(found) = only(&heard) else { panic!("{heard:?}") };
        let ours = || self.documents.iter().filter(|known| known.owner == line / 2);
        let is_same = |known: &Document| known.test_file.size() == test_file.size();
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

    pub(super) async fn cancel(&mut self, place: Place, document: u8) {
        let Some(number) = self.pick(document) else { return };
        self.count("cancel");
        let writer = self.writer(number);
        let request =
            DocumentRef { channel: place.channel(), document_id: self.documents[number].id };
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
                // The specification does not say whether the channel gets a second error, and which
                // one.
                heard.retain(|heard| code(heard) != Some(Code::Cancelled));
                self.set(place, Slot::Vague);
            }
            Some(writer) => self.told(writer, Code::Cancelled).await,
            None => {}
        }
        let Reply::Cancel(cancelled) = only(&heard) else { panic!("{heard:?}") };
        assert_eq!(cancelled.status, "cancelled");
    }
}
