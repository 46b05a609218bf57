//! `complete`, and the names and receipts that it gives.

use super::{Place, Slot, World, assert_errors, assert_nos, code, only};
use crate::command::{Claim, Target};
use crate::document::{Document, No, Phase};
use std::collections::BTreeSet;
use towline_protocol::reply::Success;
use towline_protocol::request::Complete;
use towline_protocol::{Code, Reply, Request};
use towline_types::{FileHash, OnConflict};

impl World {
    pub(super) async fn complete(&mut self, target: Target, claim: Claim, renames: bool) {
        let place = self.aim(target);
        let slot = self.slot(place);
        let mut request = Complete { channel: place.channel(), ..Complete::default() };
        request.on_conflict = renames.then_some(OnConflict::Rename);
        if let Slot::Open { document, .. } = slot {
            let document = &self.documents[document];
            request.blake3 = match claim {
                Claim::Nothing => None,
                Claim::OfTheFile => Some(document.test_file.hash()),
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

    /// The document is complete in the model, and the receipt is the one that the model requires.
    pub(super) fn completed(&mut self, number: usize, success: Success) {
        self.count("completed");
        let document = &self.documents[number];
        assert_eq!(success.document_id, document.id);
        assert_eq!(success.filename, self.free_name(number));
        assert_eq!(success.filesize, document.test_file.filesize());
        assert_eq!(success.blake3, document.content.hash(), "the hash of what was sent");
        assert!(success.durable && !success.existing);
        assert!(!success.copied || document.promised == 0, "no byte of it was sent");
        self.documents[number].phase = Phase::Completed(success);
    }

    pub(super) fn number_of(&self, success: &Success) -> usize {
        let known = self.documents.iter().position(|known| known.id == success.document_id);
        known.unwrap_or_else(|| panic!("a receipt of whose? {success:?}"))
    }

    /// Checks that the receipt is the same as the first one.
    #[track_caller]
    pub(super) fn assert_receipt(&self, number: usize, success: &Success) {
        let Phase::Completed(first) = &self.documents[number].phase else {
            panic!("it is not completed: {success:?}")
        };
        let Success { channel, existing, copied, .. } = *success;
        assert_eq!(*success, Success { channel, existing, copied, ..first.clone() });
    }

    pub(super) fn names_of(&self, owner: usize) -> BTreeSet<String> {
        let name = |known: &Document| match &known.phase {
            Phase::Completed(success) if known.owner == owner => Some(success.filename.clone()),
            _ => None,
        };
        self.documents.iter().filter_map(name).collect()
    }

    pub(super) fn is_taken(&self, number: usize) -> bool {
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

    pub(super) async fn complete_by_number(&mut self, place: Place, document: u8) {
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
}
