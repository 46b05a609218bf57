//! How a connection ends.

use towline_engine::Client;
use towline_protocol::ErrorReply;

/// Why a connection ends.
pub(super) enum End {
    /// The client has said all it had to say: it hears the rest.
    Finished,
    /// The connection broke.
    Gone,
    /// The client is told why, and it is closed.
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
