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

/// The name that the header of a request says; `filename*` counts more than `filename`.
pub(super) fn filename(value: &HeaderValue) -> Option<String> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let parameter = |wanted: &str| {
        let mut parameters = text.split(';').skip(1).filter_map(|one| one.trim().split_once('='));
        let found = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim())
    };
    let extended = parameter("filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_language, encoded) = rest.split_once('\'')?;
        charset.eq_ignore_ascii_case("utf-8").then(|| percent_decoded(encoded))?
    });
    extended.or_else(|| parameter("filename").map(|name| name.trim_matches('"').to_owned()))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
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
    fn the_name_of_a_request_is_read() {
        let of = |text: &str| filename(&HeaderValue::from_bytes(text.as_bytes()).unwrap());
        assert_eq!(of("inline; filename=\"a b.txt\"").as_deref(), Some("a b.txt"));
        assert_eq!(of("inline; filename=a.txt").as_deref(), Some("a.txt"));
        let both = "attachment; filename=\"x\"; filename*=UTF-8''%C3%84.txt";
        assert_eq!(of(both).as_deref(), Some("Ä.txt"));
        assert_eq!(of("inline; filename*=UTF-8''%C3%2").as_deref(), None);
        assert_eq!(of("inline").as_deref(), None);
    }

    #[test]
    fn a_plain_name_is_said_once_and_another_one_twice() {
        assert_eq!(of(Use::Save, "a b.pdf"), "attachment; filename=\"a b.pdf\"");
        assert_eq!(
            of(Use::Show, "Ä\"100%.txt"),
            "inline; filename=\"__100_.txt\"; filename*=UTF-8''%C3%84%22100%25.txt"
        );
    }
}
