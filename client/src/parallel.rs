//! The number of connections over which one file is sent.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use towline_types::limits::WRITERS_MAX;

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parallel {
    /// One connection, and more where they make a long upload faster.
    #[default]
    Auto,
    /// This number of connections, but no more than the file has blocks.
    Connections(NonZeroUsize),
}

/// The text is no number of connections that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadParallel;

impl fmt::Display for BadParallel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is auto, or a number between 1 and {WRITERS_MAX}")
    }
}

impl std::error::Error for BadParallel {}

impl FromStr for Parallel {
    type Err = BadParallel;

    fn from_str(text: &str) -> Result<Self, BadParallel> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse::<NonZeroUsize>() {
            Ok(count) if count.get() <= WRITERS_MAX => Ok(Self::Connections(count)),
            _ => Err(BadParallel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_auto() {
        assert_eq!("auto".parse(), Ok(Parallel::Auto));
        let sixteen = NonZeroUsize::new(16).unwrap();
        assert_eq!("16".parse(), Ok(Parallel::Connections(sixteen)));
        for text in ["0", "17", "-1", "", "many"] {
            assert_eq!(text.parse::<Parallel>(), Err(BadParallel), "{text}");
        }
    }
}
