//! What has a local name that something else is to get.

use std::fmt;

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameTaken {
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A folder.
    Folder,
    /// A device, a pipe and the like.
    Special,
}

impl NameTaken {
    /// Whether it gives way where the person wants it replaced. With a folder everything in it
    /// would be gone.
    pub(crate) fn may_be_replaced(self) -> bool {
        matches!(self, Self::File | Self::Link)
    }
}

impl fmt::Display for NameTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "another file",
            Self::Link => "a symbolic link",
            Self::Folder => "a folder",
            Self::Special => "a special file",
        })
    }
}
