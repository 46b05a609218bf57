//! The content of the files that every session sends.

use super::fuzz_server::FILESIZE_MAX;
use std::sync::LazyLock;

/// Every file of every session has the first bytes of this content.
pub(super) static CONTENT: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..=250).cycle().take(usize::try_from(FILESIZE_MAX).unwrap_or(0)).collect());
