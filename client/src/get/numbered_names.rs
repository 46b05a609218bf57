//! Other names for a thing whose name is taken.

use towline_types::{DocumentPath, Name};

/// How many numbers after a name are tried where it is taken.
const NUMBERS_MAX: u32 = 10_000;

/// The names for a thing whose own is taken, in the order in which they are tried: `a (1).txt`,
/// `a (2).txt`, …
pub(super) fn numbered_names(name: &Name) -> impl Iterator<Item = Name> + use<> {
    let plain = DocumentPath::new(Vec::new(), name.clone()).ok();
    let numbered = move |number| plain.as_ref()?.numbered(number);
    (1..=NUMBERS_MAX).map_while(numbered).map(|path| path.filename().clone())
}
