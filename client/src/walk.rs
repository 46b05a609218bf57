//! What lies at and below the paths of a command, found while it is wanted: the walk holds the
//! folders on the way to where it is, and never all files.

mod listing;
mod not_kept;
mod rules;
#[cfg(test)]
mod tests;

use crate::document::{Document, own_name};
use crate::failure::Failure;
use crate::source::Attributes;
use crate::source::special;
use crate::staging_name;
use listing::{Listed, Listing};
pub use not_kept::NotKept;
use rules::{Chosen, IgnoreFile, TopRules};
pub(crate) use rules::{Filter, Rule, Rules};
use std::collections::VecDeque;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use towline_types::{DocumentPath, LinkTarget, Name, PermissionBits};

/// The file of a folder that says what of the folder is left out, in the syntax of `.gitignore`.
pub(crate) const IGNORE_FILE: &str = ".towlineignore";

/// How a walk is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct WalkOptions {
    /// The folder on the server that everything goes to.
    pub(crate) folder: Vec<Name>,
    /// What of the folders is left out.
    pub(crate) rules: Rules,
    /// What a server would refuse for its name, and what is no regular file, is passed over also
    /// where it was named.
    pub(crate) skips_refused: bool,
    /// A symbolic link inside a folder stands for what it leads to.
    pub(crate) follows_links: bool,
    pub(crate) order: Order,
}

/// The order of the entries of one folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// By their names, where there are not very many.
    #[default]
    ByName,
    /// As a server lists them. All entries of one folder are in memory then.
    OfServer,
}

/// One thing that was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// A file to send, and its length in bytes.
    File(Document, u64),
    /// A folder, before what lies in it.
    Folder(FoundFolder),
    /// A symbolic link inside a folder, and what it says.
    Link(Document, LinkTarget),
    /// What cannot be uploaded, and why.
    Refused(PathBuf, Failure),
    /// What is passed over, and why.
    Skipped(PathBuf, String),
    /// A file or folder that a rule or an ignore file leaves out.
    Excluded,
    /// A folder that was named and holds nothing that could be uploaded or is refused.
    Barren(PathBuf),
    /// A line of an ignore file means nothing, and why.
    BadLine(PathBuf, String),
}

/// A folder that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundFolder {
    pub(crate) document: Document,
    /// Absent where the system has no such bits.
    pub(crate) mode: Option<PermissionBits>,
    /// It has no entries.
    pub(crate) is_empty: bool,
}

/// See the module's description. Its `next` blocks.
#[derive(Debug)]
pub(crate) struct Walk {
    options: WalkOptions,
    named: std::vec::IntoIter<PathBuf>,
    /// The named folder that the walk is in.
    top: Option<Top>,
    /// The folders from the named one to where the walk is.
    open: Vec<OpenFolder>,
    /// What was found and not handed over, and what of it is not kept.
    found: VecDeque<(Found, NotKept)>,
    /// What is not kept of what was handed over last.
    not_kept: NotKept,
}

#[derive(Debug)]
struct Top {
    path: PathBuf,
    rules: TopRules,
    /// Something of it can be uploaded, or is refused.
    is_fruitful: bool,
}

#[derive(Debug)]
struct OpenFolder {
    path: PathBuf,
    /// Its place on the server.
    place: Vec<Name>,
    entries: Listing,
    ignores: Option<IgnoreFile>,
    /// The folder itself, while it is not handed over, and what of it is not kept.
    untold: Option<(FoundFolder, NotKept)>,
}

impl Walk {
    /// Files as they are; folders with everything below them, in order of name, the folder's own
    /// name first.
    pub(crate) fn of(paths: Vec<PathBuf>, options: WalkOptions) -> Self {
        Self {
            options,
            named: paths.into_iter(),
            top: None,
            open: Vec::new(),
            found: VecDeque::new(),
            not_kept: NotKept::default(),
        }
    }

    /// What no server keeps of what was handed over last.
    pub(crate) fn not_kept(&self) -> NotKept {
        self.not_kept
    }

    /// A path of the command line. A symbolic link there stands for its target.
    fn add_named(&mut self, path: &Path) {
        // As everywhere; a file of that name is `./-`.
        if path == Path::new("-") {
            return self.tell(Found::Refused(path.to_owned(), Failure::StandardInput));
        }
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                // The name that was typed, also where it is a link's. `.` and `..` are no
                // names: the folder that they stand for has one.
                if path.file_name().is_some() {
                    return self.enter_named(path, path);
                }
                match std::fs::canonicalize(path) {
                    Ok(absolute) => self.enter_named(path, &absolute),
                    Err(error) => self.unreadable(path, error),
                }
            }
            Ok(metadata) if metadata.is_file() => {
                self.add_file(path, self.options.folder.clone(), &metadata);
            }
            Ok(metadata) => {
                let what = special(metadata.file_type());
                self.refuse(path, Failure::NotAFile { path: path.to_owned(), what });
            }
            Err(error) => self.unreadable(path, error),
        }
    }

    fn enter_named(&mut self, path: &Path, with_name: &Path) {
        match own_name(with_name) {
            Ok(name) => {
                let rules = self.options.rules.below(path);
                self.top = Some(Top { path: path.to_owned(), rules, is_fruitful: false });
                let place = [&self.options.folder[..], &[name]].concat();
                self.enter(path.to_owned(), place);
            }
            Err(failure) => self.refuse(path, failure),
        }
    }

    fn enter(&mut self, path: PathBuf, place: Vec<Name>) {
        let listed = Listing::of(&path, self.options.order)
            .and_then(|entries| Ok((entries, path.metadata()?)));
        let (entries, metadata) = match listed {
            Ok(listed) => listed,
            Err(error) => return self.unreadable(&path, error),
        };
        let is_empty = entries.is_empty();
        let untold = self.folder(&path, &place, is_empty, &metadata);
        let ignores = entries.has(IGNORE_FILE).then(|| IgnoreFile::read(&path.join(IGNORE_FILE)));
        let ignores = ignores.map(|(ignores, bad_lines)| {
            let bad = |line| (Found::BadLine(path.join(IGNORE_FILE), line), NotKept::default());
            self.found.extend(bad_lines.into_iter().map(bad));
            ignores
        });
        self.open.push(OpenFolder { path, place, entries, ignores, untold });
        // Where only some files are asked for, the folders that none of them is in are not.
        if !self.top.as_ref().is_some_and(|top| top.rules.takes_only_what_is_named()) {
            self.tell_folders();
        }
    }

    /// The folder as it is sent. One that lies too deep is refused where nothing in it is: what
    /// lies in it is deeper still.
    fn folder(
        &mut self,
        path: &Path,
        place: &[Name],
        is_empty: bool,
        metadata: &Metadata,
    ) -> Option<(FoundFolder, NotKept)> {
        let (name, around) = place.split_last()?;
        let (local, mode) = (path.to_owned(), Attributes::of(metadata).mode);
        match DocumentPath::new(around.to_vec(), name.clone()) {
            Ok(remote) => {
                let document = Document { local, remote };
                Some((FoundFolder { document, mode, is_empty }, NotKept::of(metadata)))
            }
            Err(reason) => {
                if is_empty {
                    self.refuse(path, Failure::BadName { name: name.to_string(), reason });
                }
                None
            }
        }
    }

    /// Hands over something of which everything is kept.
    fn tell(&mut self, found: Found) {
        self.found.push_back((found, NotKept::default()));
    }

    /// Hands over the folders around what is found next.
    fn tell_folders(&mut self) {
        for folder in &mut self.open {
            if let Some((untold, not_kept)) = folder.untold.take() {
                self.found.push_back((Found::Folder(untold), not_kept));
            }
        }
        self.is_fruitful();
    }

    /// The next entry of the folder that the walk is in.
    fn step(&mut self) {
        let Some(folder) = self.open.last_mut() else { return };
        match folder.entries.next() {
            Some(Ok(listed)) => self.add_listed(listed),
            Some(Err(error)) => {
                let path = folder.path.clone();
                self.unreadable(&path, error);
            }
            None => {
                self.open.pop();
            }
        }
        if self.open.is_empty()
            && let Some(top) = self.top.take().filter(|top| !top.is_fruitful)
        {
            self.tell(Found::Barren(top.path));
        }
    }

    fn add_listed(&mut self, listed: Listed) {
        let Some(folder) = self.open.last() else { return };
        let (path, place) = (folder.path.join(&listed.name), folder.place.clone());
        let mut kind = listed.kind;
        if kind.is_symlink() && self.options.follows_links {
            match std::fs::metadata(&path) {
                Ok(target) => kind = target.file_type(),
                Err(_) => {
                    let reason = "a symbolic link that leads nowhere".to_owned();
                    return self.tell(Found::Skipped(path, reason));
                }
            }
            if kind.is_dir() && self.leads_back(&path) {
                let reason = "a symbolic link to a folder that it lies in".to_owned();
                return self.tell(Found::Skipped(path, reason));
            }
        }
        if self.is_left_out(&path, kind.is_dir()) {
            return self.tell(Found::Excluded);
        }
        if kind.is_file() && listed.name.to_str().is_some_and(staging_name::is_one) {
            let reason =
                "a part of a file that `towline get` has not fetched to its end".to_owned();
            return self.tell(Found::Skipped(path, reason));
        }
        match () {
            () if kind.is_file() => match listed.metadata(self.options.follows_links, &path) {
                Ok(metadata) => self.add_file(&path, place, &metadata),
                Err(error) => self.unreadable(&path, error),
            },
            () if kind.is_dir() => match own_name(&path) {
                Ok(name) => self.enter(path, [&place[..], &[name]].concat()),
                Err(failure) => self.refuse(&path, failure),
            },
            () if kind.is_symlink() => self.add_link(&path, place, &listed),
            () => self.tell(Found::Skipped(path, special(kind).to_owned())),
        }
    }

    /// The rules of the command line decide first, then the ignore file that is nearest.
    fn is_left_out(&self, path: &Path, is_folder: bool) -> bool {
        let Some(top) = &self.top else { return false };
        match top.rules.choose(path, is_folder) {
            Chosen::Taken => return false,
            Chosen::LeftOut => return true,
            Chosen::Undecided => {}
        }
        let ignores = self.open.iter().rev().filter_map(|folder| folder.ignores.as_ref());
        let mut decided = ignores.map(|ignores| ignores.choose(path, is_folder));
        // An ignore file takes back what another one leaves out, and includes nothing by itself.
        match decided.find(|chosen| *chosen != Chosen::Undecided) {
            Some(Chosen::LeftOut) => true,
            _ => !is_folder && top.rules.takes_only_what_is_named(),
        }
    }

    /// Whether the path leads to one of the folders that the walk is in.
    fn leads_back(&self, path: &Path) -> bool {
        let Ok(target) = path.canonicalize() else { return false };
        let mut around = self.open.iter().filter_map(|folder| folder.path.canonicalize().ok());
        around.any(|around| around == target)
    }

    fn add_file(&mut self, path: &Path, folder: Vec<Name>, metadata: &Metadata) {
        match Document::in_folder(path, folder) {
            Ok(document) => {
                self.tell_folders();
                let file = Found::File(document, metadata.len());
                self.found.push_back((file, NotKept::of(metadata)));
            }
            Err(failure) => self.refuse(path, failure),
        }
    }

    fn add_link(&mut self, path: &Path, folder: Vec<Name>, listed: &Listed) {
        let read = listed.metadata(false, path).and_then(|own| Ok((own, path.read_link()?)));
        let (metadata, target) = match read {
            Ok(read) => read,
            Err(error) => return self.unreadable(path, error),
        };
        let target = target_of(&target);
        match target.and_then(|target| Ok((Document::in_folder(path, folder)?, target))) {
            Ok((document, target)) => {
                self.tell_folders();
                self.found.push_back((Found::Link(document, target), NotKept::of(&metadata)));
            }
            Err(failure) => self.refuse(path, failure),
        }
    }

    /// For its name or its kind.
    fn refuse(&mut self, path: &Path, failure: Failure) {
        if self.options.skips_refused {
            self.tell(Found::Skipped(path.to_owned(), failure.to_string()));
        } else {
            self.is_fruitful();
            self.tell(Found::Refused(path.to_owned(), failure));
        }
    }

    fn unreadable(&mut self, path: &Path, source: io::Error) {
        self.is_fruitful();
        let path = path.to_owned();
        let failure = Failure::File { action: "open", path: path.clone(), source, kept: None };
        self.tell(Found::Refused(path, failure));
    }

    fn is_fruitful(&mut self) {
        if let Some(top) = &mut self.top {
            top.is_fruitful = true;
        }
    }
}

/// What a link says, as text.
fn target_of(target: &Path) -> Result<LinkTarget, Failure> {
    let text = target.to_str().ok_or(Failure::TargetNotUnicode)?;
    LinkTarget::new(text).map_err(|reason| Failure::BadTarget { reason })
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            if let Some((found, not_kept)) = self.found.pop_front() {
                self.not_kept = not_kept;
                return Some(found);
            }
            if self.top.is_some() {
                self.step();
            } else {
                let path = self.named.next()?;
                self.add_named(&path);
            }
        }
    }
}
