//! Waiting for another program that keeps the catalog locked while it is being opened: a
//! backup, say. The wait is said in the log and has an end.

use super::error::CatalogError;
use rusqlite::ErrorCode;
use std::path::Path;
use std::time::{Duration, Instant};

/// One attempt waits this long for a lock.
pub(super) const ATTEMPT: Duration = Duration::from_secs(1);

/// Between two attempts: some locks are refused without a wait.
const PAUSE: Duration = Duration::from_millis(50);

/// After this time the log says what is waited for, and again and again after as long.
const SILENCE: Duration = Duration::from_secs(2);
const SAID_EVERY: Duration = Duration::from_secs(30);

/// After this time the wait ends with an error. A service manager gives a start about as
/// long.
const LIMIT: Duration = Duration::from_secs(90);

/// Does the work, again and again while another program has locked the catalog. The work
/// itself waits [`ATTEMPT`] for a lock.
pub(super) fn for_others<T>(
    path: &Path,
    mut work: impl FnMut() -> Result<T, CatalogError>,
) -> Result<T, CatalogError> {
    let began = Instant::now();
    let mut said_at = None;
    loop {
        match work() {
            Err(error) if is_locked(&error) => {}
            answer => return answer,
        }
        let waited = began.elapsed();
        if waited >= LIMIT {
            return Err(CatalogError::Locked { path: path.to_owned(), waited });
        }
        let due = said_at.map_or(SILENCE, |at| at + SAID_EVERY);
        if waited >= due {
            said_at = Some(waited);
            tracing::warn!(
                "waiting: another program has locked {} (a backup?); the opening goes on when it lets go",
                path.display()
            );
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether the work failed because of another program's lock. Migrations bring SQLite's error
/// inside of their own.
fn is_locked(error: &CatalogError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = match error {
        CatalogError::Busy => return true,
        CatalogError::Migration { source, .. } => Some(source.as_ref()),
        _ => return false,
    };
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rusqlite::Error>() {
            let code = error.sqlite_error_code();
            return matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked));
        }
        next = error.source();
    }
    false
}
