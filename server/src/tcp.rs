//! The TCP door: Towline's own framed protocol, as `SPEC.md` of `towline-protocol` has it.

mod end;
mod error_code;
mod features;
mod forwarding;
mod frame_reader;
mod lent_reader;
mod login;
mod node;
mod receipts;
mod send_buffer;
pub(crate) mod session;
mod translate;

use std::net::SocketAddr;
use tokio::time::Instant;
use towline_protocol::{Code, ErrorReply};

/// What is known of a connection before its first frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    /// When its client has to have logged in.
    pub(crate) login_until: Instant,
    pub(crate) privacy: Privacy,
}

/// Who may read along on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// Nobody: it is encrypted, or does not leave this machine; or the operator does not mind.
    Kept,
    /// Everybody between the two machines.
    Lost,
}

/// What a client is told that gets no place.
pub(crate) fn crowded() -> ErrorReply {
    ErrorReply::new(Code::TooMany, "too many connections; come again in a while")
}
