//! The commands of the list: each has the paths that were named, until all their files are done.

use crate::document::own_name;
use std::path::Path;
use towline_state::UploadsState;
use towline_state::state_file::{JobEntry, UploadEntry};
use towline_types::Name;

/// An upload is written to the list: from here on, the command that names only this file needs no
/// entry. One write of the file makes both changes, so a client that is killed leaves either the
/// command or the upload in the list.
pub(super) fn now_an_upload(state: &mut UploadsState, entry: &UploadEntry) {
    state.jobs.retain(|job| !stands_for(entry, job));
}

/// Whether the upload is all that the command has to do. A command that names a folder keeps its
/// entry also where the folder has one file: a later run looks for further files there.
pub(super) fn stands_for(entry: &UploadEntry, job: &JobEntry) -> bool {
    job.files <= 1
        && job.paths.len() == 1
        // For a file inside a folder, the place begins with the name of the folder.
        && job.folder == entry.folder
        && covers(job, entry)
}

/// Whether the upload belongs to the paths that the command named.
pub(crate) fn covers(job: &JobEntry, entry: &UploadEntry) -> bool {
    let is_there = match job.known_server() {
        Some(server) => server.relation(entry).may_be_used(),
        None => true,
    };
    is_there && job.paths.iter().any(|named| leads_to(named, &job.folder, entry))
}

/// Whether `put` of that path into that folder of the server uploads this same file to this same
/// place. The list of uploads has paths without symbolic links. A command has the paths as they
/// were typed, and the last name of a path is the name on the server.
fn leads_to(named: &Path, folder: &[Name], entry: &UploadEntry) -> bool {
    let Some(path) = entry.path.as_deref() else { return false };
    let is_at_its_place = |top: &Path| {
        let Ok(below) = path.strip_prefix(top) else { return false };
        // `..` is no name: the name of the folder that it stands for is taken.
        let first = if named.file_name().is_some() { named } else { top };
        let names = std::iter::once(first).chain(below.iter().map(Path::new)).map(own_name);
        let Ok(mut names) = names.collect::<Result<Vec<Name>, _>>() else { return false };
        names.pop().is_some_and(|name| name == entry.filename)
            && entry.folder.strip_prefix(folder).is_some_and(|rest| rest == names)
    };
    is_at_its_place(named) || named.canonicalize().is_ok_and(|real| is_at_its_place(&real))
}

/// Writes the command in the place of its entry. Where the server has moved, or has only now said
/// which store it has, the list has two entries of the command, and one of them is kept.
pub(super) fn stand(state: &mut UploadsState, mut job: JobEntry) {
    let place = state.jobs.iter().position(|known| known.is_same_command(&job));
    let same = job.clone();
    for before in state.jobs.extract_if(.., |known| known.is_same_command(&same)) {
        job.server_id = job.server_id.or(before.server_id);
        // Fields that another version of Towline wrote stay.
        for (name, value) in before.other {
            job.other.entry(name).or_insert(value);
        }
    }
    state.jobs.insert(place.unwrap_or(state.jobs.len()), job);
}

pub(super) fn remove(state: &mut UploadsState, job: &JobEntry) {
    state.jobs.retain(|known| !known.is_same_command(job));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uploads::list::Uploads;
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
        let name = own_name(path).unwrap();
        let size = FileSize::try_from(10).unwrap();
        let entry = UploadEntry::new(name, size, Offset::ZERO, EntryStatus::Paused);
        UploadEntry { path: Some(path.to_owned()), server: server.map(str::to_owned), ..entry }
    }

    fn folder(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| Name::new(*name).unwrap()).collect()
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
        let upload = |path: &str, server: Option<&str>, place: &[&str]| UploadEntry {
            folder: folder(place),
            ..upload(&at(path), server)
        };
        for (named, path, server, place, belongs) in [
            ("real", "real/deep/a", Some("h:1"), &["real", "deep"][..], true),
            ("real", "real/deep/a", None, &["real", "deep"], true),
            ("real", "real/deep/a", Some("h:2"), &["real", "deep"], false),
            ("real", "realistic/a", Some("h:1"), &["realistic"], false),
            // The file itself, and the folder around it, were also named in a `put`.
            ("real", "real/deep/a", Some("h:1"), &[], false),
            ("real", "real/deep/a", Some("h:1"), &["deep"], false),
            ("real/deep", "real/deep/a", Some("h:1"), &["deep"], true),
            ("real/deep/a", "real/deep/a", Some("h:1"), &[], true),
            // The upload went to another folder of the server.
            ("real", "real/deep/a", Some("h:1"), &["2024", "real", "deep"], false),
            ("real/deep/..", "real/deep/a", Some("h:1"), &["real", "deep"], true),
            #[cfg(unix)]
            ("link", "real/deep/a", Some("h:1"), &["link", "deep"], true),
            #[cfg(unix)]
            ("link", "real/deep/a", Some("h:1"), &["real", "deep"], false),
        ] {
            let entry = upload(path, server, place);
            assert_eq!(covers(&job(named), &entry), belongs, "{named} {path} {server:?} {place:?}");
            let other = JobEntry { folder: folder(&["2024"]), ..job(named) };
            let is_other = place.first() == Some(&"2024");
            assert_eq!(covers(&other, &entry), is_other, "{named} {path} {server:?} {place:?}");
        }
    }

    #[test]
    fn a_server_that_has_moved_has_one_entry_of_the_command_and_a_new_one_its_own() {
        let mut state = UploadsState::default();
        stand(&mut state, with_id(r#"{"paths":["/a"],"server":"h:1","files":3}"#, "a"));
        // Before the server has said which store it has, only the address identifies it.
        stand(&mut state, job(r#"{"paths":["/a"],"server":"h:1","files":4}"#));
        assert_eq!(state.jobs, [with_id(r#"{"paths":["/a"],"server":"h:1","files":4}"#, "a")]);
        stand(&mut state, job(r#"{"paths":["/a"],"server":"h:2"}"#));
        assert_eq!(state.jobs.len(), 2);
        let moved = with_id(r#"{"paths":["/a"],"server":"h:2"}"#, "a");
        stand(&mut state, moved.clone());
        assert_eq!(state.jobs, std::slice::from_ref(&moved));
        // The server has a new data folder.
        let anew = with_id(r#"{"paths":["/a"],"server":"h:2"}"#, "b");
        stand(&mut state, anew.clone());
        assert_eq!(state.jobs, [moved.clone(), anew.clone()]);
        remove(&mut state, &anew);
        assert_eq!(state.jobs, [moved]);
    }

    #[test]
    fn an_upload_stands_for_the_command_that_names_this_file_alone() {
        let path = Path::new("/a/b");
        for (text, place, stays) in [
            (r#"{"paths":["/a/b"],"server":"h:1","files":1}"#, &[][..], false),
            (r#"{"paths":["/a"],"server":"h:1","files":2}"#, &["a"], true),
            (r#"{"paths":["/a/b"],"server":"h:2","files":1}"#, &[], true),
            (r#"{"paths":["/a/c"],"server":"h:1","files":1}"#, &[], true),
            // The folder has one file now, and may have more later.
            (r#"{"paths":["/a"],"server":"h:1","files":1}"#, &["a"], true),
            // The same file in another folder of the server.
            (r#"{"paths":["/a/b"],"server":"h:1","folder":["A"],"files":1}"#, &["A"], false),
            (r#"{"paths":["/a/b"],"server":"h:1","folder":["B"],"files":1}"#, &["A"], true),
            (r#"{"paths":["/a/b"],"server":"h:1","files":1}"#, &["A"], true),
        ] {
            let mut state = UploadsState::default();
            state.jobs.push(job(text));
            let entry = UploadEntry { folder: folder(place), ..upload(path, Some("h:1")) };
            now_an_upload(&mut state, &entry);
            assert_eq!(!state.jobs.is_empty(), stays, "{text} {place:?}");
        }
    }

    #[tokio::test]
    async fn a_command_at_rest_is_kept_where_the_list_has_its_file_for_another_place() {
        let home = tempfile::tempdir().unwrap();
        let file = StateFile::at(home.path().join("uploads_state.json"));
        let entry = UploadEntry { folder: folder(&["A"]), ..upload(Path::new("/a/b"), None) };
        file.update(|state| state.uploads.insert("1".to_owned(), entry)).unwrap();
        let uploads = Uploads::kept_in(file.clone());
        for (place, stays) in [("B", true), ("A", false)] {
            let text = serde_json::json!({"paths": ["/a/b"], "folder": [place], "files": 1});
            let job: JobEntry = serde_json::from_value(text).unwrap();
            uploads.job_stands_at(job.clone());
            uploads.job_rests(job.clone());
            uploads.settle().await;
            let jobs = file.read().unwrap().jobs;
            assert_eq!(jobs.iter().any(|known| known.is_same_command(&job)), stays, "{place}");
        }
    }
}
