//! How long a link is, and hence how many files have to be on their way to keep it busy.

use std::time::Duration;

/// A link between client and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// An answer comes before the next files are read: as many files are on their way as share
    /// one commit on the server.
    Short,
    /// Each wait for an answer costs more than the bytes that could be sent meanwhile. As many
    /// files are on their way as there are channels, and the first of them are sent before it is
    /// known whether the server has them.
    Long,
}

/// From this round trip on a link is long: a server on the same site answers a login sooner.
const LONG: Duration = Duration::from_millis(20);

/// The number of files that are sent and not answered at a time on a short link.
const FILES_SHORT: usize = 256;

/// The number of files that are sent and not answered at a time on a long link: almost all
/// channels that a server allows.
const FILES_LONG: usize = 1000;

impl Link {
    /// The link on which an answer takes that long.
    pub(super) fn of(round_trip: Duration) -> Self {
        if round_trip >= LONG { Self::Long } else { Self::Short }
    }

    /// The number of files that are sent and not answered at a time, where the server allows
    /// that number of channels.
    pub(super) fn files_max(self, channels_max: usize) -> usize {
        let files = match self {
            // Half of the channels: others use the same connection.
            Self::Short => FILES_SHORT.min(channels_max / 2),
            Self::Long => FILES_LONG.min(channels_max.saturating_sub(channels_max / 64 + 1)),
        };
        files.max(1)
    }

    /// The bytes of files that are sent before any answer says whether the server has such files
    /// already: where it has them, these bytes are sent in vain.
    pub(super) fn bytes_before_an_answer(self) -> usize {
        match self {
            Self::Short => 0,
            Self::Long => 256 << 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_files_are_on_their_way_than_the_server_has_channels_for() {
        for (link, channels, files) in [
            (Link::Short, 1024, 256),
            (Link::Short, 100, 50),
            (Link::Short, 1, 1),
            (Link::Long, 1024, 1000),
            (Link::Long, 64, 62),
            (Link::Long, 1, 1),
        ] {
            assert_eq!(link.files_max(channels), files, "{link:?} {channels}");
        }
        assert_eq!(Link::of(Duration::from_millis(200)), Link::Long);
        assert_eq!(Link::of(Duration::from_millis(2)), Link::Short);
    }
}
