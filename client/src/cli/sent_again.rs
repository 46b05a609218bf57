//! The files that a command with `--again` has sent so far. A later run of the same command does not
//! send them once more: it would store each of them under one more name.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use towline_state::state_file::JobEntry;

/// The number of bytes of a hash that stand for a file: two of a million files are not taken for
/// the same.
const HASH_BYTES: usize = 8;

/// See the module's description. All clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct SentAgain(Arc<Mutex<HashSet<[u8; HASH_BYTES]>>>);

impl SentAgain {
    /// What the entry of the command says.
    pub(super) fn of(entry: &JobEntry) -> Self {
        let read = |text: &String| u64::from_str_radix(text, 16).ok().map(u64::to_be_bytes);
        Self(Arc::new(Mutex::new(entry.sent_again.iter().filter_map(read).collect())))
    }

    pub(super) fn add(&self, local: &Path) {
        self.lock().insert(hash(local));
    }

    pub(super) fn has(&self, local: &Path) -> bool {
        self.lock().contains(&hash(local))
    }

    /// What the entry of the command is to say.
    pub(super) fn texts(&self) -> Vec<String> {
        let hex = |hash: &[u8; HASH_BYTES]| format!("{:016x}", u64::from_be_bytes(*hash));
        self.lock().iter().map(hex).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<[u8; HASH_BYTES]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(local: &Path) -> [u8; HASH_BYTES] {
    let local = std::path::absolute(local).unwrap_or_else(|_| local.to_owned());
    let hash = blake3::hash(local.as_os_str().as_encoded_bytes());
    let mut first = [0; HASH_BYTES];
    first.copy_from_slice(&hash.as_bytes()[..HASH_BYTES]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_known_after_it_was_written_down() {
        let sent = SentAgain::default();
        sent.add(Path::new("/a/b"));
        let mut entry: JobEntry = serde_json::from_str(r#"{"paths":["/a"]}"#).unwrap();
        entry.sent_again = sent.texts();
        assert_eq!(entry.sent_again[0].len(), 2 * HASH_BYTES);
        let sent = SentAgain::of(&entry);
        assert!(sent.has(Path::new("/a/b")) && !sent.has(Path::new("/a/c")));
    }
}
