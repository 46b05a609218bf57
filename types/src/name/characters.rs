//! Which characters a name may have, and which of them a reader does not see.
//!
//! `SPEC.md` section 10 lists the same code points, so that a client can check a name
//! before it sends it; `tests/characters.rs` compares the page with this file for
//! every code point of Unicode.

use std::ops::RangeInclusive;

type Range = RangeInclusive<u32>;

/// Characters that hide, that reorder the text beside them, or whose look depends on
/// the font alone: format characters, fillers, noncharacters and unassigned
/// "default ignorable" code points. A name never has one.
const REFUSED: &[Range] = &[
    0xad..=0xad,
    0x34f..=0x34f,
    0x600..=0x605,
    0x61c..=0x61c,
    0x6dd..=0x6dd,
    0x70f..=0x70f,
    0x890..=0x891,
    0x8e2..=0x8e2,
    0x115f..=0x1160,
    0x17b4..=0x17b5,
    0x200b..=0x200b,
    0x200e..=0x200f,
    0x2028..=0x202e,
    0x2060..=0x206f,
    0x3164..=0x3164,
    0xfdd0..=0xfdef,
    0xfe00..=0xfe0d,
    0xfeff..=0xfeff,
    0xffa0..=0xffa0,
    0xfff0..=0xfffb,
    0x110bd..=0x110bd,
    0x110cd..=0x110cd,
    0x13430..=0x1343f,
    0x1bca0..=0x1bca3,
    0x1d159..=0x1d159,
    0x1d173..=0x1d17a,
    0xe0000..=0xe001f,
    0xe0080..=0xe00ff,
    0xe01f0..=0xe0fff,
];

/// Characters that show as a space. Inside a name they are legal (cameras, screenshots
/// and Japanese keyboards write them); two names that differ in these alone are one.
const BLANK: &[Range] = &[
    0x20..=0x20,
    0xa0..=0xa0,
    0x1680..=0x1680,
    0x2000..=0x200a,
    0x202f..=0x202f,
    0x205f..=0x205f,
    0x2800..=0x2800,
    0x3000..=0x3000,
];

const JOINERS: &[Range] = &[0x200c..=0x200d];

/// The scripts whose words need joiners: Arabic and its neighbours, the scripts of
/// India, Myanmar, Khmer, Mongolian and Adlam.
const JOINED: &[Range] = &[
    0x620..=0x74f,
    0x7c0..=0x7ff,
    0x840..=0x85f,
    0x870..=0xdff,
    0x1000..=0x109f,
    0x1780..=0x17ff,
    0x1820..=0x18aa,
    0xa8e0..=0xa8ff,
    0x11000..=0x11fff,
    0x1e900..=0x1e95f,
];

const MONGOLIAN_SELECTORS: &[Range] = &[0x180b..=0x180f];
const MONGOLIAN: &[Range] = &[0x1820..=0x18aa];

const EMOJI_SELECTORS: &[Range] = &[0xfe0e..=0xfe0f];
/// Every emoji, and the symbols beside them in the same blocks.
const EMOJI: &[Range] = &[
    0xa9..=0xa9,
    0xae..=0xae,
    0x203c..=0x203c,
    0x2049..=0x2049,
    0x2122..=0x2122,
    0x2139..=0x2139,
    0x2194..=0x21aa,
    0x231a..=0x23fa,
    0x24c2..=0x24c2,
    0x25aa..=0x25fe,
    0x2600..=0x27bf,
    0x2934..=0x2935,
    0x2b05..=0x2b55,
    0x3030..=0x3030,
    0x303d..=0x303d,
    0x3297..=0x3297,
    0x3299..=0x3299,
    0x1f000..=0x1faff,
];
/// Keycaps: `1`, U+FE0F, U+20E3.
const KEYCAP: char = '\u{20e3}';

const IDEOGRAPH_SELECTORS: &[Range] = &[0xe0100..=0xe01ef];
const IDEOGRAPHS: &[Range] =
    &[0x3400..=0x4dbf, 0x4e00..=0x9fff, 0xf900..=0xfaff, 0x20000..=0x3fffd];

const TAGS: &[Range] = &[0xe0020..=0xe007f];
/// The flags that are written with tags: England, Scotland, Wales.
const FLAGS: [&str; 3] = [
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}",
];

fn is_in(ranges: &[Range], c: char) -> bool {
    // In ascending order, so most names are done at the first range.
    ranges
        .iter()
        .take_while(|range| *range.start() <= u32::from(c))
        .any(|range| range.contains(&u32::from(c)))
}

/// Whether it shows as a space.
pub(super) fn is_blank(c: char) -> bool {
    is_in(BLANK, c)
}

/// The first character that may hide something where it stands.
pub(super) fn hidden(name: &str) -> Option<char> {
    if name.is_ascii() {
        return None;
    }
    // The flags of tags as one character, the flag that they begin with.
    let mut rest = name;
    let mut before = [None::<char>; 2];
    while let Some(c) = rest.chars().next() {
        let flag = FLAGS.iter().find(|flag| rest.starts_with(**flag));
        rest = &rest[flag.map_or(c.len_utf8(), |flag| flag.len())..];
        if flag.is_none() && !is_legal(before, c, rest.chars().next()) {
            return Some(c);
        }
        before = [before[1], Some(c)];
    }
    None
}

/// Whether `c` is legal between its neighbours.
fn is_legal(before: [Option<char>; 2], c: char, behind: Option<char>) -> bool {
    let is = |ranges, c: Option<char>| c.is_some_and(|c| is_in(ranges, c));
    let last = before[1];
    if is_in(JOINERS, c) {
        let emoji = if is(EMOJI_SELECTORS, last) { before[0] } else { last };
        return is(JOINED, last) || c == '\u{200d}' && is(EMOJI, emoji) && is(EMOJI, behind);
    }
    if is_in(EMOJI_SELECTORS, c) {
        let is_key = matches!(last, Some('0'..='9' | '#' | '*')) && behind == Some(KEYCAP);
        return is(EMOJI, last) || is_key;
    }
    if is_in(MONGOLIAN_SELECTORS, c) {
        return is(MONGOLIAN, last);
    }
    if is_in(IDEOGRAPH_SELECTORS, c) {
        return is(IDEOGRAPHS, last);
    }
    // Noncharacters: the last two of each plane. Tags of no flag.
    !(is_in(REFUSED, c) || is_in(TAGS, c) || u32::from(c) & 0xfffe == 0xfffe)
}

/// Whether a reader sees nothing of it, so that two names which differ in it alone look alike.
pub(super) fn is_unseen(c: char) -> bool {
    [JOINERS, MONGOLIAN_SELECTORS, EMOJI_SELECTORS, IDEOGRAPH_SELECTORS, REFUSED]
        .iter()
        .any(|ranges| is_in(ranges, c))
}
