//! Text from other machines and from files, made safe for a terminal.

/// The most characters of a server's text that are shown: a longer text is not worth a screen.
const PRINTABLE_CHARS_MAX: usize = 2_000;

/// The text, in which everything is escaped that a terminal could obey or that could hide or
/// reorder the text beside it. Every text of a server, a file name or a state file is escaped here
/// before a person sees it.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(PRINTABLE_CHARS_MAX));
    for (count, c) in text.chars().enumerate() {
        if count == PRINTABLE_CHARS_MAX {
            clean.push('…');
            break;
        }
        if is_harmless(c) {
            clean.push(c);
        } else {
            clean.extend(c.escape_default());
        }
    }
    clean
}

/// The text of a JSON document, in which everything is escaped that a terminal could obey and that
/// JSON allows: the document means the same as before.
#[must_use]
pub(crate) fn printable_json(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    for c in json.chars() {
        if is_harmless(c) {
            clean.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                clean.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    clean
}

/// A path, made safe to be shown to a person.
#[must_use]
pub(crate) fn shown(path: &std::path::Path) -> String {
    printable(&path.to_string_lossy())
}

/// The path as one word of a command line, so that a person can copy the line.
#[must_use]
pub(crate) fn shell_word(path: &std::path::Path) -> String {
    let text = printable(&path.to_string_lossy());
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'
            | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_command_line() {
        for (path, word) in
            [("/a/b-c.json", "/a/b-c.json"), ("my file", "'my file'"), ("it's", "'it'\\''s'")]
        {
            assert_eq!(shell_word(path.as_ref()), word);
        }
    }

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n\u{9b}c"), "a\\u{1b}[2Jb\\r\\n\\u{9b}c");
        assert_eq!(printable("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        assert_eq!(printable("Prüfung – 試験.pdf"), "Prüfung – 試験.pdf");
        assert!(printable(&"x".repeat(100_000)).chars().count() <= PRINTABLE_CHARS_MAX + 1);
    }
}
