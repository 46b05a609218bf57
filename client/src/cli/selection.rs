//! Which files the paths of a command line stand for.

use crate::document::{Document, own_name};
use crate::failure::Failure;
use std::io;
use std::path::{Path, PathBuf};
use towline_protocol::name::Name;

/// What was found under the paths.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) documents: Vec<Document>,
    /// What cannot be uploaded, and why.
    pub(super) refused: Vec<(PathBuf, Failure)>,
    /// What was passed over: symbolic links and special files inside folders.
    pub(super) skipped: Vec<PathBuf>,
}

impl Selection {
    /// Files as they are; folders with everything below them, in order of name,
    /// the folder's own name first. Blocks.
    pub(super) fn of(paths: &[PathBuf], folder: &[Name]) -> Self {
        let mut selection = Self::default();
        for path in paths {
            selection.add_path(path, folder);
        }
        selection
    }

    /// A path that somebody typed; a symbolic link stands for its target.
    fn add_path(&mut self, path: &Path, folder: &[Name]) {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                // `.` and `..` have a name of their own.
                match std::fs::canonicalize(path) {
                    Ok(absolute) => self.add_folder(path, &absolute, folder),
                    Err(error) => self.unreadable(path, error),
                }
            }
            Ok(_) => self.add_file(path, folder),
            Err(error) => self.unreadable(path, error),
        }
    }

    fn add_file(&mut self, path: &Path, folder: &[Name]) {
        match Document::in_folder(path, folder.to_vec()) {
            Ok(document) => self.documents.push(document),
            Err(failure) => self.refused.push((path.to_owned(), failure)),
        }
    }

    fn add_folder(&mut self, path: &Path, named: &Path, around: &[Name]) {
        let name = match own_name(named) {
            Ok(name) => name,
            Err(failure) => return self.refused.push((path.to_owned(), failure)),
        };
        let mut waiting = vec![(path.to_owned(), [around, &[name]].concat())];
        while let Some((path, folder)) = waiting.pop() {
            let mut entries = match list(&path) {
                Ok(entries) => entries,
                Err(error) => {
                    self.unreadable(&path, error);
                    continue;
                }
            };
            entries.sort();
            let mut folders = Vec::new();
            for (path, kind) in entries {
                match kind {
                    Kind::File => self.add_file(&path, &folder),
                    Kind::Folder => match own_name(&path) {
                        Ok(name) => folders.push((path, [&folder[..], &[name]].concat())),
                        Err(failure) => self.refused.push((path, failure)),
                    },
                    Kind::Other => self.skipped.push(path),
                }
            }
            waiting.extend(folders.into_iter().rev());
        }
    }

    fn unreadable(&mut self, path: &Path, source: io::Error) {
        let path = path.to_owned();
        self.refused.push((path.clone(), Failure::File { action: "open", path, source }));
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    File,
    Folder,
    Other,
}

fn list(folder: &Path) -> io::Result<Vec<(PathBuf, Kind)>> {
    std::fs::read_dir(folder)?
        .map(|entry| {
            let entry = entry?;
            // Of the entry itself, not of what a link points to.
            let kind = entry.file_type()?;
            let kind = match () {
                () if kind.is_file() => Kind::File,
                () if kind.is_dir() => Kind::Folder,
                () => Kind::Other,
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
        for name in
            ["z.jpg", "b/c/deep.jpg", "b/y.jpg", "a/x.jpg", ".hidden", ".git/config", "a/con"]
        {
            std::fs::write(top.join(name), name).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", top.join("link")).unwrap();
        let folder = [Name::new("2024").unwrap()];
        let selection = Selection::of(std::slice::from_ref(&top), &folder);
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
        let refused: Vec<_> = selection.refused.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(refused, [top.join("a/con")]);
        #[cfg(unix)]
        assert_eq!(selection.skipped, [top.join("link")]);
    }

    #[test]
    fn what_is_not_there_is_refused_and_the_rest_goes_on() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a.txt");
        std::fs::write(&file, "a").unwrap();
        let selection = Selection::of(&[home.path().join("missing"), file], &[]);
        assert_eq!(selection.documents.len(), 1);
        assert!(matches!(selection.refused[..], [(_, Failure::File { .. })]));
    }
}
