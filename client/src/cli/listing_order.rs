//! Whether a listing goes on: a server that lists the same again and again would never come to
//! an end.

use crate::failure::Failure;
use crate::text::printable;
use std::cmp::Ordering;
use towline_types::limits::FOLDER_DEPTH;
use towline_types::{Name, NodeKind};

/// The most names of one folder that are the same to a server. A server allows one of them; earlier
/// versions allowed a few.
const TWINS_MAX: usize = 1000;

/// Counts the entries of a list that may have no end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryCount {
    count: u64,
    max: u64,
}

impl EntryCount {
    /// For a list of at most that many.
    pub(crate) fn up_to(max: u64) -> Self {
        Self { count: 0, max }
    }

    /// Counts one more entry.
    ///
    /// # Errors
    /// Where there are more than the most.
    pub(crate) fn add(&mut self) -> Result<(), Failure> {
        if self.count >= self.max {
            return Err(Failure::EndlessList { max: self.max });
        }
        self.count += 1;
        Ok(())
    }
}

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
    /// The kind of what has the last name: only in a folder can something lie.
    kind: NodeKind,
}

/// Why an entry cannot stand where it stands in a listing.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    Order,
    /// Too many names are the same to the server.
    Twins,
    /// The entry lies in what was listed as a file or a link.
    NoFolder(NodeKind),
}

impl ListingOrder {
    /// Takes note of an entry, and checks its place.
    ///
    /// # Errors
    /// Where it does not come after the earlier ones, has one of too many names that are the same,
    /// lies in a folder that was not listed just before, in a file or in a link, or lies deeper
    /// than any server has folders.
    pub(crate) fn follow(
        &mut self,
        folder: &[Name],
        name: &Name,
        kind: NodeKind,
    ) -> Result<(), Failure> {
        let Err(wrong) = self.goes_on(folder, name, kind) else { return Ok(()) };
        let path: Vec<_> = folder.iter().chain([name]).map(Name::as_str).collect();
        let path = printable(&path.join("/"));
        Err(Failure::Protocol(match wrong {
            Wrong::Order => format!("it lists {path} twice, out of order or too deep"),
            Wrong::Twins => format!("it lists {TWINS_MAX} names that are the same as {path}"),
            Wrong::NoFolder(around) => format!("it lists {path} in a {around}"),
        }))
    }

    /// Takes note of an entry of a listing that leaves folders out: those on the way to the entry
    /// count as listed just before it.
    ///
    /// # Errors
    /// As for [`follow`](Self::follow).
    pub(crate) fn follow_into(
        &mut self,
        folder: &[Name],
        name: &Name,
        kind: NodeKind,
    ) -> Result<(), Failure> {
        for (depth, entered) in folder.iter().enumerate() {
            let is_entered = self.levels.get(depth).and_then(|level| level.twins.last());
            if is_entered != Some(entered) {
                self.follow(&folder[..depth], entered, NodeKind::Folder)?;
            }
        }
        self.follow(folder, name, kind)
    }

    fn goes_on(&mut self, folder: &[Name], name: &Name, kind: NodeKind) -> Result<(), Wrong> {
        let depth = folder.len();
        if depth > FOLDER_DEPTH {
            return Err(Wrong::Order);
        }
        for (place, name) in folder.iter().enumerate() {
            match self.levels.get(place) {
                Some(level) if level.twins.last() == Some(name) => {
                    if level.kind != NodeKind::Folder {
                        return Err(Wrong::NoFolder(level.kind));
                    }
                }
                _ => return Err(Wrong::Order),
            }
        }
        let key = name.key();
        match self.levels.get(depth).map(|level| key.cmp(&level.key)) {
            Some(Ordering::Less) => return Err(Wrong::Order),
            Some(Ordering::Equal) => {
                self.levels.truncate(depth + 1);
                let Some(level) = self.levels.last_mut() else { return Err(Wrong::Order) };
                if level.twins.contains(name) {
                    return Err(Wrong::Order);
                }
                if level.twins.len() >= TWINS_MAX {
                    return Err(Wrong::Twins);
                }
                level.twins.push(name.clone());
                level.kind = kind;
            }
            Some(Ordering::Greater) | None => {
                self.levels.truncate(depth);
                self.levels.push(Level { key, twins: vec![name.clone()], kind });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_on(order: &mut ListingOrder, place: &str) -> bool {
        lists(order, place, NodeKind::Folder).is_ok()
    }

    fn lists(order: &mut ListingOrder, place: &str, kind: NodeKind) -> Result<(), Wrong> {
        let mut names: Vec<_> = place.split('/').map(|name| Name::new(name).unwrap()).collect();
        let name = names.pop().unwrap();
        order.goes_on(&names, &name, kind)
    }

    #[test]
    fn nothing_lies_in_a_file_or_a_link() {
        for kind in [NodeKind::File, NodeKind::Link] {
            let mut order = ListingOrder::default();
            assert_eq!(lists(&mut order, "a", kind), Ok(()));
            assert_eq!(lists(&mut order, "a/x", NodeKind::File), Err(Wrong::NoFolder(kind)));
            // A folder may have the same name to the server.
            assert_eq!(lists(&mut order, "A", NodeKind::Folder), Ok(()));
            assert_eq!(lists(&mut order, "A/x", NodeKind::File), Ok(()));
            assert_eq!(lists(&mut order, "A/x/y", kind), Err(Wrong::NoFolder(NodeKind::File)));
        }
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
    fn a_listing_that_leaves_folders_out_is_in_order_as_well() {
        let mut order = ListingOrder::default();
        let mut follows = |place: &str| {
            let mut names: Vec<_> = place.split('/').map(|name| Name::new(name).unwrap()).collect();
            let name = names.pop().unwrap();
            order.follow_into(&names, &name, NodeKind::Folder).is_ok()
        };
        for place in ["a/x/1", "a/x/2", "a/y/1", "b", "proj/1", "Proj/1", "z/z/z"] {
            assert!(follows(place), "{place}");
        }
        // Again, before, and the folder after what lies in it.
        for place in ["z/z/z", "a/y/2", "z/z", "z", "proj/2"] {
            assert!(!follows(place), "{place}");
        }
    }

    #[test]
    fn names_that_are_the_same_to_a_server_are_few() {
        let mut order = ListingOrder::default();
        // The same letters, each large or small.
        let twin = |number: usize| {
            let bit = |place: usize| if number >> place & 1 == 0 { 'a' } else { 'A' };
            (0..12).map(bit).collect::<String>()
        };
        for number in 0..TWINS_MAX {
            assert!(goes_on(&mut order, &twin(number)), "{number}");
        }
        let next = twin(TWINS_MAX);
        assert_eq!(lists(&mut order, &next, NodeKind::File), Err(Wrong::Twins));
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
