//! Which rights the group of the server gets to what the server makes.

use rustix::fs::Mode;
use rustix::process::umask;

/// What users of the server's group may do with documents. Staging files, the catalog and the keys
/// are for the server's own user alone, whatever is said here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum GroupAccess {
    /// They may read documents: files get mode 0640, folders 0750.
    #[default]
    Read,
    /// They may do nothing: files get mode 0600, folders 0700.
    None,
}

impl GroupAccess {
    /// Gives everything that this process makes from now on these rights, whatever umask it was
    /// started with. Each file and folder is made with the mode that it has at the most, so only the
    /// umask can take rights away, and none adds any.
    pub(super) fn apply(self) {
        let without = match self {
            Self::Read => Mode::WGRP | Mode::RWXO,
            Self::None => Mode::RWXG | Mode::RWXO,
        };
        umask(without);
    }
}
