//! The page of an answer is looked up in pieces.

use crate::error::Error;

/// How many rows the catalog looks up at a time: its thread answers the questions of all users, one
/// look of each user in turn, and a login waits for the look that is under way. One of so many rows
/// is over in a few milliseconds; one of all rows of a page is not (P6).
pub(super) const LOOKED_UP_AT_A_TIME: u32 = 256;

/// How many pieces one page has at most: where a filter lets few rows through, the page ends with
/// what it has, maybe nothing. So a request costs at most 16,384 rows, whatever its filter.
const PIECES_OF_A_PAGE: u32 = 64;

/// Some rows of a page.
pub(super) struct Piece<P> {
    /// How many rows were looked up.
    pub(super) rows: usize,
    /// How many of them the page shows.
    pub(super) shown: usize,
    /// Where the next piece begins; nothing where this is the last one.
    pub(super) next: Option<P>,
}

/// Looks up a page of at most `limit` entries. `look` is told where a piece begins and the most
/// rows that it may have. The result is where the next page begins.
pub(super) fn in_pieces<P>(
    limit: u32,
    mut after: Option<P>,
    mut look: impl FnMut(Option<P>, u32) -> Result<Piece<P>, Error>,
) -> Result<Option<P>, Error> {
    let mut left = limit.max(1);
    for _ in 0..PIECES_OF_A_PAGE {
        // No more rows than the page has room for: a filter may let all of them through.
        let wanted = left.min(LOOKED_UP_AT_A_TIME);
        let Piece { rows, shown, next } = look(after, wanted)?;
        left = left.saturating_sub(u32::try_from(shown).unwrap_or(wanted));
        // The catalog gives fewer rows than wanted where they have long names. These are enough for
        // one answer.
        let is_short = u32::try_from(rows).is_ok_and(|rows| rows < wanted);
        after = next;
        if after.is_none() || left == 0 || is_short {
            break;
        }
    }
    Ok(after)
}
