//! What a user sees under a name.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A file; its content is a version, which is a completed document.
    File,
    /// A folder: nodes lie in it.
    Folder,
    /// A symbolic link: its content is its target, a text. No link is made on the server's disk.
    Link,
}

impl NodeKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Link => "link",
        }
    }

    /// What that word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::File, Self::Folder, Self::Link].into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_word() {
        for kind in [NodeKind::File, NodeKind::Folder, NodeKind::Link] {
            assert_eq!(NodeKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(NodeKind::parse("device"), None);
    }
}
