//! Why one attempt at an upload ended, and hence what comes next.

use crate::failure::Failure;
use towline_protocol::frame::FrameError;
use towline_protocol::{Code, ErrorReply};

/// What ended an attempt.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The connection is gone: connect and resume.
    Lost(String),
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

impl Stop {
    /// A lie, or a mistake that a new connection would not mend.
    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Failed(Failure::Protocol(what.into()))
    }

    /// What an error means that no step has its own answer to.
    pub(crate) fn refused(reply: ErrorReply) -> Self {
        let reply = Box::new(reply);
        match reply.code {
            Code::ShuttingDown | Code::Internal => Self::Later(reply),
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

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<FrameError> for Stop {
    fn from(error: FrameError) -> Self {
        Self::Garbled(Failure::Protocol(error.to_string()))
    }
}
