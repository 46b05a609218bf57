//! What was removed long ago: it is found in pages, and forgotten in steps.

use crate::fixture::{Fixture, at};
use crate::log_checker::check;

#[test]
fn what_expires_in_the_trash_is_forgotten_in_steps() {
    let f = Fixture::new();
    let mut documents = Vec::new();
    for n in 0..10 {
        documents.push(f.complete(&format!("a/{}/{n}", n % 3), 5).0);
    }
    let root = f.remove("a");
    let expired =
        |moment| f.catalog.expired_trash(f.user, at(moment), None, 9).wait().unwrap().nodes;
    assert_eq!(expired(71), []);
    assert_eq!(expired(72), [root]);
    let mut steps = 1;
    while !f.catalog.forget_trash(f.user, root, 3).wait().unwrap() {
        steps += 1;
        assert_eq!(expired(72), [root]);
    }
    assert_eq!(steps, 5, "fourteen nodes, three at a time");
    assert!(f.catalog.forget_trash(f.user, root, 3).wait().unwrap(), "again is harmless");
    assert_eq!(expired(72), []);
    for id in documents {
        assert_eq!(f.catalog.document(id).wait().unwrap(), None);
    }
    let left: i64 =
        f.by_hand().query_row("SELECT count(*) FROM nodes", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
    check(&f.catalog, f.user);
}

#[test]
fn what_expires_in_the_trash_comes_in_pages() {
    let f = Fixture::new();
    let bob = f.catalog.add_user("bob", None, at(2)).wait().unwrap().user_id;
    let mut removed = Vec::new();
    for n in 0..5 {
        f.complete(&format!("{n}"), 5);
        removed.push(f.remove(&format!("{n}")));
    }
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = f.catalog.expired_trash(f.user, at(1000), after, 2).wait().unwrap();
        pages.push(page.nodes);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // Whatever becomes of what was on a page, each is met once.
    let expected: Vec<_> = removed.chunks(2).map(<[_]>::to_vec).collect();
    assert_eq!(pages, expected);
    assert_eq!(f.catalog.expired_trash(bob, at(1000), None, 9).wait().unwrap().nodes, []);
}
