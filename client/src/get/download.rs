//! One file that is being fetched.

use super::folder_modes::Filling;
use super::local_folder::{Found, LocalFolder};
use super::staging::{Durability, Expected, Staging};
use super::under_way::Promised;
use crate::failure::{Failure, NameTaken};
use rustix::fs::Mode;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use towline_types::file_hash::hash_file;
use towline_types::{ChainingValue, DocumentId, FileHash, Name};

/// Where the bytes go.
#[derive(Debug)]
pub(crate) enum Sink {
    Staging(Staging),
    /// Standard output, with the values of the blocks that were written there.
    Output(Vec<ChainingValue>),
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Download {
    /// The place of the file among all that are fetched.
    pub(crate) number: usize,
    pub(crate) document_id: DocumentId,
    pub(crate) expected: Expected,
    /// For messages.
    pub(crate) path: PathBuf,
    /// Where the file is to lie; absent for standard output.
    pub(crate) target: Option<Target>,
    pub(crate) sink: Mutex<Sink>,
    /// Its name, which nothing else may get meanwhile; absent for standard output. This field
    /// stands after `sink`, because fields are dropped in their order: the staging file is closed
    /// before another file may open it.
    pub(crate) _promised: Option<Promised>,
    /// The folder around it, which gets its permissions after it.
    pub(super) _around: Option<Arc<Filling>>,
}

/// A place in a local folder.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) folder: LocalFolder,
    pub(crate) name: Name,
    /// Another file that has the name gives way.
    pub(crate) replaces: bool,
    pub(crate) durability: Durability,
    /// The folder is made durable with the file; else the caller does it for all files together.
    pub(crate) syncs_folder: bool,
}

impl Download {
    /// The bytes that are not here, in their order. Each range begins and ends where a block does.
    pub(super) fn missing(&self) -> Vec<Range<u64>> {
        let filesize = self.expected.filesize.get();
        match &*self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::Staging(staging) => staging.missing(),
            Sink::Output(_) if filesize == 0 => Vec::new(),
            // This is asked before anything is written.
            Sink::Output(_) => std::iter::once(0..filesize).collect(),
        }
    }

    /// Whether bytes must come in order.
    pub(super) fn is_for_output(&self) -> bool {
        self.target.is_none()
    }

    /// Compares the whole with its hash, and gives the file its name. Blocks.
    pub(super) fn publish(&self, umask: Mode) -> Result<(), Failure> {
        let sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let (hash, staging) = match &*sink {
            Sink::Staging(staging) => (staging.hash(), Some(staging)),
            Sink::Output(values) => {
                (Some(hash_file(self.expected.filesize, values.iter().copied())), None)
            }
        };
        if hash != Some(self.expected.blake3) {
            if let Some(staging) = staging {
                staging.discard();
            }
            return Err(self.other_hash(hash));
        }
        let (Some(staging), Some(target)) = (staging, &self.target) else { return Ok(()) };
        match staging.publish(&target.name, target.replaces, umask) {
            Ok(()) if target.syncs_folder && target.durability == Durability::Synced => {
                target.folder.sync().map_err(|error| self.cannot("write", error))
            }
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Something has taken the name while the bytes came.
                let by = target.folder.look(&target.name).ok().and_then(Found::taken);
                staging.discard();
                let by = by.unwrap_or(NameTaken::File);
                Err(Failure::LocalExists { path: self.path.clone(), by })
            }
            Err(error) => Err(self.cannot("write", error)),
        }
    }

    fn other_hash(&self, hash: Option<FileHash>) -> Failure {
        let here = hash.map_or_else(|| "no hash".to_owned(), |hash| format!("the hash {hash}"));
        Failure::Integrity {
            reason: format!(
                "what arrived has {here}, and document {} has {}",
                self.document_id, self.expected.blake3
            ),
            document_id: Some(self.document_id),
        }
    }

    pub(super) fn cannot(&self, action: &'static str, source: io::Error) -> Failure {
        Failure::File { action, path: self.path.clone(), source, kept: None }
    }
}
