//! What a server's refusal means, in words for people: the only place that knows every code. The
//! code itself is for programs and is printed only with `--json`.

use super::saved_progress::SavedProgress;
use crate::text::printable;
use crate::units;
use towline_protocol::request::VERSION;
use towline_protocol::{Code, ErrorReply};

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
        Code::NotFound => "the server has no such document of yours",
        Code::SizeLimit => {
            return match reply.max {
                Some(max) => {
                    format!("the file is larger than this server takes ({})", units::limit(max))
                }
                None => "the file is larger than this server takes".to_owned(),
            };
        }
        Code::NoSpace => {
            return match reply.missing {
                Some(missing) => format!(
                    "the server's disk has no room for the file: {} are missing",
                    units::size(missing)
                ),
                // The disk may have no room for another file name, or a quota may be used up: the
                // server's message says which.
                None => what(reply),
            };
        }
        Code::Exists if is_about_folder(reply) => {
            "on the server a file has the name of one of the folders around this file"
        }
        Code::Exists => "a file of that name is on the server already",
        Code::HashMismatch => {
            "the bytes that arrived are not the bytes that were sent; the server published nothing"
        }
        Code::Superseded => "another run of towline has taken this upload over and goes on with it",
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
                "client and server did not understand each other ({})",
                printable(&reply.message)
            );
        }
        Code::Internal => return what(reply),
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
        Code::NoSpace => "run the same command again when there is room",
        Code::Internal => "run the same command again in a while",
        // The account may have been removed: then a new token alone does not help.
        Code::Unauthorized => {
            "ask the server's operator (towlined user list shows the accounts, towlined token \
             --user NAME makes a token)"
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
        Code::Exists if is_about_folder(reply) => "choose another --folder",
        Code::Exists => "rename the file, or use --on-conflict rename to store it beside the other",
        Code::HashMismatch => "run the same command again to send it anew",
        Code::VersionUnsupported => match reply.max {
            Some(max) if max > VERSION.into() => "update towline",
            Some(max) if max < VERSION.into() => "ask the server's operator to update towlined",
            _ => "update the older of the two",
        },
        Code::Cancelled | Code::Expired => "put the file again to begin a new upload",
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

/// The name that is taken is the name of a folder, not of the file.
fn is_about_folder(reply: &ErrorReply) -> bool {
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
                "room",
            ),
            (
                Code::NoSpace,
                "the server's disk quota is used up; what was received is kept, continue when \
                 there is room",
                "room",
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
    fn the_side_that_is_to_be_updated_is_named() {
        let mut reply = ErrorReply::new(Code::VersionUnsupported, "x");
        for (max, side) in [
            (None, "older of the two"),
            (Some(u64::from(VERSION) + 1), "update towline"),
            (Some(u64::from(VERSION) - 1), "towlined"),
        ] {
            reply.max = max;
            let text = format!("{}; {}", sentence(&reply), advice(&reply, None).unwrap());
            assert!(text.ends_with(side), "{text}");
        }
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
