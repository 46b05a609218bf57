//! The code points of `SPEC.md` section 10 are those of the code, for all of Unicode.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop where a test may")]

use regex_syntax::hir::{Class, HirKind};
use std::ops::RangeInclusive;
use towline_types::{BadName, DocumentPath, Name};

const SPEC: &str = include_str!("../SPEC.md");

/// The code points of the row whose second cell begins with that word.
fn listed(word: &str) -> Vec<RangeInclusive<u32>> {
    let (_, table) = SPEC.split_once("\n| code points | in a name |").expect("the table is there");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut rows = rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let points = cells.next()?;
        cells.next()?.starts_with(word).then_some(points)
    });
    let row = rows.next().unwrap_or_else(|| panic!("a row that begins with {word}"));
    assert!(rows.next().is_none(), "one row for {word}");
    ranges(row)
}

/// `0041–005A 00AD` as ranges.
fn ranges(text: &str) -> Vec<RangeInclusive<u32>> {
    let number = |text| u32::from_str_radix(text, 16).unwrap_or_else(|_| panic!("{text:?}"));
    let words = text.trim_matches('`').split_whitespace();
    words
        .map(|word| match word.split_once('–') {
            Some((first, last)) => number(first)..=number(last),
            None => number(word)..=number(word),
        })
        .collect()
}

/// The ranges after a name in bold in the text below the table.
fn named(name: &str) -> Vec<RangeInclusive<u32>> {
    let (_, rest) = SPEC.split_once(&format!("\n- **{name}**: `")).expect("the list is there");
    ranges(rest.split('`').next().unwrap())
}

/// A set of code points.
struct Points(Vec<bool>);

impl Points {
    fn of(ranges: impl IntoIterator<Item = RangeInclusive<u32>>) -> Self {
        let mut points = vec![false; 0x11_0000];
        for point in ranges.into_iter().flatten() {
            points[point as usize] = true;
        }
        Self(points)
    }

    fn has(&self, c: char) -> bool {
        self.0[c as usize]
    }
}

fn is_legal(name: &str) -> bool {
    Name::new(name).is_ok()
}

/// Every code point of the first two planes, where all scripts and emoji are, and the
/// first 4,096 of plane 14; beyond, every 97th and those beside the ends of planes.
fn characters() -> impl Iterator<Item = char> {
    let is_chosen = |point: &u32| {
        matches!(point, 0..=0x1_ffff | 0xe_0000..=0xe_0fff)
            || point.is_multiple_of(97)
            || matches!(point & 0xffff, 0xfff0..)
    };
    (0..=0x10_ffff).filter(is_chosen).filter_map(char::from_u32)
}

#[test]
fn each_is_legal_where_the_page_says_so() {
    let refused = Points::of(["control", "separates", "hides"].into_iter().flat_map(listed));
    let blank = Points::of(listed("blank"));
    let contextual = [
        "joins",
        "selects a form of a Mongolian",
        "selects a form of an emoji",
        "selects a form of an ideograph",
        "spells a flag",
    ];
    let contextual = Points::of(contextual.into_iter().flat_map(listed));
    for c in characters() {
        let middle = is_legal(&format!("a{c}b"));
        let edges = [is_legal(&format!("{c}b")), is_legal(&format!("a{c}"))];
        let kinds = [refused.has(c), blank.has(c), contextual.has(c)];
        assert!(kinds.iter().filter(|is| **is).count() <= 1, "{c:?} is in two rows");
        match kinds {
            [true, _, _] | [_, _, true] => {
                assert!(!middle && edges == [false; 2], "{c:?} is refused");
            }
            [_, true, _] => assert!(middle && edges == [false; 2], "{c:?} is blank"),
            _ if c == '.' => assert!(middle && !edges[1]),
            _ => assert!(middle && edges == [true; 2], "{c:?} is legal anywhere"),
        }
    }
    // The rest of Unicode, fifty in one name.
    let rest: Vec<char> = (0x2_0000..=0x10_ffff)
        .filter_map(char::from_u32)
        .filter(|c| !refused.has(*c) && !contextual.has(*c))
        .collect();
    for name in rest.chunks(50) {
        assert!(is_legal(&String::from_iter(name)), "{:?} and the next", name[0]);
    }
}

#[test]
fn what_needs_a_neighbour_is_legal_behind_that_one_alone() {
    let [joined, mongolian, emoji, ideographs] =
        ["joined", "Mongolian", "emoji", "ideographs"].map(|name| Points::of(named(name)));
    for before in characters().filter(|c| is_legal(&format!("x{c}y"))) {
        let behind = |c: char| is_legal(&format!("x{before}{c}y"));
        let (joined, emoji) = (joined.has(before), emoji.has(before));
        assert_eq!(behind('\u{200c}'), joined, "{before:?} and U+200C");
        assert_eq!(behind('\u{200d}'), joined, "{before:?} and U+200D");
        assert_eq!(behind('\u{180b}'), mongolian.has(before), "{before:?} and U+180B");
        assert_eq!(behind('\u{fe0f}'), emoji, "{before:?} and U+FE0F");
        assert_eq!(behind('\u{e0100}'), ideographs.has(before), "{before:?} and U+E0100");
        let couple = is_legal(&format!("x{before}\u{200d}💻"));
        assert_eq!(couple, joined || emoji, "{before:?}, U+200D and an emoji");
        let keycap = is_legal(&format!("x{before}\u{fe0f}\u{20e3}"));
        assert_eq!(keycap, emoji || "0123456789#*".contains(before), "{before:?} as a keycap");
    }
}

/// The code points of a Unicode property.
fn property(name: &str) -> Vec<RangeInclusive<u32>> {
    let hir = regex_syntax::parse(&format!(r"\p{{{name}}}")).unwrap();
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            class.iter().map(|range| u32::from(range.start())..=u32::from(range.end())).collect()
        }
        HirKind::Literal(one) => {
            let c = std::str::from_utf8(&one.0).unwrap().chars().next().unwrap();
            vec![u32::from(c)..=u32::from(c)]
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn nothing_that_unicode_calls_invisible_is_legal_anywhere() {
    let points = |name: &str| property(name).into_iter().flatten().filter_map(char::from_u32);
    for invisible in ["Default_Ignorable_Code_Point", "Cf", "Cc", "Zl", "Zp"] {
        for c in points(invisible) {
            assert!(!is_legal(&format!("a{c}b")), "{c:?} is {invisible}");
        }
    }
    for c in points("Zs") {
        assert!(!is_legal(&format!("a{c}")), "{c:?} is a space");
    }
    // Those from U+1FC00 on are reserved for later versions.
    for c in points("Extended_Pictographic").filter(|c| *c < '\u{1fc00}') {
        assert!(is_legal(&format!("{c}\u{fe0f}.png")), "{c:?} is an emoji");
    }
}

#[test]
fn each_character_and_its_other_case_have_one_key() {
    let key = |text: &str| DocumentPath::recorded(text).unwrap().key();
    for c in characters().filter(|c| is_legal(&format!("a{c}b"))) {
        let name = format!("a{c}b");
        let folded = key(&name);
        assert_eq!(key(&folded), folded, "{c:?}: a key is its own key");
        // Unicode's exceptions: the dotless i of Turkish has upper case I, which is i's.
        if c == 'ı' {
            continue;
        }
        for other in [name.to_lowercase(), name.to_uppercase()] {
            assert_eq!(key(&other), folded, "{c:?} and {other:?}");
        }
    }
}

#[test]
fn a_refusal_names_the_character() {
    let refusal = Name::new("gpj\u{202e}exe.txt").unwrap_err();
    assert_eq!(refusal, BadName::Invisible('\u{202e}'));
    assert!(refusal.to_string().contains("U+202E"), "{refusal}");
}
