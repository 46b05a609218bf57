//! What each failure leaves on the server, and what a person can do about it, in sentences.

use super::saved_progress::SavedProgress;
use super::{Failure, refused};
use crate::exit::Exit;
use towline_state::StateFileError;
use towline_types::Name;

impl Failure {
    /// What the server keeps and what a person can do now, in sentences.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let kept = self.kept().and_then(SavedProgress::sentence);
        let todo = match self {
            Self::File { action: "write", .. } if self.exit() == Exit::Resumable => {
                Some("free some space, then run the same command again".to_owned())
            }
            Self::LocalExists { by, .. } if by.may_be_replaced() => Some(
                "choose another place with -o, or use --on-conflict rename, skip or replace"
                    .to_owned(),
            ),
            Self::LocalExists { .. } => Some(
                "choose another place with -o, or use --on-conflict rename or skip".to_owned(),
            ),
            // A name that leads elsewhere cannot be asked for either.
            Self::NameLeftOut { name, .. } => Name::recorded(name.as_str())
                .is_ok()
                .then(|| "fetch it alone, under another name: -o NAME".to_owned()),
            Self::StagingName { .. } => {
                Some("fetch it alone, under another name: -o NAME".to_owned())
            }
            Self::EndlessList { .. } => Some(
                "if there are so many, allow more with --max-entries; else ask the server's \
                 operator what is wrong"
                    .to_owned(),
            ),
            Self::NotSupported { .. } => {
                Some("ask the server's operator to update towlined".to_owned())
            }
            Self::File { .. } if self.exit() == Exit::Resumable => {
                Some("run the same command again when the file can be read".to_owned())
            }
            Self::Gone { .. } => Some(
                "run the same command again when it is back; if you moved it, run `towline put` \
                 with its new path"
                    .to_owned(),
            ),
            // To continue an interrupted upload, the client reads the file again: so the bytes must
            // be in a regular file.
            Self::NotAFile { .. }
            | Self::UnknownSize { .. }
            | Self::NoEnd { .. } => {
                Some("save its contents in a regular file, and send that file".to_owned())
            }
            Self::StandardInput => Some("run `towline put - --name NAME` for it".to_owned()),
            Self::OfPipe { cancel, .. } => {
                let left = cancel.as_ref().map_or_else(String::new, |cancel| {
                    format!(
                        "; what has arrived stays on the server until it expires, and `{cancel}` \
                         deletes it at once"
                    )
                });
                Some(format!(
                    "what has come through a pipe cannot be read again, so this upload cannot be \
                     continued; run the whole command again to send all of it{left}"
                ))
            }
            Self::OfOutput(failure) if failure.exit() == Exit::Resumable => Some(
                "what was written to standard output is not the whole file; the same command \
                 begins with its first byte again"
                    .to_owned(),
            ),
            Self::OfOutput(failure) => return failure.advice(),
            Self::Refused { reply, kept } => refused::advice(reply, *kept),
            Self::Taken { reply, what, place, replaces } => {
                Some(refused::taken_advice(reply, *what, place, *replaces))
            }
            Self::TooLarge { .. } => Some(
                "the server's operator can raise the limit: towlined --max-file-size SIZE"
                    .to_owned(),
            ),
            Self::Changed { is_shorter: true, .. } => Some(
                "run the same command again when the file no longer changes; a shorter file is sent \
                 from its beginning"
                    .to_owned(),
            ),
            Self::Changed { .. } => Some(
                "run the same command again when the file no longer changes; only the changed parts \
                 are sent"
                    .to_owned(),
            ),
            Self::Unreachable { kept: Some(_), .. }
            | Self::NoServer { kept: Some(_), .. }
            | Self::ConnectionLost { .. } => Some("run the same command again to continue".to_owned()),
            Self::StateFile(StateFileError::NewerVersion { .. }) => {
                Some("update towline, or name another file with --state-file".to_owned())
            }
            Self::KeyChanged { .. } => Some(
                "another machine may answer in its place: ask its operator; if the key that it has is \
                 right, say that key once with --fingerprint"
                    .to_owned(),
            ),
            Self::KeyUnknown { .. } => Some(
                "compare it with the key that the server prints when it starts, and add \
                 --fingerprint and the key"
                    .to_owned(),
            ),
            Self::Receipt(failure) => Some(failure.advice().to_owned()),
            Self::NoTls { .. } => Some(
                "if its towlined is older than this client, or a proxy stands in between, \
                 --plaintext connects without encryption: then whoever can read along on the \
                 network has the token and the files"
                    .to_owned(),
            ),
            Self::OtherServer { document_id: None, .. } => Some(
                "nothing was sent, and the command stays in the list (towline uploads); if its \
                 server has a new address, run the same `towline put` with --to and that address"
                    .to_owned(),
            ),
            Self::OtherServer { .. } => Some(
                "if its server has a new address, add --to and that address; to send the file to \
                 this server, use `towline put`"
                    .to_owned(),
            ),
            Self::OtherHash { .. } => Some(
                "the upload stays in the list (towline uploads); compare this file with the one on \
                 the server"
                    .to_owned(),
            ),
            _ => None,
        };
        match (kept, todo) {
            (Some(kept), Some(todo)) => Some(format!("{kept}; {todo}")),
            (kept, todo) => kept.or(todo),
        }
    }
}
