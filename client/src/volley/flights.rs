//! The files of a volley that are on their way, each on its channel.

use super::loader::Small;
use super::{Before, Left, Shot};
use crate::document::Document;
use crate::events::Receipt;
use crate::place;
use std::collections::{BTreeMap, BTreeSet};
use towline_protocol::reply::{Granted, Success, Welcome};
use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Channel, Request, frame};
use towline_types::{BlockIndex, DocumentId, Name, Offset};

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// `upload` was said.
    Begun,
    /// `upload`, bytes and `complete` were said, and nothing was heard.
    Thrown,
    /// It was granted, and bytes and `complete` were sent.
    Sent(DocumentId),
}

#[derive(Debug)]
struct Flight {
    shot: usize,
    small: Small,
    stage: Stage,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Flights<'a> {
    shots: &'a [Shot<'a>],
    by_channel: BTreeMap<Channel, Flight>,
    bytes: usize,
    left: Left,
    /// Channels on which the answer to a needless `complete` is still to come.
    echoing: BTreeSet<Channel>,
    /// The last answer was a grant: it pays to send bytes along with the wish.
    are_wanted: bool,
}

impl<'a> Flights<'a> {
    pub(super) fn new(shots: &'a [Shot<'a>]) -> Self {
        Self {
            shots,
            by_channel: BTreeMap::new(),
            bytes: 0,
            left: Left::new(),
            echoing: BTreeSet::new(),
            are_wanted: false,
        }
    }

    pub(super) fn shots(&self) -> &'a [Shot<'a>] {
        self.shots
    }

    /// Whether every answer is there, the needless ones too.
    pub(super) fn is_empty(&self) -> bool {
        self.channels() == 0
    }

    /// Channels that are in use.
    pub(super) fn channels(&self) -> usize {
        self.by_channel.len() + self.echoing.len()
    }

    /// The bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has(&self, channel: Channel) -> bool {
        self.by_channel.contains_key(&channel) || self.echoing.contains(&channel)
    }

    /// A file sets out on a channel that is free; with these frames.
    pub(super) fn launch(
        &mut self,
        channel: Channel,
        shot: usize,
        small: Small,
        welcome: &Welcome,
    ) -> Vec<u8> {
        let Shot { document, on_conflict, again, .. } = self.shots[shot];
        let mut frames = frame::control(&Request::Upload(Upload {
            channel,
            filename: document.remote.filename().to_string(),
            folder: folder(document),
            filesize: small.filesize,
            user_id: Some(welcome.user_id),
            chunk_size: Some(welcome.chunk_size),
            blake3: (!again).then_some(small.blake3),
            on_conflict: on_conflict.unwrap_or_default(),
            blocks: true,
            new_only: true,
        }));
        // With its hash the same file is never published twice, whatever becomes of the
        // connection: the next time the server finds it, begun or completed.
        let is_thrown = self.are_wanted && !again;
        let stage = if is_thrown { Stage::Thrown } else { Stage::Begun };
        if is_thrown {
            frames.extend_from_slice(&bytes_and_complete(channel, None, &small, welcome));
        }
        self.bytes += small.bytes.len();
        self.by_channel.insert(channel, Flight { shot, small, stage });
        frames
    }

    /// The upload was granted: its bytes, and that this is all, if that was not said.
    pub(super) fn granted(
        &mut self,
        channel: Channel,
        granted: &Granted,
        welcome: &Welcome,
    ) -> Option<Vec<u8>> {
        let flight = self.by_channel.get_mut(&channel)?;
        let is_expected = matches!(flight.stage, Stage::Begun | Stage::Thrown)
            && granted.filesize == flight.small.filesize
            && granted.offset == Offset::ZERO;
        if !is_expected {
            self.give_back(channel);
            return None;
        }
        self.are_wanted = true;
        let id = granted.document_id;
        let stage = std::mem::replace(&mut flight.stage, Stage::Sent(id));
        (stage == Stage::Begun)
            .then(|| bytes_and_complete(channel, Some(id), &flight.small, welcome))
    }

    /// A receipt, if it is that file's.
    pub(crate) fn succeeded(
        &mut self,
        channel: Channel,
        success: Success,
    ) -> Option<(usize, Receipt)> {
        if self.echoing.remove(&channel) {
            return None;
        }
        let flight = self.by_channel.get(&channel)?;
        let is_expected = match flight.stage {
            Stage::Begun | Stage::Thrown => success.existing || success.copied,
            Stage::Sent(document_id) => success.document_id == document_id,
        };
        let Shot { document, on_conflict, .. } = self.shots[flight.shot];
        let is_it = success.filesize == flight.small.filesize
            && success.blake3 == flight.small.blake3
            && place::is_allowed(&success, &document.remote, on_conflict.unwrap_or_default())
            && is_expected;
        if !is_it {
            self.give_back(channel);
            return None;
        }
        let Flight { shot, small, stage } = self.end(channel)?;
        let shot = &self.shots[shot];
        let has_them = success.existing || success.copied;
        if has_them {
            self.are_wanted = false;
        }
        if has_them && stage == Stage::Thrown {
            // `complete` gets the same answer.
            self.echoing.insert(channel);
        }
        let sent_bytes = if stage == Stage::Begun { 0 } else { small.bytes.len() as u64 };
        Some((shot.index, Receipt::of(shot.document, success, sent_bytes)))
    }

    /// The server will not take it like that.
    pub(super) fn refused(&mut self, channel: Channel) {
        if !self.echoing.remove(&channel) {
            self.are_wanted = false;
            self.give_back(channel);
        }
    }

    /// Leaves a file that is on its way to the ordinary way.
    pub(super) fn give_back(&mut self, channel: Channel) {
        if let Some(Flight { shot, stage, .. }) = self.end(channel) {
            let before = match stage {
                Stage::Sent(document_id) => Before::Document(document_id),
                Stage::Thrown => Before::Thrown,
                Stage::Begun => Before::Nothing,
            };
            self.left.insert(self.shots[shot].index, before);
        }
    }

    /// Leaves a file that was not begun.
    pub(super) fn leave(&mut self, shot: usize) {
        self.left.insert(self.shots[shot].index, Before::Nothing);
    }

    /// Everything that was not confirmed.
    pub(crate) fn into_left(mut self) -> Left {
        while let Some(channel) = self.by_channel.keys().next().copied() {
            self.give_back(channel);
        }
        self.left
    }

    fn end(&mut self, channel: Channel) -> Option<Flight> {
        let flight = self.by_channel.remove(&channel)?;
        self.bytes -= flight.small.bytes.len();
        Some(flight)
    }
}

fn bytes_and_complete(
    channel: Channel,
    document_id: Option<DocumentId>,
    small: &Small,
    welcome: &Welcome,
) -> Vec<u8> {
    let mut frames = Vec::with_capacity(small.bytes.len() + 512);
    let mut offset = Offset::ZERO;
    for chunk in small.bytes.chunks(welcome.max_chunk_size.max(1) as usize) {
        let length = u32::try_from(chunk.len()).expect("a small file is at most a block");
        frames.extend_from_slice(&frame::chunk_head(channel, offset, length));
        frames.extend_from_slice(chunk);
        offset = offset.plus(u64::from(length));
    }
    if let Some(value) = small.value {
        frames.extend_from_slice(&frame::block(channel, BlockIndex::FIRST, value));
    }
    let blake3 = Some(small.blake3);
    let complete = Complete { channel, document_id, blake3, on_conflict: None };
    frames.extend_from_slice(&frame::control(&Request::Complete(complete)));
    frames
}

fn folder(document: &Document) -> Vec<String> {
    document.remote.folder().iter().map(Name::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use towline_protocol::Reply;
    use towline_types::block::{hash_block, hash_file};
    use towline_types::{FileSize, Timestamp};

    const WELCOME: &[u8] = br#"{"action":"welcome","version":1,"server":"x","user_id":1,"user":"u",
        "max_filesize":1000,"chunk_size":64,"max_chunk_size":1024,"block_size":1048576,
        "max_channels":1,"features":["new_only"]}"#;

    fn small() -> Small {
        let filesize = FileSize::try_from(5).unwrap();
        let value = Some(hash_block(BlockIndex::FIRST, filesize, b"hello"));
        let blake3 = hash_file(filesize, value);
        Small { filesize, bytes: b"hello".to_vec(), value, blake3 }
    }

    fn id(number: u64) -> DocumentId {
        DocumentId::try_from(number).unwrap()
    }

    fn success(channel: Channel, filename: &str, existing: bool) -> Success {
        Success {
            channel,
            document_id: id(7),
            filename: filename.to_owned(),
            folder: Vec::new(),
            filesize: small().filesize,
            blake3: small().blake3,
            created_at: Timestamp::from_i64(1).unwrap(),
            durable: true,
            existing,
            copied: false,
        }
    }

    #[test]
    fn what_is_thrown_is_remembered_until_its_last_answer() {
        let Ok(Reply::Welcome(welcome)) = Reply::parse(WELCOME) else { panic!("a welcome") };
        let documents: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| Document::in_folder(PathBuf::from(name), Vec::new()).unwrap())
            .into();
        let shot = |(index, document)| Shot { index, document, on_conflict: None, again: false };
        let shots: Vec<_> = documents.iter().enumerate().map(shot).collect();
        let mut flights = Flights::new(&shots);
        let (first, second) = (Channel(1), Channel(2));
        let granted = |channel| Granted {
            channel,
            document_id: id(7),
            offset: Offset::ZERO,
            filesize: small().filesize,
            lease: None,
        };

        // The server has granted nothing yet: the bytes wait for its first grant.
        let wish = flights.launch(first, 0, small(), &welcome);
        let rest = flights.granted(first, &granted(first), &welcome).unwrap();
        assert!(flights.succeeded(first, success(first, "a", false)).is_some());
        let thrown = flights.launch(first, 1, small(), &welcome);
        assert!(thrown.len() > wish.len() + 5 && rest.len() > 5);

        // There already: the channel is in use until `complete` is answered as well.
        assert!(flights.succeeded(first, success(first, "b (1)", true)).is_some());
        assert!(flights.has(first) && flights.channels() == 1 && !flights.is_empty());
        assert!(flights.succeeded(first, success(first, "b", true)).is_none());
        assert!(!flights.has(first) && flights.is_empty());

        // The last answer was that one is there: the next asks first. One that was thrown
        // and never answered may be published any moment.
        flights.launch(first, 2, small(), &welcome);
        assert!(flights.granted(first, &granted(first), &welcome).is_some());
        flights.launch(second, 3, small(), &welcome);
        // A receipt for another place is none: the ordinary way asks again.
        assert!(flights.succeeded(second, success(second, "a", true)).is_none());
        let left: Vec<_> = flights.into_left().into_iter().collect();
        assert_eq!(left, [(2, Before::Document(id(7))), (3, Before::Thrown)]);
    }
}
