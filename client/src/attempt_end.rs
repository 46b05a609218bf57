//! Why one attempt at an upload ended, which decides what the client does next.

use crate::failure::{Failure, ReceiptFailure};

use crate::route::no_server::{NoServer, Unreached};
use crate::system::in_words;
use towline_protocol::frame::FrameError;
use towline_protocol::{Channel, Code, ErrorReply};

/// What ended an attempt.
#[derive(Debug)]
pub(crate) enum AttemptEnd {
    /// No connection was made: the client waits, or gives up.
    Unreached(Unreached),
    /// The connection is gone: the client connects and resumes.
    Lost(String),
    /// The connection is silent, though the server may be there: the client connects and resumes.
    Silent(String),
    /// The server refuses for now: the client tries again later.
    Later(Box<ErrorReply>),
    /// One side received bytes that the other side cannot have sent. The reason is a damaged link
    /// or a fault in a program: the client tries a new connection, a limited number of times.
    Garbled(Failure),
    /// Client and server have different numbers for how far the upload is: the client resumes again
    /// on the same connection.
    Realign,
    /// The upload has failed; another attempt would fail in the same way.
    Failed(Failure),
}

impl AttemptEnd {
    /// The server does not keep to the protocol, and would not keep to it on another connection
    /// either.
    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Failed(Failure::Protocol(what.into()))
    }

    /// What an error reply means for the attempt. A step that handles some error replies itself
    /// calls this for the others.
    pub(crate) fn refused(reply: ErrorReply) -> Self {
        let reply = Box::new(reply);
        match reply.code {
            Code::ShuttingDown | Code::Internal | Code::Busy => Self::Later(reply),
            // On channel 0 the reply is about the number of connections: other connections end, and
            // then the server has room.
            Code::TooMany if reply.channel == Channel::default() => Self::Later(reply),
            Code::AuthTimeout | Code::TooSlow => Self::Lost(reply.message),
            Code::BadProtocol
            | Code::BadFrame
            | Code::FrameTooLarge
            | Code::BadJson
            | Code::BadRequest
            | Code::UnknownAction
            | Code::SizeExceeded
            | Code::AuthRequired => Self::Garbled(Failure::Refused { reply, kept: None }),
            Code::Unknown if reply.retry => Self::Later(reply),
            _ => Self::Failed(Failure::Refused { reply, kept: None }),
        }
    }
}

impl AttemptEnd {
    /// Why a connection was lost; nothing where there was no connection, or where another
    /// connection would end in the same way.
    pub(crate) fn loss(self) -> Option<String> {
        match self {
            Self::Lost(reason) | Self::Silent(reason) => Some(reason),
            Self::Later(reply) => Some(reason(&reply)),
            Self::Garbled(failure) => Some(failure.to_string()),
            Self::Unreached(_) | Self::Realign | Self::Failed(_) => None,
        }
    }
}

/// Why the server refuses for now, in words.
pub(crate) fn reason(reply: &ErrorReply) -> String {
    match reply.code {
        Code::ShuttingDown => "the server is stopping".to_owned(),
        Code::TooMany => "the server has too many connections".to_owned(),
        Code::NoSpace => "the server's disk is full".to_owned(),
        Code::Internal => {
            // The rest of the message says what the server keeps; the client says that itself.
            let what = reply.message.split(';').next().unwrap_or_default();
            format!("the server has an internal error: {}", crate::text::printable(what))
        }
        _ => crate::text::printable(&reply.message),
    }
}

impl From<ReceiptFailure> for AttemptEnd {
    fn from(failure: ReceiptFailure) -> Self {
        Self::Failed(failure.into())
    }
}

impl From<Failure> for AttemptEnd {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Unreached> for AttemptEnd {
    fn from(unreached: Unreached) -> Self {
        Self::Unreached(unreached)
    }
}

impl From<NoServer> for AttemptEnd {
    fn from(no_server: NoServer) -> Self {
        Self::Unreached(Unreached::Definite(no_server))
    }
}

impl From<std::io::Error> for AttemptEnd {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(in_words(&error))
    }
}

impl From<FrameError> for AttemptEnd {
    fn from(error: FrameError) -> Self {
        Self::Garbled(Failure::Protocol(error.to_string()))
    }
}
