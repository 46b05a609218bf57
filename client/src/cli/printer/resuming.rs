//! The command by which a person continues an upload that was interrupted.

use crate::address::ServerAddress;
use crate::text::shell_word;
use std::path::PathBuf;

/// How a person continues an upload that rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Resuming {
    /// By its number, which the state file has. The path of the state file is named where it is not
    /// the usual one.
    ByNumber {
        state_file: Option<PathBuf>,
        /// The server, where the token is from the environment: that token is sent only to a server
        /// that is named.
        to: Option<ServerAddress>,
        /// The file to which receipts are added.
        receipts: Option<PathBuf>,
    },
    /// There is no state file: the same command finds the upload on the server.
    SameCommand,
    /// Together with the other files of the command: the last line of the run says how.
    WithTheRest,
}

impl Resuming {
    pub(in crate::cli) fn options(&self) -> String {
        let Self::ByNumber { state_file, to, receipts } = self else { return String::new() };
        let file = |option, path: &Option<PathBuf>| {
            let path = path.as_deref();
            path.map(|path| format!(" --{option} {}", shell_word(path))).unwrap_or_default()
        };
        let to = to.as_ref().map(|server| format!(" --to {server}"));
        file("state-file", state_file) + &to.unwrap_or_default() + &file("receipts", receipts)
    }
}
