//! A scanner in the process of the test: what it finds the bytes of a document say, and a test can
//! hold it, or take it away.

use std::io::Read as _;
use std::sync::{Condvar, Mutex};
use std::time::Duration;
use towline_engine::scanning::{ScanBytes, ScanResult, Scanned, Scanner};

/// What every scanner finds, by agreement of those who make them. It is put together here so that no
/// scanner finds it in this file.
#[must_use]
pub fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}", "$EICAR-STANDARD-ANTIVIRUS-", "TEST-FILE!$H+H*"]
        .concat()
        .into_bytes()
}

/// A document that begins with this cannot be scanned.
pub const UNSCANNABLE: &[u8] = b"UNSCANNABLE";

/// What the scanner does with the next documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It scans them.
    Works,
    /// It waits with each of them.
    Waits,
    /// It is not there.
    IsAway,
    /// It panics.
    Panics,
}

/// See the module's description.
#[derive(Debug)]
pub struct StubScanner {
    mood: Mutex<Mood>,
    changed: Condvar,
    /// How often it was asked.
    asked: Mutex<u64>,
}

impl StubScanner {
    /// A scanner in that mood.
    #[must_use]
    pub fn that(mood: Mood) -> Self {
        Self { mood: Mutex::new(mood), changed: Condvar::new(), asked: Mutex::new(0) }
    }

    /// From now on.
    ///
    /// # Panics
    /// Where the scanner has panicked with its lock held.
    pub fn now(&self, mood: Mood) {
        *self.mood.lock().expect("a mood") = mood;
        self.changed.notify_all();
    }

    /// How often it was asked.
    ///
    /// # Panics
    /// Where the scanner has panicked with its lock held.
    #[must_use]
    pub fn asked(&self) -> u64 {
        *self.asked.lock().expect("a number")
    }

    fn mood(&self, bytes: &ScanBytes<'_>) -> Mood {
        let mut mood = self.mood.lock().expect("a mood");
        while *mood == Mood::Waits && !bytes.is_over() {
            mood = self.changed.wait_timeout(mood, Duration::from_millis(20)).expect("a mood").0;
        }
        *mood
    }
}

impl Scanner for StubScanner {
    fn name(&self) -> &str {
        "stub"
    }

    fn scan(&self, bytes: &mut ScanBytes<'_>) -> Scanned {
        *self.asked.lock().expect("a number") += 1;
        let result = match self.mood(bytes) {
            Mood::Works => {
                let mut content = Vec::new();
                match bytes.read_to_end(&mut content) {
                    Err(error) => ScanResult::retry(error),
                    Ok(_) if content.starts_with(UNSCANNABLE) => {
                        ScanResult::Unscannable { reason: "it says so".to_owned() }
                    }
                    Ok(_) if content.windows(eicar().len()).any(|part| part == eicar()) => {
                        ScanResult::Infected { threat: "Eicar-Signature".to_owned() }
                    }
                    Ok(_) => ScanResult::Clean,
                }
            }
            Mood::Waits | Mood::IsAway => ScanResult::retry("the stub is away"),
            Mood::Panics => panic!("the stub panics"),
        };
        Scanned { result, signatures: Some("stub 1".to_owned()) }
    }
}
