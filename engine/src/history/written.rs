//! What the history file says: it is written only where the catalog says something else.

use std::sync::{Mutex, MutexGuard, PoisonError};
use towline_state::catalog::History;

/// How far the catalog had come when that was last written; nothing where it is not known.
#[derive(Debug, Default)]
pub(crate) struct WrittenHistory(Mutex<Option<History>>);

impl WrittenHistory {
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<History>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
