//! `Content-Disposition`, with names of any language (RFC 6266 and RFC 8187).

use axum::http::HeaderValue;
use std::fmt::Write as _;

/// What the client is to do with a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Save,
    Show,
}

/// The value of the header.
pub(super) fn of(what: Use, name: &str) -> HeaderValue {
    let kind = match what {
        Use::Save => "attachment",
        Use::Show => "inline",
    };
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' }
        })
        .collect();
    let mut value = format!("{kind}; filename=\"{plain}\"");
    if plain != name {
        value.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                value.push(char::from(byte));
            } else {
                let _ = write!(value, "%{byte:02X}");
            }
        }
    }
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

/// The types that a browser may show, by the ending of the name. None of them runs a script of the
/// page; all other documents are bytes.
pub(super) fn media_type(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "mp4" => "video/mp4",
        "pdf" => "application/pdf",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_is_said_once_and_another_one_twice() {
        assert_eq!(of(Use::Save, "a b.pdf"), "attachment; filename=\"a b.pdf\"");
        assert_eq!(
            of(Use::Show, "Ä\"100%.txt"),
            "inline; filename=\"__100_.txt\"; filename*=UTF-8''%C3%84%22100%25.txt"
        );
    }
}
