//! Files get their names in the folder of the person. A file that is there is never replaced, nothing
//! outside of the folder is touched, and no folder that was there before gets anything (P7).
//!
//! A file is a second name of the file in the store: nothing is copied. The same file is not named
//! twice, also by a later sitting, because both names lead to one file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The most names that are tried: `a.txt`, `a (1).txt`, …
const NAMES_MAX: u32 = 10_000;

/// See the module's description.
pub(super) struct Landing {
    folder: PathBuf,
    /// Where the next field is kept.
    list: PathBuf,
    /// The folders that were made here, by the names that the sender gave them.
    folders: BTreeMap<String, String>,
}

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Landed {
    /// It has this name now.
    At(PathBuf),
    /// It had its name before.
    Before,
}

impl Landing {
    /// Files land in `folder`; what has to be remembered of that is kept in `hidden`.
    pub(super) fn open(folder: &Path, hidden: &Path) -> io::Result<Self> {
        let list = hidden.join("folders.json");
        let folders = match fs::read(&list) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { folder: folder.to_owned(), list, folders })
    }

    /// Gives the file its name, or another one where that is taken. `names` are those of the sender.
    pub(super) fn land(&mut self, names: &[String], file: &Path) -> io::Result<Landed> {
        let about = fs::symlink_metadata(file)?;
        let illegal =
            |name: &String| matches!(name.as_str(), "" | "." | "..") || name.contains('/');
        let [folders @ .., name] = names else { return Err(ErrorKind::InvalidInput.into()) };
        if names.iter().any(illegal) || !about.is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        let mut place = self.folder.clone();
        let mut name = name.clone();
        match folders {
            // Settings of programs have such names: one that a stranger chose is not hidden.
            [] => name = unhidden(&name),
            [first, below @ ..] => {
                place.push(self.top(first)?);
                for name in below {
                    place.push(name);
                    make_folder(&place)?;
                }
            }
        }
        for number in 0..NAMES_MAX {
            let path = place.join(numbered(&name, number));
            match fs::hard_link(file, &path) {
                Ok(()) => return Ok(Landed::At(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let is_same = |there: fs::Metadata| {
                        (there.dev(), there.ino()) == (about.dev(), about.ino())
                    };
                    if fs::symlink_metadata(&path).is_ok_and(is_same) {
                        return Ok(Landed::Before);
                    }
                }
                Err(error) if has_no_links(&error) => match rename_new(file, &path) {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    renamed => return renamed.map(|()| Landed::At(path)),
                },
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// The name of the folder here that stands for the sender's folder of that name. A folder that was
    /// there before is another one.
    fn top(&mut self, name: &str) -> io::Result<String> {
        if let Some(made) = self.folders.get(name) {
            make_folder(&self.folder.join(made))?;
            return Ok(made.clone());
        }
        for number in 0..NAMES_MAX {
            let here = numbered(&unhidden(name), number);
            match fs::create_dir(self.folder.join(&here)) {
                Ok(()) => {
                    self.folders.insert(name.to_owned(), here.clone());
                    let beside = self.list.with_extension("tmp");
                    fs::write(&beside, serde_json::to_vec(&self.folders)?)?;
                    fs::rename(&beside, &self.list)?;
                    return Ok(here);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }
}

/// A folder, also where it is there already; a link to one is none.
fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            match fs::symlink_metadata(path)?.is_dir() {
                true => Ok(()),
                false => Err(error),
            }
        }
        made => made,
    }
}

fn unhidden(name: &str) -> String {
    if name.starts_with('.') { format!("_{name}") } else { name.to_owned() }
}

/// `a.txt`, `a (1).txt`, `a (2).txt`, …
fn numbered(name: &str, number: u32) -> String {
    match (number, name.rsplit_once('.')) {
        (0, _) => name.to_owned(),
        (_, Some((stem, end))) if !stem.is_empty() => format!("{stem} ({number}).{end}"),
        _ => format!("{name} ({number})"),
    }
}

/// Whether the file system knows no second names of a file, or the place is on another one.
fn has_no_links(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied)
}

/// Gives the file the name instead of the one in the store. What has the name already stays.
fn rename_new(file: &Path, path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, file, CWD, path, RenameFlags::NOREPLACE)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_there_is_replaced_and_no_name_leads_outside() {
        let folder = tempfile::tempdir().unwrap();
        let hidden = folder.path().join(".hidden");
        fs::create_dir(&hidden).unwrap();
        let store = |name: &str| {
            let path = hidden.join(name);
            fs::write(&path, name).unwrap();
            path
        };
        let names = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        fs::write(folder.path().join("a.txt"), "mine").unwrap();
        fs::create_dir(folder.path().join("photos")).unwrap();
        let mut landing = Landing::open(folder.path(), &hidden).unwrap();
        for (sent, file, lands) in [
            ("a.txt", "1", "a (1).txt"),
            ("photos/x/b", "2", "photos (1)/x/b"),
            (".bashrc", "3", "_.bashrc"),
            (".ssh/authorized_keys", "4", "_.ssh/authorized_keys"),
        ] {
            let path = store(file);
            let at = Landed::At(folder.path().join(lands));
            assert_eq!(landing.land(&names(sent), &path).unwrap(), at);
            // A later sitting knows what this one has done.
            landing = Landing::open(folder.path(), &hidden).unwrap();
            assert_eq!(landing.land(&names(sent), &path).unwrap(), Landed::Before);
            assert_eq!(fs::read_to_string(folder.path().join(lands)).unwrap(), file);
        }
        assert_eq!(fs::read_to_string(folder.path().join("a.txt")).unwrap(), "mine");
        let path = store("5");
        for sent in ["..", "a/../../b", "/etc/x", "a//b", ""] {
            assert!(landing.land(&names(sent), &path).is_err(), "{sent}");
        }
        // A link in a folder that was made here leads nowhere.
        std::os::unix::fs::symlink("/tmp", folder.path().join("photos (1)/out")).unwrap();
        assert!(landing.land(&names("photos/out/b"), &path).is_err());
    }
}
