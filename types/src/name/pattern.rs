//! Which names a pattern matches.

use super::case_folding::folded;
use crate::limits;
use std::fmt;
use std::str::FromStr;
use wildmatch::WildMatch;

/// A pattern for the name of a file, a folder or a link: `*` stands for any number of characters,
/// `?` for one, everything else for itself. Names are compared by their [keys](super::Name::key),
/// so `*.pdf` matches `Report.PDF`.
#[derive(Debug, Clone, PartialEq)]
pub struct NamePattern {
    text: String,
    keys: WildMatch,
}

/// The text is no pattern that a name could match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// No name is empty.
    #[error("a pattern needs a character at least")]
    Empty,
    /// It is longer than a name may be.
    #[error("a pattern has at most {} bytes", limits::NAME_BYTES)]
    TooLong,
    /// A pattern is for one name, not for a path.
    #[error("a pattern is for a name alone: it has no / in it")]
    Slash,
    /// No name has one.
    #[error("a pattern has no control characters")]
    Control,
}

impl NamePattern {
    /// Whether it matches that name.
    #[must_use]
    pub fn matches(&self, name: &super::Name) -> bool {
        self.keys.matches(&name.key())
    }
}

impl FromStr for NamePattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern::Empty);
        }
        if text.len() > limits::NAME_BYTES {
            return Err(BadPattern::TooLong);
        }
        if text.contains('/') {
            return Err(BadPattern::Slash);
        }
        if text.contains(char::is_control) {
            return Err(BadPattern::Control);
        }
        Ok(Self { text: text.to_owned(), keys: WildMatch::new(&folded(text)) })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern.parse::<NamePattern>().unwrap().matches(&Name::new(name).unwrap())
    }

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        for (pattern, name) in [
            ("*", "a"),
            ("*.pdf", "Report.PDF"),
            ("*.pdf", ".pdf"),
            ("report ????.*", "report 2024.csv"),
            ("a*b*c", "a--b--b--c"),
            ("stra\u{df}e", "STRASSE"),
            // One letter, whether it is written with one code point or with two.
            ("caf?", "cafe\u{301}"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("[a]", "[a]"),
            ("a?c", "a?c"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("?", "ab"),
            ("a?", "a"),
            ("*.pdf", "a.pdf.txt"),
            ("pdf", "a.pdf"),
            ("a*b*c", "a--c--b"),
            ("[a]", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_do_not_take_long() {
        let pattern = "*a".repeat(127);
        assert!(!matches(&pattern, &format!("{}b", "a".repeat(254))));
    }

    #[test]
    fn what_no_name_can_match_is_no_pattern() {
        for (text, error) in [
            ("", BadPattern::Empty),
            ("a/*", BadPattern::Slash),
            ("a\u{1b}", BadPattern::Control),
            (&"a".repeat(256), BadPattern::TooLong),
        ] {
            assert_eq!(text.parse::<NamePattern>(), Err(error), "{text:?}");
        }
    }
}
