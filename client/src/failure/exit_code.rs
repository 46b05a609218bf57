//! Which exit code each failure leads to: whether the same command, run again, may succeed.

use super::Failure;
use crate::exit::Exit;
use crate::route::no_server::NoServer;
use std::io;
use towline_protocol::Code;

impl Failure {
    /// What the failure means for a script.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            // The disk here is full: when there is room, the same command goes on.
            Self::File { action: "write", source, .. } if is_full(source) => Exit::Resumable,
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
            | Self::NameLeftOut { .. }
            | Self::NotUnicode { .. }
            | Self::TargetNotUnicode
            | Self::BadTarget { .. }
            | Self::NotYours { .. }
            | Self::TooLarge { .. }
            | Self::Taken { .. }
            | Self::OtherServer { .. }
            | Self::KeyUnknown { .. }
            | Self::KeyChanged { .. }
            | Self::NoTls { .. }
            | Self::Receipt(_)
            | Self::Protocol(_)
            | Self::EndlessList { .. }
            | Self::LocalExists { .. }
            | Self::StagingName { .. }
            | Self::NotSupported { .. }
            | Self::NotComplete { .. }
            | Self::StateFile(_) => Exit::Refused,
            // The service at the address is no Towline server, and would not be one a moment later.
            Self::NoServer { why: NoServer::OtherService(_), kept: None, .. } => Exit::Refused,
            Self::LocalBusy { .. }
            | Self::Gone { .. }
            | Self::Changed { .. }
            | Self::Unreachable { .. }
            | Self::NoServer { .. }
            | Self::ConnectionLost { .. }
            | Self::Interrupted(_) => Exit::Resumable,
            Self::Refused { reply, kept } => match reply.code {
                // With a new token the upload continues where it ended.
                Code::AuthExpired if kept.is_some() => Exit::Resumable,
                Code::NoSpace
                | Code::Superseded
                | Code::TooMany
                | Code::Scanning
                | Code::StorageReadOnly => Exit::Resumable,
                Code::HashMismatch => Exit::Integrity,
                // A later attempt may succeed.
                Code::Internal | Code::ShuttingDown => Exit::Resumable,
                Code::Unknown if reply.retry => Exit::Resumable,
                _ => Exit::Refused,
            },
            Self::Integrity { .. } | Self::OtherHash { .. } => Exit::Integrity,
            // The same command sends or writes it, from its beginning.
            Self::OfPipe { failure, .. } | Self::OfOutput(failure) => failure.exit(),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether a file that could not be read may be readable later. An open file was readable before,
/// so its disk or network folder is the reason for each error, except for the errors by which the
/// system refuses to read such a file at all.
fn may_be_read_later(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, PermissionDenied, Unsupported};
    !matches!(error.kind(), InvalidInput | IsADirectory | PermissionDenied | Unsupported)
}

/// Whether a file that could not be opened may come back: its disk was unplugged or is broken, its
/// network folder does not answer, the system lacks memory or descriptors, or the file has
/// disappeared since its upload began.
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
