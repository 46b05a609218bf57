//! The first bytes that the other end of a connection has sent. Where it is no Towline server, a
//! person is shown their text.

use std::fmt;

/// The most bytes of an answer that are shown.
const SHOWN_BYTES: usize = 40;

/// The most bytes of an answer that are kept: a binary protocol may have numbers before its text.
const KEPT_BYTES: usize = 64;

/// Fewer printable bytes in a row are probably not text.
const TEXT_BYTES_MIN: usize = 4;

/// The first bytes of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    bytes: [u8; KEPT_BYTES],
    length: usize,
}

impl Default for Greeting {
    fn default() -> Self {
        Self { bytes: [0; KEPT_BYTES], length: 0 }
    }
}

impl Greeting {
    /// Takes in further bytes; only the first ones are kept.
    pub(crate) fn came(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.length..];
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.length += count;
    }

    /// Whether no Towline server can have sent this: every frame has a length below 16 MiB, so its
    /// first byte is zero.
    pub(crate) fn is_foreign(&self) -> bool {
        self.length > 0 && self.bytes[0] != 0
    }

    /// The first line of text in these bytes.
    fn text(&self) -> Option<&str> {
        let is_text = |byte: &u8| matches!(byte, b' '..=b'~');
        let mut parts = self.bytes[..self.length].split(|byte| !is_text(byte));
        let text = parts.find(|part| part.len() >= TEXT_BYTES_MIN)?;
        std::str::from_utf8(&text[..text.len().min(SHOWN_BYTES)]).ok()
    }
}

/// A part of a sentence that says what was received.
impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => write!(f, "it answered \"{}\"", text.trim()),
            None if self.bytes[..self.length].starts_with(&[0x15, 3]) => {
                f.write_str("it answered in TLS")
            }
            None => f.write_str("its answer is not text"),
        }
    }
}

impl fmt::Debug for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Greeting({})", self.bytes[..self.length].escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(bytes: &[u8]) -> Greeting {
        let mut greeting = Greeting::default();
        for byte in bytes {
            greeting.came(&[*byte]);
        }
        greeting
    }

    #[test]
    fn the_first_text_of_an_answer_is_shown_and_nothing_that_a_terminal_obeys() {
        for (bytes, shown) in [
            (
                &b"SSH-2.0-OpenSSH_9.9p1 Debian-3\r\n"[..],
                "it answered \"SSH-2.0-OpenSSH_9.9p1 Debian-3\"",
            ),
            (
                b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n",
                "it answered \"HTTP/1.1 400 Bad Request\"",
            ),
            (b"J\0\0\0\n8.0.36-log\0", "it answered \"8.0.36-log\""),
            (b"\x1b[2J\x1b[31mred", "it answered \"[31mred\""),
            (b"\x15\x03\x03\0\x02\x02\x28", "it answered in TLS"),
            (b"\xff\xfd\x18", "its answer is not text"),
            (b"", "its answer is not text"),
        ] {
            assert_eq!(greeting(bytes).to_string(), shown, "{bytes:?}");
        }
        let long = greeting(&b"220 ".repeat(50)).to_string();
        assert!(long.len() <= SHOWN_BYTES + "it answered \"\"".len(), "{long}");
    }

    #[test]
    fn a_frame_begins_with_a_zero() {
        assert!(!greeting(b"").is_foreign());
        assert!(!greeting(b"\0\0\0\x20\x01{").is_foreign());
        assert!(greeting(b"220 mail.example ESMTP").is_foreign());
    }
}
