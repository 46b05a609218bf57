//! For whom, how much and where a command prints.

use crate::cli::error::Reader;

/// The options `--json`, `--quiet` and `--verbose`.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct OutputStyle {
    pub(in crate::cli) reader: Reader,
    pub(in crate::cli) detail: Detail,
}

/// How much a person is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Detail {
    /// Errors alone: `--quiet`.
    Errors,
    Usual,
    /// A line for each file, with its hash: `--verbose`.
    EachFile,
}

/// Where lines for people go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum LinesTo {
    Output,
    /// Standard output is for the bytes of a file.
    Error,
}

/// Why a run ends before all of its files are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Stop {
    /// A person has interrupted it.
    Paused,
    /// Something has failed.
    Stopped,
}
