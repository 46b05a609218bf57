//! One command over a folder or several files, remembered until it has come to its end:
//! a later run goes on with all that was named, also with the files that were not begun.

use super::meaning::Memory;
use super::printer::shown;
use crate::uploads::{self, Uploads};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use towline_protocol::{FileSize, Offset};
use towline_state::UploadsState;
use towline_state::state_file::{EntryStatus, JobEntry, UploadEntry};

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
    /// An earlier run has left it in the list.
    was_known: bool,
    /// The server was never reached, and never before.
    has_no_server: bool,
}

impl Job {
    /// Writes the command down; nothing waits for that.
    pub(super) fn begin(memory: &Memory, entry: JobEntry) -> Self {
        let uploads = memory.uploads();
        uploads.job_stands_at(entry.clone());
        let is_there = |path: &&PathBuf| std::fs::symlink_metadata(path).is_ok();
        Self {
            found: entry.paths.iter().filter(is_there).cloned().collect(),
            was_known: memory.state.jobs.iter().any(|known| known.is_same_command(&entry)),
            entry,
            uploads,
            noted: Instant::now(),
            is_open: false,
            has_no_server: false,
        }
    }

    /// One more of its files is on the server.
    pub(super) fn one_is_done(&mut self) {
        self.entry.done += 1;
        if self.noted.elapsed() >= NOTED_EVERY {
            self.noted = Instant::now();
            self.uploads.job_stands_at(self.entry.clone());
        }
    }

    /// A file of it can be gone on with, or was not begun.
    pub(super) fn stays_open(&mut self) {
        self.is_open = true;
    }

    /// No server was found where the command says that it is, and none was there before: the
    /// address may be mistyped.
    pub(super) fn found_no_server(&mut self) {
        self.has_no_server = true;
    }

    /// The run is over. The entry of a command that has come to its end goes away; one of
    /// which a path has disappeared meanwhile may be on a disk that was unplugged. A command
    /// that was never begun, because its server was not found, leaves no entry.
    pub(super) async fn end(self) {
        let is_missing = |path: &PathBuf| std::fs::symlink_metadata(path).is_err();
        let never_began = self.has_no_server && !self.was_known && self.entry.done == 0;
        if !never_began && (self.is_open || self.found.iter().any(is_missing)) {
            self.uploads.job_stands_at(self.entry);
        } else {
            self.uploads.job_is_over(self.entry);
        }
        self.uploads.settle().await;
    }
}

/// Whether the upload belongs to what the command named.
pub(super) fn covers(job: &JobEntry, entry: &UploadEntry) -> bool {
    let is_there = job.server.is_none() || entry.server.is_none() || job.server == entry.server;
    is_there && entry.path.as_deref().is_some_and(|path| names(job, path))
}

/// Whether a file lies at or below one of the paths. The list of uploads has paths without
/// symbolic links; a command has them as they were typed.
fn names(job: &JobEntry, path: &Path) -> bool {
    job.paths.iter().any(|named| {
        path.starts_with(named) || named.canonicalize().is_ok_and(|named| path.starts_with(named))
    })
}

/// How many uploads of the list belong to the command.
pub(super) fn begun(job: &JobEntry, state: &UploadsState) -> usize {
    state.uploads.values().filter(|entry| covers(job, entry)).count()
}

/// What the command remembers of server and token, in the form in which an upload does.
pub(super) fn as_upload(job: &JobEntry) -> UploadEntry {
    let name = NAMELESS.to_owned().try_into().expect("a legal name");
    let mut entry = UploadEntry::new(name, FileSize::MIN, Offset::ZERO, EntryStatus::Paused);
    entry.server = job.server.clone();
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
    fn uploads_at_and_below_the_paths_belong_to_the_command() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let at = |name: &str| home.join(name);
        std::fs::create_dir_all(at("real/deep")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("real", at("link")).unwrap();
        let job = |name: &str| -> JobEntry {
            let text = serde_json::json!({ "paths": [at(name)], "server": "h:1" });
            serde_json::from_value(text).unwrap()
        };
        let upload = |path: &str, server: Option<&str>| UploadEntry {
            path: Some(at(path)),
            server: server.map(str::to_owned),
            ..as_upload(&job("x"))
        };
        for (path, server, belongs) in [
            ("real/deep/a", Some("h:1"), true),
            ("real/deep/a", None, true),
            ("real/deep/a", Some("h:2"), false),
            ("realistic/a", Some("h:1"), false),
        ] {
            assert_eq!(covers(&job("real"), &upload(path, server)), belongs, "{path} {server:?}");
            #[cfg(unix)]
            assert_eq!(covers(&job("link"), &upload(path, server)), belongs, "{path} {server:?}");
        }
    }

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
