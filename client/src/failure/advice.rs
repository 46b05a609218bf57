//! What each failure leaves on the server, and what a person can do about it, in sentences.

use super::saved_progress::SavedProgress;
use super::{Failure, refused};
use crate::exit::Exit;
use towline_state::StateFileError;

impl Failure {
    /// What the server keeps and what a person can do now, in sentences.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let kept = self.kept().and_then(SavedProgress::sentence);
        let todo = match self {
            Self::File { action: "write", .. } if self.exit() == Exit::Resumable => {
                Some("run the same command again when there is room".to_owned())
            }
            Self::LocalExists { .. } => Some(
                "name another place with -o, or say --on-conflict rename, skip or replace"
                    .to_owned(),
            ),
            Self::NotSupported { .. } => {
                Some("ask the server's operator to update towlined".to_owned())
            }
            Self::File { .. } if self.exit() == Exit::Resumable => {
                Some("run the same command again when the file can be read".to_owned())
            }
            Self::Gone { .. } => Some(
                "run the same command again when it is back; if it was moved, put it where it \
                 lies now"
                    .to_owned(),
            ),
            // To continue an interrupted upload, the client reads the file again: so the bytes must
            // be in a regular file.
            Self::NotAFile { .. }
            | Self::StandardInput
            | Self::UnknownSize { .. }
            | Self::NoEnd { .. } => {
                Some("save what it holds to a file, and put that".to_owned())
            }
            Self::Refused { reply, kept } => refused::advice(reply, *kept),
            Self::TooLarge { .. } => Some(
                "the server's operator can raise the limit: towlined --max-file-size SIZE"
                    .to_owned(),
            ),
            Self::Changed { is_shorter: true, .. } => Some(
                "run the same command again when the file no longer changes: it is sent from its \
                 beginning if it stays shorter"
                    .to_owned(),
            ),
            Self::Changed { .. } => Some(
                "run the same command again when the file no longer changes: only what changed is sent"
                    .to_owned(),
            ),
            Self::Unreachable { kept: Some(_), .. }
            | Self::NoServer { kept: Some(_), .. }
            | Self::ConnectionLost { .. } => Some("run the same command again to go on".to_owned()),
            Self::StateFile(StateFileError::NewerVersion { .. }) => {
                Some("update towline, or name another file with --state-file".to_owned())
            }
            Self::OtherServer { document_id: None, .. } => Some(
                "if its server has a new address, run the same `towline put` with that address \
                 (--to); nothing was sent, and the entry stays in the list (towline uploads)"
                    .to_owned(),
            ),
            Self::OtherServer { .. } => Some(
                "if its server has a new address, name that with --to; to upload the file to this \
                 server, put it"
                    .to_owned(),
            ),
            Self::OtherHash { .. } => Some(
                "the upload stays in the list (towline uploads); compare the two files".to_owned(),
            ),
            _ => None,
        };
        match (kept, todo) {
            (Some(kept), Some(todo)) => Some(format!("{kept}; {todo}")),
            (kept, todo) => kept.or(todo),
        }
    }
}
