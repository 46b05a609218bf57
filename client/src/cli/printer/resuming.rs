//! What a person runs to continue an upload that was interrupted.

use crate::address::ServerAddress;
use crate::text::shell_word;
use std::path::PathBuf;

/// How an upload that rests goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Resuming {
    /// By its number, which the state file knows; that is named where it is not the usual one.
    ByNumber {
        state_file: Option<PathBuf>,
        /// The server, where a token from the environment is only sent to one that is named.
        to: Option<ServerAddress>,
    },
    /// There are no notes: the same command finds the upload on the server.
    SameCommand,
    /// Together with the other files of the command: what is said at its end says how.
    WithTheRest,
}

impl Resuming {
    pub(super) fn options(&self) -> String {
        let Self::ByNumber { state_file, to } = self else { return String::new() };
        let state_file = state_file.as_deref();
        let state_file = state_file.map(|path| format!(" --state-file {}", shell_word(path)));
        let to = to.as_ref().map(|server| format!(" --to {server}"));
        state_file.unwrap_or_default() + &to.unwrap_or_default()
    }
}
