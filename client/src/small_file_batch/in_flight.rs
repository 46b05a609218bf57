//! The files, folders and links of a batch that are on their way, each on its own channel.

use super::item::{PriorAttempt, Remaining};
use super::link::Link;
use super::loader::SmallFile;
use crate::document::Document;
use crate::events::Receipt;
use crate::feed::FeedItem;
use crate::item::Sent;
use crate::making;
use crate::place;
use crate::receipts::Issuer;
use crate::source::Attributes;
use crate::transfer::options::PutOptions;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use towline_protocol::reply::{Granted, NodeAnswer, Success, Welcome};
use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Channel, Reply, Request, frame};
use towline_types::{BlockIndex, DocumentId, Name, Offset};

/// The messages of a file that were sent, and the answer to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// `upload` was sent.
    Asked,
    /// `upload`, the bytes and `complete` were sent before any answer.
    SentAhead,
    /// The upload was granted, and the bytes and `complete` were sent.
    Sent(DocumentId),
}

/// About how many bytes the messages `upload` and `complete` of a file have.
const MESSAGES_BYTES: usize = 512;

#[derive(Debug)]
struct ItemInFlight {
    item: FeedItem,
    small: SmallFile,
    stage: Stage,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct InFlight {
    by_channel: BTreeMap<Channel, ItemInFlight>,
    /// Folders and links.
    asked_for: BTreeMap<Channel, FeedItem>,
    bytes: usize,
    remaining: Remaining,
    /// Channels on which the server still has to answer a `complete` that turned out to be
    /// needless: it had the file, and `upload` was answered with SUCCESS.
    awaiting_second_reply: BTreeSet<Channel>,
    ahead: Ahead,
    /// The server as it signs receipts; `None` where it was not asked for them.
    issuer: Option<Arc<Issuer>>,
}

/// Whether the bytes of a file are sent together with `upload`, before any answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ahead {
    /// The last answer was a grant: the next files are probably new to the server as well.
    Yes,
    /// The server has had the last file: it may have the next ones.
    No,
    /// No answer has come yet. Files with so many bytes may be sent; the others wait for the
    /// first answer, which decides how they are sent.
    Unknown { bytes_left: usize },
}

impl InFlight {
    /// Nothing is on its way yet over that link.
    pub(super) fn over(link: Link, issuer: Option<Arc<Issuer>>) -> Self {
        let ahead = match link.bytes_before_an_answer() {
            0 => Ahead::No,
            bytes_left => Ahead::Unknown { bytes_left },
        };
        Self {
            by_channel: BTreeMap::new(),
            asked_for: BTreeMap::new(),
            bytes: 0,
            remaining: Vec::new(),
            awaiting_second_reply: BTreeSet::new(),
            ahead,
            issuer,
        }
    }

    /// Whether one more file may be sent. Until the first answer says how files are sent, only some
    /// bytes may be on their way.
    pub(super) fn takes_more(&self) -> bool {
        self.ahead != (Ahead::Unknown { bytes_left: 0 }) || self.is_empty()
    }

    /// Whether every answer has come, also those to a needless `complete`.
    pub(super) fn is_empty(&self) -> bool {
        self.channels() == 0
    }

    /// The number of channels in use.
    pub(super) fn channels(&self) -> usize {
        self.by_channel.len() + self.asked_for.len() + self.awaiting_second_reply.len()
    }

    /// The bytes of all files on their way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has(&self, channel: Channel) -> bool {
        self.by_channel.contains_key(&channel)
            || self.asked_for.contains_key(&channel)
            || self.awaiting_second_reply.contains(&channel)
    }

    /// Asks for a folder or a link on a channel that is free; returns the frame to send, or
    /// nothing where the item is a file.
    pub(super) fn ask_for(&mut self, channel: Channel, item: FeedItem) -> Option<Vec<u8>> {
        let on_conflict = item.options.on_conflict.unwrap_or_default();
        let request = making::request(channel, &item.document, &item.kind, on_conflict)?;
        self.asked_for.insert(channel, item);
        Some(frame::control(&request))
    }

    /// The folder or link that the answer is about; nothing where it is not the one that was asked
    /// for: then it remains for the ordinary way.
    fn made(&mut self, channel: Channel, answer: &NodeAnswer) -> Option<(FeedItem, Sent)> {
        let item = self.asked_for.remove(&channel)?;
        let on_conflict = item.options.on_conflict.unwrap_or_default();
        match making::answered(answer, &item.document, &item.kind, on_conflict) {
            Ok(sent) => Some((item, sent)),
            Err(_) => {
                self.leave(item);
                None
            }
        }
    }

    /// Takes a file in on a channel that is free; returns the frames to send.
    pub(super) fn start(
        &mut self,
        channel: Channel,
        item: FeedItem,
        small: SmallFile,
        welcome: &Welcome,
    ) -> Vec<u8> {
        let document = &item.document;
        let PutOptions { on_conflict, again, .. } = item.options;
        let Attributes { mtime, mode } = small.attributes.for_server(welcome);
        let mut frames = frame::control(&Request::Upload(Upload {
            channel,
            filename: document.remote.filename().to_string(),
            folder: folder(document),
            filesize: Some(small.filesize),
            user_id: Some(welcome.user_id),
            chunk_size: Some(welcome.chunk_size),
            blake3: (!again).then_some(small.blake3),
            on_conflict: on_conflict.unwrap_or_default(),
            blocks: true,
            new_only: true,
            mtime_ms: mtime,
            mode,
            ..Upload::default()
        }));
        // `upload` with the hash makes sure that the same file is never published twice, also
        // where the connection is lost: the next `upload` finds it on the server, begun or
        // completed. With `again` no hash is sent, so nothing is sent ahead.
        let is_sent_ahead = !again && self.ahead != Ahead::No;
        let stage = if is_sent_ahead { Stage::SentAhead } else { Stage::Asked };
        if is_sent_ahead {
            frames.extend_from_slice(&bytes_and_complete(channel, None, &small, welcome));
        }
        self.bytes += small.bytes.len();
        if let Ahead::Unknown { bytes_left } = &mut self.ahead {
            // An empty file costs its messages.
            *bytes_left = bytes_left.saturating_sub(small.bytes.len().max(MESSAGES_BYTES));
        }
        self.by_channel.insert(channel, ItemInFlight { item, small, stage });
        frames
    }

    /// The server has granted the upload: returns the bytes and `complete`, where they were not
    /// sent ahead.
    pub(super) fn granted(
        &mut self,
        channel: Channel,
        granted: &Granted,
        welcome: &Welcome,
    ) -> Option<Vec<u8>> {
        let flight = self.by_channel.get_mut(&channel)?;
        let is_expected = matches!(flight.stage, Stage::Asked | Stage::SentAhead)
            && granted.filesize == flight.small.filesize
            && granted.offset == Offset::ZERO;
        if !is_expected {
            self.give_back(channel);
            return None;
        }
        self.ahead = Ahead::Yes;
        let id = granted.document_id;
        let stage = std::mem::replace(&mut flight.stage, Stage::Sent(id));
        (stage == Stage::Asked)
            .then(|| bytes_and_complete(channel, Some(id), &flight.small, welcome))
    }

    /// The receipt of a file and the file's place in the caller's list; nothing where SUCCESS
    /// is not about that file in its place: then the file remains for the ordinary way.
    fn succeeded(&mut self, channel: Channel, success: Success) -> Option<(FeedItem, Receipt)> {
        if self.awaiting_second_reply.remove(&channel) {
            return None;
        }
        let flight = self.by_channel.get(&channel)?;
        let is_expected = match flight.stage {
            Stage::Asked | Stage::SentAhead => success.existing || success.copied,
            Stage::Sent(document_id) => success.document_id == document_id,
        };
        let FeedItem { document, options, .. } = &flight.item;
        let on_conflict = options.on_conflict.unwrap_or_default();
        let is_it = success.filesize == flight.small.filesize
            && success.blake3 == flight.small.blake3
            && place::is_allowed(&success, &document.remote, on_conflict)
            && is_expected;
        if !is_it {
            self.give_back(channel);
            return None;
        }
        let ItemInFlight { item, small, stage } = self.end(channel)?;
        let has_them = success.existing || success.copied;
        if has_them {
            self.ahead = Ahead::No;
        }
        if has_them && stage == Stage::SentAhead {
            // The server answers `complete` with the same SUCCESS.
            self.awaiting_second_reply.insert(channel);
        }
        let sent_bytes = if stage == Stage::Asked { 0 } else { small.bytes.len() as u64 };
        let receipt = Receipt::of(&item.document, success, sent_bytes, self.issuer.as_deref());
        Some((item, receipt))
    }

    /// The item that has ended well by this reply.
    pub(crate) fn ended_by(&mut self, reply: Reply) -> Option<(FeedItem, Sent)> {
        match reply {
            Reply::Success(success) => {
                let (item, receipt) = self.succeeded(success.channel, success)?;
                Some((item, Sent::File(receipt)))
            }
            Reply::Mkdir(answer) | Reply::Link(answer) => self.made(answer.channel, &answer),
            _ => None,
        }
    }

    /// The server refuses what was asked for, or has an older upload of it.
    pub(super) fn refused(&mut self, channel: Channel) {
        if let Some(item) = self.asked_for.remove(&channel) {
            self.leave(item);
        } else if !self.awaiting_second_reply.remove(&channel) {
            self.ahead = Ahead::No;
            self.give_back(channel);
        }
    }

    /// Takes a file off its channel: it remains for the ordinary way.
    pub(super) fn give_back(&mut self, channel: Channel) {
        if let Some(ItemInFlight { item, stage, .. }) = self.end(channel) {
            let before = match stage {
                Stage::Sent(document_id) => PriorAttempt::Document(document_id),
                Stage::SentAhead => PriorAttempt::SentAhead,
                Stage::Asked => PriorAttempt::Nothing,
            };
            self.remaining.push((item, before));
        }
    }

    /// Leaves an item of which the server has nothing unfinished to the ordinary way.
    pub(super) fn leave(&mut self, item: FeedItem) {
        self.remaining.push((item, PriorAttempt::Nothing));
    }

    /// The number of items that remain for the ordinary way so far.
    pub(super) fn remaining(&self) -> usize {
        self.remaining.len()
    }

    /// All items that were not confirmed, in the order in which they came.
    pub(crate) fn into_remaining(mut self) -> Remaining {
        while let Some(channel) = self.by_channel.keys().next().copied() {
            self.give_back(channel);
        }
        while let Some((_, item)) = self.asked_for.pop_first() {
            self.leave(item);
        }
        self.remaining.sort_by_key(|(item, _)| item.index);
        self.remaining
    }

    fn end(&mut self, channel: Channel) -> Option<ItemInFlight> {
        let flight = self.by_channel.remove(&channel)?;
        self.bytes -= flight.small.bytes.len();
        Some(flight)
    }
}

fn bytes_and_complete(
    channel: Channel,
    document_id: Option<DocumentId>,
    small: &SmallFile,
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
    let complete = Complete { channel, document_id, blake3, ..Complete::default() };
    frames.extend_from_slice(&frame::control(&Request::Complete(complete)));
    frames
}

fn folder(document: &Document) -> Vec<String> {
    document.remote.folder().iter().map(Name::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::ItemKind;
    use crate::walk::NotKept;
    use towline_testkit::id;
    use towline_types::block::hash_block;
    use towline_types::file_hash::hash_file;
    use towline_types::{FileSize, Timestamp};

    const WELCOME: &[u8] = br#"{"action":"welcome","version":1,"server":"x","user_id":1,"user":"u",
        "max_filesize":1000,"chunk_size":64,"max_chunk_size":1024,"block_size":1048576,
        "max_channels":1,"features":["new_only"]}"#;

    fn small() -> SmallFile {
        let filesize = FileSize::try_from(5).unwrap();
        let value = Some(hash_block(BlockIndex::FIRST, filesize, b"hello"));
        let blake3 = hash_file(filesize, value);
        SmallFile {
            filesize,
            bytes: b"hello".to_vec(),
            value,
            blake3,
            attributes: Attributes::default(),
        }
    }

    fn success(channel: Channel, filename: &str, existing: bool) -> Success {
        Success {
            channel,
            document_id: id(7),
            node_id: None,
            filename: filename.to_owned(),
            folder: Vec::new(),
            filesize: small().filesize,
            blake3: small().blake3,
            created_at: Timestamp::from_i64(1).unwrap(),
            durable: true,
            existing,
            copied: false,
            held: None,
            receipt: None,
        }
    }

    #[test]
    fn on_a_long_link_some_files_are_sent_before_the_first_answer_and_the_others_after_it() {
        let Ok(Reply::Welcome(welcome)) = Reply::parse(WELCOME) else { panic!("a welcome") };
        let item = |index: usize| {
            let document = Document::in_folder(format!("f{index}"), Vec::new()).unwrap();
            let (kind, options) = (ItemKind::File, PutOptions::default());
            FeedItem { index, document, kind, options, not_kept: NotKept::default() }
        };
        let mut in_flight = InFlight::over(Link::Long, None);
        let mut count = 0;
        while in_flight.takes_more() {
            count += 1;
            let frames = in_flight.start(Channel(count), item(count as usize), small(), &welcome);
            assert!(frames.windows(10).any(|bytes| bytes == b"\"complete\""), "file {count}");
        }
        assert!((100..1000).contains(&count), "{count} files of 5 bytes");
        // One answer says how the server is.
        let granted = Granted {
            channel: Channel(1),
            document_id: id(7),
            offset: Offset::ZERO,
            filesize: small().filesize,
            lease: None,
        };
        assert!(in_flight.granted(Channel(1), &granted, &welcome).is_none(), "they are sent");
        assert!(in_flight.takes_more());

        // A server that has the first file may have the others: they are asked for first.
        let mut in_flight = InFlight::over(Link::Long, None);
        in_flight.start(Channel(1), item(1), small(), &welcome);
        assert!(in_flight.succeeded(Channel(1), success(Channel(1), "f1", true)).is_some());
        let frames = in_flight.start(Channel(2), item(2), small(), &welcome);
        assert!(!frames.windows(10).any(|bytes| bytes == b"\"complete\""));
    }

    #[test]
    fn what_is_sent_ahead_is_remembered_until_its_last_answer() {
        let Ok(Reply::Welcome(welcome)) = Reply::parse(WELCOME) else { panic!("a welcome") };
        let item = |index: usize| {
            let name = ["a", "b", "c", "d"][index];
            let document = Document::in_folder(name, Vec::new()).unwrap();
            let (kind, options) = (ItemKind::File, PutOptions::default());
            FeedItem { index, document, kind, options, not_kept: NotKept::default() }
        };
        let mut in_flight = InFlight::over(Link::Short, None);
        let (first, second) = (Channel(1), Channel(2));
        let granted = |channel| Granted {
            channel,
            document_id: id(7),
            offset: Offset::ZERO,
            filesize: small().filesize,
            lease: None,
        };

        // The server has granted nothing yet, so the bytes wait for its first grant.
        let wish = in_flight.start(first, item(0), small(), &welcome);
        let rest = in_flight.granted(first, &granted(first), &welcome).unwrap();
        assert!(in_flight.succeeded(first, success(first, "a", false)).is_some());
        let sent_ahead = in_flight.start(first, item(1), small(), &welcome);
        assert!(sent_ahead.len() > wish.len() + 5 && rest.len() > 5);

        // The server has the file: the channel is in use until `complete` is answered as well.
        assert!(in_flight.succeeded(first, success(first, "b (1)", true)).is_some());
        assert!(in_flight.has(first) && in_flight.channels() == 1 && !in_flight.is_empty());
        assert!(in_flight.succeeded(first, success(first, "b", true)).is_none());
        assert!(!in_flight.has(first) && in_flight.is_empty());

        // The last answer was that the server has the file, so the next file sends `upload`
        // alone. A file that was sent ahead and not answered may be published at any moment.
        in_flight.start(first, item(2), small(), &welcome);
        assert!(in_flight.granted(first, &granted(first), &welcome).is_some());
        in_flight.start(second, item(3), small(), &welcome);
        // SUCCESS for another place is no receipt: the ordinary way asks again.
        assert!(in_flight.succeeded(second, success(second, "a", true)).is_none());
        let remaining = in_flight.into_remaining().into_iter();
        let remaining: Vec<_> = remaining.map(|(item, before)| (item.index, before)).collect();
        assert_eq!(remaining, [(2, PriorAttempt::Document(id(7))), (3, PriorAttempt::SentAhead)]);
    }
}
