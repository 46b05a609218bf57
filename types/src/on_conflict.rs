//! What happens where the name of a document is taken.

use serde::{Deserialize, Serialize};

/// What to do where the final name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// Publish under the next free name: `doc (1).pdf`.
    #[default]
    Rename,
    /// Refuse with `exists`.
    Reject,
}

impl OnConflict {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::Reject => "reject",
        }
    }

    /// What that word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Rename, Self::Reject].into_iter().find(|choice| choice.as_str() == word)
    }
}
