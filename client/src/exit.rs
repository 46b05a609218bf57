//! How a run ended, as a number for scripts.

use std::process::ExitCode;

/// How a run ended. Where several files ended in different ways, the greatest code counts. A script
/// that starts the run again on [`Resumable`](Self::Resumable) misses nothing: a file that was
/// refused is refused again in the last run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Every file is on the server.
    #[default]
    Done = 0,
    /// A file was refused, and the same command would be refused again.
    Refused = 1,
    /// The command line has an error.
    Usage = 2,
    /// Interrupted or paused; the same command continues where this one ended.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_wins() {
        assert_eq!(Exit::Done.max(Exit::Resumable).max(Exit::Refused), Exit::Resumable);
        assert_eq!(Exit::default().max(Exit::Integrity), Exit::Integrity);
    }
}
