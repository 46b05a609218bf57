//! When two names are one: case folding, normalisation and blanks.

use super::characters::{is_blank, is_unseen};
use unicode_normalization::UnicodeNormalization as _;

/// What names have in common that a file system or a reader takes for the same: full
/// case folding, normalised (NFC), each blank a space, without what does not show.
pub(super) fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let shown = |c: &char| !is_unseen(*c);
    let spaced = |c| if is_blank(c) { ' ' } else { c };
    // Decomposed first: folding looks at one character at a time, and an accent must not
    // decide whether it finds the letter (Unicode, definition D145).
    let decomposed: String = text.nfd().filter(shown).map(spaced).collect();
    unicase::UniCase::unicode(decomposed).to_folded_case().nfc().collect()
}
