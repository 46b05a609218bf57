//! Whether a listing goes on: a server that lists the same again and again would never come to
//! an end.

use std::cmp::Ordering;
use towline_types::Name;
use towline_types::limits::FOLDER_DEPTH;

/// Where a recursive listing is: one level for each folder on the way, and one for the entry.
#[derive(Debug, Default)]
pub(crate) struct ListingOrder {
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    /// The form in which the server compares the names.
    key: String,
    /// The names of that form, the last one at the end.
    twins: Vec<Name>,
}

impl ListingOrder {
    /// Takes note of an entry; `false` where it does not come behind the ones before, or lies in a
    /// folder that was not listed just before.
    pub(crate) fn goes_on(&mut self, folder: &[Name], name: &Name) -> bool {
        let is_in_last = |(place, name): (usize, &Name)| {
            self.levels.get(place).is_some_and(|level| level.twins.last() == Some(name))
        };
        let depth = folder.len();
        if depth > FOLDER_DEPTH || !folder.iter().enumerate().all(is_in_last) {
            return false;
        }
        let key = name.key();
        match self.levels.get(depth).map(|level| key.cmp(&level.key)) {
            Some(Ordering::Less) => return false,
            Some(Ordering::Equal) => {
                self.levels.truncate(depth + 1);
                let Some(level) = self.levels.last_mut() else { return false };
                if level.twins.contains(name) {
                    return false;
                }
                level.twins.push(name.clone());
            }
            Some(Ordering::Greater) | None => {
                self.levels.truncate(depth);
                self.levels.push(Level { key, twins: vec![name.clone()] });
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_on(order: &mut ListingOrder, place: &str) -> bool {
        let mut names: Vec<_> = place.split('/').map(|name| Name::new(name).unwrap()).collect();
        let name = names.pop().unwrap();
        order.goes_on(&names, &name)
    }

    #[test]
    fn a_listing_in_order_goes_on_and_one_that_begins_again_does_not() {
        let mut order = ListingOrder::default();
        for place in [
            "a", "a/x", "a/x/y",
            // The same names to the server: two folders, each with something in it.
            "proj", "proj/a", "Proj", "Proj/a", "z",
        ] {
            assert!(goes_on(&mut order, place), "{place}");
        }
        // Again, before, and in folders that were not listed just before.
        for place in ["z", "a", "proj", "Proj/z", "zz/a"] {
            assert!(!goes_on(&mut order, place), "{place}");
        }
    }

    #[test]
    fn folders_are_not_deeper_than_a_server_has_them() {
        let mut order = ListingOrder::default();
        let mut place = "a".to_owned();
        for _ in 0..=FOLDER_DEPTH {
            assert!(goes_on(&mut order, &place));
            place += "/a";
        }
        assert!(!goes_on(&mut order, &place));
    }
}
