//! What is kept of a file besides its bytes. On the server it is data: it decides nothing there.

use crate::limits::LINK_TARGET_BYTES;
use serde::{Deserialize, Serialize};
use std::fmt;

/// When a file was last modified on the client's disk: milliseconds since 1970-01-01 UTC,
/// negative before. It is not a [`Timestamp`](crate::Timestamp): those are the server's own, and
/// never before 1970.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ModifiedTime(i64);

impl ModifiedTime {
    /// That many milliseconds after 1970-01-01 UTC.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// The milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }
}

/// The mode has other bits than the nine permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is more than the nine permission bits, which are at most 511 (octal 777)")]
pub struct BadMode(u32);

/// The nine permission bits of a file or folder, `rwxrwxrwx`. There is no place in it for setuid,
/// setgid and sticky, so no file that is fetched can have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct PermissionBits(u16);

impl PermissionBits {
    const ALL: u32 = 0o777;

    /// The permission bits of a mode as a file system tells it; its other bits are left out.
    #[must_use]
    pub fn of_mode(mode: u32) -> Self {
        Self(u16::try_from(mode & Self::ALL).unwrap_or(0))
    }

    /// The bits, at most octal 777.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0 as u32
    }
}

impl TryFrom<u32> for PermissionBits {
    type Error = BadMode;

    fn try_from(bits: u32) -> Result<Self, BadMode> {
        if bits > Self::ALL { Err(BadMode(bits)) } else { Ok(Self::of_mode(bits)) }
    }
}

impl From<PermissionBits> for u32 {
    fn from(bits: PermissionBits) -> u32 {
        bits.bits()
    }
}

/// Why the target of a link is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLinkTarget {
    /// Nothing there.
    #[error("the target of a link must not be empty")]
    Empty,
    /// More than 4095 bytes.
    #[error("the target of a link may have at most {LINK_TARGET_BYTES} bytes")]
    TooLong,
    /// NUL, newline, escape and their like.
    #[error("the target of a link must not contain control characters")]
    Control,
}

/// What a symbolic link leads to, as it was read from the client's disk. The server never follows
/// it. A client looks where it leads before it makes the link.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkTarget(String);

impl LinkTarget {
    /// Checks a target.
    ///
    /// # Errors
    /// Says why the target is refused.
    pub fn new(target: impl Into<String>) -> Result<Self, BadLinkTarget> {
        let target = target.into();
        if target.is_empty() {
            return Err(BadLinkTarget::Empty);
        }
        if target.len() > LINK_TARGET_BYTES {
            return Err(BadLinkTarget::TooLong);
        }
        if target.contains(char::is_control) {
            return Err(BadLinkTarget::Control);
        }
        Ok(Self(target))
    }

    /// The target as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LinkTarget {
    type Error = BadLinkTarget;

    fn try_from(target: String) -> Result<Self, BadLinkTarget> {
        Self::new(target)
    }
}

impl From<LinkTarget> for String {
    fn from(target: LinkTarget) -> String {
        target.0
    }
}

impl fmt::Display for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_has_nine_bits() {
        assert_eq!(PermissionBits::of_mode(0o104_755).bits(), 0o755);
        assert_eq!(PermissionBits::try_from(0o777).map(PermissionBits::bits), Ok(0o777));
        assert_eq!(PermissionBits::try_from(0o1000), Err(BadMode(0o1000)));
    }

    #[test]
    fn a_target_is_a_text_without_control_characters() {
        for target in ["a", "../b c", "/etc/passwd", "ü", &"x".repeat(LINK_TARGET_BYTES)] {
            assert_eq!(LinkTarget::new(target).unwrap().as_str(), target);
        }
        assert_eq!(LinkTarget::new(""), Err(BadLinkTarget::Empty));
        assert_eq!(LinkTarget::new("x".repeat(4096)), Err(BadLinkTarget::TooLong));
        for target in ["a\0", "a\nb", "\u{1b}[31m", "\u{85}"] {
            assert_eq!(LinkTarget::new(target), Err(BadLinkTarget::Control));
        }
    }
}
