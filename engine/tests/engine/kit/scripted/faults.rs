//! What a script does at a call: hold the thread up, or fail.

use super::locked;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use tokio::sync::watch;
use towline_engine::storage::{Place, Resource, StorageError};

/// Holds a thread up until it is opened.
#[derive(Clone)]
pub(crate) struct Gate {
    reached: Arc<watch::Sender<bool>>,
    is_open: Arc<(Mutex<bool>, Condvar)>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { reached: Arc::new(watch::Sender::new(false)), is_open: Arc::default() }
    }
}

impl Gate {
    /// Waits until a thread stands at the gate.
    pub(crate) async fn reached(&self) {
        let mut reached = self.reached.subscribe();
        crate::kit::soon(reached.wait_for(|reached| *reached)).await.unwrap();
    }

    pub(crate) fn open(&self) {
        *locked(&self.is_open.0) = true;
        self.is_open.1.notify_all();
    }

    pub(super) fn wait(&self) {
        self.reached.send_replace(true);
        let mut is_open = locked(&self.is_open.0);
        while !*is_open {
            is_open = self.is_open.1.wait(is_open).unwrap();
        }
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
