//! The place of a document: whether it is taken, and the next numbered name that is not.

use super::document::OnConflict;
use super::error::{CatalogError, Refusal};
use rusqlite::{Connection, params};
use std::iter;
use towline_types::{DocumentId, DocumentPath, UserId};

/// How many names are tried one by one before the search takes larger steps.
const SMALL_STEPS: u32 = 8;

/// How many are tried one by one after these, where the last name that the path has room for
/// is taken. Each costs a key of a path that may have 2 KiB, and all other writes of the
/// catalog wait meanwhile. So all names with one or two digits are tried; a free one beyond
/// these is not found, and the path counts as taken.
const SCANNED_MAX: usize = 92;

/// Whether another document than `except` has the place with that key, or lies in a
/// folder that has.
pub(super) fn is_taken(
    connection: &Connection,
    user_id: UserId,
    key: &str,
    except: Option<DocumentId>,
) -> Result<bool, CatalogError> {
    // What lies below begins with the key and a slash; behind all of that comes '0', the
    // character behind the slash.
    let sql = "SELECT EXISTS (SELECT 1 FROM documents \
               WHERE user_id = $1 AND path_key = $2 AND document_id <> $3) \
               OR EXISTS (SELECT 1 FROM documents \
               WHERE user_id = $1 AND path_key > $2 || '/' AND path_key < $2 || '0')";
    // Ids begin at 1.
    let except = except.map_or(0, DocumentId::to_i64);
    Ok(connection
        .prepare_cached(sql)?
        .query_row(params![user_id.to_i64(), key, except], |row| row.get(0))?)
}

/// Refuses a place in a folder whose name, or a twin of it, a document has: another
/// name for the file would not help.
pub(super) fn refuse_taken_folder(
    connection: &Connection,
    user_id: UserId,
    path: &DocumentPath,
) -> Result<(), CatalogError> {
    if path.folder().is_empty() {
        return Ok(());
    }
    let key = path.key();
    let sql = "SELECT EXISTS (SELECT 1 FROM documents WHERE user_id = $1 AND path_key = $2)";
    let mut statement = connection.prepare_cached(sql)?;
    for (end, _) in key.match_indices('/') {
        let above = params![user_id.to_i64(), &key[..end]];
        if statement.query_row(above, |row| row.get(0))? {
            return Err(Refusal::FolderTaken.into());
        }
    }
    Ok(())
}

/// Which place is wanted.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) owner: UserId,
    pub(super) path: &'a DocumentPath,
    pub(super) on_conflict: OnConflict,
}

/// The first place from `first_copy` on that no document but this one has, and which
/// copy that is.
pub(super) fn free_place(
    connection: &Connection,
    wish: Wish<'_>,
    document_id: DocumentId,
    first_copy: u32,
) -> Result<(DocumentPath, u32), CatalogError> {
    refuse_taken_folder(connection, wish.owner, wish.path)?;
    let keys = Keys::of(wish.path);
    let is_free = |copy| {
        let key = keys.of_copy(&numbered(wish.path, copy)?);
        Ok(!is_taken(connection, wish.owner, &key, Some(document_id))?)
    };
    let copy = match wish.on_conflict {
        OnConflict::Rename if first_copy == 0 && is_free(0)? => 0,
        OnConflict::Rename => first_free(first_copy, last_copy(wish.path), is_free)?,
        // The doors do not take the other two yet; like this, no document is overwritten.
        OnConflict::Reject | OnConflict::Replace | OnConflict::Skip
            if first_copy == 0 && is_free(0)? =>
        {
            0
        }
        OnConflict::Reject | OnConflict::Replace | OnConflict::Skip => {
            return Err(Refusal::PathTaken.into());
        }
    };
    Ok((numbered(wish.path, copy)?, copy))
}

/// The keys of many names in one folder, whose own part of the key is made once: a
/// path of 2 KiB takes longer to make a key of than to look up.
struct Keys {
    folder: String,
}

impl Keys {
    fn of(path: &DocumentPath) -> Self {
        let mut folder = path.key();
        folder.truncate(folder.rfind('/').map_or(0, |slash| slash + 1));
        Self { folder }
    }

    fn of_copy(&self, path: &DocumentPath) -> String {
        let name = DocumentPath::new(Vec::new(), path.filename().clone());
        let name = name.map_or_else(|_| path.filename().to_string(), |name| name.key());
        format!("{}{name}", self.folder)
    }
}

/// Where that copy of a document would lie. The number makes a path longer: a long one
/// may leave no room for it.
fn numbered(path: &DocumentPath, copy: u32) -> Result<DocumentPath, CatalogError> {
    if copy == 0 {
        return Ok(path.clone());
    }
    path.numbered(copy).ok_or_else(|| Refusal::PathTaken.into())
}

/// The last copy that the path has room for.
fn last_copy(path: &DocumentPath) -> u32 {
    // All numbers of as many digits take the same room.
    let longest = iter::successors(Some(u32::MAX), |copy| {
        let digits = copy.ilog10();
        (digits > 0).then(|| 10_u32.pow(digits) - 1)
    });
    longest.into_iter().find(|copy| path.numbered(*copy).is_some()).unwrap_or(0)
}

/// The first copy from `first` to `last` that is free: one by one for the few copies
/// that people make, then doubling the step and bisecting, so that the thousandth
/// upload of `scan.pdf` costs some twenty look-ups and not a thousand. Where `last` is
/// taken, there may be a free one before it: [`SCANNED_MAX`] are tried one by one.
fn first_free(
    first: u32,
    last: u32,
    mut is_free: impl FnMut(u32) -> Result<bool, CatalogError>,
) -> Result<u32, CatalogError> {
    let mut taken = first;
    for copy in (first..=last).take(SMALL_STEPS as usize) {
        if is_free(copy)? {
            return Ok(copy);
        }
        taken = copy;
    }
    let looked_at = taken;
    let mut step = SMALL_STEPS;
    let mut free = loop {
        let copy = taken.saturating_add(step).min(last);
        if copy > taken && is_free(copy)? {
            break copy;
        }
        if copy >= last {
            for copy in (looked_at..last).skip(1).take(SCANNED_MAX) {
                if is_free(copy)? {
                    return Ok(copy);
                }
            }
            return Err(Refusal::PathTaken.into());
        }
        taken = copy;
        step = step.saturating_mul(2);
    };
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        if is_free(middle)? {
            free = middle;
        } else {
            taken = middle;
        }
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::{Keys, SCANNED_MAX, SMALL_STEPS, first_free, last_copy};
    use towline_types::DocumentPath;

    #[test]
    fn the_key_of_a_name_in_a_folder_is_that_of_its_path() {
        for path in ["doc.pdf", "Ordner/CAFÉ.txt", "a/B/ΟΔΟΣ", "a/\u{338}b", "x\u{338}/\u{301}"]
        {
            let path = DocumentPath::parse(path).unwrap();
            let keys = Keys::of(&path);
            assert_eq!(keys.of_copy(&path), path.key());
            let third = path.numbered(3).unwrap();
            assert_eq!(keys.of_copy(&third), third.key());
        }
    }

    fn search(first: u32, taken: impl Fn(u32) -> bool) -> (u32, u32) {
        let mut looks = 0;
        let found = first_free(first, u32::MAX, |copy| {
            looks += 1;
            Ok(!taken(copy))
        });
        (found.unwrap(), looks)
    }

    #[test]
    fn the_first_free_copy_is_found() {
        for count in (0..40).chain([999, 1000, 1001, 100_000]) {
            assert_eq!(search(0, |copy| copy < count).0, count);
            assert_eq!(search(3, |copy| copy < count).0, count.max(3));
        }
    }

    #[test]
    fn a_gap_among_the_first_copies_is_used() {
        assert_eq!(search(0, |copy| copy < 100 && copy != 5), (5, 6));
    }

    #[test]
    fn many_copies_cost_few_look_ups() {
        assert!(search(0, |copy| copy < 1000).1 <= 25);
        assert!(search(0, |copy| copy < 1_000_000).1 <= 45);
    }

    #[test]
    fn a_search_that_finds_nothing_ends() {
        for (first, last) in [(0, u32::MAX), (u32::MAX, u32::MAX), (0, 0), (0, 9), (3, 99), (10, 9)]
        {
            assert!(first_free(first, last, |_| Ok(false)).is_err(), "{first} to {last}");
        }
    }

    #[test]
    fn a_long_path_whose_names_are_all_taken_costs_few_look_ups() {
        for last in [9, 99, 999, 9_999_999] {
            let mut looks = 0;
            let found = first_free(0, last, |_| {
                looks += 1;
                Ok(false)
            });
            assert!(found.is_err());
            assert!(looks <= 125, "{looks} look-ups of {last} names");
        }
    }

    #[test]
    fn every_free_copy_among_the_first_is_found() {
        for last in [0, 1, 7, 8, 9, 15, 16, 99, 999] {
            for free in 0..=last {
                if (free as usize) < SMALL_STEPS as usize + SCANNED_MAX {
                    let found = first_free(0, last, |copy| Ok(copy == free));
                    assert_eq!(found.unwrap(), free, "{last}");
                }
                // In order, as uploads take them.
                assert_eq!(first_free(0, last, |copy| Ok(copy >= free)).unwrap(), free, "{last}");
            }
        }
    }

    #[test]
    fn the_last_copy_is_the_longest_number_that_fits() {
        for (digits, last) in [(1, 9), (2, 99), (5, 99_999), (10, u32::MAX)] {
            let folder = "d".repeat(255);
            let mut path = [folder.as_str(); 7].join("/");
            path.push('/');
            // Seven bytes for the extension, three for a blank and brackets, one for a letter.
            let last_folder_bytes = 2048 - path.len() - "/".len() - digits - 7 - 3 - 1;
            path.push_str(&"e".repeat(last_folder_bytes));
            path.push_str("/a.234567");
            let path = DocumentPath::parse(&path).unwrap();
            assert_eq!(last_copy(&path), last, "{digits}");
        }
        assert_eq!(last_copy(&DocumentPath::parse("doc.pdf").unwrap()), u32::MAX);
    }
}
