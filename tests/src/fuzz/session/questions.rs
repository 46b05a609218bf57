//! The requests about the tree that a connection has sent, and which of them are answered.

use std::collections::HashMap;
use towline_protocol::Channel;

/// Requests about the tree have channels from this one on: what comes there answers them and
/// nothing else. Uploads have the channels below.
pub(super) const FIRST: Channel = Channel(100);

/// On these channels the trash is listed, which has an order of the server's own.
pub(super) const TRASH: Channel = Channel(110);

/// On this channel `read` says `blocks`; on the others it does not.
pub(super) const READ_WITH_BLOCKS: Channel = Channel(120);

/// From this channel on each request has a channel of its own.
pub(super) const OWN: Channel = Channel(1000);

/// Which requests of one connection wait for their last answer.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: HashMap<Channel, Open>,
    /// Bytes were sent that may be such requests, or that may have cut one: what is heard cannot
    /// be compared with what was asked.
    is_unknown: bool,
    /// The client has closed its sending half, or is about to: what takes long is cut off.
    is_ending: bool,
    /// The client has broken the connection.
    is_cut: bool,
}

#[derive(Debug, Default)]
struct Open {
    /// The actions that were asked for and not answered by their own reply.
    asked: Vec<&'static str>,
    /// How many of them were refused. An error does not say which: what cannot be read at all is
    /// refused before what came before it is done.
    refused: usize,
}

impl Questions {
    pub(super) fn ask(&mut self, channel: Channel, action: &'static str) {
        self.open.entry(channel).or_default().asked.push(action);
    }

    /// The client closes its sending half.
    pub(super) fn end(&mut self) {
        self.is_ending = true;
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// The client breaks the connection: what waits is not sent, and nothing that comes is compared.
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// From now on anything may have been asked.
    pub(super) fn lose_track(&mut self) {
        self.is_unknown = true;
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    /// The last frame of an answer has come.
    pub(super) fn answered(&mut self, channel: Channel, action: &str) {
        if self.is_unknown {
            return;
        }
        let open = self.open.entry(channel).or_default();
        let found = open.asked.iter().position(|asked| *asked == action);
        let found = found.unwrap_or_else(|| panic!("{action} on {channel} was not asked for"));
        open.asked.remove(found);
        assert!(open.refused <= open.asked.len(), "{action} on {channel} was refused before");
    }

    /// A frame has come that is not the last one of its answer.
    pub(super) fn goes_on(&self, channel: Channel, action: &str) {
        let open = self.open.get(&channel);
        let is_asked = open.is_some_and(|open| open.asked.contains(&action));
        assert!(is_asked || self.is_unknown, "{action} on {channel} was not asked for");
    }

    /// An error has come.
    pub(super) fn refused(&mut self, channel: Channel) {
        if self.is_unknown || channel < FIRST || channel == Channel(u32::MAX) {
            return;
        }
        let open = self.open.entry(channel).or_default();
        open.refused += 1;
        assert!(open.refused <= open.asked.len(), "an error on {channel} answers nothing");
    }

    /// The server has closed in good order, and was asked nothing more: all is answered.
    pub(super) fn assert_all_answered(&self) {
        let is_answered = |open: &&Open| open.refused == open.asked.len();
        let all = self.is_unknown || self.open.values().all(|open| is_answered(&open));
        assert!(all, "without an answer: {:?}", self.open);
    }
}
