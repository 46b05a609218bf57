//! The TCP door: Towline's own framed protocol, as `SPEC.md` of `towline-protocol` has it.

mod download_url;
mod end;
mod error_code;
mod features;
mod forwarding;
mod frame_reader;
mod joining;
mod lent_reader;
mod login;
mod node;
mod reauth;
mod receipts;
mod send_buffer;
pub(crate) mod session;
mod translate;

pub(crate) use translate::upload_state;

use std::net::SocketAddr;
use tokio::time::Instant;
use towline_protocol::{Code, ErrorReply};

/// What is known of a connection before its first frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    /// The time by which its client has to have logged in.
    pub(crate) login_until: Instant,
    pub(crate) privacy: Privacy,
    /// Whether the connection is encrypted.
    pub(crate) is_tls: bool,
}

/// Whether others on the network can read a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// Others cannot read it, because it is encrypted or does not leave this machine.
    Kept,
    /// Everybody between the two machines can read it, and the operator allows that.
    Waived,
    /// Everybody between the two machines can read it.
    Lost,
}

/// The error reply to a client that gets no place.
pub(crate) fn crowded() -> ErrorReply {
    ErrorReply::new(Code::TooMany, "too many connections; try again in a while")
}
