//! Why one attempt at an upload ended, and hence what comes next.

use crate::failure::Failure;

use crate::route::no_server::{NoServer, Unreached};
use crate::system::in_words;
use towline_protocol::frame::FrameError;
use towline_protocol::{Channel, Code, ErrorReply};

/// What ended an attempt.
#[derive(Debug)]
pub(crate) enum AttemptEnd {
    /// There is no connection to be had: wait, or give up.
    Unreached(Unreached),
    /// The connection is gone: connect and resume.
    Lost(String),
    /// The connection is silent, though the server may be there: connect and resume.
    Silent(String),
    /// The server cannot just now: come again later.
    Later(Box<ErrorReply>),
    /// One side received what the other cannot have sent. A damaged link does
    /// that, and so does a fault in a program; hence a new connection, but not
    /// for ever.
    Garbled(Failure),
    /// Client and server differ about how far the upload is: resume again on
    /// the same connection.
    Realign,
    /// Over.
    Failed(Failure),
}

impl AttemptEnd {
    /// A lie, or a mistake that a new connection would not mend.
    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Failed(Failure::Protocol(what.into()))
    }

    /// What an error means that no step has its own answer to.
    pub(crate) fn refused(reply: ErrorReply) -> Self {
        let reply = Box::new(reply);
        match reply.code {
            Code::ShuttingDown | Code::Internal => Self::Later(reply),
            // Of the connection as a whole: others end, and then there is room.
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
    /// Why a connection was lost; nothing where there was none, or where another one would
    /// end in the same way.
    pub(crate) fn loss(self) -> Option<String> {
        match self {
            Self::Lost(reason) | Self::Silent(reason) => Some(reason),
            Self::Later(reply) => Some(reason(&reply)),
            Self::Garbled(failure) => Some(failure.to_string()),
            Self::Unreached(_) | Self::Realign | Self::Failed(_) => None,
        }
    }
}

/// What keeps the server from doing it just now, in words.
pub(crate) fn reason(reply: &ErrorReply) -> String {
    match reply.code {
        Code::ShuttingDown => "the server is stopping".to_owned(),
        Code::TooMany => "the server has too many connections".to_owned(),
        Code::NoSpace => "the server is out of disk space".to_owned(),
        Code::Internal => {
            // What is kept and when it is tried again stands behind it.
            let what = reply.message.split(';').next().unwrap_or_default();
            format!("the server has a fault of its own: {}", crate::text::printable(what))
        }
        _ => crate::text::printable(&reply.message),
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
