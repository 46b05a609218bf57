//! From a document's row to its file: in its place, among the versions that were replaced, or in
//! the trash.

use super::{Content, PAGE, Verification, VerifyError, Wrong};
use crate::storage::{Spot, StorageError};
use std::fs::File;
use std::path::PathBuf;
use towline_state::CatalogError;
use towline_state::catalog::{
    self, Change, Changed, Cursor, Document, FileStamp, Kept, LogHead, Move, Op, Refusal,
};
use towline_types::{DocumentPath, FileHash, FileSize, Name, UserId};

/// The most changes of a user that are searched for one that has moved something. Where there are
/// more, something counts as moved.
const CHANGES: u32 = 500;

/// Where the file of a row lies.
pub(super) enum Lies<'a> {
    /// Under the user's folder.
    InPlace(&'a DocumentPath),
    /// Among the versions, or that far below something in the trash.
    Kept(Spot, &'a [Name]),
}

impl<'a> Lies<'a> {
    /// What the row says; nothing where it has no file.
    pub(super) fn of(row: &'a Document) -> Option<Self> {
        if row.availability.is_quarantined() {
            return Some(Self::Kept(Spot::Quarantine(row.document_id), &[]));
        }
        match (&row.file_path, &row.kept) {
            (Some(place), _) => Some(Self::InPlace(place)),
            (None, Kept::OldVersion) => Some(Self::Kept(Spot::Version(row.document_id), &[])),
            (None, Kept::InTrash { root, below }) => Some(Self::Kept(Spot::Trash(*root), below)),
            (None, Kept::InPlace) => None,
        }
    }
}

/// Where a file lies after a change that is just being made.
enum Destination {
    InPlace(DocumentPath),
    Kept(Spot, Vec<Name>),
}

impl Destination {
    /// Where something lies after that move; nothing where it is not moved by it.
    fn of(intended: &Move, lies: &Lies<'_>) -> Option<Self> {
        let below = match (&intended.from, lies) {
            (catalog::Spot::Living(from), Lies::InPlace(path)) => {
                let (from, path) = (names(from), names(path));
                path.strip_prefix(&from[..])?.to_vec()
            }
            (catalog::Spot::Trash(from), Lies::Kept(Spot::Trash(root), below)) if from == root => {
                below.to_vec()
            }
            (catalog::Spot::Version(from), Lies::Kept(Spot::Version(version), _))
                if from == version =>
            {
                Vec::new()
            }
            _ => return None,
        };
        match &intended.to {
            catalog::Spot::Trash(node) => Some(Self::Kept(Spot::Trash(*node), below)),
            catalog::Spot::Version(version) => Some(Self::Kept(Spot::Version(*version), below)),
            catalog::Spot::Living(to) => {
                let mut path = names(to);
                path.extend(below);
                let filename = path.pop()?;
                DocumentPath::new(path, filename).ok().map(Self::InPlace)
            }
        }
    }

    /// Where the file of a row lies while it is not in the quarantine.
    fn of_row(row: &Document) -> Option<Self> {
        match (&row.file_path, &row.kept) {
            (Some(place), _) => Some(Self::InPlace(place.clone())),
            (None, Kept::OldVersion) => {
                Some(Self::Kept(Spot::Version(row.document_id), Vec::new()))
            }
            (None, Kept::InTrash { root, below }) => {
                Some(Self::Kept(Spot::Trash(*root), below.clone()))
            }
            (None, Kept::InPlace) => None,
        }
    }

    fn lies(&self) -> Lies<'_> {
        match self {
            Self::InPlace(path) => Lies::InPlace(path),
            Self::Kept(spot, below) => Lies::Kept(spot.clone(), below),
        }
    }
}

/// All names of a path.
fn names(path: &DocumentPath) -> Vec<Name> {
    let filename = std::iter::once(path.filename());
    path.folder().iter().chain(filename).cloned().collect()
}

impl Verification<'_> {
    /// What is wrong with the file of a row that says where it lies, and with which
    /// hash.
    pub(super) fn document(
        &mut self,
        row: &Document,
    ) -> Result<Option<(PathBuf, Wrong)>, VerifyError> {
        // The schema's own checks see to it that such a row has both.
        let (Some(lies), Some(blake3)) = (Lies::of(row), row.blake3) else { return Ok(None) };
        let wrong = self.file(row, &lies, blake3)?;
        if wrong.is_some() {
            for other in self.under_way(row, &lies)? {
                if self.file(row, &other.lies(), blake3)?.is_none() {
                    return Ok(None);
                }
            }
        }
        Ok(wrong)
    }

    /// What is wrong with the file that lies there.
    fn file(
        &mut self,
        row: &Document,
        lies: &Lies<'_>,
        blake3: FileHash,
    ) -> Result<Option<(PathBuf, Wrong)>, VerifyError> {
        let path = self.path_of(row, lies);
        let expected = Content { filesize: row.filesize, blake3: Some(blake3) };
        let (file, filesize) = match self.open(row, lies) {
            Ok(Some(found)) => found,
            Ok(None) => {
                let deserted = self.is_deserted(row, lies)?;
                return Ok(Some((path, Wrong::Missing { replaced: false, deserted })));
            }
            // A link, a folder, or a file in the place of one of the folders.
            Err(StorageError::Unsafe { .. } | StorageError::NotAFolder) => {
                return Ok(Some((path, Wrong::Missing { replaced: true, deserted: false })));
            }
            Err(error) => return Ok(Some((path, unreadable(&error)))),
        };
        if filesize != row.filesize {
            let found = Content { filesize, blake3: None };
            return Ok(Some((path, Wrong::Damaged { expected, found })));
        }
        let read = self.reader.hash(&file, filesize);
        self.summary.bytes = self.reader.bytes();
        let found = match read {
            Ok(Some(found)) if found == blake3 => return Ok(None),
            Ok(Some(found)) => Content { filesize, blake3: Some(found) },
            // It has become shorter while it was read.
            Ok(None) => {
                let length = file.metadata().map_or(0, |about| about.len());
                let filesize = FileSize::try_from(length).unwrap_or(FileSize::MIN);
                Content { filesize, blake3: None }
            }
            Err(error) => return Ok(Some((path, Wrong::Unreadable(error.to_string())))),
        };
        Ok(Some((path, Wrong::Damaged { expected, found })))
    }

    /// The path of the file, seen from the data folder.
    pub(super) fn path_of(&self, row: &Document, lies: &Lies<'_>) -> PathBuf {
        match lies {
            Lies::InPlace(place) => self.scan.path_of(row.user_id, place),
            Lies::Kept(spot, below) => self.scan.path_of_spot(row.user_id, spot, below),
        }
    }

    fn open(
        &self,
        row: &Document,
        lies: &Lies<'_>,
    ) -> Result<Option<(File, FileSize)>, StorageError> {
        match lies {
            Lies::InPlace(place) => self.scan.published(row.user_id, place),
            Lies::Kept(spot, below) => self.scan.spot(row.user_id, spot, below),
        }
    }

    /// Whether the file may be on a disk that is not mounted. What a repair has moved away itself,
    /// before it was cut off, is no sign of that. A version, or something in the trash, is kept on
    /// the disk of its place: where that was moved since, it is not known on which.
    ///
    /// While a move of this user is intended, what it moves may lie under its old name or its new
    /// one: the server finishes the move when it starts, and nothing is missing.
    fn is_deserted(&self, row: &Document, lies: &Lies<'_>) -> Result<bool, VerifyError> {
        if self.is_moving(row.user_id)? {
            return Ok(true);
        }
        let Lies::InPlace(place) = lies else {
            return Ok(
                row.stamp.is_none_or(is_on_mount) && !self.scan.was_kept_set_aside(row.document_id)
            );
        };
        Ok(self.scan.may_be_unmounted(row.user_id, place, row.stamp)?
            && !self.scan.was_set_aside(row.document_id, row.user_id, place))
    }

    /// The other places in which the file may lie because of a change that is just being made: the
    /// disk is changed before the row. A file that is being replaced may be a version already, and
    /// a file that is being moved may be in its new place already.
    fn under_way(&self, row: &Document, lies: &Lies<'_>) -> Result<Vec<Destination>, VerifyError> {
        let mut found = Vec::new();
        if row.availability.is_under_way() {
            found.extend(Destination::of_row(row));
        }
        if let (Lies::InPlace(_), Some(node)) = (lies, row.node_id)
            && self.catalog.incoming(node).wait()?.is_some()
        {
            found.push(Destination::Kept(Spot::Version(row.document_id), Vec::new()));
        }
        let mut after = None;
        loop {
            let moves = self.catalog.moves(after, PAGE).wait()?;
            let Some(last) = moves.last() else { return Ok(found) };
            after = Some(last.node.node_id);
            let own = moves.iter().filter(|intended| intended.node.user_id == row.user_id);
            found.extend(own.filter_map(|intended| Destination::of(intended, lies)));
        }
    }

    /// Whether something of that user is being moved, or was moved after `since`. Where `since` is
    /// not known, something may have been moved.
    pub(super) fn was_moved(
        &self,
        user: UserId,
        since: Option<&LogHead>,
    ) -> Result<bool, VerifyError> {
        let Some(since) = since else { return Ok(true) };
        // The moves come first: the transaction that records the change of a move deletes its
        // intention.
        if self.is_moving(user)? {
            return Ok(true);
        }
        let cursor = Some(Cursor::at(user, since));
        let delta = match self.catalog.delta(user, cursor, CHANGES).wait() {
            Err(CatalogError::Refused(Refusal::CursorReset { .. })) => return Ok(true),
            delta => delta?,
        };
        // A new node moves nothing that was there.
        let moves = |change: &Change| change.op != Op::Create || change.changed == Changed::Place;
        Ok(delta.has_more || delta.changes.iter().any(moves))
    }

    /// Whether something of that user is just being moved.
    pub(super) fn is_moving(&self, user: UserId) -> Result<bool, VerifyError> {
        let mut after = None;
        loop {
            let moves = self.catalog.moves(after, PAGE).wait()?;
            if moves.iter().any(|intended| intended.node.user_id == user) {
                return Ok(true);
            }
            let Some(last) = moves.last() else { return Ok(false) };
            after = Some(last.node.node_id);
        }
    }
}

const fn is_on_mount(stamp: FileStamp) -> bool {
    stamp.mount_depth.is_some()
}

/// The file may be as it should be; what keeps us from reading it is what the
/// system says.
pub(super) fn unreadable(error: &StorageError) -> Wrong {
    Wrong::Unreadable(match error {
        StorageError::Io { source, .. } => source.to_string(),
        error => error.to_string(),
    })
}
