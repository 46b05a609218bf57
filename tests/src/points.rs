//! The named points of the server at which it can be killed; `engine/src/failpoint.rs` describes
//! how. The tests at each point compare these lists with the source.

/// Points that a server reaches while it serves.
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

/// Points that a server reaches only where its durability is relaxed.
pub const RELAXED: &[&str] = &["publish.named", "deferred.synced", "deferred.recording"];

/// Points that a server reaches only for a file that a client sends at once.
pub const WHOLE: &[&str] = &["whole.file_made"];

/// Points that a server reaches while it makes a document from another one with the same bytes.
pub const COPIED: &[&str] = &["copy.begun", "copy.block"];

/// Points between the steps of a change of the tree: a folder that is made; something that is
/// moved, removed or restored.
pub const TREE: &[&str] = &["mkdir.made", "move.intended", "move.recorded", "move.renamed"];

/// Points between the steps that the store does for a change of the tree: a file that is replaced,
/// and something that is moved, removed or restored.
pub const STORE: &[&str] = &[
    "folder.made",
    "relocate.folders_made",
    "relocate.new_name_synced",
    "relocate.renamed",
    "relocate.settled",
    "replace.folder_synced",
    "replace.kept",
    "replace.kept_synced",
    "replace.renamed",
    "sync.move",
];

/// Points of the sweep that deletes what is kept no longer.
pub const SWEEP: &[&str] = &["expiry.deleted", "expiry.versions_deleted"];

/// Points between the steps of a scan, and of the way into the quarantine.
pub const SCAN: &[&str] = &[
    "isolation.intended",
    "isolation.recorded",
    "isolation.renamed",
    "scan.done",
    "scan.leased",
    "scan.recorded",
];

/// Points between the steps of the way out of the quarantine, and of a deletion there.
pub const RELEASE: &[&str] =
    &["quarantine.deleted", "release.intended", "release.recorded", "release.renamed"];

/// Points that no client of the TCP door reaches. The engine's own tests kill a process there
/// (`engine/tests/rules/killed_store.rs`).
pub const OTHER_DOORS: &[&str] = &["delete.done"];

/// Points that a server reaches during its start, where it finds unfinished work.
pub const AT_THE_START: &[&str] =
    &["recovery.begun", "recovery.done", "recovery.restored", "recovery.syncing_name"];
