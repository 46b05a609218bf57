//! The files of a volley that are on their way, each on its channel.

use super::loader::Small;
use super::{Left, Shot};
use crate::document::Document;
use crate::events::Receipt;
use std::collections::BTreeMap;
use towline_protocol::name::Name;
use towline_protocol::reply::{Found, Granted, Success, Welcome};
use towline_protocol::request::{Complete, Find, Upload};
use towline_protocol::{BlockIndex, Channel, DocumentId, Offset, Request, frame};

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// `find` was said.
    Asked,
    /// `upload` was said.
    Begun,
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
}

impl<'a> Flights<'a> {
    pub(super) fn new(shots: &'a [Shot<'a>]) -> Self {
        Self { shots, by_channel: BTreeMap::new(), bytes: 0, left: Left::new() }
    }

    pub(super) fn shots(&self) -> &'a [Shot<'a>] {
        self.shots
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_channel.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_channel.len()
    }

    /// The bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has(&self, channel: Channel) -> bool {
        self.by_channel.contains_key(&channel)
    }

    /// A file sets out on a channel that is free; with these words.
    pub(super) fn launch(&mut self, channel: Channel, shot: usize, small: Small) -> Request {
        let document = self.shots[shot].document;
        let filesize = small.filesize;
        self.bytes += small.bytes.len();
        self.by_channel.insert(channel, Flight { shot, small, stage: Stage::Asked });
        Request::Find(Find {
            channel,
            filename: document.remote.filename().to_string(),
            folder: folder(document),
            filesize,
            blake3: None,
        })
    }

    /// The answer to `find`, and what to say then.
    pub(super) fn found(
        &mut self,
        channel: Channel,
        found: &Found,
        welcome: &Welcome,
    ) -> Option<Request> {
        if found.unfinished.is_some() {
            self.give_back(channel);
            return None;
        }
        let flight = self.by_channel.get_mut(&channel)?;
        if flight.stage != Stage::Asked {
            return None;
        }
        flight.stage = Stage::Begun;
        let shot = &self.shots[flight.shot];
        let known = found.same_size && !shot.again;
        Some(Request::Upload(Upload {
            channel,
            filename: shot.document.remote.filename().to_string(),
            folder: folder(shot.document),
            filesize: flight.small.filesize,
            user_id: Some(welcome.user_id),
            chunk_size: Some(welcome.chunk_size),
            blake3: known.then_some(flight.small.blake3),
            on_conflict: shot.on_conflict.unwrap_or_default(),
            blocks: true,
        }))
    }

    /// The upload was granted: its bytes, and that this is all.
    pub(super) fn granted(
        &mut self,
        channel: Channel,
        granted: &Granted,
        welcome: &Welcome,
    ) -> Option<Vec<u8>> {
        let flight = self.by_channel.get_mut(&channel)?;
        if flight.stage != Stage::Begun
            || granted.filesize != flight.small.filesize
            || granted.offset != Offset::ZERO
        {
            self.give_back(channel);
            return None;
        }
        flight.stage = Stage::Sent(granted.document_id);
        let small = &flight.small;
        let mut frames = Vec::new();
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
        let (document_id, blake3) = (Some(granted.document_id), Some(small.blake3));
        frames.extend_from_slice(&frame::control(&Request::Complete(Complete {
            channel,
            document_id,
            blake3,
            on_conflict: None,
        })));
        Some(frames)
    }

    /// A receipt, if it is that file's.
    pub(crate) fn succeeded(
        &mut self,
        channel: Channel,
        success: Success,
    ) -> Option<(usize, Receipt)> {
        let flight = self.by_channel.get(&channel)?;
        let is_expected = match flight.stage {
            Stage::Asked => false,
            Stage::Begun => success.existing,
            Stage::Sent(document_id) => success.document_id == document_id,
        };
        let is_it = success.filesize == flight.small.filesize
            && success.blake3 == flight.small.blake3
            && is_expected;
        if !is_it {
            self.give_back(channel);
            return None;
        }
        let Flight { shot, small, stage } = self.end(channel)?;
        let shot = &self.shots[shot];
        let sent_bytes = if stage == Stage::Begun { 0 } else { small.bytes.len() as u64 };
        Some((shot.index, Receipt::of(shot.document.local.clone(), success, sent_bytes)))
    }

    /// Leaves a file that is on its way to the ordinary way.
    pub(super) fn give_back(&mut self, channel: Channel) {
        if let Some(Flight { shot, stage, .. }) = self.end(channel) {
            let document_id = match stage {
                Stage::Sent(document_id) => Some(document_id),
                Stage::Asked | Stage::Begun => None,
            };
            self.left.insert(self.shots[shot].index, document_id);
        }
    }

    /// Leaves a file that was not begun.
    pub(super) fn leave(&mut self, shot: usize) {
        self.left.insert(self.shots[shot].index, None);
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

fn folder(document: &Document) -> Vec<String> {
    document.remote.folder().iter().map(Name::to_string).collect()
}
