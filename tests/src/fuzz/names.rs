//! No accepted name can lead out of a folder, be hidden, or be mistaken for another name; and names
//! that are made from accepted names are accepted, too. This file has the rules of `SPEC.md`
//! section 10 a second time, to compare with.

use super::input::Input;
use std::collections::BTreeSet;
use towline_types::limits::{FOLDER_DEPTH, NAME_BYTES, PATH_BYTES};
use towline_types::{DocumentPath, Name};
use unicode_normalization::UnicodeNormalization as _;

/// The first five bytes of the input choose numbers of copies; the rest is a path.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let small = u32::from(input.byte());
    let large = input.take(4).iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    let text = String::from_utf8_lossy(input.rest());
    let copies = BTreeSet::from([1, 2, small, small + 1, large, u32::MAX]);
    if let Ok(name) = Name::new(&*text) {
        check_name(&name, &copies);
    }
    match DocumentPath::parse(&text) {
        Ok(path) => check_path(&text, &path, &copies),
        Err(_) => {
            let names: Result<Vec<_>, _> = text.split('/').map(Name::new).collect();
            let is_large = text.len() > PATH_BYTES || text.matches('/').count() > FOLDER_DEPTH;
            assert!(names.is_err() || is_large, "a path of legal names that is not too large");
        }
    }
}

fn check_path(text: &str, path: &DocumentPath, copies: &BTreeSet<u32>) {
    assert_eq!(path.to_string(), text, "a path is what was sent");
    assert!(text.len() <= PATH_BYTES && path.folder().len() <= FOLDER_DEPTH);
    for name in path.folder().iter().chain([path.filename()]) {
        check_name(name, copies);
    }
    let whole = [path.folder_text().as_str(), path.filename().as_str()].join("/");
    assert_eq!(whole.trim_start_matches('/'), text);

    let key = path.key();
    // A key may be longer than a name: case folding can turn one letter into three.
    if let Ok(folded) = DocumentPath::recorded(&key) {
        assert_eq!(folded.key(), key, "a key is its own key");
    }
    for twin in [
        text.nfd().collect::<String>(),
        text.nfc().collect(),
        text.chars().flat_map(char::to_lowercase).collect(),
        text.replace(['\u{a0}', '\u{2800}', '\u{3000}'], " "),
        text.replace(['\u{200c}', '\u{200d}', '\u{fe0f}'], ""),
    ] {
        if let Ok(twin) = DocumentPath::parse(&twin) {
            assert_eq!(twin.key(), key, "{twin} is the same place");
        }
    }
    let numbered: Vec<_> = copies.iter().filter_map(|copy| path.numbered(*copy)).collect();
    let keys: BTreeSet<_> = numbered.iter().map(DocumentPath::key).collect();
    assert_eq!(keys.len(), numbered.len(), "each number is a place of its own");
    for twin in numbered {
        assert_eq!(twin.folder(), path.folder(), "it stays in its folder");
        assert!(twin.is_numbered(path) && DocumentPath::parse(&twin.to_string()).is_ok());
    }
}

fn check_name(name: &Name, copies: &BTreeSet<u32>) {
    assert!(is_legal(name.as_str()), "{name:?}");
    let json = serde_json::to_string(name).expect("a name is text");
    assert_eq!(serde_json::from_str::<Name>(&json).ok().as_ref(), Some(name), "a round trip");
    for copy in copies {
        let path = DocumentPath::new(Vec::new(), name.clone()).expect("one name is no long path");
        let numbered = path.numbered(*copy).expect("there is room for any number");
        let numbered = numbered.filename();
        assert_eq!(Name::new(numbered.as_str()).as_ref(), Ok(numbered), "a legal way out");
        assert!(is_legal(numbered.as_str()), "{numbered:?}");
        assert!(numbered.as_str().contains(&format!("({copy})")), "{numbered} says its number");
    }
}

/// Checks a name by the rules of `SPEC.md`.
fn is_legal(name: &str) -> bool {
    let hides = |c: char| {
        matches!(u32::from(c),
            0..=0x1f | 0x7f..=0x9f | 0xad | 0x61c | 0x200b | 0x200e | 0x200f | 0x2028..=0x202e
            | 0x2060..=0x206f | 0xfe00..=0xfe0d | 0xfeff | 0xfff9..=0xfffb | 0x1d173..=0x1d17a
            | 0xe0000..=0xe001f | 0xe0080..=0xe00ff | 0xe01f0..=0xe0fff)
    };
    // Windows compares the part before the first dot, without spaces at its end.
    let device = name.split('.').next().unwrap_or("").trim_end().to_ascii_uppercase();
    let is_device = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&device.as_str())
        || ["COM", "LPT"].iter().any(|port| {
            device.strip_prefix(port).is_some_and(|end| {
                end.chars().count() == 1 && end.contains(|c| "0123456789¹²³".contains(c))
            })
        });
    (1..=NAME_BYTES).contains(&name.len())
        && !name.contains(['/', '\\'])
        && !matches!(name, "." | "..")
        && !name.ends_with('.')
        && !name.starts_with(char::is_whitespace)
        && !name.ends_with(char::is_whitespace)
        && !name.contains(hides)
        && !is_device
}
