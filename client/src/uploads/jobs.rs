//! The commands of the list: what was named, until all of it is done.

use super::Uploads;
use std::path::Path;
use towline_state::UploadsState;
use towline_state::state_file::{JobEntry, UploadEntry};

impl Uploads {
    /// Writes down how a command stands, in place of what was said of the same command
    /// before. Does not wait: see [`settle`](Self::settle).
    pub(crate) fn job_stands_at(&self, job: JobEntry) {
        drop(self.write(move |state| stand(state, job)));
    }

    /// Writes down that a command ends before all of it is done. Does not wait.
    ///
    /// A command with one file needs no entry where an upload of that file is in the list:
    /// that entry goes on with it.
    pub(crate) fn job_rests(&self, job: JobEntry) {
        drop(self.write(move |state| {
            if job.files <= 1 && state.uploads.values().any(|entry| covers(&job, entry)) {
                remove(state, &job);
            } else {
                stand(state, job);
            }
        }));
    }

    /// Forgets a command that has come to its end. Does not wait.
    pub(crate) fn job_is_over(&self, job: JobEntry) {
        drop(self.write(move |state| remove(state, &job)));
    }
}

/// An upload was written down: the command that has this one file alone needs no entry of its
/// own from here on. Both changes are in one writing of the file, so that a client that is
/// killed leaves the one or the other.
pub(super) fn now_an_upload(state: &mut UploadsState, entry: &UploadEntry) {
    state.jobs.retain(|job| job.files > 1 || !covers(job, entry));
}

/// Whether the upload belongs to what the command named.
pub(crate) fn covers(job: &JobEntry, entry: &UploadEntry) -> bool {
    let is_there = match job.known_server() {
        Some(server) => server.relation(entry).may_be_used(),
        None => true,
    };
    is_there && entry.path.as_deref().is_some_and(|path| names(job, path))
}

/// Whether a file lies at or below one of the paths. The list of uploads has paths without
/// symbolic links; a command has them as they were typed.
fn names(job: &JobEntry, path: &Path) -> bool {
    job.paths.iter().any(|named| {
        path.starts_with(named) || named.canonicalize().is_ok_and(|named| path.starts_with(named))
    })
}

/// Writes the command down in the place of its entry. Where the server has moved, or has said
/// only now who it is, there are two entries of the command, and one is left.
fn stand(state: &mut UploadsState, mut job: JobEntry) {
    let place = state.jobs.iter().position(|known| known.is_same_command(&job));
    let same = job.clone();
    for before in state.jobs.extract_if(.., |known| known.is_same_command(&same)) {
        job.server_id = job.server_id.or(before.server_id);
        // Fields of another Towline stay.
        for (name, value) in before.other {
            job.other.entry(name).or_insert(value);
        }
    }
    state.jobs.insert(place.unwrap_or(state.jobs.len()), job);
}

fn remove(state: &mut UploadsState, job: &JobEntry) {
    state.jobs.retain(|known| !known.is_same_command(job));
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_state::StateFile;
    use towline_state::state_file::EntryStatus;
    use towline_types::{FileSize, Name, Offset};

    fn job(text: &str) -> JobEntry {
        serde_json::from_str(text).unwrap()
    }

    fn with_id(text: &str, digit: &str) -> JobEntry {
        JobEntry { server_id: digit.repeat(32).parse().ok(), ..job(text) }
    }

    fn upload(path: &Path, server: Option<&str>) -> UploadEntry {
        let name = Name::new("a").unwrap();
        let size = FileSize::try_from(10).unwrap();
        let entry = UploadEntry::new(name, size, Offset::ZERO, EntryStatus::Paused);
        UploadEntry { path: Some(path.to_owned()), server: server.map(str::to_owned), ..entry }
    }

    #[tokio::test]
    async fn a_command_has_one_entry_until_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::at(folder.path().join("uploads_state.json"));
        let uploads = Uploads::kept_in(file.clone());
        uploads.job_stands_at(job(r#"{"paths":["/a"],"files":5,"done":1}"#));
        uploads.job_stands_at(job(r#"{"paths":["/b"],"files":2}"#));
        uploads.job_stands_at(job(r#"{"paths":["/a"],"files":5,"done":4}"#));
        uploads.settle().await;
        let done: Vec<_> = file.read().unwrap().jobs.iter().map(|job| job.done).collect();
        assert_eq!(done, [4, 0]);
        uploads.job_is_over(job(r#"{"paths":["/a"]}"#));
        uploads.settle().await;
        assert_eq!(file.read().unwrap().jobs.len(), 1);
    }

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
        let upload = |path: &str, server: Option<&str>| upload(&at(path), server);
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
    fn a_server_that_has_moved_has_one_entry_of_the_command_and_a_new_one_its_own() {
        let mut state = UploadsState::default();
        stand(&mut state, with_id(r#"{"paths":["/a"],"server":"h:1","files":3}"#, "a"));
        // Before the server has said who it is, the address is all there is to go by.
        stand(&mut state, job(r#"{"paths":["/a"],"server":"h:1","files":4}"#));
        assert_eq!(state.jobs, [with_id(r#"{"paths":["/a"],"server":"h:1","files":4}"#, "a")]);
        stand(&mut state, job(r#"{"paths":["/a"],"server":"h:2"}"#));
        assert_eq!(state.jobs.len(), 2);
        let moved = with_id(r#"{"paths":["/a"],"server":"h:2"}"#, "a");
        stand(&mut state, moved.clone());
        assert_eq!(state.jobs, std::slice::from_ref(&moved));
        // The data of the server were made anew.
        let anew = with_id(r#"{"paths":["/a"],"server":"h:2"}"#, "b");
        stand(&mut state, anew.clone());
        assert_eq!(state.jobs, [moved.clone(), anew.clone()]);
        remove(&mut state, &anew);
        assert_eq!(state.jobs, [moved]);
    }

    #[test]
    fn an_upload_stands_for_the_command_that_has_this_file_alone() {
        let path = Path::new("/a/b");
        for (text, stays) in [
            (r#"{"paths":["/a/b"],"server":"h:1","files":1}"#, false),
            (r#"{"paths":["/a"],"server":"h:1","files":2}"#, true),
            (r#"{"paths":["/a/b"],"server":"h:2","files":1}"#, true),
            (r#"{"paths":["/a/c"],"server":"h:1","files":1}"#, true),
        ] {
            let mut state = UploadsState::default();
            state.jobs.push(job(text));
            now_an_upload(&mut state, &upload(path, Some("h:1")));
            assert_eq!(!state.jobs.is_empty(), stays, "{text}");
        }
    }
}
