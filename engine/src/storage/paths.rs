//! The names of everything on disk, made here and nowhere else: from ids and from
//! names that were checked, so that none of them can hold a `/` or be `..`.
//!
//! Right under [`UPLOADS`] only users' folders lie, each named by a number, beside
//! [`STAGING`], [`VERSIONS`], [`TRASH`] and [`QUARANTINE`]: nothing that a person names can meet those, with a
//! dot at its beginning or without.

use super::error::Place;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use towline_types::{DocumentId, DocumentPath, NodeId, UserId};

/// Final files, a folder per user; seen from the data folder.
pub(super) const UPLOADS: &str = "uploads";
/// Staging files; seen from [`UPLOADS`], so that a move between them is a rename.
pub(super) const STAGING: &str = ".staging";
/// Versions that were replaced, a folder per user; seen from [`UPLOADS`], so that they are kept by
/// a link.
const VERSIONS: &str = ".versions";
/// What a scanner has found something in, a folder per user; seen from [`UPLOADS`], so that it gets
/// there by a rename.
const QUARANTINE: &str = ".quarantine";
/// What was removed, a folder per user; seen from [`UPLOADS`], so that a removal is a rename.
const TRASH: &str = ".trash";
/// The same three on another file system, seen from where that is mounted. No document can have these
/// names: a space at the beginning is refused. All file systems take them.
const VERSIONS_ELSEWHERE: &str = " towline-versions";
const TRASH_ELSEWHERE: &str = " towline-trash";
const QUARANTINE_ELSEWHERE: &str = " towline-quarantine";
/// What was set aside: what no row knows, and what is damaged; seen from
/// [`STAGING`], which shuts everybody out.
pub(super) const ORPHANS: &str = "orphans";
/// Catalog and state file.
pub(super) const STATE: &str = "state";
/// Keys.
pub(super) const KEYS: &str = "keys";
/// Locked by the server that uses the data folder.
pub(super) const LOCK: &str = "towlined.lock";

/// Says to which store a folder belongs; one in each part of the data folder.
pub(super) const MARKER: &str = ".towline-store";
/// A marker that is just being written.
pub(super) const MARKER_TMP: &str = ".towline-store.tmp";

/// How far the catalog had come; in the data folder, and not with the catalog.
pub(super) const HISTORY: &str = ".towline-history";
/// The same while it is being written.
pub(super) const HISTORY_TMP: &str = ".towline-history.tmp";

const CATALOG_FILE: &str = "catalog.db";
const STATE_FILE: &str = "uploads_state.json";
/// The highest user number ever given; in [`KEYS`]. The server writes it.
const HIGHEST_USER: &str = "highest_user";
/// Held for a moment by a process that opens the one or writes the other.
pub(super) const STATE_LOCKS: [&str; 2] = ["catalog.db.lock", "uploads_state.json.lock"];
const STAGING_SUFFIX: &str = ".tmp";
const WHOLE_SUFFIX: &str = ".new";
/// For a moment an empty file, by which it is found out whether files without a name can
/// get one; seen from [`STAGING`]. No document's, and nothing is lost with it.
pub(super) const PROBE: &str = "nameless.probe";
const DAMAGED_SUFFIX: &str = ".damaged";
/// Where `uploads` is a volume of its own, its file system keeps this in it.
const LOST_AND_FOUND: &str = "lost+found";

/// A name may have 255 bytes; this leaves room for any number after it.
const ORPHAN_STEM_BYTES: usize = 240;

/// The catalog's file in the data folder.
pub(super) fn catalog(data_folder: &Path) -> PathBuf {
    data_folder.join(STATE).join(CATALOG_FILE)
}

/// The state file in the data folder.
pub(super) fn state_file(data_folder: &Path) -> PathBuf {
    data_folder.join(STATE).join(STATE_FILE)
}

/// The name of an upload's staging file.
pub(super) fn staging_file(id: DocumentId) -> String {
    format!("{id}{STAGING_SUFFIX}")
}

/// The same for a file that came whole and goes to its place at once: as long as this
/// is its name, nothing was promised of it.
pub(super) fn whole_file(id: DocumentId) -> String {
    format!("{id}{WHOLE_SUFFIX}")
}

/// Whose staging file has that name. Only the spelling of [`staging_file`] counts:
/// `01.tmp` is a stranger, not a second name for upload 1.
pub(super) fn staging_owner(name: &OsStr) -> Option<DocumentId> {
    let id = name.to_str()?.strip_suffix(STAGING_SUFFIX)?.parse().ok()?;
    (staging_file(id).as_str() == name).then_some(id)
}

/// Whose [`whole_file`] has that name.
pub(super) fn whole_owner(name: &OsStr) -> Option<DocumentId> {
    let id = name.to_str()?.strip_suffix(WHOLE_SUFFIX)?.parse().ok()?;
    (whole_file(id).as_str() == name).then_some(id)
}

/// The final file, seen from [`UPLOADS`].
pub(super) fn final_file(user: UserId, path: &DocumentPath) -> PathBuf {
    final_folder(user, path).join(path.filename().as_str())
}

/// The folder of the final file, seen from [`UPLOADS`].
pub(super) fn final_folder(user: UserId, path: &DocumentPath) -> PathBuf {
    let mut folder = user_folder(user);
    folder.extend(path.folder().iter().map(|name| name.as_str()));
    folder
}

/// The `attempt`-th name for a thing that is set aside, seen from [`ORPHANS`].
pub(super) fn orphan(name: &OsStr, attempt: u32) -> OsString {
    if attempt == 0 {
        return name.to_owned();
    }
    let bytes = name.as_bytes();
    let stem = &bytes[..bytes.len().min(ORPHAN_STEM_BYTES)];
    let mut numbered = stem.to_vec();
    numbered.extend_from_slice(format!(".{attempt}").as_bytes());
    OsString::from_vec(numbered)
}

/// The name under which the damaged file of a document is set aside.
pub(super) fn damaged(id: DocumentId) -> OsString {
    format!("{id}{DAMAGED_SUFFIX}").into()
}

/// The final file, seen from the data folder.
pub(super) fn final_in_data_folder(user: UserId, path: &DocumentPath) -> PathBuf {
    Path::new(UPLOADS).join(final_file(user, path))
}

/// The name under which a document is copied into its folder, where that is on another
/// file system. No document can have it: a space at the beginning is refused. All file
/// systems take it, FAT and its kin too, which refuse `AUX`, `:`, and control characters.
pub(super) fn copy_in_final_folder(id: DocumentId) -> String {
    format!(" {id}.towline-copy")
}

/// The name under which the damaged file of a document is set aside in its folder, where that
/// is on another file system. No document can have it, as that of a copy.
pub(super) fn damaged_in_final_folder(id: DocumentId) -> OsString {
    format!(" {id}{DAMAGED_SUFFIX}").into()
}

/// Whether a name in a folder of documents is that of a file that was set aside there, with a
/// number after it or without.
pub(super) fn is_set_aside(name: &OsStr) -> bool {
    let id_of = |name: &str| {
        let (id, behind) = name.strip_prefix(' ')?.split_once(DAMAGED_SUFFIX)?;
        let attempt = behind.strip_prefix('.').map_or(Some(0), |attempt| attempt.parse().ok())?;
        let id = id.parse().ok()?;
        (orphan(&damaged_in_final_folder(id), attempt) == name).then_some(())
    };
    name.to_str().is_some_and(|name| id_of(name).is_some())
}

/// The folder of a user's replaced versions on the file system that is mounted at that path, which
/// is empty for the usual one; both seen from [`UPLOADS`].
pub(super) fn versions(mount_point: &Path, user: UserId) -> PathBuf {
    kept(mount_point, VERSIONS, VERSIONS_ELSEWHERE).join(user.to_string())
}

/// The same for what the user has removed.
pub(super) fn trash(mount_point: &Path, user: UserId) -> PathBuf {
    kept(mount_point, TRASH, TRASH_ELSEWHERE).join(user.to_string())
}

/// The same for what a scanner has found something in.
pub(super) fn quarantine(mount_point: &Path, user: UserId) -> PathBuf {
    kept(mount_point, QUARANTINE, QUARANTINE_ELSEWHERE).join(user.to_string())
}

fn kept(mount_point: &Path, usual: &str, elsewhere: &str) -> PathBuf {
    let is_usual = mount_point.as_os_str().is_empty();
    mount_point.join(if is_usual { usual } else { elsewhere })
}

/// Whether that path, seen from [`UPLOADS`], is one of the folders that hold what was replaced,
/// removed or put into the quarantine, or lies below one. They are for the server's own user alone, as the staging files are.
pub(super) fn is_private(below_uploads: &Path) -> bool {
    below_uploads.iter().enumerate().any(|(depth, name)| match depth {
        0 => name == VERSIONS || name == TRASH || name == QUARANTINE,
        _ => is_kept_elsewhere(name),
    })
}

/// Whether a name in a folder of documents is that of the folder for what was replaced or removed
/// on that file system.
pub(super) fn is_kept_elsewhere(name: &OsStr) -> bool {
    name == VERSIONS_ELSEWHERE || name == TRASH_ELSEWHERE || name == QUARANTINE_ELSEWHERE
}

/// Which files lie in a folder of that name. `is_on_top`: the folder lies right under [`UPLOADS`],
/// else in a folder of documents.
pub(super) fn kept_in(name: &OsStr, is_on_top: bool) -> Option<KeptKind> {
    let [versions, trash, quarantine] = match is_on_top {
        true => [VERSIONS, TRASH, QUARANTINE],
        false => [VERSIONS_ELSEWHERE, TRASH_ELSEWHERE, QUARANTINE_ELSEWHERE],
    };
    match name {
        name if name == versions => Some(KeptKind::Versions),
        name if name == trash => Some(KeptKind::Trash),
        name if name == quarantine => Some(KeptKind::Quarantine),
        _ => None,
    }
}

/// Files that the server keeps and that their user does not see as files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeptKind {
    Versions,
    Trash,
    Quarantine,
}

/// The number that a name is; `None` where it has another spelling, as `01`.
pub(super) fn number<T: std::str::FromStr + ToString>(name: &OsStr) -> Option<T> {
    let number: T = name.to_str()?.parse().ok()?;
    (number.to_string().as_str() == name).then_some(number)
}

/// The name under which what was to be kept of a removed thing is set aside.
pub(super) fn trash_leftover(node: NodeId) -> OsString {
    format!("{node}.trash").into()
}

/// A place among what was replaced or removed, for messages; `below_uploads` is seen from
/// [`UPLOADS`].
pub(super) fn kept_place(below_uploads: &Path) -> Place {
    Place { path: in_data_folder(below_uploads), document: None }
}

/// A path that is seen from [`UPLOADS`], as seen from the data folder.
pub(super) fn in_data_folder(below_uploads: &Path) -> PathBuf {
    Path::new(UPLOADS).join(below_uploads)
}

/// The place of a document, for messages.
pub(super) fn final_place(user: UserId, path: &DocumentPath) -> Place {
    Place { path: final_in_data_folder(user, path), document: Some(path.to_string()) }
}

/// The place of a thing among the staging files, for messages.
pub(super) fn staged_place(name: &OsStr) -> Place {
    Place { path: staged_in_data_folder(name), document: None }
}

/// The folder of the staging files, for messages.
pub(super) fn staging_place() -> Place {
    Place { path: Path::new(UPLOADS).join(STAGING), document: None }
}

/// A thing among the staging files, seen from the data folder.
pub(super) fn staged_in_data_folder(name: &OsStr) -> PathBuf {
    Path::new(UPLOADS).join(STAGING).join(name)
}

/// Whether a name right under [`UPLOADS`] is none of users' business.
pub(super) fn is_no_users(name: &OsStr) -> bool {
    name == STAGING
        || name == VERSIONS
        || name == TRASH
        || name == QUARANTINE
        || is_of_the_file_system(name)
        || is_marker(name)
}

/// The folders, seen from the data folder, that no other user of the machine may write into; and
/// whether other programs may read documents in them.
pub(super) fn guarded_folders() -> [(PathBuf, bool); 7] {
    let uploads = Path::new(UPLOADS);
    [
        (uploads.to_owned(), true),
        (uploads.join(STAGING), false),
        (uploads.join(VERSIONS), false),
        (uploads.join(TRASH), false),
        (uploads.join(QUARANTINE), false),
        (STATE.into(), false),
        (KEYS.into(), false),
    ]
}

/// A file that no other user of the machine may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GuardedFile {
    /// A key, which others may not read either.
    Key,
    /// The catalog with its journals, and what is kept beside it and beside the keys.
    Record,
}

/// Which file of that name lies in the folder of the keys or of the catalog; `None` for other names.
pub(super) fn guarded_file(name: &OsStr) -> Option<GuardedFile> {
    let name = name.to_str()?;
    if name.ends_with(".pk8") || name.ends_with(".pem") {
        return Some(GuardedFile::Key);
    }
    let is_record = name.starts_with(CATALOG_FILE) || name == STATE_FILE || name == HIGHEST_USER;
    is_record.then_some(GuardedFile::Record)
}

/// Whether a file of that name in the data folder has the token of a user.
pub(super) fn is_token(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "token")
}

/// Whether a file system makes an entry of that name in its root by itself.
pub(super) fn is_of_the_file_system(name: &OsStr) -> bool {
    name == LOST_AND_FOUND
}

/// Whether that is the name of a marker, or of one that is being written.
pub(super) fn is_marker(name: &OsStr) -> bool {
    name == MARKER || name == MARKER_TMP
}

/// Whether a catalog that is just being made has files of that name: its own, its journals,
/// and the one that gets its name when it is ready.
pub(super) fn is_of_new_catalog(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let journal = name.strip_prefix(CATALOG_FILE);
    journal.is_some_and(|end| matches!(end, "" | "-wal" | "-shm" | "-journal"))
        || (name.starts_with(".catalog.") && name.ends_with(".tmp"))
}

/// A user's folder, seen from [`UPLOADS`].
pub(super) fn user_folder(user: UserId) -> PathBuf {
    PathBuf::from(user.to_string())
}

/// Whose folder has that name right under [`UPLOADS`].
pub(super) fn folder_owner(name: &OsStr) -> Option<UserId> {
    let user: UserId = name.to_str()?.parse().ok()?;
    (user.to_string().as_str() == name).then_some(user)
}

/// Which document's file has that path, seen from [`UPLOADS`]. Nothing where no
/// document can: only the spelling of [`final_file`] counts.
pub(super) fn place(path: &Path) -> Option<(UserId, DocumentPath)> {
    let (user, below) = path.to_str()?.split_once('/')?;
    let (user, below) = (user.parse().ok()?, DocumentPath::recorded(below).ok()?);
    (final_file(user, &below) == path).then_some((user, below))
}

/// Whether a name right under [`STAGING`] is no upload's and no stranger's.
pub(super) fn is_no_uploads(name: &OsStr) -> bool {
    name == ORPHANS || name == PROBE || is_of_the_file_system(name) || is_marker(name)
}

/// Where a thing that was set aside lies, seen from the data folder.
pub(super) fn orphan_in_data_folder(orphan: &OsStr) -> PathBuf {
    Path::new(UPLOADS).join(STAGING).join(ORPHANS).join(orphan)
}

/// Whether a name from a listing is one single name, and not a way elsewhere.
pub(super) fn is_single(name: &OsStr) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(only)) if only == name)
        && components.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_spelling_is_a_staging_file() {
        let id = DocumentId::try_from(17).unwrap();
        assert_eq!(staging_owner(OsStr::new(&staging_file(id))), Some(id));
        for name in ["017.tmp", "+17.tmp", "0.tmp", "17", "17.tmp.1", ".tmp", "x.tmp", "-1.tmp"] {
            assert_eq!(staging_owner(OsStr::new(name)), None, "{name}");
        }
        assert_eq!(staging_owner(OsStr::from_bytes(b"\xff.tmp")), None);
        let whole = whole_file(id);
        let whole = OsStr::new(&whole);
        assert_eq!((whole_owner(whole), staging_owner(whole)), (Some(id), None));
        assert_eq!(whole_owner(OsStr::new("017.new")), None);
    }

    #[test]
    fn a_final_file_lies_in_its_users_folder() {
        let user = UserId::try_from(5).unwrap();
        let path = DocumentPath::parse("a/b/doc.pdf").unwrap();
        assert_eq!(final_file(user, &path), Path::new("5/a/b/doc.pdf"));
    }

    #[test]
    fn a_place_is_read_back_from_its_own_spelling_alone() {
        let user = UserId::try_from(5).unwrap();
        for path in ["a/doc.pdf", ".env", ".git/..a", ".staging/1.tmp"] {
            let path = DocumentPath::parse(path).unwrap();
            assert_eq!(place(&final_file(user, &path)), Some((user, path)));
        }
        for stranger in ["5", "05/doc", "+5/doc", "x/doc", "5/..", "5/./doc", "5/a\\b", "0/doc"] {
            assert_eq!(place(Path::new(stranger)), None, "{stranger}");
        }
        assert_eq!(place(Path::new(OsStr::from_bytes(b"5/\xff"))), None);
    }

    #[test]
    fn a_number_behind_the_longest_name_fits() {
        let longest = OsString::from("x".repeat(255));
        assert!(orphan(&longest, u32::MAX).len() <= 255);
    }

    #[test]
    fn no_document_has_the_name_of_a_copy() {
        let id = DocumentId::try_from(17).unwrap();
        let name = copy_in_final_folder(id);
        assert!(DocumentPath::parse(&name).is_err(), "{name}");
        for attempt in [0, 1, 20] {
            let name = orphan(&damaged_in_final_folder(id), attempt);
            assert!(is_set_aside(&name), "{name:?}");
            assert!(DocumentPath::parse(name.to_str().unwrap()).is_err(), "{name:?}");
        }
        for other in
            [" 17.towline-copy", "17.damaged", " 017.damaged", " 17.damaged.01", " 17.damaged5"]
        {
            assert!(!is_set_aside(OsStr::new(other)), "{other}");
        }
    }

    #[test]
    fn what_is_kept_has_names_that_no_document_can_have() {
        let user = UserId::try_from(5).unwrap();
        let (usual, disk) = (Path::new(""), Path::new("5/disk"));
        assert_eq!(versions(usual, user), Path::new(".versions/5"));
        assert_eq!(trash(usual, user), Path::new(".trash/5"));
        assert_eq!(quarantine(usual, user), Path::new(".quarantine/5"));
        for kept in [versions(disk, user), trash(disk, user), quarantine(disk, user)] {
            let top = kept.iter().nth(2).unwrap().to_str().unwrap();
            assert!(is_kept_elsewhere(OsStr::new(top)));
            assert!(DocumentPath::parse(top).is_err(), "{top}");
            assert!(is_private(&kept));
        }
        for (kept, is_so) in [
            (".versions", true),
            (".trash/5/7", true),
            ("5", false),
            ("5/.trash", false),
            (" towline-trash", false),
        ] {
            assert_eq!(is_private(Path::new(kept)), is_so, "{kept}");
        }
    }

    #[test]
    fn ways_elsewhere_are_not_single_names() {
        for name in ["", ".", "..", "/", "a/b", "a/", "/a", "./a"] {
            assert!(!is_single(OsStr::new(name)), "{name}");
        }
        assert!(is_single(OsStr::new("..a")));
    }
}
