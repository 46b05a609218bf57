//! Long answers are spread over frames that a client takes, whatever stands in them.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop where a test may")]

use proptest::prelude::*;
use towline_protocol::frame::{Decoder, FrameLimits, Part};
use towline_protocol::limits::{CONTROL_BYTES_MAX, CURSOR_BYTES_MAX};
use towline_protocol::reply::{Change, Delta, DeltaEnd, Listing, Operation, Version, Versions};
use towline_protocol::{Channel, Node, Reply};
use towline_testkit::{at, change, hash, id, node, size};
use towline_types::limits::{FOLDER_DEPTH, LINK_TARGET_BYTES, NAME_BYTES};
use towline_types::{LinkTarget, NodeKind};

/// The replies that these frames are. The decoder takes no control message that is too long.
fn replies(frames: &[u8]) -> Vec<Reply> {
    let mut decoder = Decoder::new(FrameLimits::CLIENT);
    let (mut left, mut replies) = (frames, Vec::new());
    loop {
        match decoder.next_part().unwrap() {
            Some(Part::Control(json)) => {
                assert!(json.len() <= CONTROL_BYTES_MAX as usize);
                replies.push(Reply::parse(json).unwrap());
            }
            Some(other) => panic!("{other:?}"),
            None if left.is_empty() => break,
            None => {
                let space = decoder.space();
                let count = space.len().min(left.len());
                space[..count].copy_from_slice(&left[..count]);
                decoder.filled(count);
                left = &left[count..];
            }
        }
    }
    assert!(decoder.is_between_frames());
    replies
}

/// A link whose texts have that many bytes. A quotation mark takes two bytes in JSON.
fn link(number: u64, name_bytes: usize, folders: usize, target_bytes: usize) -> Node {
    Node {
        node_id: node(number),
        parent_id: Some(node(1)),
        kind: NodeKind::Link,
        name: "\"".repeat(name_bytes),
        folder: vec!["\"".repeat(63); folders],
        version: None,
        size: None,
        blake3: None,
        held: None,
        mtime_ms: None,
        mode: None,
        target: Some(LinkTarget::new("\"".repeat(target_bytes)).unwrap()),
        place_rev: change(number),
        content_rev: change(number),
        deleted_at: None,
    }
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let long = || prop_oneof![8 => 1..40usize, 1 => Just(NAME_BYTES)];
    let target = prop_oneof![8 => 1..40usize, 1 => Just(LINK_TARGET_BYTES)];
    let shape = (long(), prop_oneof![8 => 0..3usize, 1 => Just(FOLDER_DEPTH)], target);
    prop::collection::vec(shape, 0..60).prop_map(|shapes| {
        let made = (1..).zip(shapes);
        made.map(|(number, (name, folders, target))| link(number, name, folders, target)).collect()
    })
}

fn longest() -> Node {
    link(9, NAME_BYTES, 0, LINK_TARGET_BYTES)
}

proptest! {
    // An answer may have a MiB.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_listing_is_whole_and_its_last_frame_alone_says_so(
        entries in nodes(),
        has_node: bool,
        next in prop::option::of(prop_oneof![Just(1), Just(CURSOR_BYTES_MAX)]),
    ) {
        let first = has_node.then(|| Box::new(longest()));
        let next = next.map(|bytes| "n".repeat(bytes));
        let frames = Listing::frames(Channel(7), first.clone(), entries.clone(), next.clone());
        let replies = replies(&frames);
        let last = replies.len() - 1;
        let mut found = Vec::new();
        for (at, reply) in replies.into_iter().enumerate() {
            let Reply::List(listing) = reply else { panic!("{reply:?}") };
            prop_assert_eq!(listing.channel, Channel(7));
            prop_assert_eq!(listing.node, first.clone().filter(|_| at == 0));
            prop_assert_eq!(listing.end, at == last);
            prop_assert_eq!(listing.next, next.clone().filter(|_| at == last));
            found.extend(listing.entries);
        }
        prop_assert_eq!(found, entries);
    }

    #[test]
    fn a_listing_made_in_parts_ends_with_the_last(first in nodes(), second in nodes()) {
        let mut frames = Listing::part(Channel(7), Some(Box::new(longest())), first.clone());
        frames.extend(Listing::frames(Channel(7), None, second.clone(), None));
        let replies = replies(&frames);
        let ends: Vec<bool> = replies.iter().map(|reply| match reply {
            Reply::List(listing) => listing.end,
            other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(ends.iter().position(|end| *end), Some(ends.len() - 1));
        let entries = replies.into_iter().flat_map(|reply| match reply {
            Reply::List(listing) => listing.entries,
            other => panic!("{other:?}"),
        });
        prop_assert!(entries.eq([first, second].concat()));
    }

    #[test]
    fn changes_are_whole_and_the_last_frame_has_the_cursor(nodes in nodes(), more: bool) {
        let items: Vec<Change> = nodes.into_iter().map(|node| Change {
            change_id: node.place_rev,
            op: Operation::Create,
            changed: Vec::new(),
            at: Some(at(5)),
            node,
        }).collect();
        let end = DeltaEnd { cursor: "c1.1.1.9".to_owned(), more, latest: change(9) };
        let replies = replies(&Delta::frames(Channel(0), items.clone(), end));
        let last = replies.len() - 1;
        let mut found = Vec::new();
        for (at, reply) in replies.into_iter().enumerate() {
            let Reply::Delta(delta) = reply else { panic!("{reply:?}") };
            let is_last = at == last;
            prop_assert_eq!((delta.end, delta.more), (is_last, is_last && more));
            prop_assert_eq!(delta.cursor.is_some(), is_last);
            prop_assert_eq!(delta.latest.is_some(), is_last);
            found.extend(delta.items);
        }
        prop_assert_eq!(found, items);
    }
}

#[test]
fn many_versions_take_several_frames() {
    let version = |number| Version {
        version: id(number),
        size: size(5),
        blake3: hash(1),
        created_at: at(5),
        held: None,
        mtime_ms: None,
        current: number == 1,
        keep_until: None,
    };
    let versions: Vec<Version> = (1..=1000).map(version).collect();
    let replies = replies(&Versions::frames(Channel(0), None, versions.clone(), None));
    assert!(replies.len() > 1, "{}", replies.len());
    let found: Vec<Version> = replies
        .into_iter()
        .flat_map(|reply| match reply {
            Reply::Versions(page) => page.versions,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, versions);
}
