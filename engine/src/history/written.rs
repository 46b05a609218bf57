//! What the history file says. The file is written again only where the catalog has changed since.

use std::sync::{Mutex, MutexGuard, PoisonError};
use towline_state::catalog::History;

/// How far the catalog had come when the file was last written; `None` where that is not known.
#[derive(Debug, Default)]
pub(crate) struct WrittenHistory(Mutex<Option<History>>);

impl WrittenHistory {
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<History>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
