//! Sixteen threads change the trees of two users while others read their logs: the numbers have no
//! gaps, and no reader misses a change.

use crate::fixture::{Fixture, at, hash};
use crate::log_checker::check;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use towline_state::Catalog;
use towline_state::catalog::{Bytes, Created, Cursor, NewDocument, NodeRef, RemovalGuard, Unless};
use towline_types::{ChangeId, UserId};

const THREADS: usize = 16;
const FILES: usize = 60;

#[test]
fn numbers_are_dense_and_a_reader_with_a_cursor_misses_none() {
    let f = Fixture::new();
    let other = f.catalog.add_user("bob", None, at(2)).wait().unwrap().user_id;
    let has_ended = AtomicBool::new(false);
    let (f, ended) = (&f, &has_ended);
    thread::scope(|scope| {
        let read = |user| scope.spawn(move || read_all(f.catalog.clone(), user, ended));
        let readers = [f.user, other].map(|user| (user, read(user)));
        let write = |thread| {
            let user = if thread % 4 == 0 { other } else { f.user };
            scope.spawn(move || write_many(f, user, thread))
        };
        let writers: Vec<_> = (0..THREADS).map(write).collect();
        for writer in writers {
            writer.join().unwrap();
        }
        has_ended.store(true, Ordering::SeqCst);
        for (user, reader) in readers {
            let seen: Vec<u64> = reader.join().unwrap().iter().map(|id| id.get()).collect();
            let last = f.catalog.log_head(user).wait().unwrap().last.get();
            assert_eq!(seen, (1..=last).collect::<Vec<_>>(), "each change once, in order");
            let tree = check(&f.catalog, user);
            println!("user {user}: {last} changes, {} nodes", tree.len());
            assert!(last > 250, "{last}");
        }
    });
}

fn write_many(f: &Fixture, user: UserId, thread: usize) {
    for file in 0..FILES {
        let place = format!("folder {}/{}/{thread}-{file}", file % 3, thread % 2);
        let new = NewDocument { user_id: user, ..f.new_document(&place, 5) };
        let id = f.catalog.reserve_document_id(user).unwrap();
        let row = f.catalog.publish_new(id, new, Unless::default(), hash(1), Bytes::Synced).wait();
        let Ok(Created::New((document, _))) = row else { panic!("{row:?}") };
        f.catalog.complete_publish(id, None, at(30)).wait().unwrap();
        if file % 5 == 0 {
            let which = NodeRef::Id(document.node_id.unwrap());
            let guard = RemovalGuard::default();
            let removal = f.catalog.begin_removal(user, which, guard, at(40)).wait().unwrap();
            f.catalog.finish_move(removal.node.node_id, at(41)).wait().unwrap();
        }
    }
}

/// Asks for what is behind the last change that it saw, until there is nothing more and the
/// writers have ended.
fn read_all(catalog: Catalog, user: UserId, has_ended: &AtomicBool) -> Vec<ChangeId> {
    let head = catalog.log_head(user).wait().unwrap();
    let mut since = Cursor::behind(user, &head, ChangeId::MIN);
    let mut seen = Vec::new();
    loop {
        let was_last = has_ended.load(Ordering::SeqCst);
        let delta = catalog.delta(user, Some(since), 13).wait().unwrap();
        seen.extend(delta.changes.iter().map(|change| change.change_id));
        since = delta.next;
        if was_last && !delta.has_more {
            return seen;
        }
    }
}
