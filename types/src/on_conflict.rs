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
    /// Become the next version of the file that has the name.
    Replace,
    /// Refuse with `exists`, and keep nothing: also where the name was taken only after the
    /// upload had begun, the upload is given up.
    Skip,
}

impl OnConflict {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rename, Self::Reject, Self::Replace, Self::Skip];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::Reject => "reject",
            Self::Replace => "replace",
            Self::Skip => "skip",
        }
    }

    /// What that word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == word)
    }
}
