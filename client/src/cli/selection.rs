//! The files that the paths of a command line stand for.

use crate::document::{Document, own_name};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::source::special;
use std::io;
use std::path::{Path, PathBuf};
use towline_types::Name;

/// What was found under the paths.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) documents: Vec<Document>,
    /// Files that cannot be uploaded, and why.
    pub(super) refused: Vec<(PathBuf, Failure)>,
    /// Files that were passed over, and why.
    pub(super) skipped: Vec<(PathBuf, String)>,
    /// Folders that were named and that have neither a file to upload nor one that is refused.
    pub(super) barren: Vec<PathBuf>,
    /// Files whose names no server takes are passed over as well.
    skips_refused: bool,
}

impl Selection {
    /// The files at the paths; for a folder, all files below it in the order of their names, with
    /// the folder's own name first. Blocks.
    ///
    /// With `skips_refused`, a file that a server would refuse for its name, or that is no regular
    /// file, is passed over also where it was named.
    pub(super) fn of(paths: &[PathBuf], folder: &[Name], skips_refused: bool) -> Self {
        let mut selection = Self { skips_refused, ..Self::default() };
        for path in paths {
            selection.add_path(path, folder);
        }
        selection
    }

    /// The number of files to send, now or when they can be read.
    pub(super) fn files_to_send(&self) -> u64 {
        let for_later = self.refused.iter().filter(|(_, why)| why.exit() == Exit::Resumable);
        (self.documents.len() + for_later.count()) as u64
    }

    /// Adds a path of the command line. A symbolic link that is named there stands for its target;
    /// one that is found inside a folder is passed over and counted.
    fn add_path(&mut self, path: &Path, folder: &[Name]) {
        // `-` means standard input, as in other tools; a file of that name is typed as `./-`.
        if path == Path::new("-") {
            return self.refused.push((path.to_owned(), Failure::StandardInput));
        }
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                // The name that was typed, also where it is the name of a link. `.` and `..` are no
                // names, so the name of the folder that they stand for is taken.
                if path.file_name().is_some() {
                    return self.add_folder(path, path, folder);
                }
                match std::fs::canonicalize(path) {
                    Ok(absolute) => self.add_folder(path, &absolute, folder),
                    Err(error) => self.unreadable(path, error),
                }
            }
            Ok(metadata) if metadata.is_file() => self.add_file(path, folder),
            Ok(metadata) => {
                let what = special(metadata.file_type());
                self.refuse(path, Failure::NotAFile { path: path.to_owned(), what });
            }
            Err(error) => self.unreadable(path, error),
        }
    }

    fn add_file(&mut self, path: &Path, folder: &[Name]) {
        match Document::in_folder(path, folder.to_vec()) {
            Ok(document) => self.documents.push(document),
            Err(failure) => self.refuse(path, failure),
        }
    }

    fn add_folder(&mut self, path: &Path, named: &Path, around: &[Name]) {
        let name = match own_name(named) {
            Ok(name) => name,
            Err(failure) => return self.refuse(path, failure),
        };
        let top = path;
        let before = self.documents.len() + self.refused.len();
        let mut waiting = vec![(path.to_owned(), [around, &[name]].concat())];
        while let Some((path, folder)) = waiting.pop() {
            let mut entries = match list(&path) {
                Ok(entries) => entries,
                Err(error) => {
                    self.unreadable(&path, error);
                    continue;
                }
            };
            if entries.is_empty() && path != top {
                self.skipped.push((path, "an empty folder".to_owned()));
                continue;
            }
            entries.sort();
            let mut folders = Vec::new();
            for (path, kind) in entries {
                match kind {
                    Kind::File => self.add_file(&path, &folder),
                    Kind::Folder => match own_name(&path) {
                        Ok(name) => folders.push((path, [&folder[..], &[name]].concat())),
                        Err(failure) => self.refuse(&path, failure),
                    },
                    Kind::Other(what) => self.skipped.push((path, what.to_owned())),
                }
            }
            waiting.extend(folders.into_iter().rev());
        }
        if self.documents.len() + self.refused.len() == before {
            self.barren.push(top.to_owned());
        }
    }

    /// Refuses or passes over a file, for its name or its kind.
    fn refuse(&mut self, path: &Path, failure: Failure) {
        if self.skips_refused {
            self.skipped.push((path.to_owned(), failure.to_string()));
        } else {
            self.refused.push((path.to_owned(), failure));
        }
    }

    fn unreadable(&mut self, path: &Path, source: io::Error) {
        let path = path.to_owned();
        self.refused
            .push((path.clone(), Failure::File { action: "open", path, source, kept: None }));
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    File,
    Folder,
    /// Neither a file nor a folder, but this kind.
    Other(&'static str),
}

fn list(folder: &Path) -> io::Result<Vec<(PathBuf, Kind)>> {
    std::fs::read_dir(folder)?
        .map(|entry| {
            let entry = entry?;
            // The kind of the entry itself, not of what a link points to.
            let kind = entry.file_type()?;
            let kind = match () {
                () if kind.is_file() => Kind::File,
                () if kind.is_dir() => Kind::Folder,
                () => Kind::Other(special(kind)),
            };
            Ok((entry.path(), kind))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_brings_everything_below_it_under_its_own_name() {
        let home = tempfile::tempdir().unwrap();
        let top = home.path().join("photos");
        std::fs::create_dir_all(top.join("b/c")).unwrap();
        std::fs::create_dir_all(top.join("a")).unwrap();
        std::fs::create_dir_all(top.join(".git")).unwrap();
        std::fs::create_dir_all(top.join("b/nothing")).unwrap();
        let names = ["z.jpg", "b/c/deep.jpg", "b/y.jpg", "a/x.jpg", ".hidden", ".git/config"];
        for name in names.into_iter().chain(["a/con"]) {
            std::fs::write(top.join(name), name).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", top.join("link")).unwrap();
        let folder = [Name::new("2024").unwrap()];
        let selection = Selection::of(std::slice::from_ref(&top), &folder, false);
        let names: Vec<String> =
            selection.documents.iter().map(|document| document.remote.to_string()).collect();
        assert_eq!(
            names,
            [
                "2024/photos/.hidden",
                "2024/photos/z.jpg",
                "2024/photos/.git/config",
                "2024/photos/a/x.jpg",
                "2024/photos/b/y.jpg",
                "2024/photos/b/c/deep.jpg"
            ]
        );
        let paths = |found: &[(PathBuf, String)]| -> Vec<PathBuf> {
            found.iter().map(|(path, _)| path.clone()).collect()
        };
        let refused: Vec<_> = selection.refused.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(refused, [top.join("a/con")]);
        #[cfg(unix)]
        assert_eq!(paths(&selection.skipped), [top.join("link"), top.join("b/nothing")]);
        assert!(selection.barren.is_empty());

        // The file with a refused name is passed over, and counted with the others.
        let selection = Selection::of(std::slice::from_ref(&top), &folder, true);
        assert!(selection.refused.is_empty());
        assert_eq!(selection.documents.len(), names.len());
        assert!(paths(&selection.skipped).contains(&top.join("a/con")));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_folder_brings_its_own_name() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("2026-11");
        std::fs::create_dir_all(target.join("sub")).unwrap();
        std::fs::write(target.join("a.jpg"), "a").unwrap();
        let link = home.path().join("photos");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        for (typed, place) in [
            (link.clone(), "photos/a.jpg"),
            (link.join(""), "photos/a.jpg"),
            (link.join("."), "photos/a.jpg"),
            (target.join("sub/.."), "2026-11/a.jpg"),
        ] {
            let selection = Selection::of(std::slice::from_ref(&typed), &[], false);
            assert!(selection.refused.is_empty(), "{typed:?}");
            assert_eq!(selection.documents[0].remote.to_string(), place, "{typed:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_refused_and_the_rest_goes_on() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a.txt");
        std::fs::write(&file, "a").unwrap();
        for skips_refused in [false, true] {
            let paths = [home.path().join("missing"), "-".into(), file.clone()];
            let selection = Selection::of(&paths, &[], skips_refused);
            assert_eq!(selection.documents.len(), 1);
            assert!(matches!(
                selection.refused[..],
                [(_, Failure::File { .. }), (_, Failure::StandardInput)]
            ));
        }
    }

    #[test]
    fn a_folder_with_nothing_to_upload_is_named() {
        let home = tempfile::tempdir().unwrap();
        let (empty, hollow) = (home.path().join("empty"), home.path().join("hollow"));
        std::fs::create_dir_all(&empty).unwrap();
        std::fs::create_dir_all(hollow.join("deep/deeper")).unwrap();
        let selection = Selection::of(&[empty.clone(), hollow.clone()], &[], false);
        assert!(selection.documents.is_empty() && selection.refused.is_empty());
        assert_eq!(selection.barren, [empty, hollow]);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_neither_a_file_nor_a_folder_is_called_by_its_name() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let named = [socket.clone(), "/dev/null".into()];
        let selection = Selection::of(&named, &[], false);
        let told: Vec<_> = selection
            .refused
            .iter()
            .map(|(_, failure)| match failure {
                Failure::NotAFile { what, .. } => *what,
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(told, ["a socket", "a device"]);
        let selection = Selection::of(&[home.path().to_owned()], &[], false);
        assert_eq!(selection.skipped, [(socket, "a socket".to_owned())]);
    }
}
