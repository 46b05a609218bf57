//! The named points of the server at which it can be killed; `engine/src/failpoint.rs`
//! tells how. The tests at each point hold these lists against the source.

/// Points that a server passes while it serves.
pub const ON_THE_WAY: &[&str] = &[
    "checkpoint.recorded",
    "checkpoint.synced",
    "end.decided",
    "end.recorded",
    "publish.folder_made",
    "publish.folder_synced",
    "publish.in_place",
    "publish.renamed",
    "publish.row_completed",
    "publish.row_publishing",
    "publish.synced",
    "publish.verified",
    "sync.data",
    "sync.folder",
    "upload.file_made",
    "upload.row_made",
    "withdraw.recorded",
    "write.hashed",
    "write.written",
];

/// Points that only a server passes whose durability is relaxed.
pub const RELAXED: &[&str] = &["publish.named", "deferred.synced", "deferred.recording"];

/// Points that only a file passes that comes whole.
pub const WHOLE: &[&str] = &["whole.file_made"];

/// Points that a server passes which makes a document from another with the same bytes.
pub const COPIED: &[&str] = &["copy.begun", "copy.block"];

/// Points that no client of the TCP door reaches. The engine's own tests kill a process there
/// (`engine/tests/rules/killed.rs`, `engine/tests/rules/killed_store.rs`).
pub const OTHER_DOORS: &[&str] = &[
    "declare.recorded",
    "delete.done",
    "folder.made",
    "relocate.folders_made",
    "relocate.new_name_synced",
    "relocate.renamed",
    "relocate.settled",
    "replace.folder_synced",
    "replace.kept",
    "replace.kept_synced",
    "replace.renamed",
];

/// Points that a start passes which has something to put in order.
pub const AT_THE_START: &[&str] =
    &["recovery.begun", "recovery.done", "recovery.restored", "recovery.syncing_name"];
