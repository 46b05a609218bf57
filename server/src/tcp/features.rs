//! What this server can do besides the simplest upload. The words that it announces and the
//! requests that it takes are held together here: a request of a feature that is not announced is
//! answered as a server answers it that has never heard of it.

use crate::shared::Shared;
use towline_protocol::request::{Complete, Read, Request, Upload};
use towline_protocol::{Channel, ErrorReply};
use towline_types::OnConflict;

/// The words of `welcome`. A word stands here only when the server does all that `SPEC.md` says of
/// it.
const FEATURES: [&str; 17] = [
    "blocks",
    "find",
    "withdraw",
    "channels",
    "join",
    "new_only",
    "grow",
    "open_length",
    "tree",
    "changes",
    "replace",
    "read",
    "uploads",
    "receipts",
    "reauth",
    "hello_join",
    WITH_HTTP,
];

/// The word for what only a server does that serves HTTP.
const WITH_HTTP: &str = "download_url";

/// The words of this server.
pub(crate) fn announced(shared: &Shared) -> Vec<&'static str> {
    let has_http = shared.http_at.get().is_some();
    FEATURES.into_iter().filter(|word| has_http || *word != WITH_HTTP).collect()
}

/// Lets a request pass if the features that it needs are announced.
///
/// # Errors
/// The answer to give: `unknown_action`, or `bad_request` with the field that is not known.
pub(crate) fn check(request: Request, shared: &Shared) -> Result<Request, ErrorReply> {
    match &request {
        // The other words are always said.
        Request::DownloadUrl(_) => check_by(&announced(shared), request),
        _ => check_by(&FEATURES, request),
    }
}

fn check_by(features: &[&str], request: Request) -> Result<Request, ErrorReply> {
    if feature_of(&request).is_some_and(|feature| !features.contains(&feature)) {
        return Err(request.unknown_action());
    }
    if let Some(field) = unknown_field(features, &request) {
        return Err(refused_field(request.channel(), field));
    }
    Ok(request)
}

/// The word of the feature that the whole request belongs to.
const fn feature_of(request: &Request) -> Option<&'static str> {
    match request {
        Request::List(_)
        | Request::Stat(_)
        | Request::Mkdir(_)
        | Request::Link(_)
        | Request::Move(_)
        | Request::Remove(_)
        | Request::Restore(_)
        | Request::Versions(_) => Some("tree"),
        Request::Read(_) => Some("read"),
        Request::DownloadUrl(_) => Some(WITH_HTTP),
        Request::Delta(_) | Request::Watch(_) => Some("changes"),
        Request::Uploads(_) => Some("uploads"),
        Request::Receipts(_) => Some("receipts"),
        Request::Reauth(_) => Some("reauth"),
        Request::Hello(_)
        | Request::Upload(_)
        | Request::Resume(_)
        | Request::Join(_)
        | Request::Complete(_)
        | Request::Status(_)
        | Request::Blocks(_)
        | Request::Withdraw(_)
        | Request::Cancel(_)
        | Request::Find(_)
        | Request::Ping(_) => None,
    }
}

/// The first field whose feature is not announced, in a request of another feature.
fn unknown_field(features: &[&str], request: &Request) -> Option<&'static str> {
    let fields: &[(&str, &str, bool)] = match request {
        Request::Upload(Upload {
            parent_id,
            node_id,
            base_version,
            filesize,
            mtime_ms,
            mode,
            on_conflict,
            ..
        }) => &[
            ("parent_id", "tree", parent_id.is_some()),
            ("mtime_ms", "tree", mtime_ms.is_some()),
            ("mode", "tree", mode.is_some()),
            ("node_id", "replace", node_id.is_some()),
            ("base_version", "replace", base_version.is_some()),
            ("on_conflict", "replace", is_replacing(*on_conflict)),
            ("filesize", "open_length", filesize.is_none()),
        ],
        Request::Complete(Complete { filesize, on_conflict, .. }) => &[
            ("filesize", "open_length", filesize.is_some()),
            ("on_conflict", "replace", on_conflict.is_some_and(is_replacing)),
        ],
        Request::Read(Read { path, node_id, .. }) => {
            &[("path", "tree", path.is_some()), ("node_id", "tree", node_id.is_some())]
        }
        _ => &[],
    };
    let is_unknown =
        |(_, feature, is_used): &&(&str, &str, bool)| *is_used && !features.contains(feature);
    fields.iter().find(is_unknown).map(|(field, ..)| *field)
}

/// Whether the choice came with `replace`.
const fn is_replacing(on_conflict: OnConflict) -> bool {
    matches!(on_conflict, OnConflict::Replace | OnConflict::Skip)
}

fn refused_field(channel: Channel, field: &str) -> ErrorReply {
    ErrorReply::bad_field(field, "this server cannot do that").on(channel, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_protocol::Code;

    fn checked(features: &[&str], text: &str) -> Result<(), (Code, Option<String>, Channel)> {
        let request = Request::parse(text.as_bytes()).expect("a request");
        let error = |error: ErrorReply| (error.code, error.field, error.channel);
        check_by(features, request).map(drop).map_err(error)
    }

    #[test]
    fn each_welcome_of_the_specification_has_the_words_of_this_server() {
        let words = format!("\"features\":{}", serde_json::to_string(&FEATURES).unwrap());
        let spec = include_str!("../../../protocol/SPEC.md");
        let welcomes: Vec<_> =
            spec.lines().filter(|line| line.starts_with("← {\"action\":\"welcome\"")).collect();
        assert!(welcomes.len() >= 2, "{welcomes:?}");
        for welcome in welcomes {
            assert!(welcome.contains(&words), "not {words}: {welcome}");
        }
        let (_, chapter) = spec.split_once("\n## 14. Features\n").unwrap();
        for word in FEATURES {
            assert!(chapter.contains(&format!("`{word}`")), "{word} is not explained");
        }
    }

    #[test]
    fn an_action_without_its_word_is_an_unknown_one() {
        for (feature, text) in [
            ("tree", r#"{"action":"list","channel":7,"path":[]}"#),
            ("tree", r#"{"action":"stat","channel":7,"node_id":1}"#),
            ("tree", r#"{"action":"mkdir","channel":7,"path":["a"]}"#),
            ("tree", r#"{"action":"link","channel":7,"path":["a"],"target":"b"}"#),
            ("tree", r#"{"action":"move","channel":7,"path":["a"],"to":["b"]}"#),
            ("tree", r#"{"action":"remove","channel":7,"path":["a"]}"#),
            ("tree", r#"{"action":"restore","channel":7,"path":["a"]}"#),
            ("tree", r#"{"action":"versions","channel":7,"path":["a"]}"#),
            ("read", r#"{"action":"read","channel":7,"document_id":1}"#),
            ("changes", r#"{"action":"delta","channel":7}"#),
            ("changes", r#"{"action":"watch","channel":7}"#),
            ("uploads", r#"{"action":"uploads","channel":7}"#),
            ("receipts", r#"{"action":"receipts","channel":7}"#),
            ("reauth", r#"{"action":"reauth","channel":7,"token":"x"}"#),
            ("download_url", r#"{"action":"download_url","channel":7,"path":["a"]}"#),
        ] {
            let unknown = Err((Code::UnknownAction, None, Channel(7)));
            assert_eq!(checked(&["blocks", "find"], text), unknown, "{text}");
            assert_eq!(checked(&["blocks", feature], text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_field_without_its_word_is_an_unknown_one() {
        let upload =
            |rest: &str| format!(r#"{{"action":"upload","channel":7,"filename":"a"{rest}}}"#);
        let complete = |rest: &str| format!(r#"{{"action":"complete","channel":7{rest}}}"#);
        for (feature, field, text) in [
            ("tree", "parent_id", upload(r#","filesize":1,"parent_id":3"#)),
            ("tree", "mtime_ms", upload(r#","filesize":1,"mtime_ms":-1"#)),
            ("tree", "mode", upload(r#","filesize":1,"mode":420"#)),
            ("replace", "node_id", upload(r#","filesize":1,"node_id":3"#)),
            ("replace", "base_version", upload(r#","filesize":1,"base_version":3"#)),
            ("replace", "on_conflict", upload(r#","filesize":1,"on_conflict":"replace""#)),
            ("replace", "on_conflict", upload(r#","filesize":1,"on_conflict":"skip""#)),
            ("open_length", "filesize", upload("")),
            ("open_length", "filesize", complete(r#","filesize":1"#)),
            ("replace", "on_conflict", complete(r#","on_conflict":"replace""#)),
        ] {
            let unknown = Err((Code::BadRequest, Some(field.to_owned()), Channel(7)));
            assert_eq!(checked(&["blocks", "find"], &text), unknown, "{text}");
            assert_eq!(checked(&["blocks", feature], &text), Ok(()), "{text}");
        }
        for (field, text) in [
            ("path", r#"{"action":"read","channel":7,"path":["a"]}"#),
            ("node_id", r#"{"action":"read","channel":7,"node_id":1}"#),
        ] {
            let unknown = Err((Code::BadRequest, Some(field.to_owned()), Channel(7)));
            assert_eq!(checked(&["read"], text), unknown, "{text}");
            assert_eq!(checked(&["read", "tree"], text), Ok(()), "{text}");
        }
        for text in [upload(r#","filesize":1,"on_conflict":"reject""#), complete("")] {
            assert_eq!(checked(&[], &text), Ok(()), "{text}");
        }
    }
}
