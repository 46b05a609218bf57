//! The names of the files in which `towline get` keeps what has come of a file that is not whole.

#[cfg(unix)]
use towline_types::Name;

/// What every such name begins with.
const PREFIX: &str = ".towline-";

/// How much of the hash of the file's name follows.
const HASH_DIGITS: usize = 16;

/// What such a name ends with: the bytes, the values of their blocks, and a link that is to replace
/// something.
const ENDS: [&str; 3] = [".part", ".values", ".link"];

/// The beginning of the names of a file's staging files, the same in every run. One of [`ENDS`]
/// follows it.
#[cfg(unix)]
pub(crate) fn stem(target: &Name) -> String {
    let hash = blake3::hash(target.as_str().as_bytes()).to_hex();
    format!("{PREFIX}{}", &hash[..HASH_DIGITS])
}

/// Whether a name is one of these. Such a file of a tree must not be fetched under its name: it
/// could be the staging file of its neighbour, which would write into it and take it away.
pub(crate) fn is_one(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    rest.split_at_checked(HASH_DIGITS)
        .is_some_and(|(hash, end)| hash.bytes().all(is_digit) && ENDS.contains(&end))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn names_of_staging_files_are_told_from_all_others() {
        let stem = stem(&Name::new("f").unwrap());
        for end in ENDS {
            assert!(is_one(&format!("{stem}{end}")), "{end}");
        }
        for other in [
            "f",
            ".towline-store",
            ".towlineignore",
            ".towline-0123456789abcdef",
            ".towline-0123456789abcdef.txt",
            ".towline-0123456789abcde.part",
            ".towline-0123456789ABCDEF.part",
            ".towline-0123456789abcdeé.part",
            "x.towline-0123456789abcdef.part",
        ] {
            assert!(!is_one(other), "{other}");
        }
    }
}
