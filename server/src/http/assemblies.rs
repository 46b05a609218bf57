//! The files that were made of parts since the server has started: a client that asks for one again
//! hears of it, and does not get a second one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Mutex as AsyncMutex;
use towline_types::{DocumentId, FileSize, UserId};

/// A file that was made of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) id: DocumentId,
    pub(super) filesize: FileSize,
}

/// How many files of each user are remembered.
const REMEMBERED: usize = 16;

/// The last files of one user, each with what its client has asked for.
#[derive(Debug, Default)]
pub(super) struct OfUser(VecDeque<(String, Made)>);

impl OfUser {
    /// The file that was made of the same.
    pub(super) fn find(&self, asked: &str) -> Option<Made> {
        self.0.iter().find(|(one, _)| one == asked).map(|(_, made)| *made)
    }

    pub(super) fn remember(&mut self, asked: String, made: Made) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((asked, made));
    }
}

/// See the module's description. Each user makes one file at a time, and holds the lock of its files
/// meanwhile: the making takes a descriptor and the memory of a block.
#[derive(Debug, Default)]
pub(super) struct Assemblies(Mutex<HashMap<UserId, Arc<AsyncMutex<OfUser>>>>);

impl Assemblies {
    pub(super) fn of(&self, user: UserId) -> Arc<AsyncMutex<OfUser>> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(users.entry(user).or_default())
    }
}
