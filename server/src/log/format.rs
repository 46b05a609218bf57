//! How a line of the log is written: for people, or as one JSON object for a program.

use serde_json::json;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::SystemTime;

/// The longest line; what is longer is cut.
pub(super) const LINE_BYTES_MAX: usize = 16 << 10;

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line, with the same fields.
    Json,
}

/// The levels of what the log itself has to say.
#[derive(Debug, Clone, Copy)]
pub(super) enum Level {
    Warn,
    Error,
}

impl LogFormat {
    /// A line that does not come from an event: of a panic, of lines that were left out, and
    /// the last one of a process.
    /// What is too long for a line is cut in the message, so that a JSON object stays whole.
    pub(super) fn line(self, level: Level, message: &str) -> String {
        let mut kept = &message[..message.floor_char_boundary(LINE_BYTES_MAX)];
        loop {
            let line = self.whole_line(level, kept);
            // A character that has to be escaped takes up to six bytes.
            let excess = line.len().saturating_sub(LINE_BYTES_MAX);
            if excess == 0 || kept.is_empty() {
                return line;
            }
            kept = &kept[..kept.floor_char_boundary(kept.len() - excess.div_ceil(6))];
        }
    }

    fn whole_line(self, level: Level, message: &str) -> String {
        let now = humantime::format_rfc3339_micros(SystemTime::now());
        let level = match level {
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        };
        let line = match self {
            Self::Text => format!("{now} {level:>5} towline_server::log: {message}"),
            Self::Json => json!({
                "timestamp": now.to_string(),
                "level": level,
                "message": message,
                "target": "towline_server::log",
            })
            .to_string(),
        };
        let mut line = self.printable(line.as_bytes(), false).into_owned();
        line.push('\n');
        line
    }

    /// What goes to the log of a line that an event has become. A JSON object that is too long
    /// becomes another that says so, with its beginning as text.
    pub(super) fn of_event(self, line: &[u8], is_coloured: bool) -> Cow<'_, str> {
        let printable = self.printable(line, is_coloured);
        if self == Self::Text || printable.len() <= LINE_BYTES_MAX {
            return printable;
        }
        let told = format!("a line was too long for the log and is cut: {}", printable.trim_end());
        Cow::Owned(self.line(Level::Warn, &told))
    }

    /// A line that is one line, whatever stands in it: a path, a name and a message of the
    /// system may hold any character, and control characters of a terminal among them. A JSON
    /// object stays one with the same content.
    pub(super) fn printable(self, line: &[u8], is_coloured: bool) -> Cow<'_, str> {
        let text = String::from_utf8_lossy(line);
        let (body, end) = text.strip_suffix('\n').map_or((&*text, ""), |body| (body, "\n"));
        let is_colour = |rest: &str| {
            is_coloured
                && rest.strip_prefix("\x1b[").is_some_and(|rest| {
                    rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';')
                        .starts_with('m')
                })
        };
        let is_hostile = |c: char| {
            c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        if !body.contains(is_hostile) {
            return text;
        }
        let mut escaped = String::with_capacity(text.len() + 16);
        for (at, c) in body.char_indices() {
            if !is_hostile(c) || is_colour(&body[at..]) {
                escaped.push(c);
            } else if self == Self::Json {
                // All of them have four digits at the most, and stand in a string.
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            } else {
                escaped.extend(c.escape_default());
            }
        }
        escaped.push_str(end);
        Cow::Owned(escaped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_and_moves_no_cursor() {
        let printable = |line, is_coloured| LogFormat::Text.printable(line, is_coloured);
        let hostile = b"moved a\x1b[2Jb\nWARN forged \xe2\x80\xae\xc2\x9b1m\xff\n";
        let printed = printable(hostile, false);
        assert_eq!(printed, "moved a\\u{1b}[2Jb\\nWARN forged \\u{202e}\\u{9b}1m\u{fffd}\n");
        // Colours of our own stay, where there are any, and nothing else does.
        assert_eq!(
            printable(b"\x1b[32mINFO\x1b[0m \x1b[1A\n", true),
            "\x1b[32mINFO\x1b[0m \\u{1b}[1A\n"
        );
        assert_eq!(printable(b"\x1b[32mINFO\n", false), "\\u{1b}[32mINFO\n");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_stays_an_object() {
        for text in ["x", "\u{202e}", "\n", "é\"", "🦀"] {
            let message = format!("panicked{}", text.repeat(40_000));
            let line = LogFormat::Json.line(Level::Error, &message);
            assert!(line.len() <= LINE_BYTES_MAX, "{} bytes", line.len());
            assert!(line.len() > LINE_BYTES_MAX / 2, "{} bytes", line.len());
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let kept = value["message"].as_str().unwrap();
            assert!(message.starts_with(kept) && kept.len() > "panicked".len());
            // An event with that in it stays an object as well.
            let event = serde_json::json!({ "message": message }).to_string();
            let line = LogFormat::Json.of_event(event.as_bytes(), false);
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(value["message"].as_str().unwrap().contains("panicked"));
            assert!(line.len() <= LINE_BYTES_MAX);
            assert!(LogFormat::Text.line(Level::Error, &message).len() <= LINE_BYTES_MAX);
        }
    }

    #[test]
    fn an_object_stays_the_same_object() {
        let hostile = "a\u{1b}[2J\n\u{202e}\u{9b}\u{2028}\"\\é";
        let line = LogFormat::Json.line(Level::Warn, hostile);
        assert!(!line.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["level"], &value["message"]), (&"WARN".into(), &hostile.into()));
        let text = LogFormat::Text.line(Level::Error, hostile);
        assert!(text.contains(" ERROR ") && text.lines().count() == 1, "{text}");
    }
}
