//! Text from other machines and from files, made safe for a terminal.

use towline_types::Name;

/// The most characters of a server's text that are shown: a longer text is not worth a screen.
const PRINTABLE_CHARS_MAX: usize = 2_000;

/// The text, in which everything is escaped that a terminal could obey or that could hide or
/// reorder the text beside it. Every text of a server, a file name or a state file is escaped here
/// before a person sees it.
#[must_use]
pub fn printable(text: &str) -> String {
    match text.char_indices().nth(PRINTABLE_CHARS_MAX) {
        Some((end, _)) => printable_path(&text[..end]) + "…",
        None => printable_path(text),
    }
}

/// The same of a path, however long it is: for lines that a program reads, too.
#[must_use]
pub(crate) fn printable_path(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for name in text.split_inclusive('/') {
        let may_have_tags = has_tags_of_a_name(name.trim_end_matches('/'));
        for c in name.chars() {
            if is_harmless(c) || (may_have_tags && is_tag(c)) {
                clean.push(c);
            } else {
                clean.extend(c.escape_default());
            }
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
    let text = printable_path(&path.to_string_lossy());
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
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}')
        && !is_tag(c)
}

/// Whether the character changes the one before it and shows nothing by itself.
fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0000}'..='\u{e0fff}')
}

/// Whether the rules of names allow such characters where the name has them, as after a Japanese
/// character. They are not escaped then: an escaped name would be the name of no file.
fn has_tags_of_a_name(name: &str) -> bool {
    name.chars().any(is_tag) && Name::new(name).is_ok()
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
    fn a_name_that_a_server_takes_stays_as_it_is() {
        let flag = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}";
        for name in ["辻\u{e0100}.txt", flag, &format!("葛\u{e0101}/{flag}/x")] {
            assert_eq!(printable(name), name);
            assert!(shell_word(name.as_ref()).contains(name));
        }
        let long = vec!["x".repeat(200); 20].join("/");
        assert_eq!(shell_word(long.as_ref()), long);
        assert_eq!(printable_path(&long), long);
    }

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n\u{9b}c"), "a\\u{1b}[2Jb\\r\\n\\u{9b}c");
        assert_eq!(printable("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        assert_eq!(printable("Prüfung – 試験.pdf"), "Prüfung – 試験.pdf");
        assert_eq!(printable("x\u{e0100}"), "x\\u{e0100}");
        assert!(printable(&"x".repeat(100_000)).chars().count() <= PRINTABLE_CHARS_MAX + 1);
    }
}
