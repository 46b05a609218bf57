//! The list of unfinished uploads while a client works: one thread reads and writes the state file.

use super::entry_fields::{is_not_there, may_be_gone, prove};
use super::granted::{Granted, write_down};
use super::jobs;
use super::wanted::{Remembered, Wanted, find, key_of};
use crate::proof::Proof;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use tokio::sync::oneshot;
use towline_state::state_file::{EntryStatus, JobEntry, KnownServer, ModifiedNs, UploadEntry};
use towline_state::{StateFile, StateFileError, UploadsState, clock};
use towline_types::{DocumentId, Offset, UserId};

/// Which local file an upload of the list was begun with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BegunWith {
    /// The file in question, as far as the list knows.
    This,
    /// Another file, which still exists.
    Another,
    /// A file that is no longer at its path; with its time of modification.
    Gone(Option<ModifiedNs>),
}

type Work = Box<dyn FnOnce(&StateFile) + Send>;

/// Keeps the state file. One thread does all work on it, in the order in which the work was asked
/// for. So the last change of an upload is written last, and no async thread waits for a disk.
/// Without a state file, nothing is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uploads {
    work: Option<mpsc::Sender<Work>>,
    /// The file can be read but not written: new entries are not kept.
    is_only_read: bool,
}

impl Uploads {
    pub(crate) fn kept_in(file: StateFile) -> Self {
        let (work, todo) = mpsc::channel::<Work>();
        let thread =
            std::thread::Builder::new().name("towline-state".to_owned()).spawn(move || {
                for work in todo {
                    work(&file);
                }
            });
        Self { work: thread.is_ok().then_some(work), is_only_read: false }
    }

    /// The same for a file that cannot be written.
    pub(crate) fn read_from(file: StateFile) -> Self {
        Self { is_only_read: true, ..Self::kept_in(file) }
    }

    /// The entry that an upload continues with.
    pub(crate) async fn find(&self, wanted: Wanted) -> Remembered {
        // A file that cannot be read was reported when it was opened.
        let found = self.run(move |file| Some(find(&file.read().ok()?, &wanted)));
        found.await.flatten().unwrap_or(Remembered::Nothing)
    }

    /// Whether the list has an upload that was begun at this address, or a command that has reached
    /// its server there: then a server was there.
    pub(crate) async fn knows(&self, server: &KnownServer) -> bool {
        let server = server.clone();
        let found = self.run(move |file| {
            let state = file.read().ok()?;
            let is_command = |job: &JobEntry| {
                job.server_id.is_some()
                    && server.relation_to(job.server.as_deref(), job.server_id).is_same()
            };
            let is_upload = |entry: &UploadEntry| server.relation(entry).is_same();
            Some(state.uploads.values().any(is_upload) || state.jobs.iter().any(is_command))
        });
        found.await.flatten().unwrap_or(false)
    }

    /// The paths of the local files that the list has.
    pub(crate) async fn locals(&self) -> HashSet<PathBuf> {
        let found = self.run(|file| {
            let state = file.read().ok()?;
            Some(state.uploads.into_values().filter_map(|entry| entry.path).collect())
        });
        found.await.flatten().unwrap_or_default()
    }

    /// Whether that upload was begun with another local file.
    pub(crate) async fn begun_with(
        &self,
        server: &KnownServer,
        document_id: DocumentId,
        local: &Path,
    ) -> BegunWith {
        let (server, local) = (server.clone(), local.to_owned());
        let found = self.run(move |file| {
            let state = file.read().ok()?;
            let (_, entry) = state.find(document_id, Some(&server))?;
            let path = entry.path.as_ref().filter(|path| **path != local)?;
            Some(match std::fs::symlink_metadata(path) {
                // The file was moved, and may be the file that is uploaded now.
                Err(error) if is_not_there(&error) => BegunWith::Gone(entry.modified_ns),
                _ => BegunWith::Another,
            })
        });
        found.await.flatten().unwrap_or(BegunWith::This)
    }

    /// Writes to the list that an upload begins or continues. The work begins at once, and the
    /// future returns how it ended.
    pub(crate) fn granted(
        &self,
        granted: Granted,
    ) -> impl Future<Output = Result<(), StateFileError>> + use<> {
        let written = self.write(move |state| write_down(state, granted));
        async { written.await.unwrap_or(Ok(())) }
    }

    /// Writes how far an upload is. Does not wait.
    pub(crate) fn reached(
        &self,
        server: &KnownServer,
        document_id: DocumentId,
        offset: Offset,
        proof: Proof,
    ) {
        self.change_position(server, document_id, offset, proof, |entry| {
            entry.last_chunk_time = Some(clock::now());
        });
    }

    /// Writes that an upload rests. Does not wait: see [`settle`](Self::settle).
    pub(crate) fn paused(
        &self,
        server: &KnownServer,
        document_id: DocumentId,
        offset: Offset,
        proof: Proof,
    ) {
        self.change_position(server, document_id, offset, proof, |entry| {
            entry.status = EntryStatus::Paused;
        });
    }

    /// Writes how far an upload is, the proof for it, and what `and` changes in addition. Does not
    /// wait.
    fn change_position(
        &self,
        server: &KnownServer,
        document_id: DocumentId,
        offset: Offset,
        proof: Proof,
        and: impl FnOnce(&mut UploadEntry) + Send + 'static,
    ) {
        self.change(server, document_id, move |entry| {
            entry.offset = offset;
            prove(entry, &proof);
            and(entry);
        });
    }

    /// Takes an upload off the list.
    pub(crate) async fn remove(
        &self,
        server: &KnownServer,
        document_id: DocumentId,
    ) -> Result<(), StateFileError> {
        let server = server.clone();
        self.write(move |state| {
            if let Some(key) = key_of(state, document_id, &server) {
                state.uploads.remove(&key);
            }
        })
        .await
        .unwrap_or(Ok(()))
    }

    /// The uploads of that user on that server that have rested for more than a week by the clock
    /// of this machine: the server may have given them up.
    pub(crate) async fn resting(&self, server: &KnownServer, user: UserId) -> Vec<DocumentId> {
        let server = server.clone();
        let found = self.run(move |file| {
            let now = clock::now();
            let state = file.read().ok()?;
            let is_ours = |entry: &UploadEntry| {
                server.relation(entry).is_same() && entry.user_id == Some(user)
            };
            let resting = |(key, entry): (&String, &UploadEntry)| {
                let resting = is_ours(entry) && may_be_gone(entry, now);
                resting.then(|| UploadsState::document_id_of(key)).flatten()
            };
            Some(state.uploads.iter().filter_map(resting).collect())
        });
        found.await.flatten().unwrap_or_default()
    }

    /// Waits until all work that was asked for so far is on disk.
    pub(crate) async fn settle(&self) {
        self.run(|_| ()).await;
    }

    fn change(
        &self,
        server: &KnownServer,
        document_id: DocumentId,
        change: impl FnOnce(&mut UploadEntry) + Send + 'static,
    ) {
        let server = server.clone();
        // The offset in the list is only a convenience: the server decides where an upload
        // continues. A later write reports a broken disk.
        drop(self.write(move |state| {
            let entry =
                key_of(state, document_id, &server).and_then(|key| state.uploads.get_mut(&key));
            if let Some(entry) = entry {
                change(entry);
            }
        }));
    }

    /// Changes the list, where the file can be written. The work begins at once.
    fn write(
        &self,
        change: impl FnOnce(&mut UploadsState) + Send + 'static,
    ) -> oneshot::Receiver<Result<(), StateFileError>> {
        if self.is_only_read {
            return oneshot::channel().1;
        }
        self.start(move |file| file.update(change))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StateFile) -> T + Send + 'static,
    ) -> Option<T> {
        self.start(work).await.ok()
    }

    fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StateFile) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        self.post(Box::new(move |file| {
            // A caller that no longer waits needs no answer; the work is done.
            let _ = answer.send(work(file));
        }));
        answered
    }

    fn post(&self, work: Work) {
        if let Some(todo) = &self.work {
            // The thread ends only after the last of these handles.
            let _ = todo.send(work);
        }
    }
}

impl Uploads {
    /// Writes the state of a command, in place of the earlier entry of the same command. Does not
    /// wait: see [`settle`](Self::settle).
    pub(crate) fn job_stands_at(&self, job: JobEntry) {
        drop(self.write(move |state| jobs::stand(state, job)));
    }

    /// Writes that a command ends before all of its files are done. Does not wait.
    ///
    /// A command that names one file needs no entry where an upload of that file to that place is
    /// in the list: that entry continues the upload.
    pub(crate) fn job_rests(&self, job: JobEntry) {
        drop(self.write(move |state| {
            if state.uploads.values().any(|entry| jobs::stands_for(entry, &job)) {
                jobs::remove(state, &job);
            } else {
                jobs::stand(state, job);
            }
        }));
    }

    /// Takes a finished command off the list. Does not wait.
    pub(crate) fn job_is_over(&self, job: JobEntry) {
        drop(self.write(move |state| jobs::remove(state, &job)));
    }
}
