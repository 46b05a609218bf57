//! How a connection ends.

use towline_engine::Client;
use towline_protocol::ErrorReply;

/// Why a connection ends.
pub(super) enum End {
    /// The client has sent its last request. It still gets the answers.
    Finished,
    /// The connection broke.
    Gone,
    /// The client is told why, and the connection is closed.
    Closed(ErrorReply),
}

impl End {
    /// What the client still receives.
    pub(super) const fn client(&self) -> Client {
        match self {
            Self::Finished => Client::AwaitsAnswers,
            Self::Closed(_) => Client::Listens,
            Self::Gone => Client::Gone,
        }
    }
}
