//! Which part of the list of uploads a person has typed: a number, a path, or all.

use std::path::{Path, PathBuf};
use towline_types::DocumentId;

/// Which part of the list is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Listed {
    All,
    Number(DocumentId),
    /// Everything at or below one of these paths: the path as it was typed, and the path without
    /// symbolic links.
    Below(Vec<PathBuf>),
}

impl Listed {
    /// A file that is called `all`, or whose name is a number, has to be typed as `./all`.
    pub(super) fn of(typed: &Path) -> Self {
        if typed == Path::new("all") {
            return Self::All;
        }
        if let Some(number) = typed.to_str().and_then(|text| text.parse().ok()) {
            return Self::Number(number);
        }
        let absolute = std::path::absolute(typed).unwrap_or_else(|_| typed.to_owned());
        let real = absolute.canonicalize().ok();
        Self::Below([Some(absolute), real].into_iter().flatten().collect())
    }

    /// Whether the path is at or below the path that was typed.
    pub(super) fn is_above(&self, path: &Path) -> bool {
        matches!(self, Self::Below(tops) if tops.iter().any(|top| path.starts_with(top)))
    }
}
