//! What kind of file something is, by its first bytes and not by its name: the media type.

/// How many bytes of a file decide.
pub(crate) const HEAD_BYTES: usize = 4096;

/// A file that begins with `magic` at `offset` is of that type.
struct Signature {
    offset: usize,
    magic: &'static [u8],
    media_type: &'static str,
}

const fn at(offset: usize, magic: &'static [u8], media_type: &'static str) -> Signature {
    Signature { offset, magic, media_type }
}

/// The first that fits counts.
const SIGNATURES: &[Signature] = &[
    at(0, b"\x89PNG\r\n\x1a\n", "image/png"),
    at(0, b"\xff\xd8\xff", "image/jpeg"),
    at(0, b"GIF87a", "image/gif"),
    at(0, b"GIF89a", "image/gif"),
    at(8, b"WEBP", "image/webp"),
    at(8, b"WAVE", "audio/wav"),
    at(8, b"AVI ", "video/x-msvideo"),
    at(0, b"II*\0", "image/tiff"),
    at(0, b"MM\0*", "image/tiff"),
    at(0, b"BM", "image/bmp"),
    at(0, b"\0\0\x01\0", "image/x-icon"),
    at(4, b"ftypavif", "image/avif"),
    at(4, b"ftypheic", "image/heic"),
    at(4, b"ftypmif1", "image/heif"),
    at(4, b"ftypM4A", "audio/mp4"),
    at(4, b"ftypqt  ", "video/quicktime"),
    at(4, b"ftyp", "video/mp4"),
    at(0, b"\x1aE\xdf\xa3", "video/x-matroska"),
    at(0, b"OggS", "application/ogg"),
    at(0, b"fLaC", "audio/flac"),
    at(0, b"ID3", "audio/mpeg"),
    at(0, b"\xff\xfb", "audio/mpeg"),
    at(0, b"%PDF-", "application/pdf"),
    at(0, b"%!PS", "application/postscript"),
    at(0, b"{\\rtf", "application/rtf"),
    at(0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    at(30, b"mimetypeapplication/epub+zip", "application/epub+zip"),
    at(30, b"mimetypeapplication/vnd.oasis.opendocument", "application/vnd.oasis.opendocument"),
    at(0, b"PK\x03\x04", "application/zip"),
    at(0, b"PK\x05\x06", "application/zip"),
    at(0, b"\x1f\x8b", "application/gzip"),
    at(0, b"BZh", "application/x-bzip2"),
    at(0, b"\xfd7zXZ\0", "application/x-xz"),
    at(0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    at(0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    at(0, b"Rar!\x1a\x07", "application/vnd.rar"),
    at(257, b"ustar", "application/x-tar"),
    at(0, b"\x7fELF", "application/x-executable"),
    at(0, b"MZ", "application/vnd.microsoft.portable-executable"),
    at(0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    at(0, b"\0asm", "application/wasm"),
    at(0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    at(0, b"#!", "text/x-script"),
    at(0, b"<?xml", "application/xml"),
    at(0, b"<!DOCTYPE html", "text/html"),
    at(0, b"<html", "text/html"),
];

/// The media type of a file that begins with these bytes; `is_whole`: there are no others.
pub(crate) fn of(head: &[u8], is_whole: bool) -> &'static str {
    let fits =
        |one: &&Signature| head.get(one.offset..).is_some_and(|rest| rest.starts_with(one.magic));
    if let Some(found) = SIGNATURES.iter().find(fits) {
        return found.media_type;
    }
    match is_text(head, is_whole) {
        true => "text/plain",
        false => "application/octet-stream",
    }
}

/// Whether it reads as text. A character may be cut off at the end of the head.
fn is_text(head: &[u8], is_whole: bool) -> bool {
    let is_plain = |text: &str| {
        !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}'))
    };
    match std::str::from_utf8(head) {
        Ok(text) => !text.is_empty() && is_plain(text),
        Err(error) => {
            let text = head.get(..error.valid_up_to()).unwrap_or_default();
            let is_cut = error.error_len().is_none() && !is_whole && !text.is_empty();
            is_cut && std::str::from_utf8(text).is_ok_and(is_plain)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_decide() {
        for (head, media_type) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], "image/png"),
            (b"%PDF-1.7\n", "application/pdf"),
            (b"PK\x03\x04....", "application/zip"),
            (b"\0\0\0\x18ftypmp42", "video/mp4"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"plain words\n", "text/plain"),
            ("Gr\u{fc}\u{df}e".as_bytes(), "text/plain"),
            (b"", "application/octet-stream"),
            (b"a\0b", "application/octet-stream"),
            (b"\xfe\xfe\xfe", "application/octet-stream"),
        ] {
            assert_eq!(of(head, true), media_type, "{head:?}");
        }
        // A character that the end of the head cuts off.
        assert_eq!(of(b"Gr\xc3", false), "text/plain");
        assert_eq!(of(b"Gr\xc3", true), "application/octet-stream");
    }
}
