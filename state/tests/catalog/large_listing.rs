//! Large folders are listed a page at a time: a page is bounded in entries and in bytes, costs a
//! page whatever lies before and behind it, and goes on where it was while other nodes change.

use crate::fixture::{Fixture, at};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use towline_state::catalog::{Depth, ListEntry, ListPosition, NodeRef, RemovalGuard};
use towline_types::NodePath;

const ROWS: i64 = 100_000;

/// The most that a test allows for a page in the mean, on a busy machine: alone, a page takes 1 to 15
/// ms in a debug build. To read what lies before each page as well would take longer than this.
const PAGE_MAX: Duration = Duration::from_millis(500);

/// As much text as a page may have, and the last entry of it.
const TEXT_MAX: usize = (256 << 10) + 2048 + 255 + 4095;

impl Fixture {
    /// Adds rows of nodes with the numbers 1, 2 and so on.
    fn add_rows(&self, rows: i64, parent: &str, (kind, name, target): (&str, &str, &str)) {
        let sql = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             INSERT INTO nodes (node_id, user_id, parent_id, kind, name, name_key, target, \
             place_rev, content_rev) SELECT i, 1, {parent}, {kind}, {name}, {name}, {target}, i, i \
             FROM n"
        );
        assert_eq!(self.by_hand().execute(&sql, []).unwrap(), usize::try_from(rows).unwrap());
    }

    fn page(
        &self,
        depth: Depth,
        after: Option<ListPosition>,
        limit: u32,
    ) -> (Vec<ListEntry>, Option<ListPosition>) {
        let root = NodeRef::Path(NodePath::typed("").unwrap());
        let page = self.catalog.list(self.user, root, depth, after, limit).wait().unwrap();
        // A position goes over the wire as text.
        let next = page.next.map(|next| {
            let text = next.to_string();
            assert!(text.len() <= 8192, "{}", text.len());
            text.parse().unwrap()
        });
        (page.entries, next)
    }

    /// Lists all, and returns the names with their folders; each page is measured.
    fn all(&self, depth: Depth, limit: u32) -> Vec<String> {
        let (mut all, mut after) = (Vec::new(), None);
        let (mut pages, mut longest, mut most) = (0, Duration::ZERO, 0);
        let first = Instant::now();
        loop {
            let began = Instant::now();
            let (entries, next) = self.page(depth, after, limit);
            longest = longest.max(began.elapsed());
            assert!(entries.len() <= limit as usize);
            let text: usize = entries.iter().map(text_bytes).sum();
            assert!(text <= TEXT_MAX, "{text} bytes in {} entries", entries.len());
            (pages, most) = (pages + 1, most.max(text));
            all.extend(entries.iter().map(place));
            assert!(next.is_none() || !entries.is_empty(), "a client would ask for ever");
            let Some(next) = next else { break };
            after = Some(next);
        }
        let mean = first.elapsed() / pages;
        println!(
            "{} in {pages} pages of {mean:?}, the longest {longest:?}, {most} bytes at most",
            all.len()
        );
        assert!(mean < PAGE_MAX, "a page takes {mean:?}");
        all
    }
}

fn text_bytes(entry: &ListEntry) -> usize {
    let target = entry.node.target.as_ref().map_or(0, |target| target.as_str().len());
    place(entry).len() + target
}

fn place(entry: &ListEntry) -> String {
    let names = entry.folder.names().iter().chain([&entry.node.name]);
    names.map(towline_types::Name::as_str).collect::<Vec<_>>().join("/")
}

#[test]
fn a_folder_with_many_entries_is_listed_in_pages_that_cost_the_same() {
    let f = Fixture::new();
    f.add_rows(ROWS, "NULL", ("'folder'", "printf('f%06d', i)", "NULL"));
    let expected: Vec<_> = (1..=ROWS).map(|number| format!("f{number:06}")).collect();
    for depth in [Depth::Children, Depth::Recursive] {
        assert_eq!(f.all(depth, 256), expected);
    }
}

#[test]
fn pages_with_long_names_and_targets_are_shorter() {
    const LONG: i64 = 20_000;
    let f = Fixture::new();
    let name = "printf('%06d', i) || replace(hex(zeroblob(124)), '0', 'x')";
    let target = "replace(hex(zeroblob(2047)), '0', 't')";
    f.add_rows(LONG, "NULL", ("'link'", name, target));
    let all = f.all(Depth::Recursive, 256);
    assert_eq!(all.len() as i64, LONG);
    assert!(all.is_sorted());
}

/// Chains of 32 folders with long names: each name is part of the paths of all below it.
#[test]
fn deep_trees_are_listed_in_pages_that_cost_the_same() {
    let f = Fixture::new();
    let parent = "CASE WHEN i % 32 = 1 THEN NULL ELSE i - 1 END";
    let name = "printf('%06d', i) || replace(hex(zeroblob(27)), '0', 'x')";
    f.add_rows(ROWS, parent, ("'folder'", name, "NULL"));
    let all = f.all(Depth::Recursive, 256);
    assert_eq!(all.len() as i64, ROWS);
    assert!(all.is_sorted_by_key(|place| place.replace('/', "\u{0}")));
    assert!(all.iter().any(|place| place.split('/').count() == 32));
}

/// What is there from the first page to the last comes once, whatever is made, moved, renamed and
/// removed meanwhile, also where that is the very entry at which a page ends.
#[test]
fn what_is_there_all_the_time_comes_once_while_other_nodes_change() {
    let f = Fixture::new();
    // Twenty in each folder: those with an even number stay.
    let parent = "CASE WHEN i <= 5000 THEN NULL ELSE 1 + i % 5000 END";
    f.add_rows(ROWS, parent, ("'folder'", "printf('f%06d', i)", "NULL"));
    let stay: BTreeSet<_> = (1..=ROWS).filter(|number| number % 2 == 0).collect();
    let mut chance = Chance(7);
    let (mut seen, mut after, mut changes) = (BTreeSet::new(), None, 0);
    let mut others: Vec<_> = (5001..=ROWS).filter(|number| number % 2 == 1).collect();
    loop {
        let (entries, next) = f.page(Depth::Recursive, after, 400);
        for entry in &entries {
            let number = entry.node.node_id.to_i64();
            let is_new = seen.insert(number);
            assert!(is_new || !stay.contains(&number), "{number} comes twice");
        }
        // The last one of the page is changed first.
        let last = entries.last().map(|entry| entry.node.node_id.to_i64());
        let last = last.filter(|number| number % 2 == 1 && *number > 5000);
        for round in 0..8 {
            let number = match last {
                Some(number) if round == 0 => number,
                _ => others.swap_remove(chance.below(others.len())),
            };
            change(&f, number, &mut chance);
            changes += 1;
        }
        let made = format!("made {changes}/sub");
        let made = NodePath::typed(&made).unwrap();
        f.catalog.make_folder(f.user, made, None, at(50)).wait().unwrap();
        let Some(next) = next else { break };
        after = Some(next);
    }
    println!("{} seen, {changes} changed", seen.len());
    let missing: Vec<_> = stay.difference(&seen).collect();
    assert!(missing.is_empty(), "{} are missing: {:?}", missing.len(), missing.first());
}

/// Numbers that look like chance, the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

/// Moves or removes a node; it may be gone with its folder already.
fn change(f: &Fixture, number: i64, chance: &mut Chance) {
    let node = towline_types::NodeId::from_i64(number).unwrap();
    let begun = if chance.below(2) == 0 {
        let guard = RemovalGuard { recursive: true, ..RemovalGuard::default() };
        f.catalog.begin_removal(f.user, NodeRef::Id(node), guard, at(60)).wait()
    } else {
        // Before and behind where the listing is.
        let to = format!("{}moved {number}", ["", "f000002/", "f004998/"][chance.below(3)]);
        let to = NodePath::typed(&to).unwrap();
        f.catalog.begin_move(f.user, NodeRef::Id(node), to, None, at(60)).wait()
    };
    if let Ok(begun) = begun {
        f.catalog.finish_move(begun.node.node_id, at(61)).wait().unwrap();
    }
}
