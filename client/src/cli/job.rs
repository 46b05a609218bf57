//! One command, which the list remembers until all of its files are done: a later run continues
//! with everything that was named, also with the files that were not begun.

use super::resolve::Memory;
use super::selection::found_files::FoundFiles;
use super::sent_again::SentAgain;
use crate::text::shown;
use crate::uploads::{self, Uploads};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use towline_state::UploadsState;
use towline_state::state_file::{EntryStatus, JobEntry, UploadEntry};
use towline_types::{FileSize, Offset, StoreId};

/// How often the number of finished files is written to the state file.
const NOTED_EVERY: Duration = Duration::from_secs(5);

/// Where a command sends all files again, its entry becomes longer with each file and is written
/// less often: the time between two writes grows by [`NOTED_EVERY`] for each of this number of
/// files.
const MANY_FILES: u32 = 10_000;

/// The entry of a command in the state file, while the command runs.
#[derive(Debug)]
pub(super) struct Job {
    entry: JobEntry,
    /// The files that were found so far; absent where an upload of the list stands for the
    /// command.
    found: Option<Arc<FoundFiles>>,
    /// How many of its files have ended in this run.
    ended: u64,
    /// How many of its folders and links have.
    ended_folders_and_links: u64,
    uploads: Uploads,
    noted: Instant,
    /// A file of the command is left for a later run.
    is_open: bool,
    /// How many files an earlier run of the command had done. Those that this run has not come to
    /// again are still on the server.
    done_before: u64,
    /// The files that were sent, where all are sent again.
    sent_again: Option<SentAgain>,
    /// The list had the command, or an upload of it, before this run.
    was_listed: bool,
    /// The server has accepted no login of this run.
    was_refused: bool,
    /// The paths of the command that were there when this run began.
    paths_at_begin: Vec<PathBuf>,
}

impl Job {
    /// A command that finds its files while it runs.
    pub(super) fn of(memory: &Memory, entry: JobEntry, found: Arc<FoundFiles>) -> Self {
        Self { found: Some(found), ..Self::of_upload(memory, entry) }
    }

    /// The command that uploads only the file of an upload of the list. It is written to the list
    /// only if the run ends and no upload of this file is in the list: the server may have lost the
    /// old upload, and the interruption may come before a new one has begun.
    pub(super) fn of_upload(memory: &Memory, entry: JobEntry) -> Self {
        let is_there = |path: &&PathBuf| std::fs::symlink_metadata(path).is_ok();
        let state = &memory.state;
        let before = state.jobs.iter().find(|job| job.is_same_command(&entry));
        let was_listed = before.is_some() || begun(&entry, state) > 0;
        // A run that sends all files again has done none of what was sent before it.
        let before = before.filter(|before| before.again == entry.again);
        let sent_again = before.map_or_else(SentAgain::default, SentAgain::of);
        Self {
            paths_at_begin: entry.paths.iter().filter(is_there).cloned().collect(),
            done_before: before.map_or(0, |before| before.done),
            sent_again: entry.again.then_some(sent_again),
            entry,
            found: None,
            ended: 0,
            ended_folders_and_links: 0,
            uploads: memory.uploads(),
            noted: Instant::now(),
            is_open: false,
            was_listed,
            was_refused: false,
        }
    }

    /// Writes the command into the list, where it has something to send. The caller does not wait
    /// for the write.
    pub(super) fn begin(&mut self) {
        let Some(found) = &self.found else { return };
        if found.count() + found.folders_and_links() > 0 || !found.is_all() {
            self.note();
        }
    }

    fn note(&mut self) {
        self.noted = Instant::now();
        self.uploads.job_stands_at(self.as_written());
    }

    /// The entry as the list is to have it.
    pub(super) fn as_written(&self) -> JobEntry {
        let files = self.files();
        let done = self.entry.done.max(self.done_before.min(files));
        let sent_again = self.sent_again.as_ref().map_or_else(Vec::new, SentAgain::texts);
        JobEntry { files, done, sent_again, ..self.entry.clone() }
    }

    /// The files that were sent, where the command sends all files again.
    pub(super) fn sent_again(&self) -> Option<&SentAgain> {
        self.sent_again.as_ref()
    }

    /// How many files it has, as far as that is known. Of a folder that is away the number of
    /// its files is what it was.
    fn files(&self) -> u64 {
        self.found.as_ref().map_or(0, |found| found.count()).max(self.entry.files)
    }

    /// One more of the command's files is on the server.
    pub(super) fn one_is_done(&mut self, local: &Path) {
        self.entry.done += 1;
        // An entry with many files takes longer to write.
        let files = u32::try_from(self.entry.done).unwrap_or(u32::MAX);
        let every = match &self.sent_again {
            Some(sent) => {
                sent.add(local);
                NOTED_EVERY * (1 + files / MANY_FILES)
            }
            None => NOTED_EVERY,
        };
        if self.noted.elapsed() >= every && self.entry.done < self.files() {
            self.note();
        }
    }

    /// One more of its files has ended, well or not.
    pub(super) fn one_has_ended(&mut self) {
        self.ended += 1;
    }

    /// One more of its folders and links has ended, well or not.
    pub(super) fn folder_or_link_has_ended(&mut self) {
        self.ended_folders_and_links += 1;
    }

    /// A file of the command can be continued, or something of it was not begun.
    pub(super) fn stays_open(&mut self) {
        self.is_open = true;
    }

    /// The server has accepted no login of this run. A command that this run has added to the list
    /// is then taken off the list: nothing of it was begun, so there is nothing to continue, and
    /// the person runs it again with a valid token.
    pub(super) fn was_refused(&mut self) {
        self.was_refused = true;
    }

    /// The server has said which store it has.
    pub(super) fn is_at(&mut self, store: StoreId) {
        self.entry.server_id = Some(store);
    }

    /// Whether the command names a folder: then a later run may find files that are not in it now.
    pub(super) fn names_a_folder(&self) -> bool {
        self.entry.paths.iter().any(|path| path.is_dir())
    }

    pub(super) fn entry(&self) -> &JobEntry {
        &self.entry
    }

    /// The run is over. The entry of a command whose files are all done is taken off the list.
    /// Where a path has disappeared since the run began and files are left, the entry stays: the
    /// path may be on a disk that was unplugged.
    pub(super) async fn end(mut self) {
        self.entry.files = self.files();
        let is_missing = |path: &PathBuf| std::fs::symlink_metadata(path).is_err();
        let is_done = self.entry.done >= self.entry.files;
        let was_all_tried = match &self.found {
            Some(found) => {
                found.is_all()
                    && self.ended >= found.count()
                    && self.ended_folders_and_links >= found.folders_and_links()
            }
            None => self.ended > 0,
        };
        if self.was_refused && !self.was_listed {
            self.uploads.job_is_over(self.entry);
        } else if self.is_open
            || !was_all_tried
            || (!is_done && self.paths_at_begin.iter().any(is_missing))
        {
            self.uploads.job_rests(self.as_written());
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

/// The server and the token file of the command, in the form of an upload's entry.
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

/// The name of a file that an entry has to have and that has no meaning here.
const NAMELESS: &str = "files";

/// The command in words for a person.
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
