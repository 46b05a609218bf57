//! Sizes, as they are typed and as they stand in the configuration file.

use bytesize::ByteSize;
use std::str::FromStr;
use towline_types::FileSize;

/// A number of bytes: `500MB`, `2GiB`, or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(u64);

/// The size of the largest file: a [`Size`] of at least a byte, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxFileSize(FileSize);

/// What was typed is no size.
#[derive(Debug, thiserror::Error)]
pub enum BadSize {
    /// It cannot be read.
    #[error("{0:?} is not a size; write 500MB or 2GiB")]
    Unreadable(String),
    /// No file can be so large.
    #[error("{0:?} is more than any file can have; leave the limit out, or write less than 8EiB")]
    TooLarge(String),
    /// A limit of nothing.
    #[error("0 would refuse every file; leave the limit out, or write 500MB or 2GiB")]
    Nothing,
}

impl Size {
    pub(super) const fn bytes(self) -> u64 {
        self.0
    }
}

impl MaxFileSize {
    pub(super) const fn filesize(self) -> FileSize {
        self.0
    }
}

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let trimmed = text.trim();
        // `ByteSize` takes what has no digit for nothing, and what is too large for the
        // largest.
        let begins = trimmed.starts_with(|c: char| c.is_ascii_digit());
        match trimmed.parse::<ByteSize>() {
            Ok(size) if begins => match FileSize::try_from(size.as_u64()) {
                Ok(_) => Ok(Self(size.as_u64())),
                Err(_) => Err(BadSize::TooLarge(text.to_owned())),
            },
            _ => Err(BadSize::Unreadable(text.to_owned())),
        }
    }
}

impl FromStr for MaxFileSize {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        if text.trim().eq_ignore_ascii_case("unlimited") {
            return Ok(Self(FileSize::MAX));
        }
        let Size(bytes) = text.parse()?;
        if bytes == 0 {
            return Err(BadSize::Nothing);
        }
        FileSize::try_from(bytes).map(Self).map_err(|_| BadSize::TooLarge(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("500MB", 500_000_000),
            ("500 mb", 500_000_000),
            ("2GiB", 2 << 30),
            ("1.5GB", 1_500_000_000),
            ("10G", 10_000_000_000),
            ("1000", 1000),
            ("0B", 0),
        ] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        }
        for text in ["", "abc", "10 apples", "-1", "MB", ".5GB", "1e3", "NaN", "99999999TB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_of_nothing_is_no_limit_that_anybody_means() {
        for text in ["0", "0MB", "0.0001"] {
            assert!(text.parse::<MaxFileSize>().is_err(), "{text}");
        }
        assert_eq!("unlimited".parse::<MaxFileSize>().unwrap(), MaxFileSize(FileSize::MAX));
    }
}
