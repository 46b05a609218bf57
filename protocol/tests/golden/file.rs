//! The `.hex` files: frames with a name, and a comment for each field.

use std::collections::BTreeSet;
use towline_protocol::frame::{Decoder, FrameLimits, Part};

/// One frame of a `.hex` file.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// What the comments say, one for each field.
    pub(crate) comments: Vec<String>,
}

pub(crate) fn read(text: &str) -> Vec<Golden> {
    let mut all = Vec::<Golden>::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("== ") {
            all.push(Golden { name: name.to_owned(), bytes: Vec::new(), comments: Vec::new() });
            continue;
        }
        let golden = all.last_mut().expect("a frame begins with its name");
        let (hex, comment) = line.split_once("# ").unwrap_or((line, ""));
        let byte = |digits| u8::from_str_radix(digits, 16).expect("hexadecimal bytes");
        golden.bytes.extend(hex.split_whitespace().map(byte));
        golden.comments.extend((!comment.is_empty()).then(|| comment.to_owned()));
    }
    all
}

/// Each golden frame of a file with what it means. A frame without a meaning,
/// or a meaning without a frame, fails.
pub(crate) fn paired<T>(text: &str, meanings: Vec<(&str, T)>) -> Vec<(Golden, T)> {
    let mut goldens = read(text);
    let names = |names: Vec<&str>| {
        let set: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(set.len(), names.len(), "a name stands there twice");
        set
    };
    assert_eq!(
        names(goldens.iter().map(|golden| golden.name.as_str()).collect()),
        names(meanings.iter().map(|(name, _)| *name).collect()),
    );
    let mut take = |name: &str| {
        let at = goldens.iter().position(|golden| golden.name == name).unwrap();
        goldens.swap_remove(at)
    };
    meanings.into_iter().map(|(name, meaning)| (take(name), meaning)).collect()
}

/// A decoder that has been given these bytes.
pub(crate) fn fed(limits: FrameLimits, mut bytes: &[u8]) -> Decoder {
    let mut decoder = Decoder::new(limits);
    while !bytes.is_empty() {
        let space = decoder.space();
        let count = space.len().min(bytes.len());
        space[..count].copy_from_slice(&bytes[..count]);
        decoder.filled(count);
        bytes = &bytes[count..];
    }
    decoder
}

/// The JSON of the one control message that these bytes are.
pub(crate) fn json_of(limits: FrameLimits, bytes: &[u8]) -> Vec<u8> {
    let mut decoder = fed(limits, bytes);
    let Ok(Some(Part::Control(json))) = decoder.next_part() else { panic!("no control message") };
    let json = json.to_vec();
    assert!(decoder.is_between_frames());
    json
}

/// The comments of a control message are its text; they must not lie.
pub(crate) fn assert_comments_are_the_text(golden: &Golden) {
    let text = String::from_utf8(golden.bytes[5..].to_vec()).unwrap();
    assert_eq!(golden.comments[2..].concat(), text, "{}", golden.name);
}
