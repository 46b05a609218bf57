//! Which exit code each failure leads to: whether the same command, run again, may succeed.

use super::Failure;
use crate::exit::Exit;
use crate::route::no_server::NoServer;
use std::io;
use towline_protocol::Code;

impl Failure {
    /// What it means for a script.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::File { action, source, kept, .. } => {
                let is_open = *action == "read";
                let is_for_now =
                    (is_open && may_be_read_later(source)) || may_come_back(source, kept.is_some());
                if is_for_now { Exit::Resumable } else { Exit::Refused }
            }
            Self::NotAFile { .. }
            | Self::StandardInput
            | Self::UnknownSize { .. }
            | Self::NoEnd { .. }
            | Self::BadName { .. }
            | Self::NotUnicode { .. }
            | Self::NotYours { .. }
            | Self::TooLarge { .. }
            | Self::OtherServer { .. }
            | Self::Protocol(_)
            | Self::StateFile(_) => Exit::Refused,
            // It is no server now, and would not be one a moment later.
            Self::NoServer { why: NoServer::OtherService(_), kept: None, .. } => Exit::Refused,
            Self::Gone { .. }
            | Self::Changed { .. }
            | Self::Unreachable { .. }
            | Self::NoServer { .. }
            | Self::ConnectionLost { .. }
            | Self::Interrupted(_) => Exit::Resumable,
            Self::Refused { reply, kept } => match reply.code {
                // A new token goes on where the old one ended.
                Code::AuthExpired if kept.is_some() => Exit::Resumable,
                Code::NoSpace | Code::Superseded | Code::TooMany | Code::StorageReadOnly => {
                    Exit::Resumable
                }
                Code::HashMismatch => Exit::Integrity,
                // What may succeed later.
                Code::Internal | Code::ShuttingDown => Exit::Resumable,
                Code::Unknown if reply.retry => Exit::Resumable,
                _ => Exit::Refused,
            },
            Self::Integrity { .. } | Self::OtherHash { .. } => Exit::Integrity,
        }
    }
}

/// Whether a file that could not be read may be readable again later. Once it was open, a
/// disk or a network folder is to blame for each error except those by which the system
/// refuses to read such a file at all.
fn may_be_read_later(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, PermissionDenied, Unsupported};
    !matches!(error.kind(), InvalidInput | IsADirectory | PermissionDenied | Unsupported)
}

/// Whether a file that could not be opened may be there again later: its disk was unplugged
/// or is ill, its network folder does not answer, the system lacks what it takes, or the
/// file is gone from under an upload that has begun.
fn may_come_back(error: &io::Error, has_begun: bool) -> bool {
    #[cfg(unix)]
    if let Some(number) = error.raw_os_error() {
        use rustix::io::Errno;
        const AWAY: &[Errno] = &[
            Errno::IO,
            Errno::NODEV,
            Errno::NXIO,
            Errno::STALE,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::AGAIN,
            Errno::NOTCONN,
            Errno::TIMEDOUT,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
            #[cfg(target_os = "linux")]
            Errno::REMOTEIO,
            #[cfg(target_os = "linux")]
            Errno::NOMEDIUM,
        ];
        if AWAY.contains(&Errno::from_raw_os_error(number)) {
            return true;
        }
    }
    has_begun && error.kind() == io::ErrorKind::NotFound
}
