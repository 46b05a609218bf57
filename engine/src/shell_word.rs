//! Paths in commands that a message tells a person to run.

use std::path::Path;

/// The path in the form that a shell takes for one word.
#[must_use]
pub fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        for (path, word) in
            [("/srv/a-b_1.x", "/srv/a-b_1.x"), ("/a b", "'/a b'"), ("/it's", r"'/it'\''s'")]
        {
            assert_eq!(shell_word(Path::new(path)), word);
        }
    }
}
