//! What a server's refusal means, in words for people: the only place that knows every code. The
//! code itself is for programs and is printed only with `--json`.

use super::saved_progress::SavedProgress;
use crate::text::{printable, shell_word};
use crate::units;
use std::path::Path;
use towline_protocol::request::VERSION;
use towline_protocol::{Code, ErrorReply};
use towline_types::NodeKind;

/// What the server's operator does for a person who needs a token.
const NEW_TOKEN: &str = "ask the server's operator for a token (towlined token --user NAME)";

/// What happened. For a code without a sentence here, it is the server's message, which is a
/// sentence for people.
pub(super) fn sentence(reply: &ErrorReply) -> String {
    let own = match reply.code {
        Code::VersionUnsupported => match reply.max {
            Some(max) if max > VERSION.into() => {
                "the server speaks only later versions of the protocol than this towline"
            }
            Some(max) if max < VERSION.into() => {
                "the server speaks only earlier versions of the protocol than this towline"
            }
            _ => "this towline and the server speak no common version of the protocol",
        },
        Code::WrongUser => "the token belongs to another user",
        // The folder that something was to be moved to: the server says what is missing.
        Code::NotFound if reply.field.as_deref() == Some("to") => return printable(&reply.message),
        Code::NotFound => "you have nothing of that name or number on the server",
        Code::SizeLimit => {
            return match reply.max {
                Some(max) => {
                    format!("this server accepts files up to {}", units::limit(max))
                }
                None => "the file is larger than this server accepts".to_owned(),
            };
        }
        Code::NoSpace => {
            return match reply.missing {
                Some(missing) => format!(
                    "the server's disk has too little free space for the file: {} are missing",
                    units::size(missing)
                ),
                // The disk may have no room for another file name, or a quota may be used up: the
                // server's message says which.
                None => what(reply),
            };
        }
        Code::Exists if is_about_folder(reply) => {
            "on the server, a file already has the name of a folder that it is to lie in"
        }
        Code::Exists => match reply.node.as_ref().map(|node| node.kind) {
            Some(NodeKind::Folder) => {
                "a folder with this name, or with one that counts as the same, is already on the server"
            }
            Some(NodeKind::Link) => "a link with this name is already on the server",
            Some(NodeKind::File) | None => "another file with this name is already on the server",
        },
        Code::HashMismatch => {
            "the bytes that arrived are not the bytes that were sent; the server has not stored the file"
        }
        Code::Superseded => "another run of towline has taken over this upload and continues it",
        Code::Cancelled => "this upload was cancelled",
        Code::ShuttingDown => "the server is stopping",
        Code::BadName => {
            return format!("its name cannot be used: {}", printable(&reply.message));
        }
        Code::BadProtocol
        | Code::BadFrame
        | Code::FrameTooLarge
        | Code::BadJson
        | Code::BadRequest
        | Code::UnknownAction
        | Code::AuthRequired
        | Code::SizeExceeded => {
            return format!(
                "towline and the server did not understand each other ({})",
                printable(&reply.message)
            );
        }
        // The advice below names the commands as well.
        Code::Internal | Code::Unauthorized | Code::AuthExpired => return what(reply),
        // The server's message about these codes depends on the state of the server.
        _ => return printable(&reply.message),
    };
    own.to_owned()
}

/// What happened, taken from a server's message that also says what is kept and what to do. The
/// client says both itself, with numbers, so the rest of the message is left out.
fn what(reply: &ErrorReply) -> String {
    printable(reply.message.split(';').next().unwrap_or_default())
}

/// What a person can do about it.
pub(super) fn advice(reply: &ErrorReply, kept: Option<SavedProgress>) -> Option<String> {
    let todo = match reply.code {
        Code::NoSpace if reply.max.is_some() => {
            "remove something there (towline rm) and wait until it is deleted for good, or ask the \
             server's operator for more (towlined user quota), then run the same command again"
        }
        Code::NoSpace => "run the same command again when the server has free space",
        Code::Internal => "run the same command again in a few minutes",
        // The account may have been removed: then a new token alone does not help.
        Code::Unauthorized => {
            "ask the server's operator to check your account (towlined user list), to make one \
             (towlined user add NAME), or to make a new token (towlined token --user NAME)"
        }
        Code::WrongUser => NEW_TOKEN,
        Code::AuthExpired => {
            return Some(match kept {
                Some(SavedProgress { document_id, .. }) => format!(
                    "{NEW_TOKEN}, then: towline resume {document_id} --token-file NEW_TOKEN_FILE"
                ),
                None => format!("{NEW_TOKEN}, then run the same command with it"),
            });
        }
        Code::SizeLimit => {
            "the server's operator can raise the limit: towlined --max-file-size SIZE"
        }
        Code::Exists if is_about_folder(reply) => {
            "choose another folder with --folder, or take that file away with `towline rm` and put \
             again"
        }
        Code::Exists => {
            "rename your file, or use --on-conflict rename to store both, or skip to leave it out; \
             replace makes it the next version where a file of exactly that name is there"
        }
        Code::HashMismatch => "run the same command again to send the file from its beginning",
        Code::VersionUnsupported => match reply.max {
            Some(max) if max > VERSION.into() => "update towline",
            Some(max) if max < VERSION.into() => "ask the server's operator to update towlined",
            _ => "update towline or towlined, whichever is older",
        },
        Code::TlsRequired => {
            "the token was sent without encryption: whoever could read along has it, so ask the \
             server's operator for another one, and leave out --plaintext"
        }
        Code::Unseen => "look at what is new (towline ls -R), then run the same command again",
        Code::Cancelled | Code::Expired => "`towline put` begins a new upload of the file",
        Code::BadProtocol
        | Code::BadFrame
        | Code::FrameTooLarge
        | Code::BadJson
        | Code::BadRequest
        | Code::UnknownAction => "check that towline and the server have the same version",
        _ => return None,
    };
    Some(todo.to_owned())
}

/// What happened to a file, folder or link whose name something else has.
pub(super) fn taken_sentence(reply: &ErrorReply, what: NodeKind) -> String {
    match (what, reply.node.as_ref().map(|node| node.kind)) {
        (NodeKind::Folder, Some(NodeKind::File)) => {
            "a file with the name of this folder is already on the server".to_owned()
        }
        (NodeKind::Folder, Some(NodeKind::Link)) => {
            "a link with the name of this folder is already on the server".to_owned()
        }
        // For an upload the server does not say what has the name.
        (NodeKind::File | NodeKind::Link, None) => {
            "something else with this name, or with one that counts as the same, is already on the \
             server"
                .to_owned()
        }
        _ => sentence(reply),
    }
}

/// What a person can do about that. `replace` is for a file in the place of a file, and for a link
/// in the place of a link: it removes no folder.
pub(super) fn taken_advice(
    reply: &ErrorReply,
    what: NodeKind,
    place: &str,
    replaces: bool,
) -> String {
    let around = Path::new(place).parent().unwrap_or(Path::new(""));
    // What is there may have another name that counts as the same.
    let there = reply.node.as_ref().map(|node| shell_word(&around.join(&node.name)));
    let remove = match there {
        Some(there) => format!("take what is there away with `towline rm {there}` and put again"),
        None if around == Path::new("") => {
            "take what is there away with `towline rm` (`towline ls` shows it) and put again"
                .to_owned()
        }
        None => format!(
            "take what is there away with `towline rm` (`towline ls {}` shows it) and put again",
            shell_word(around)
        ),
    };
    match what {
        NodeKind::Folder => {
            format!("rename your folder, choose another place with --folder, or {remove}")
        }
        NodeKind::File | NodeKind::Link if replaces => format!(
            "replace changes nothing but a {0} of exactly this name into the next {0}: use \
             --on-conflict rename to store both, or {remove}",
            what.as_str()
        ),
        NodeKind::File | NodeKind::Link => format!(
            "rename your {0}, or use --on-conflict rename to store both, skip to leave it out, or \
             replace where a {0} of exactly this name is there; or {remove}",
            what.as_str()
        ),
    }
}

/// The name that is taken is the name of a folder, not of the file.
pub(super) fn is_about_folder(reply: &ErrorReply) -> bool {
    reply.field.as_deref() == Some("folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_word_no_raw_number_and_no_json_reaches_a_person() {
        for code in Code::ALL {
            let mut reply = ErrorReply::new(*code, "it is so");
            reply.max = Some(500_000_000);
            reply.missing = Some(12_956_416);
            let text = format!("{} {:?}", sentence(&reply), advice(&reply, None));
            let word = code.as_str();
            assert!(!word.contains('_') || !text.contains(word), "{text}");
            let digits = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
            assert!(digits <= Some(4), "{text}");
            assert!(!text.contains("\":"), "{text}");
        }
    }

    #[test]
    fn what_is_kept_and_what_to_do_is_said_once() {
        let kept = SavedProgress {
            document_id: towline_types::DocumentId::MIN,
            durable: towline_types::Offset::ZERO,
            safe_bytes: 10,
            filesize: towline_types::FileSize::try_from(20).unwrap(),
            sent_bytes: 10,
        };
        for (code, message, word) in [
            (
                Code::NoSpace,
                "the server's disk is full; what was received is kept, continue when there is room",
                "free space",
            ),
            (
                Code::NoSpace,
                "the server's disk quota is used up; what was received is kept, continue when \
                 there is room",
                "free space",
            ),
            (
                Code::Internal,
                "the server's disk reported an error; what is on it is kept, try again in a while",
                "again",
            ),
        ] {
            let reply = Box::new(ErrorReply::new(code, message));
            let failure = crate::failure::Failure::Refused { reply, kept: Some(kept) };
            let text = format!("{failure}; {}", failure.advice().unwrap());
            assert_eq!(text.matches(word).count(), 1, "{text}");
            assert_eq!(text.matches("safe").count(), 1, "{text}");
            assert!(!text.contains("kept"), "{text}");
        }
    }

    #[test]
    fn a_token_that_is_refused_gets_one_piece_of_advice() {
        for (code, message) in [
            (Code::Unauthorized, "this token was revoked on the server; ask for a new one"),
            (Code::AuthExpired, "the token has expired; ask for a new one"),
        ] {
            let reply = ErrorReply::new(code, message);
            let text = format!("{}; {}", sentence(&reply), advice(&reply, None).unwrap());
            assert_eq!(text.matches("ask").count(), 1, "{text}");
            assert!(text.contains("towlined token --user NAME"), "{text}");
        }
    }

    #[test]
    fn the_side_that_is_to_be_updated_is_named() {
        let mut reply = ErrorReply::new(Code::VersionUnsupported, "x");
        for (max, side) in [
            (None, "whichever is older"),
            (Some(u64::from(VERSION) + 1), "update towline"),
            (Some(u64::from(VERSION) - 1), "towlined"),
        ] {
            reply.max = max;
            let text = format!("{}; {}", sentence(&reply), advice(&reply, None).unwrap());
            assert!(text.ends_with(side), "{text}");
        }
    }

    #[test]
    fn a_folder_that_something_was_to_be_moved_to_is_not_what_was_to_be_moved() {
        let mut reply = ErrorReply::new(Code::NotFound, "the folder is not there");
        assert!(sentence(&reply).contains("nothing of that name"));
        reply.field = Some("to".to_owned());
        assert_eq!(sentence(&reply), "the folder is not there");
    }

    #[test]
    fn a_folder_that_is_a_file_gets_advice_of_its_own() {
        let mut reply = ErrorReply::new(Code::Exists, "x");
        assert!(advice(&reply, None).unwrap().contains("--on-conflict"));
        reply.field = Some("folder".to_owned());
        assert!(advice(&reply, None).unwrap().contains("--folder"));
        assert!(!advice(&reply, None).unwrap().contains("--on-conflict"));
    }
}
