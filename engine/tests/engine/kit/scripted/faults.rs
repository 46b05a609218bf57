//! What a script does at a call: hold the thread up, or fail.

use super::locked;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use tokio::sync::watch;
use towline_engine::storage::{Place, Resource, StorageError};

/// Holds a thread up until it is opened or dropped: so a test that fails comes to its end.
pub(crate) struct Gate(Arc<Bar>);

struct Bar {
    reached: watch::Sender<bool>,
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(super) fn closed() -> Self {
        let (reached, is_open) = (watch::Sender::new(false), Mutex::new(false));
        Self(Arc::new(Bar { reached, is_open, opened: Condvar::new() }))
    }

    /// Waits until a thread stands at the gate.
    pub(crate) async fn reached(&self) {
        let mut reached = self.0.reached.subscribe();
        crate::kit::soon(reached.wait_for(|reached| *reached)).await.unwrap();
    }

    pub(crate) fn open(&self) {
        *locked(&self.0.is_open) = true;
        self.0.opened.notify_all();
    }

    /// What a thread does that comes to the gate.
    pub(super) fn wait(&self) -> impl FnOnce() + Send + use<> {
        let bar = Arc::clone(&self.0);
        move || {
            bar.reached.send_replace(true);
            let mut is_open = locked(&bar.is_open);
            while !*is_open {
                is_open = bar.opened.wait(is_open).unwrap();
            }
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

/// An error that may pass.
pub(crate) fn passing() -> StorageError {
    let source = io::Error::from_raw_os_error(16);
    StorageError::Io { what: "do what was asked", place: Place::default(), source }
}

/// An error of a disk that does not give out what was written there.
pub(crate) fn damage() -> StorageError {
    let source = io::Error::from_raw_os_error(5);
    StorageError::Io { what: "read", place: Place::default(), source }
}

/// An error of a full disk.
pub(crate) fn full() -> StorageError {
    let (resource, missing_bytes) = (Resource::Bytes, Some(4711));
    StorageError::NoSpace { resource, missing_bytes, place: Place::default() }
}
