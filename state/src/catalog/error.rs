//! What can go wrong with the catalog, and whose fault it is.

use super::node::Node;
use rusqlite::{ErrorCode, ffi};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use towline_types::UserId;
use towline_upload::Phase;

/// Why a call on the catalog did not do what it was asked to. Nothing of the
/// call is then recorded; after [`Storage`](Self::Storage) a restart may find it
/// recorded all the same.
///
/// Clonable, since one failed commit answers many calls.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    /// The caller asked for what the catalog does not allow.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Other processes kept the database to themselves for too long. Trying
    /// again can help.
    #[error("the catalog is busy")]
    Busy,
    /// Another program kept the database locked while it was to be opened.
    #[error(
        "another program has kept {} locked for {} seconds; end that program (a backup?) and try again",
        path.display(), waited.as_secs()
    )]
    Locked {
        /// The database.
        path: PathBuf,
        /// How long it was waited for.
        waited: std::time::Duration,
    },
    /// There is no room. Trying again can help once there is.
    #[error("the disk with the catalog is full")]
    DiskFull,
    /// The storage under the catalog failed just now; from here on it is read-only.
    #[error("the storage under the catalog failed")]
    Storage(#[source] Arc<rusqlite::Error>),
    /// The storage failed earlier; writes are refused until a restart.
    #[error("the catalog is read-only since its storage failed")]
    ReadOnly,
    /// A row does not say what the types demand: a person has edited it.
    #[error("{table} {id} in the catalog cannot be read: its {column} is not valid: {reason}")]
    BadRow {
        /// What the row describes: "document", "user", "node", "change" or "move".
        table: &'static str,
        /// The number of it.
        id: i64,
        /// Whose it is, where that can be read.
        owner: Option<UserId>,
        /// The column that does not read.
        column: &'static str,
        /// Why not.
        reason: String,
    },
    /// SQLite refused a statement: an invariant was about to be broken, or the
    /// schema is not what it should be. A fault of ours.
    #[error("the catalog refused a statement")]
    Sql(#[source] Arc<rusqlite::Error>),
    /// The catalog was closed, or its thread is gone.
    #[error("the catalog is closed")]
    Closed,
    /// The file system does not let the catalog be made or opened.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The linked SQLite has a bug that damages databases in WAL mode.
    #[error(
        "SQLite {found} is linked; 3.51.3 or later is needed, earlier ones can damage the catalog"
    )]
    TooOldSqlite {
        /// The version that is linked.
        found: &'static str,
    },
    /// A later Towline has written this catalog.
    #[error("{} has schema {found}, and this Towline knows none above {known}", path.display())]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// The schema it has.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// An earlier Towline has written this catalog, and it was opened to be looked at.
    #[error(
        "{} has schema {found}, and this Towline reads {known}; start the server once, which brings \
         it up to date",
        path.display()
    )]
    OlderSchema {
        /// The database.
        path: PathBuf,
        /// The schema it has; 0 for none.
        found: i64,
        /// The schema that is read here.
        known: i64,
    },
    /// It was to be looked at and not made.
    #[error("there is no catalog at {}", path.display())]
    NotThere {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file system does not support the journal that durability rests on.
    #[error("{} cannot be put into WAL mode, but stays in '{mode}'", path.display())]
    NoWal {
        /// The database.
        path: PathBuf,
        /// The mode it stays in.
        mode: String,
    },
    /// The schema could not be brought up to date.
    #[error("the schema of {} could not be brought up to date", path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// What stood in the way.
        source: Arc<refinery::Error>,
    },
}

/// What the catalog does not allow, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such user, or it was removed.
    #[error("there is no such user")]
    NoSuchUser,
    /// Names of users stay taken for ever, since documents lie under them.
    #[error("{}", name_taken(name, *user_id, *removed))]
    NameTaken {
        /// The name.
        name: String,
        /// The user who has it.
        user_id: UserId,
        /// Whether that user was removed.
        removed: bool,
    },
    /// The number is in use, or was.
    #[error("the user_id {0} is taken")]
    UserIdTaken(UserId),
    /// The number cannot be given to a user.
    #[error("the user_id {0} is too large; the largest is 9007199254740991")]
    BadUserId(UserId),
    /// The name cannot be given to a user.
    #[error(
        "{0:?} cannot name a user: 1 to 64 of the characters A-Z a-z 0-9 . _ - are allowed, \
         a dot or dash not in front, and not digits alone"
    )]
    BadUserName(String),
    /// The wanted place belongs to another document of the user.
    #[error("the name is taken")]
    PathTaken,
    /// A document has the name of one of the folders.
    #[error("a document has the name of one of the folders")]
    FolderTaken,
    /// There is no such node, or it was removed.
    #[error("there is no such file or folder")]
    NoSuchNode,
    /// The folder that something is to lie in is not there, or was removed.
    #[error("there is no such folder")]
    NoSuchFolder,
    /// The name belongs to another node.
    #[error("the name is taken")]
    Exists {
        /// The node that has it.
        current: Box<Node>,
    },
    /// What is there is not what the caller knew.
    #[error("the file or folder is not as it was when it was looked at")]
    Conflict {
        /// What is there; nothing where the name is free.
        current: Option<Box<Node>>,
    },
    /// Below the folder there are changes that the caller has not seen.
    #[error("{count} files and folders below it are newer than what was seen")]
    Unseen {
        /// How many nodes have such changes.
        count: u64,
    },
    /// A folder cannot be moved into itself.
    #[error("a folder cannot be moved into itself")]
    Cycle,
    /// A folder with something in it is only removed where that is asked for.
    #[error("the folder is not empty")]
    NotEmpty,
    /// A file or link is where a folder is needed.
    #[error("it is not a folder")]
    NotAFolder,
    /// The folders would be too many, or their path too long.
    #[error("the place would lie too deep, or its path would be too long")]
    TooDeep,
    /// The cursor is another user's.
    #[error("that is no cursor of this user")]
    BadCursor,
    /// The cursor does not lead on: what there is has to be read anew.
    #[error("the cursor leads no further: {reason}")]
    CursorReset {
        /// Why not.
        reason: ResetReason,
    },
    /// A rename of the folder or of what lies in it is under way. Trying again can help.
    #[error("the folder or file is just being changed; try again")]
    Busy,
    /// The user has so much that this would be too much.
    #[error("{used} of {limit} are used, and {more} more are wanted")]
    QuotaUsedUp {
        /// Which limit.
        kind: QuotaKind,
        /// How much there is.
        used: u64,
        /// How much is wanted besides.
        more: u64,
        /// How much there may be.
        limit: u64,
    },
    /// The user has as many unfinished uploads as allowed.
    #[error("{limit} unfinished uploads are allowed, and there are as many")]
    TooManyUnfinished {
        /// How many are allowed.
        limit: u32,
    },
    /// There is no such document.
    #[error("there is no such document")]
    NoSuchDocument,
    /// The document is in a phase in which this cannot be done.
    #[error("the document is {0}")]
    WrongPhase(Phase),
    /// That phase is no way to give an upload up.
    #[error("an upload is not given up as {0}")]
    NotAnEnding(Phase),
    /// The length of the file is not declared where it has to be, was declared before, or is
    /// below what is durable.
    #[error("the length of the file is not declared, or cannot be that")]
    BadLength,
}

/// A limit of what a user may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaKind {
    /// That of bytes.
    Bytes,
    /// That of files.
    Files,
}

/// Why a reader of changes has to begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResetReason {
    /// The changes after its cursor are not kept any more.
    #[error("the changes behind it are not kept any more")]
    Expired,
    /// An earlier copy of the catalog was put back: changes that it has seen may not have
    /// happened.
    #[error("the server was set back to an earlier copy")]
    Restored,
}

fn name_taken(name: &str, user_id: UserId, removed: bool) -> String {
    if removed {
        format!("the name '{name}' belonged to user {user_id}, who was removed, and is kept")
    } else {
        format!("the name '{name}' belongs to user {user_id}")
    }
}

impl From<rusqlite::Error> for CatalogError {
    fn from(error: rusqlite::Error) -> Self {
        let extended = error.sqlite_error().map(|code| code.extended_code);
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            // The shared index of the journal finds no room to grow. Nothing was
            // committed by that, except at the commit itself.
            Some(_) if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) => Self::DiskFull,
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport
                | ErrorCode::OutOfMemory
                | ErrorCode::InternalMalfunction,
            ) => Self::Storage(Arc::new(error)),
            _ => Self::Sql(Arc::new(error)),
        }
    }
}

impl CatalogError {
    /// What the failure of a commit means. There the index grows only after the
    /// journal was written and synced: it is not known whether a restart will find the
    /// transaction, so nothing may be promised on either answer.
    pub(super) fn of_commit(error: rusqlite::Error) -> Self {
        let extended = error.sqlite_error().map(|code| code.extended_code);
        if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) {
            return Self::Storage(Arc::new(error));
        }
        error.into()
    }

    /// Whether the failure is of the whole transaction and not of one call in it.
    pub(super) const fn dooms_the_group(&self) -> bool {
        matches!(self, Self::Busy | Self::DiskFull | Self::Storage(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_without_room_is_a_full_disk_except_at_the_commit() {
        let failed = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        let no_room = || failed(ffi::SQLITE_IOERR_SHMSIZE);
        assert!(matches!(CatalogError::from(no_room()), CatalogError::DiskFull));
        assert!(matches!(CatalogError::of_commit(no_room()), CatalogError::Storage(_)));
        // No room for the journal itself: without its last frame there is no commit.
        let full = CatalogError::of_commit(failed(ffi::SQLITE_FULL));
        assert!(matches!(full, CatalogError::DiskFull));
    }
}
