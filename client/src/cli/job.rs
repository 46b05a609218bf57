//! One command, remembered until it has come to its end: a later run goes on with all that
//! was named, also with the files that were not begun.

use super::resolve::Memory;
use crate::text::shown;
use crate::uploads::{self, Uploads};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use towline_state::UploadsState;
use towline_state::state_file::{EntryStatus, JobEntry, UploadEntry};
use towline_types::{FileSize, Offset, StoreId};

/// How often the state file is told how many files are done.
const NOTED_EVERY: Duration = Duration::from_secs(5);

/// What the state file says of a command while it runs.
#[derive(Debug)]
pub(super) struct Job {
    entry: JobEntry,
    uploads: Uploads,
    noted: Instant,
    /// A part of it is left for another run.
    is_open: bool,
    /// Those of its paths that were there when this run began.
    found: Vec<PathBuf>,
}

impl Job {
    /// Writes the command down; nothing waits for that.
    pub(super) fn begin(memory: &Memory, entry: JobEntry) -> Self {
        let job = Self::of_upload(memory, entry);
        job.uploads.job_stands_at(job.entry.clone());
        job
    }

    /// The command that an upload of the list stands for. It is written down only if it ends
    /// without an upload in the list: the server may have lost the old one, and the
    /// interruption may come before there is a new one.
    pub(super) fn of_upload(memory: &Memory, entry: JobEntry) -> Self {
        let is_there = |path: &&PathBuf| std::fs::symlink_metadata(path).is_ok();
        Self {
            found: entry.paths.iter().filter(is_there).cloned().collect(),
            entry,
            uploads: memory.uploads(),
            noted: Instant::now(),
            is_open: false,
        }
    }

    /// One more of its files is on the server.
    pub(super) fn one_is_done(&mut self) {
        self.entry.done += 1;
        if self.noted.elapsed() >= NOTED_EVERY && self.entry.done < self.entry.files {
            self.noted = Instant::now();
            self.uploads.job_stands_at(self.entry.clone());
        }
    }

    /// A file of it can be gone on with, or was not begun.
    pub(super) fn stays_open(&mut self) {
        self.is_open = true;
    }

    /// The server has said who it is.
    pub(super) fn is_at(&mut self, store: StoreId) {
        self.entry.server_id = Some(store);
    }

    /// Whether it has to do with more than the files that are in its folders now.
    pub(super) fn names_a_folder(&self) -> bool {
        self.entry.paths.iter().any(|path| path.is_dir())
    }

    pub(super) fn entry(&self) -> &JobEntry {
        &self.entry
    }

    /// The run is over. The entry of a command that has come to its end goes away. Where a
    /// path has disappeared meanwhile and files are left, it may be on a disk that was
    /// unplugged.
    pub(super) async fn end(self) {
        let is_missing = |path: &PathBuf| std::fs::symlink_metadata(path).is_err();
        let is_done = self.entry.done >= self.entry.files;
        if self.is_open || (!is_done && self.found.iter().any(is_missing)) {
            self.uploads.job_rests(self.entry);
        } else {
            self.uploads.job_is_over(self.entry);
        }
        self.uploads.settle().await;
    }
}

/// How many uploads of the list belong to the command.
pub(super) fn begun(job: &JobEntry, state: &UploadsState) -> usize {
    state.uploads.values().filter(|entry| uploads::covers(job, entry)).count()
}

/// What the command remembers of server and token, in the form in which an upload does.
pub(super) fn as_upload(job: &JobEntry) -> UploadEntry {
    let name = NAMELESS.to_owned().try_into().expect("a legal name");
    let mut entry = UploadEntry::new(name, FileSize::MIN, Offset::ZERO, EntryStatus::Paused);
    entry.server = job.server.clone();
    entry.server_id = job.server_id;
    if let Some(token_file) = &job.token_file {
        uploads::set_token_file(&mut entry, token_file);
    }
    entry
}

/// Stands where an entry has the name of a file.
const NAMELESS: &str = "files";

/// The command as a person knows it.
pub(super) fn title(job: &JobEntry) -> String {
    let paths: Vec<_> = job.paths.iter().map(|path| shown(path)).collect();
    match &paths[..] {
        [first, second, rest @ ..] if rest.len() > 1 => {
            format!("{first}, {second} and {} more", rest.len())
        }
        _ => paths.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_names_the_paths_and_counts_the_rest() {
        let title = |paths: &[&str]| {
            let text = serde_json::json!({ "paths": paths });
            title(&serde_json::from_value(text).unwrap())
        };
        assert_eq!(title(&["/a"]), "/a");
        assert_eq!(title(&["/a", "/b", "/c"]), "/a, /b, /c");
        assert_eq!(title(&["/a", "/b", "/c", "/d"]), "/a, /b and 2 more");
    }
}
