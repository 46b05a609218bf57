//! How a run ended, as a number for scripts.

use std::process::ExitCode;

/// How a run ended. Where several files went differently the greatest wins: a
/// script that starts again on [`Resumable`](Self::Resumable) loses nothing,
/// for what was refused is refused again at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Everything is where it should be.
    Done = 0,
    /// Something was refused, and the same command would be refused again.
    Refused = 1,
    /// The command line made no sense.
    Usage = 2,
    /// Interrupted or paused; the same command goes on where this one ended.
    Resumable = 3,
    /// The bytes that arrived are not the bytes that were sent.
    Integrity = 4,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
