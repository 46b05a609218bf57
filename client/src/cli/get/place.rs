//! What `towline get` was asked for, and where it is to lie.

use crate::cli::error::CliError;
use crate::cli::resolve;
use crate::exit::Exit;
use crate::get::local_folder::LocalFolder;
use crate::get::unfinished::Unfinished;
use crate::system::in_words;
use crate::text::{printable, shown};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use towline_types::{DocumentId, Name, NodePath};

/// One thing that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Path(NodePath),
    /// A version, by its number.
    Document(DocumentId),
}

impl Source {
    /// A number is a document's; a file whose name is a number is `./7`.
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        match text.parse() {
            Ok(document_id) => Ok(Self::Document(document_id)),
            Err(_) => resolve::place(text).map(Self::Path),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Document(document_id) => write!(f, "document {document_id}"),
        }
    }
}

/// Where it is to lie, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal {
    /// Standard output.
    Output,
    /// Into this folder, which is there.
    Into(PathBuf),
    /// Into this folder, which is to be made: nothing has its name yet, and it was typed with a
    /// slash at its end.
    IntoNew(PathBuf),
    /// Under this name, which is free or a file's.
    As(PathBuf),
}

impl Goal {
    pub(super) fn of(output: Option<&Path>, sources: usize) -> Result<Self, CliError> {
        let Some(path) = output else { return Ok(Self::Into(PathBuf::from("."))) };
        if is_standard_output(path) {
            if sources > 1 {
                return Err(CliError::usage("only one file can be written to standard output"));
            }
            return Ok(Self::Output);
        }
        if path.is_dir() {
            return Ok(Self::Into(path.to_owned()));
        }
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") && !path.exists() {
            return Ok(Self::IntoNew(path.to_owned()));
        }
        if sources > 1 {
            return Err(CliError::usage(format!(
                "several files or folders can only be fetched into a folder, and {} is not one; \
                 with a slash at its end a new folder is made",
                shown(path)
            )));
        }
        Ok(Self::As(path.to_owned()))
    }

    /// The goal of a command with one source. A folder that an earlier run of the same command has
    /// made, and has not filled to the end, becomes the fetched folder itself; the folder is not
    /// put into it. So does a new folder: as with `cp -r`, the slash makes no difference for one
    /// folder.
    pub(super) fn continued(self, source: &str, is_named_folder: bool) -> Self {
        match self {
            Self::Into(path) if is_named_folder && is_unfinished(&path, source) => {
                // `.` has no name of its own.
                path.canonicalize().map_or(Self::Into(path), Self::As)
            }
            Self::IntoNew(path) if is_named_folder => Self::As(path),
            other => other,
        }
    }
}

/// Whether `-o` names standard output.
pub(super) fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
}

fn is_unfinished(path: &Path, source: &str) -> bool {
    LocalFolder::open(path).is_ok_and(|folder| Unfinished::is_in(&folder, source))
}

/// The local folder, and the name in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) folder: PathBuf,
    /// Absent for the contents of the user's own folder, which has no name.
    pub(super) name: Option<Name>,
    /// The folder has to be made.
    pub(super) is_new: bool,
}

/// Where a thing goes that has that name on the server.
pub(super) fn spot(goal: &Goal, name: Option<&Name>) -> Result<Spot, CliError> {
    match goal {
        Goal::Output => Err(CliError::usage("a folder cannot be written to standard output")),
        Goal::Into(folder) => {
            Ok(Spot { folder: folder.clone(), name: name.cloned(), is_new: false })
        }
        Goal::IntoNew(folder) => {
            Ok(Spot { folder: folder.clone(), name: name.cloned(), is_new: true })
        }
        Goal::As(path) => {
            if name.is_none() {
                return Ok(Spot { folder: path.clone(), name: None, is_new: true });
            }
            let (Some(parent), Some(own)) = (path.parent(), path.file_name()) else {
                return Err(CliError::usage(format!("{} is not the name of a file", shown(path))));
            };
            let own = own.to_str().ok_or_else(|| {
                CliError::usage(format!("{}: the name is not valid Unicode", shown(path)))
            })?;
            let own = Name::recorded(own)
                .map_err(|reason| CliError::usage(format!("{}: {reason}", shown(path))))?;
            let folder = if parent == Path::new("") { Path::new(".") } else { parent };
            Ok(Spot { folder: folder.to_owned(), name: Some(own), is_new: false })
        }
    }
}

pub(super) fn cannot_open(folder: &Path, error: &io::Error) -> CliError {
    CliError::new(
        Exit::Refused,
        format!("{}: cannot open the folder: {}", shown(folder), printable(&in_words(error))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_number_is_a_document_and_everything_else_a_path() {
        let path = |text: &str| Source::Path(NodePath::typed(text).unwrap());
        for (typed, source) in [
            ("7", Source::Document(7.try_into().unwrap())),
            ("./7", path("7")),
            ("proj/a/new", path("proj/a/new")),
            ("proj/", path("proj")),
            ("/proj", path("proj")),
            (".", Source::Path(NodePath::ROOT)),
            ("/", Source::Path(NodePath::ROOT)),
        ] {
            assert_eq!(Source::parse(typed).unwrap(), source, "{typed}");
        }
        for bad in ["../x", "a/../b", "", "a\u{1b}"] {
            assert_eq!(Source::parse(bad).unwrap_err().exit, Exit::Usage, "{bad:?}");
        }
    }

    #[test]
    fn a_folder_that_is_there_is_filled_and_a_new_name_is_the_things_own() {
        let home = tempfile::tempdir().unwrap();
        let new = home.path().join("new");
        assert_eq!(Goal::of(None, 2).unwrap(), Goal::Into(".".into()));
        assert_eq!(Goal::of(Some(Path::new("-")), 1).unwrap(), Goal::Output);
        let into = Goal::of(Some(home.path()), 3).unwrap();
        assert_eq!(into, Goal::Into(home.path().to_owned()));
        assert!(Goal::of(Some(&new), 2).is_err() && Goal::of(Some(Path::new("-")), 2).is_err());
        let of = |goal: &Goal, text: Option<&str>| spot(goal, text.map(name).as_ref()).unwrap();
        let filled = of(&into, Some("photos"));
        assert_eq!((filled.folder, filled.name), (home.path().to_owned(), Some(name("photos"))));
        let named = of(&Goal::of(Some(&new), 1).unwrap(), Some("photos"));
        assert_eq!((named.folder, named.name), (home.path().to_owned(), Some(name("new"))));
        let slash = home.path().join("new/");
        let made = Goal::of(Some(&slash), 2).unwrap();
        let into_made = of(&made, Some("photos"));
        assert_eq!(into_made.folder, slash);
        assert_eq!((into_made.name, into_made.is_new), (Some(name("photos")), true));
        assert_eq!(made.continued("photos", true), Goal::As(slash.clone()));
        assert_eq!(
            Goal::of(Some(&slash), 1).unwrap().continued("a.txt", false),
            Goal::IntoNew(slash)
        );
        let all = of(&Goal::As(new.clone()), None);
        assert_eq!((all.folder, all.name, all.is_new), (new, None, true));
        let plain = of(&Goal::As("x".into()), Some("photos"));
        assert_eq!(plain.folder, Path::new("."));
    }
}
