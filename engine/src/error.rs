//! Everything that can go wrong with a request, and the one place that says what a
//! client is told of it.

mod held;

use crate::rejection::{Rejection, RejectionKind};
use crate::storage::{Denial, Place, Resource, StorageError};
use crate::units::{self, Size};
use rustix::io::Errno;
use std::path::Path;
use towline_state::catalog::{Availability, CatalogError, Node, QuotaKind, Refusal as Unrecorded};
use towline_types::{BlockIndex, FileSize, NodePath};
use towline_upload::{Phase, Refusal};

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The rules of an upload refuse the request, as a rule by a fault of the client.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The client's fault: the writer has no upload open.
    #[error("nothing is being uploaded here")]
    NoActiveUpload,
    /// No fault: the upload had changed at each look, because other requests change it.
    #[error("the upload is being changed by others just now; try again")]
    Contended,
    /// No fault: the connection or the server came to its end during long work. That is the reading
    /// of bytes that the server has already, or the making of a long answer.
    #[error(
        "the connection came to its end before this was done; what was received is kept, try again"
    )]
    CutShort,
    /// Nothing went wrong: the file is being copied to the file system of its folder.
    #[error(
        "the whole file has arrived, and the server is still putting it in its place; nothing of \
         it is lost, ask again in a while"
    )]
    StillPublishing,
    /// The client's fault: the user's own folder is no node that could be looked at or changed.
    #[error("that is your own folder, which cannot be renamed, moved or removed")]
    OwnFolder,
    /// The client's fault: only what was removed can be restored, with all that is below it.
    #[error("it was removed with the folder \"{place}\"; restore that folder")]
    RemovedWithFolder {
        /// The folder.
        folder: Box<Node>,
        /// The path that it had.
        place: NodePath,
    },
    /// The client's fault: a question of this session waits for changes already.
    #[error("a question for changes waits on this connection already")]
    WaitsAlready,
    /// A move, removal or restoration was cut off: the disk or the catalog failed.
    #[error("the move was cut off: {0}")]
    MoveUnfinished(#[source] Box<Error>),
    /// The file of a completed document is not the one that was uploaded. The log names it, and
    /// says why in other words than the client hears.
    #[error(
        "the file on the server's disk {what}; the server's operator has to look at it. Upload the \
         file again if you have it"
    )]
    Damaged {
        /// What is wrong with the file.
        what: &'static str,
        /// The block that has other bytes than were uploaded, where that is known.
        index: Option<BlockIndex>,
    },
    /// The place of a completed document cannot be looked at, or its disk may not be mounted.
    #[error(
        "the server cannot look at the file just now: its disk may be missing; try again later"
    )]
    OutOfReach,
    /// The client's fault: only a file has bytes that can be read.
    #[error("a folder or a link has no bytes that could be read")]
    NoBytes,
    /// The client's fault: a read begins after the end of the file.
    #[error("the file ends at byte {filesize}, before the first byte that was asked for")]
    BehindEnd {
        /// The length of the file in bytes.
        filesize: FileSize,
    },
    /// The document is not given out, as long as a scanner, or the operator, does not say that it may
    /// be.
    #[error("{}", held::sentence(*.0))]
    Held(Availability),
    /// The upload ended without a document; `reason` is for people.
    #[error("{}: {reason}", ending(*phase))]
    Ended {
        /// How it ended.
        phase: Phase,
        /// Why.
        reason: String,
    },
    /// The disk is too full, which was noticed before anything was begun.
    #[error("the server's disk has no room for it: {} more are needed", Size(*missing_bytes))]
    NoRoom {
        /// How many more bytes would have to be free.
        missing_bytes: u64,
    },
    /// The disk's fault.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A fault of the disk at the last step: the name may be durable or not. The bytes are durable,
    /// unless durability is relaxed: then the next start reads them before it serves them.
    #[error("the document came whole, but its place could not be made sure of: {0}")]
    NameUnsynced(#[source] StorageError),
    /// The catalog's refusal, or its disk's fault.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Error {
    /// Whether the writer lets go of its upload because of the error. Then it drops all data that
    /// follows, until another [`Command::Begin`](crate::Command::Begin) or
    /// [`Command::Resume`](crate::Command::Resume).
    pub(crate) fn ends_upload_here(&self) -> bool {
        !matches!(
            self,
            Self::Refused(
                Refusal::BlockMismatch { .. }
                    | Refusal::NoSuchBlock { .. }
                    | Refusal::Incomplete { .. }
                    | Refusal::LengthUnknown
            ) | Self::Storage(StorageError::Exists | StorageError::NotAFolder)
                | Self::Catalog(CatalogError::Refused(
                    Unrecorded::PathTaken
                        | Unrecorded::FolderTaken
                        | Unrecorded::Busy
                        | Unrecorded::Conflict { .. }
                        | Unrecorded::Exists { .. }
                        | Unrecorded::NoSuchNode
                        | Unrecorded::NotAFolder
                        | Unrecorded::TooDeep
                ))
        )
    }

    /// Whether something else has the name.
    pub(crate) fn is_name_taken(&self) -> bool {
        matches!(
            self,
            Self::Storage(StorageError::Exists)
                | Self::Catalog(CatalogError::Refused(
                    Unrecorded::PathTaken | Unrecorded::Exists { .. }
                ))
        )
    }

    /// Whether the upload has to be given up (P5), because its bytes are not what the client sent, or
    /// because it is not known whether the disk keeps them. A call that failed before it did
    /// anything is no such reason: what was promised stays, and the upload goes on when the fault
    /// is over (P1).
    pub(crate) fn is_fatal_to_upload(&self) -> bool {
        matches!(
            self,
            Self::Refused(Refusal::HashMismatch { .. } | Refusal::Sha256Mismatch { .. })
                | Self::Storage(StorageError::Lost(_) | StorageError::SyncFailed(_))
        )
    }

    /// Whether long work was cut off because the connection or the server came to its end. Nothing
    /// is wrong with it.
    pub(crate) fn is_cut_off(&self) -> bool {
        matches!(self, Self::CutShort | Self::StillPublishing)
    }

    /// Whether the storage of the server refused or failed: the log has a line for it, and the
    /// operator has to repair it.
    pub(crate) fn is_for_operator(&self) -> bool {
        match self {
            Self::Storage(error) => {
                !matches!(error, StorageError::Exists | StorageError::NotAFolder)
            }
            Self::Catalog(error) => !matches!(error, CatalogError::Refused(_)),
            Self::MoveUnfinished(error) => error.is_for_operator(),
            Self::NoRoom { .. } | Self::NameUnsynced(_) | Self::OutOfReach => true,
            Self::Refused(_)
            | Self::Damaged { .. }
            | Self::Held(_)
            | Self::NoBytes
            | Self::BehindEnd { .. }
            | Self::OwnFolder
            | Self::RemovedWithFolder { .. }
            | Self::WaitsAlready
            | Self::NoActiveUpload
            | Self::Contended
            | Self::CutShort
            | Self::StillPublishing
            | Self::Ended { .. } => false,
        }
    }

    fn of_storage(&self) -> Option<&StorageError> {
        match self {
            Self::Storage(error) | Self::NameUnsynced(error) => Some(error),
            Self::MoveUnfinished(error) => error.of_storage(),
            _ => None,
        }
    }

    /// The error number of the operating system, where there is one.
    pub(crate) fn errno(&self) -> Option<i32> {
        let errno = match self {
            Self::NoRoom { .. } | Self::Catalog(CatalogError::DiskFull) => Some(Errno::NOSPC),
            _ => self.of_storage()?.errno(),
        };
        errno.map(Errno::raw_os_error)
    }

    /// The path of the fault, relative to the data folder. For the log alone.
    pub(crate) fn path(&self) -> Option<&Path> {
        let path = self.of_storage().and_then(StorageError::place).map(|place| &*place.path);
        match self {
            _ if path.is_some_and(|path| !path.as_os_str().is_empty()) => path,
            Self::Catalog(_) => Some(Path::new("state/catalog.db")),
            // These faults concern the whole volume.
            Self::NoRoom { .. }
            | Self::Storage(
                StorageError::NoSpace { .. } | StorageError::ReadOnly | StorageError::SyncFailed(_),
            ) => Some(Path::new("uploads")),
            _ => None,
        }
    }

    /// What the client is told; of long work that was cut off by the stop of the engine, that the
    /// engine stops.
    pub(crate) fn rejection_while(&self, is_stopping: bool) -> Rejection {
        if is_stopping && self.is_cut_off() {
            const STOPPING: &str = "the server is stopping; what was received is kept, try again";
            return Rejection::new(RejectionKind::Stopping, STOPPING);
        }
        self.rejection()
    }

    /// What the client is told. The match is exhaustive on purpose: a new kind of error must get
    /// its rejection here before it compiles.
    pub(crate) fn rejection(&self) -> Rejection {
        let kind = match self {
            Self::Refused(refusal) => return refused(refusal),
            Self::NoActiveUpload => RejectionKind::NoActiveUpload,
            Self::Contended => RejectionKind::Contended,
            Self::CutShort | Self::StillPublishing | Self::OutOfReach => RejectionKind::Internal,
            Self::Damaged { index, .. } => RejectionKind::Damaged { index: *index },
            Self::Held(availability) => held::kind(*availability),
            Self::NoBytes => RejectionKind::NoBytes,
            Self::BehindEnd { filesize } => {
                let (field, max) = (Some("offset".to_owned()), Some(filesize.get()));
                RejectionKind::BadRequest { field, max }
            }
            Self::Ended { phase, .. } => ended(*phase),
            Self::OwnFolder => {
                RejectionKind::BadRequest { field: Some("path".to_owned()), max: None }
            }
            Self::RemovedWithFolder { folder, .. } => {
                RejectionKind::RemovedWithFolder { node: folder.clone() }
            }
            Self::WaitsAlready => RejectionKind::TooMany { max: 1 },
            Self::MoveUnfinished(error) => return move_unfinished(error),
            Self::NoRoom { missing_bytes } => {
                RejectionKind::NoSpace { missing_bytes: Some(*missing_bytes) }
            }
            Self::Storage(error) => return storage(error),
            Self::NameUnsynced(
                StorageError::ReadOnly
                | StorageError::SyncFailed(_)
                | StorageError::FolderRemoved { .. },
            ) => {
                return Rejection::new(
                    RejectionKind::StorageReadOnly,
                    "the whole file has arrived, but the server's storage takes no changes until \
                     its operator has looked at it; complete it again later",
                );
            }
            Self::NameUnsynced(_) => {
                return Rejection::new(
                    RejectionKind::Internal,
                    "the whole file has arrived, and the server could not finish just now; \
                     nothing of it is lost, try again in a moment",
                );
            }
            Self::Catalog(error) => return catalog(error),
        };
        Rejection::new(kind, self.to_string())
    }
}

fn move_unfinished(error: &Error) -> Rejection {
    let kind = error.rejection().kind;
    if let RejectionKind::StorageReadOnly | RejectionKind::NoSpace { .. } = kind {
        return Rejection::new(
            kind,
            "the server could not finish the move; nothing is lost, and it is finished as soon as \
             the server's disk takes changes again",
        );
    }
    Rejection::new(
        RejectionKind::Internal,
        "the server could not finish the move just now; nothing is lost, and it is finished with \
         your next change or the next start of the server",
    )
}

fn refused(refusal: &Refusal) -> Rejection {
    let kind = match *refusal {
        Refusal::NotFound => RejectionKind::NotFound,
        Refusal::SizeLimit { filesize, max } => {
            let kind = RejectionKind::SizeLimit { max: Some(max) };
            let (filesize, max) = units::beside(filesize.get(), max.get());
            let message = format!(
                "the file is {filesize}; this server takes files up to {max}. The operator can \
                 raise it: towlined --max-file-size"
            );
            return Rejection::new(kind, message);
        }
        Refusal::OwnLimit { filesize, max } => {
            let kind = RejectionKind::SizeLimit { max: Some(max) };
            let (filesize, max) = units::beside(filesize.get(), max.get());
            let message = format!(
                "the file is at least {filesize}, and this upload was begun for a file of up to \
                 {max}; begin an upload with a larger limit"
            );
            return Rejection::new(kind, message);
        }
        Refusal::NotUploading(phase) => ended(phase),
        Refusal::Superseded => RejectionKind::Superseded,
        Refusal::NotShared => RejectionKind::NotShared,
        Refusal::TooManyOpen { max }
        | Refusal::TooManyRanges { max }
        | Refusal::TooManyWriters { max } => RejectionKind::TooMany { max: max as u64 },
        Refusal::LengthUnknown => RejectionKind::LengthUnknown,
        Refusal::OffsetMismatch { expected } => RejectionKind::OffsetMismatch { expected },
        Refusal::SizeExceeded { filesize } => RejectionKind::SizeExceeded { filesize },
        Refusal::NoSuchBlock { index } => RejectionKind::NoSuchBlock { index },
        Refusal::BlockMismatch { index } => RejectionKind::BlockMismatch { index },
        Refusal::Incomplete { expected } => RejectionKind::Incomplete { expected },
        Refusal::HashMismatch { .. } | Refusal::Sha256Mismatch { .. } => {
            RejectionKind::HashMismatch
        }
        Refusal::FileChanged { .. } => RejectionKind::FileChanged,
        Refusal::Expired { .. } => RejectionKind::Expired,
    };
    Rejection::new(kind, refusal.to_string())
}

const fn ended(phase: Phase) -> RejectionKind {
    match phase {
        Phase::Uploading | Phase::Publishing | Phase::Completed => {
            RejectionKind::WrongPhase { phase }
        }
        Phase::Failed => RejectionKind::Failed,
        Phase::Cancelled => RejectionKind::Cancelled,
        Phase::Expired => RejectionKind::Expired,
    }
}

/// How an upload has ended, as the beginning of a sentence.
const fn ending(phase: Phase) -> &'static str {
    match phase {
        Phase::Failed => "the upload has failed",
        Phase::Cancelled => "the upload was cancelled",
        Phase::Expired => "the upload has expired",
        Phase::Uploading => "the upload is under way",
        Phase::Publishing => "the upload is being finished",
        Phase::Completed => "the upload is complete",
    }
}

/// The paths and devices in an error are for the log: a client is not told of them.
fn storage(error: &StorageError) -> Rejection {
    match error {
        StorageError::Exists => Rejection::new(
            RejectionKind::NameTaken,
            "another file with this name is already on the server",
        ),
        StorageError::NotAFolder => Rejection::new(
            RejectionKind::FolderTaken,
            "a file on the server has the name of one of the folders; choose another folder",
        ),
        StorageError::Lost(loss) => Rejection::new(
            RejectionKind::Failed,
            format!("the stored bytes were lost on the server ({loss}); send the file again"),
        ),
        StorageError::NoSpace { resource, missing_bytes, .. } => {
            no_space(*resource, *missing_bytes)
        }
        StorageError::FolderRemoved { .. } => Rejection::new(
            RejectionKind::StorageReadOnly,
            "the folder in which the server keeps uploads was removed while the server ran; its \
             operator has to restore it and to start the server again",
        ),
        StorageError::ReadOnly => Rejection::new(
            RejectionKind::StorageReadOnly,
            "the server's storage takes no changes until its operator has looked at it; what is on \
             its disk is kept",
        ),
        error if error.is_shortage() => Rejection::new(
            RejectionKind::Internal,
            "the server is short of file descriptors or memory for a moment; what is on its disk is \
             kept, try again in a while",
        ),
        StorageError::Unsafe { place, .. } => Rejection::new(
            RejectionKind::StorageRefused,
            format!(
                "something other than a file or folder lies on the server where {} belongs; its \
                 operator has to remove it",
                file(place)
            ),
        ),
        StorageError::Refused { denial, place, .. } => {
            Rejection::new(RejectionKind::StorageRefused, denied(*denial, place))
        }
        StorageError::TooLarge { .. } => Rejection::new(
            RejectionKind::SizeLimit { max: None },
            "the file is larger than the server's file system, or a limit of the server's process, \
             allows; its operator can change that",
        ),
        StorageError::Io { .. } | StorageError::Occupied => Rejection::new(
            RejectionKind::Internal,
            "the server's disk reported an error; what is on it is kept, try again in a while",
        ),
        StorageError::SyncFailed(_) => Rejection::new(
            RejectionKind::StorageFailed,
            "the server's disk did not keep what was written to it; this upload has failed",
        ),
    }
}

fn no_space(resource: Resource, missing_bytes: Option<u64>) -> Rejection {
    let what = match (resource, missing_bytes) {
        (Resource::Bytes, Some(missing_bytes)) => {
            format!("the server's disk is full: {} more are needed", Size(missing_bytes))
        }
        (Resource::Bytes, None) => "the server's disk is full".to_owned(),
        (Resource::Files, _) => {
            "the server's file system has no room for more files (inodes)".to_owned()
        }
        (Resource::Quota, _) => "the server's disk quota is used up".to_owned(),
    };
    let message = format!("{what}; what was received is kept, continue when there is room");
    Rejection::new(RejectionKind::NoSpace { missing_bytes }, message)
}

/// Why the operating system of the server refuses a file for good, and that the operator can change
/// it, where that is so.
fn denied(denial: Denial, place: &Place) -> String {
    match denial {
        Denial::Permission => format!(
            "the server may not write {} (permission denied); its operator has to allow it",
            file(place)
        ),
        Denial::NameTooLong => {
            format!("the server's file system has no names as long as that of {}", file(place))
        }
        Denial::BadName => {
            format!("the server's file system does not take the name of {}", file(place))
        }
        Denial::ReadOnly => format!(
            "the folder of {} is read-only on the server; its operator has to change that",
            file(place)
        ),
        Denial::OtherFileSystem => format!(
            "{} cannot be moved there: the server keeps the two places on different disks, and \
             moves nothing from one disk to another",
            file(place)
        ),
        Denial::IntoItself => format!("{} cannot be moved into itself", file(place)),
        Denial::Impossible => format!(
            "the server's system refuses to put {} in its place; its operator finds the reason in \
             the server's log",
            file(place)
        ),
    }
}

/// The file, as its owner names it. A path on the server's disk is not told to a client.
fn file(place: &Place) -> String {
    place.document.as_ref().map_or_else(|| "the file".to_owned(), |path| format!("{path:?}"))
}

fn catalog(error: &CatalogError) -> Rejection {
    match error {
        CatalogError::Refused(refusal) => unrecorded(refusal),
        CatalogError::ReadOnly => storage(&StorageError::ReadOnly),
        // SQLite does not say how many bytes are missing.
        CatalogError::DiskFull => Rejection::new(
            RejectionKind::NoSpace { missing_bytes: None },
            "the server's disk is full; what was received is kept, continue when there is room",
        ),
        // Until a person has mended it, the upload cannot go on.
        CatalogError::BadRow { table: "document", id, .. } => Rejection::new(
            RejectionKind::Failed,
            format!(
                "what the server has recorded about document {id} cannot be read; it is kept for the \
                 server's operator to look at; send the file again"
            ),
        ),
        _ => Rejection::new(
            RejectionKind::Internal,
            "the server could not record the request; what was received is kept, try again",
        ),
    }
}

fn quota_used_up(kind: QuotaKind, [used, more, limit]: [u64; 3]) -> Rejection {
    let message = match kind {
        QuotaKind::Bytes if more == 0 => format!(
            "your quota on this server is used up: {} of {}; older versions, the trash and \
             unfinished uploads count as well",
            Size(used),
            Size(limit)
        ),
        QuotaKind::Bytes => format!(
            "your quota on this server does not reach: {} of {} are used, and {} more are wanted; \
             older versions, the trash and unfinished uploads count as well",
            Size(used),
            Size(limit),
            Size(more)
        ),
        QuotaKind::Files => format!(
            "you have {used} of the {limit} files that you may have on this server; older versions, \
             the trash and unfinished uploads count as well"
        ),
    };
    Rejection::new(RejectionKind::QuotaUsedUp { limit }, message)
}

/// The message for a change that waited in vain for another one.
const BUSY: &str = "an upload or another change is under way there just now; try again in a moment";

fn unrecorded(refusal: &Unrecorded) -> Rejection {
    match refusal {
        Unrecorded::NoSuchUser => Rejection::new(
            RejectionKind::UserGone,
            "the account of this token was removed on this server",
        ),
        Unrecorded::PathTaken => storage(&StorageError::Exists),
        Unrecorded::FolderTaken => storage(&StorageError::NotAFolder),
        Unrecorded::Busy => Rejection::new(RejectionKind::Busy, BUSY),
        Unrecorded::NoSuchNode => {
            Rejection::new(RejectionKind::NotFound, "there is no such file or folder")
        }
        Unrecorded::NoSuchFolder => Rejection::new(
            RejectionKind::NoSuchFolder,
            "the folder in which it is to lie is not there; make it first",
        ),
        Unrecorded::Exists { current } => Rejection::new(
            RejectionKind::NodeExists { node: current.clone() },
            format!("there is a {} of that name already", current.kind.as_str()),
        ),
        Unrecorded::Conflict { current } => Rejection::new(
            RejectionKind::Conflict { node: current.clone() },
            match current {
                Some(node) => format!(
                    "\"{}\" was changed in the meantime; look at it, and decide again",
                    node.name
                ),
                None => "the file was removed in the meantime".to_owned(),
            },
        ),
        Unrecorded::Unseen { count } => Rejection::new(
            RejectionKind::Unseen { count: *count },
            format!(
                "{count} files or folders are newer than what you have seen; nothing was removed"
            ),
        ),
        Unrecorded::TooDeep => Rejection::new(
            RejectionKind::BadName,
            "what lies deepest in the folder would lie too deep, or its path would be too long",
        ),
        Unrecorded::Cycle => {
            Rejection::new(RejectionKind::Cycle, "a folder cannot be moved into itself")
        }
        Unrecorded::NotEmpty => Rejection::new(RejectionKind::NotEmpty, "the folder is not empty"),
        Unrecorded::NotAFolder => Rejection::new(RejectionKind::NotAFolder, "that is no folder"),
        Unrecorded::BadCursor => {
            Rejection::new(RejectionKind::BadCursor, "that is no cursor of yours on this server")
        }
        Unrecorded::CursorReset { reason } => Rejection::new(
            RejectionKind::CursorReset { reason: *reason },
            "the changes behind this cursor are no longer known; begin again without a cursor",
        ),
        Unrecorded::QuotaUsedUp { kind, used, more, limit } => {
            quota_used_up(*kind, [*used, *more, *limit])
        }
        Unrecorded::TooManyUnfinished { limit } => Rejection::new(
            RejectionKind::TooMany { max: u64::from(*limit) },
            format!("{limit} of your uploads are unfinished already; finish or cancel one first"),
        ),
        Unrecorded::NoSuchDocument => refused(&Refusal::NotFound),
        Unrecorded::WrongPhase(phase) => refused(&Refusal::NotUploading(*phase)),
        // These come to commands that manage users, or by a mistake in our code; never to a client.
        Unrecorded::NameTaken { .. }
        | Unrecorded::BadUserName(_)
        | Unrecorded::UserIdTaken(_)
        | Unrecorded::BadUserId(_)
        | Unrecorded::NotAnEnding(_)
        | Unrecorded::BadLength => Rejection::new(RejectionKind::Internal, refusal.to_string()),
    }
}
