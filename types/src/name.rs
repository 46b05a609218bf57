//! Names of files and folders, as people may choose them.
//!
//! A name is one component of a path. What could leave the user's folder,
//! impersonate another name or upset a terminal is refused with the reason, never
//! repaired in silence: the name a person sees published is the name they sent.
//! A dot at the beginning is legal: a project's `.env` and `.git` belong to it.

mod case_folding;
mod characters;
mod pattern;

pub use pattern::{BadPattern, NamePattern};

use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadName {
    /// Nothing there.
    #[error("a name must not be empty")]
    Empty,
    /// More than 255 bytes.
    #[error("a name may have at most {} bytes", limits::NAME_BYTES)]
    TooLong,
    /// `/` or `\`.
    #[error("a name must not contain / or \\")]
    Separator,
    /// `.` or `..`, which lead to another folder.
    #[error("a name must not be . or ..")]
    Dots,
    /// Ends in a dot, or begins or ends in a space.
    #[error("a name must not end in a dot, nor begin or end in a space")]
    Edge,
    /// NUL, newline, escape and their like.
    #[error("a name must not contain control characters")]
    Control,
    /// A character that reorders or hides text, or that shows nothing where it stands.
    #[error(
        "a name must not contain U+{:04X} there, which hides or reorders text",
        u32::from(*.0)
    )]
    Invisible(char),
    /// `CON`, `NUL`, `COM1` …
    #[error("the name is reserved on some systems")]
    Reserved,
    /// More than 32 folders, one inside the other, or too long a path.
    #[error(
        "a folder may be at most {} deep and its path at most {} bytes long",
        limits::FOLDER_DEPTH,
        limits::PATH_BYTES
    )]
    TooDeep,
}

/// One component of a path: a file's name or a folder's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// Says why the name is refused.
    pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        check(&name)?;
        Ok(Self(name))
    }

    /// The name as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Names that a file system or a reader takes for the same have the same key: see
    /// [`DocumentPath::key`].
    #[must_use]
    pub fn key(&self) -> String {
        case_folding::folded(&self.0)
    }

    /// The `copy`-th way out when the name is taken: `doc (1).pdf`, of at most that many
    /// bytes. The stem gives way where the result would be too long; nothing where no
    /// room is left for any of it.
    fn numbered_within(&self, copy: u32, bytes_max: usize) -> Option<Self> {
        let (stem, extension) = match self.0.rfind('.') {
            // Dots at the beginning hide a file; what follows them is its name.
            Some(dot)
                if self.0[..dot].contains(|c| c != '.')
                    && self.0.len() - dot <= limits::NAME_BYTES / 2 =>
            {
                self.0.split_at(dot)
            }
            _ => (self.0.as_str(), ""),
        };
        let suffix = format!(" ({copy}){extension}");
        let mut room = bytes_max.checked_sub(suffix.len())?.min(stem.len());
        // Not in the middle of a letter, nor of an emoji or a word whose rest the
        // character at the end needs.
        while room < stem.len()
            && (!stem.is_char_boundary(room) || characters::hidden(&stem[..room]).is_some())
        {
            room -= 1;
        }
        let stem = stem[..room].trim_end_matches(characters::is_blank);
        (!stem.is_empty()).then(|| Self(format!("{stem}{suffix}")))
    }

    /// The numbers in round brackets that it has after a space.
    fn numbers(&self) -> impl Iterator<Item = u32> {
        self.0.split(" (").skip(1).filter_map(|rest| rest.split_once(')')?.0.parse().ok())
    }

    /// A name that was accepted once and is recorded. Rules that came later do not make
    /// it unreadable: only what could lead elsewhere on a disk is refused, and control
    /// characters, which no rule ever allowed. Deserialising is reading a record too.
    ///
    /// # Errors
    /// Says why the name is refused.
    pub fn recorded(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        check_as_component(&name)?;
        Ok(Self(name))
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(name: String) -> Result<Self, BadName> {
        Self::recorded(name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a document lies among its owner's: folders, outermost first, and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentPath {
    folder: Vec<Name>,
    filename: Name,
}

impl DocumentPath {
    /// Puts a path together.
    ///
    /// # Errors
    /// [`BadName::TooDeep`] where the folders are too many or too long.
    pub fn new(folder: Vec<Name>, filename: Name) -> Result<Self, BadName> {
        let length: usize = folder.iter().map(|name| name.0.len() + 1).sum();
        if folder.len() > limits::FOLDER_DEPTH || length + filename.0.len() > limits::PATH_BYTES {
            return Err(BadName::TooDeep);
        }
        Ok(Self { folder, filename })
    }

    /// Reads a path back from [`Display`](fmt::Display)'s form, `a/b/doc.pdf`.
    ///
    /// # Errors
    /// Where one of its names is refused.
    pub fn parse(path: &str) -> Result<Self, BadName> {
        let mut names = path.split('/').map(Name::new).collect::<Result<Vec<_>, _>>()?;
        let filename = names.pop().ok_or(BadName::Empty)?;
        Self::new(names, filename)
    }

    /// Reads a path back that was accepted once and is recorded.
    ///
    /// # Errors
    /// Where one of its names [could lead elsewhere](Name::recorded).
    pub fn recorded(path: &str) -> Result<Self, BadName> {
        let mut names = path.split('/').map(Name::recorded).collect::<Result<Vec<_>, _>>()?;
        let filename = names.pop().ok_or(BadName::Empty)?;
        Self::new(names, filename)
    }

    /// The folders, outermost first.
    #[must_use]
    pub fn folder(&self) -> &[Name] {
        &self.folder
    }

    /// The folders as one text, `a/b`; empty for none.
    #[must_use]
    pub fn folder_text(&self) -> String {
        self.folder.iter().map(Name::as_str).collect::<Vec<_>>().join("/")
    }

    /// The name of the file.
    #[must_use]
    pub fn filename(&self) -> &Name {
        &self.filename
    }

    /// The same place under the `copy`-th other name. The stem gives way where name or
    /// path would be too long; nothing where the path leaves no room for any stem.
    #[must_use]
    pub fn numbered(&self, copy: u32) -> Option<Self> {
        let above: usize = self.folder.iter().map(|name| name.0.len() + 1).sum();
        let bytes_max = limits::PATH_BYTES.checked_sub(above)?.min(limits::NAME_BYTES);
        let filename = self.filename.numbered_within(copy, bytes_max)?;
        Some(Self { folder: self.folder.clone(), filename })
    }

    /// Whether this is that place, [numbered](Self::numbered) by any number.
    #[must_use]
    pub fn is_numbered(&self, plain: &Self) -> bool {
        self.filename.numbers().any(|copy| plain.numbered(copy).as_ref() == Some(self))
    }

    /// Two paths that a file system or a reader takes for the same have the same key:
    /// full case folding, normalised (NFC), each blank a space, without the characters
    /// that do not show.
    #[must_use]
    pub fn key(&self) -> String {
        case_folding::folded(&self.to_string())
    }
}

impl fmt::Display for DocumentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.folder {
            write!(f, "{name}/")?;
        }
        self.filename.fmt(f)
    }
}

fn check(name: &str) -> Result<(), BadName> {
    check_as_component(name)?;
    if let Some(hidden) = characters::hidden(name) {
        return Err(BadName::Invisible(hidden));
    }
    if name.ends_with('.')
        || name.starts_with(characters::is_blank)
        || name.ends_with(characters::is_blank)
    {
        return Err(BadName::Edge);
    }
    if is_reserved(name) {
        return Err(BadName::Reserved);
    }
    Ok(())
}

/// What every name is, by whichever rules it was accepted: one component of a path
/// that leads nowhere else, without control characters.
fn check_as_component(name: &str) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.len() > limits::NAME_BYTES {
        return Err(BadName::TooLong);
    }
    if name.contains(['/', '\\']) {
        return Err(BadName::Separator);
    }
    if name == "." || name == ".." {
        return Err(BadName::Dots);
    }
    if name.chars().any(char::is_control) {
        return Err(BadName::Control);
    }
    Ok(())
}

/// Device names of Windows, with or without an extension.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let digit = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    digit.is_some_and(|digit| {
        let mut chars = digit.chars();
        matches!(chars.next(), Some('0'..='9' | '¹' | '²' | '³')) && chars.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_of_many_languages_pass() {
        for name in [
            "doc.pdf",
            "lecture notes (final).pdf",
            "Übung 3.docx",
            "图纸.dwg",
            "می‌خواهم.txt",
            "👨‍👩‍👧.png",
            "👩‍❤️‍👨 🚶‍➡️ 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇫🇷 👍🏽.jpg",
            "葛\u{e0100}城.txt",
            "ക്\u{200d}.txt",
            "ᠠ\u{180e}ᠠ.txt",
            "Screenshot 9.41.00\u{202f}AM.png",
            "写真\u{3000}2024.jpg",
            "a",
            "console.log",
            "COM10",
            "what?.txt",
            "10:30.png",
            "a..b",
            ".env",
            ".gitignore",
            ".con",
            "..a",
            "...a.b",
            ".a b",
        ] {
            assert_eq!(Name::new(name).map(String::from), Ok(name.to_owned()));
        }
    }

    #[test]
    fn what_could_leave_hide_or_upset_is_refused_with_its_reason() {
        for (name, reason) in [
            ("", BadName::Empty),
            ("a/b", BadName::Separator),
            ("a\\b", BadName::Separator),
            ("/etc/passwd", BadName::Separator),
            (".", BadName::Dots),
            ("..", BadName::Dots),
            ("...", BadName::Edge),
            (".a.", BadName::Edge),
            (". ", BadName::Edge),
            (" .a", BadName::Edge),
            ("a\0b", BadName::Control),
            ("a\nb", BadName::Control),
            ("a\x1b[31mb", BadName::Control),
            ("a\u{85}b", BadName::Control),
            ("gpj\u{202e}exe.txt", BadName::Invisible('\u{202e}')),
            ("a\u{200b}b", BadName::Invisible('\u{200b}')),
            ("a\u{feff}", BadName::Invisible('\u{feff}')),
            ("a\u{e0041}", BadName::Invisible('\u{e0041}')),
            ("bi\u{200c}ll.pdf", BadName::Invisible('\u{200c}')),
            ("pay\u{fe0f}.pdf", BadName::Invisible('\u{fe0f}')),
            ("pay1\u{fe0f}.pdf", BadName::Invisible('\u{fe0f}')),
            ("\u{200d}", BadName::Invisible('\u{200d}')),
            ("👩\u{200d}.png", BadName::Invisible('\u{200d}')),
            ("🏴\u{e0061}\u{e007f}.png", BadName::Invisible('\u{e0061}')),
            ("a.", BadName::Edge),
            ("a ", BadName::Edge),
            (" a", BadName::Edge),
            ("\u{a0}", BadName::Edge),
            ("\u{2800}", BadName::Edge),
            ("a\u{3000}", BadName::Edge),
            ("con", BadName::Reserved),
            ("NUL.txt", BadName::Reserved),
            ("lpt9.tar.gz", BadName::Reserved),
        ] {
            assert_eq!(Name::new(name), Err(reason), "{name:?}");
        }
        assert_eq!(Name::new("x".repeat(256)), Err(BadName::TooLong));
        assert_eq!(Name::new("é".repeat(255)), Err(BadName::TooLong));
        assert!(Name::new("x".repeat(255)).is_ok());
    }

    #[test]
    fn a_taken_name_gets_a_number_and_stays_legal() {
        let name = |text: &str| Name::new(text).unwrap();
        let numbered = |name: Name, copy| name.numbered_within(copy, limits::NAME_BYTES).unwrap();
        assert_eq!(numbered(name("doc.pdf"), 1).as_str(), "doc (1).pdf");
        assert_eq!(numbered(name("doc"), 12).as_str(), "doc (12)");
        assert_eq!(numbered(name("a.tar.gz"), 2).as_str(), "a.tar (2).gz");
        assert_eq!(numbered(name(".env"), 1).as_str(), ".env (1)");
        assert_eq!(numbered(name(".env.local"), 1).as_str(), ".env (1).local");
        assert_eq!(numbered(name("..a"), 1).as_str(), "..a (1)");
        for long in [
            "é".repeat(127),
            format!("{}.pdf", "x".repeat(251)),
            format!("a.{}", "y".repeat(250)),
            "👨‍👩‍👧".repeat(14),
        ] {
            let numbered = numbered(name(&long), 4_000_000_000);
            assert!(Name::new(numbered.as_str()).is_ok(), "{numbered}");
            assert_ne!(numbered.as_str(), long);
        }
    }

    #[test]
    fn a_numbered_place_is_known_again() {
        let path = |text: &str| DocumentPath::parse(text).unwrap();
        for plain in ["a/doc.pdf", "doc", "a (1).txt", "x.a (2)", &"é".repeat(127)] {
            let plain = path(plain);
            assert!(!plain.is_numbered(&plain), "{plain}");
            for copy in [1, 2, 10, u32::MAX] {
                assert!(plain.numbered(copy).unwrap().is_numbered(&plain), "{plain} {copy}");
            }
        }
        for (got, asked) in [
            ("doc (1).pdf", "dog.pdf"),
            ("doc (1).pdf", "document.pdf"),
            ("doc (x).pdf", "doc.pdf"),
            ("doc (01).pdf", "doc.pdf"),
            ("doc(1).pdf", "doc.pdf"),
            ("doc.pdf (1)", "doc.pdf"),
            ("b/doc (1).pdf", "a/doc.pdf"),
        ] {
            assert!(!path(got).is_numbered(&path(asked)), "{got}");
        }
    }

    #[test]
    fn a_numbered_path_is_no_longer_than_a_path_may_be() {
        let folder = format!("{}/{}", vec!["f".repeat(254); 7].join("/"), "g".repeat(255));
        let path = |name: &str| DocumentPath::parse(&format!("{folder}/{name}")).unwrap();
        assert_eq!(path("abcdefg").numbered(1).unwrap().filename().as_str(), "abc (1)");
        assert_eq!(path("a.txt").numbered(1), None);
        let numbered = path("abcdefg").numbered(12).unwrap();
        assert!(DocumentPath::parse(&numbered.to_string()).is_ok());
        assert!(numbered.is_numbered(&path("abcdefg")));
    }

    #[test]
    fn twins_have_one_key() {
        let key = |path: &str| DocumentPath::parse(path).unwrap().key();
        assert_eq!(key("Docs/CAFÉ.txt"), key("docs/cafe\u{301}.TXT"));
        for (one, other) in [
            ("ΟΔΟΣ.PDF", "οδος.pdf"),
            ("STRASSE", "straße"),
            ("ſeſam", "sesam"),
            ("5 µm", "5 μm"),
            ("ﬁsh", "FISH"),
            ("ϐϑϕ", "ΒΘΦ"),
            ("İ.txt", "i\u{307}.txt"),
            ("❤.png", "❤\u{fe0f}.png"),
            ("می\u{200c}خواهم", "میخواهم"),
            ("a\u{202f}b", "a b"),
            ("a\u{2800}b", "a\u{3000}b"),
            ("葛\u{e0100}", "葛"),
        ] {
            assert_eq!(key(one), key(other), "{one} and {other}");
        }
        for (one, other) in [("I", "ı"), ("ａ", "a"), ("а", "a"), ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿")]
        {
            assert_ne!(key(one), key(other), "{one} and {other}");
        }
        assert_ne!(key("docs/a"), key("docs/b"));
    }

    #[test]
    fn folders_are_bounded() {
        let deep = vec![Name::new("d").unwrap(); 33];
        assert_eq!(DocumentPath::new(deep, Name::new("f").unwrap()), Err(BadName::TooDeep));
        assert_eq!(DocumentPath::parse("a//b"), Err(BadName::Empty));
        assert_eq!(DocumentPath::parse("a/../b"), Err(BadName::Dots));
    }
}
