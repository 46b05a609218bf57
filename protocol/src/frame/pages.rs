//! Long answers: a list is spread over as many control frames as it needs.

use super::control;
use serde::Serialize;
use std::io;

/// The JSON of the items in one frame, in bytes, unless one item alone is longer. The longest item
/// is an entry of a recursive list whose every character is escaped: 14 KiB. The longest frame
/// has a listed node of 9 KiB besides, so all of it stays below
/// [`CONTROL_BYTES_MAX`](crate::limits::CONTROL_BYTES_MAX).
const ITEMS_BYTES: usize = 16 << 10;

/// Where the end of an answer is longer than this, in bytes, it gets a frame without items.
const END_BYTES: usize = 1 << 10;

/// The frames of an answer. `message` makes one frame: from its items, from whether it is the last
/// one of the answer, and from what only that one says.
pub(crate) fn pages<Item: Serialize, End: Serialize, Message: Serialize>(
    items: Vec<Item>,
    end: Option<End>,
    mut message: impl FnMut(Vec<Item>, bool, Option<End>) -> Message,
) -> Vec<u8> {
    let mut pages = in_pages(items);
    let is_long = end.as_ref().is_some_and(|end| json_bytes(end) > END_BYTES);
    let last = if is_long { Vec::new() } else { pages.pop().unwrap_or_default() };
    let mut frames = parts(pages, |page| message(page, false, None));
    frames.extend(control(&message(last, true, end)));
    frames
}

/// The same without the end, for an answer that is made piece by piece.
pub(crate) fn pages_without_end<Item: Serialize, Message: Serialize>(
    items: Vec<Item>,
    message: impl FnMut(Vec<Item>) -> Message,
) -> Vec<u8> {
    parts(in_pages(items), message)
}

fn parts<Item, Message: Serialize>(
    pages: Vec<Vec<Item>>,
    mut message: impl FnMut(Vec<Item>) -> Message,
) -> Vec<u8> {
    pages.into_iter().flat_map(|page| control(&message(page))).collect()
}

/// The items, as many together as fit into one frame.
fn in_pages<Item: Serialize>(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut pages: Vec<Vec<Item>> = Vec::new();
    let mut page_bytes = ITEMS_BYTES;
    for item in items {
        let bytes = json_bytes(&item) + 1;
        page_bytes += bytes;
        match pages.last_mut() {
            Some(page) if page_bytes <= ITEMS_BYTES => page.push(item),
            _ => {
                pages.push(vec![item]);
                page_bytes = bytes;
            }
        }
    }
    pages
}

/// The length of a value's JSON in bytes.
///
/// # Panics
/// Never: what is said is text and numbers.
fn json_bytes(value: &impl Serialize) -> usize {
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("an item is always JSON");
    count.0
}

/// Counts what is written to it.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
