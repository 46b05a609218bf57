//! The place of a document: the next numbered name that is not taken.

use super::error::{CatalogError, Refusal};
use super::folder::Tree;
use std::iter;
use towline_types::{DocumentPath, NodeId, OnConflict};

/// How many names are tried one by one before the search takes larger steps.
const SMALL_STEPS: u32 = 8;

/// How many are tried one by one after these, where the last name that the path has room for
/// is taken. Each costs a key of a path that may have 2 KiB, and all other writes of the
/// catalog wait meanwhile. So all names with one or two digits are tried; a free one beyond
/// these is not found, and the path counts as taken.
const SCANNED_MAX: usize = 92;

/// Which place is wanted.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) path: &'a DocumentPath,
    pub(super) on_conflict: OnConflict,
    /// The node that keeps a name for the document already.
    pub(super) own: Option<NodeId>,
}

/// The first place from `first_copy` on that no node but the document's own has, and which
/// copy that is.
///
/// Refused: [`Refusal::FolderTaken`] and [`Refusal::Busy`] as [`Tree::find`]: another name for
/// the file would not help.
pub(super) fn free_place(
    tree: Tree<'_>,
    wish: Wish<'_>,
    first_copy: u32,
) -> Result<(DocumentPath, u32), CatalogError> {
    let folder = tree.find(wish.path.folder())?;
    let is_free = |copy| {
        let place = numbered(wish.path, copy)?;
        Ok(!tree.is_taken(&folder, &place.filename().key(), wish.own)?)
    };
    let copy = match wish.on_conflict {
        OnConflict::Rename if first_copy == 0 && is_free(0)? => 0,
        OnConflict::Rename => first_free(first_copy, last_copy(wish.path), is_free)?,
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
    use super::{SCANNED_MAX, SMALL_STEPS, first_free, last_copy};
    use towline_types::DocumentPath;

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
