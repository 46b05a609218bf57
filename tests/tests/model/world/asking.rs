//! Sends messages on a channel, and reads the answers.

use super::{Place, Slot, World, assert_errors};
use crate::document::Document;
use towline_protocol::reply::{Progress, Status};
use towline_protocol::request::DocumentRef;
use towline_protocol::{Code, Reply, Request};
use towline_tests::raw_client::{Heard, RawClient, nobodys_document, position};

impl World {
    pub(super) async fn ask(&mut self, place: Place, requests: &[Request]) -> Vec<Heard> {
        self.line(place.line).await;
        for request in requests {
            self.client(place).send(request).await;
        }
        self.answers(place).await
    }

    pub(super) fn client(&mut self, place: Place) -> &mut RawClient {
        &mut self.lines[place.line].as_mut().unwrap().client
    }

    /// All messages on the channel about what was sent on it so far. A question about a document
    /// that does not exist is answered after all of them, so its answer marks the end.
    pub(super) async fn answers(&mut self, place: Place) -> Vec<Heard> {
        let channel = place.channel();
        let nobodys = DocumentRef { channel, document_id: nobodys_document() };
        self.line(place.line).await;
        self.client(place).send(&Request::Status(nobodys)).await;
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

    /// The messages on that channel; progress reports are checked and left out.
    pub(super) async fn until(
        &mut self,
        place: Place,
        what: &str,
        is_last: impl Fn(&Heard) -> bool,
    ) -> Vec<Heard> {
        let heard = self.client(place).until(what, is_last).await;
        let mut answers = Vec::new();
        for heard in heard {
            // Messages are checked in the order in which they were sent: a promised offset never
            // falls.
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

    /// Waits until the channel has been told that another one has its upload now.
    pub(super) async fn told(&mut self, place: Place, word: Code) {
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
        assert!(durable <= received && received <= document.test_file.size(), "{progress:?}");
        assert_eq!(progress.filesize, document.test_file.filesize());
        // A message to a connection that is no longer the writer may be old.
        let channel = progress.channel.0 as usize;
        let place = Place { line, channel: progress.channel.0 };
        if matches!(self.slot(place), Slot::Open { document, .. } if document == number) {
            let known = &mut self.lines[line].as_mut().unwrap().durable[channel];
            let document = &mut self.documents[number];
            // The model knows already of blocks that were dropped.
            let floor = (*known).min(document.ebb);
            assert!(durable >= floor, "{durable} are durable, {floor} were: {progress:?}");
            *known = durable;
            document.promise(durable);
        }
    }
}
