//! What is looked up waits for no write, and comes of what was answered before.

use crate::fixture::{Fixture, at, path, size};
use std::time::{Duration, Instant};
use towline_upload::Phase;

#[test]
fn a_login_and_a_question_wait_for_no_write() {
    let f = Fixture::new();
    let id = f.create("a", 7);
    let other = f.by_hand();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Waits for the other program, and the thread that writes with it.
    let waiting = f.catalog.add_user("bob", None, at(2));
    let began = Instant::now();
    for _ in 0..100 {
        assert!(f.catalog.user(f.user).wait().unwrap().is_some());
        assert!(f.catalog.document(id).wait().unwrap().is_some());
        assert!(f.catalog.blocks(id).wait().unwrap().is_empty());
    }
    let took = began.elapsed();
    other.execute_batch("COMMIT").unwrap();
    waiting.wait().unwrap();
    println!("300 looks beside a write that waits: {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn what_was_answered_is_seen_at_once() {
    let f = Fixture::new();
    for number in 0..200 {
        let id = f.create(&format!("doc {number}"), 7);
        assert_eq!(f.catalog.document(id).wait().unwrap().unwrap().phase, Phase::Uploading);
        f.catalog.finish(id, Phase::Cancelled, "", at(3)).wait().unwrap();
        assert_eq!(f.catalog.document(id).wait().unwrap().unwrap().phase, Phase::Cancelled);
        let user = f.catalog.add_user(format!("user{number}"), None, at(4)).wait().unwrap();
        assert!(f.catalog.user(user.user_id).wait().unwrap().is_some());
    }
}

/// The place is asked for by an index: ten thousand uploads of one name and size in other
/// folders are not looked at.
#[test]
fn a_place_is_found_without_looking_at_others() {
    let f = Fixture::new();
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
               INSERT INTO documents (user_id, folder, filename, filesize, status, on_conflict, \
               durable_offset, started_at, last_chunk_at) \
               SELECT 1, 'folder ' || i, 'same.bin', 7, 'uploading', 'rename', 0, 10, 10 FROM n";
    let by_hand = f.by_hand();
    assert_eq!(by_hand.execute(sql, []).unwrap(), 100_000);
    let plan: Vec<String> = by_hand
        .prepare(
            "EXPLAIN QUERY PLAN SELECT * FROM documents WHERE user_id = 1 AND folder = 'f' \
             AND filename = 'same.bin' AND filesize = 7 AND finished_at IS NULL \
             ORDER BY document_id DESC LIMIT 8",
        )
        .unwrap()
        .query_map([], |row| row.get("detail"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let index = "SEARCH documents USING INDEX documents_unfinished_place \
                 (user_id=? AND folder=? AND filename=? AND filesize=?)";
    assert_eq!(plan, [index]);
    // And so it is fast: each would take some 60 ms otherwise.
    let began = Instant::now();
    for number in (1..=100_000).step_by(1000) {
        let place = path(&format!("folder {number}/same.bin"));
        let found = f.catalog.find(f.user, &place, size(7), None).wait().unwrap();
        assert!(found.unfinished.is_some(), "{number}");
    }
    println!("100 finds among 100,000 of that name and size: {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

/// Closing waits for both connections, and leaves no journal.
#[test]
fn both_connections_are_closed() {
    let f = Fixture::new();
    f.create("a", 7);
    let journal = f.path().with_file_name("catalog.db-wal");
    assert!(journal.exists());
    let looks: Vec<_> = (0..50).map(|_| f.catalog.user(f.user)).collect();
    f.catalog.close().wait().unwrap();
    for look in looks {
        assert!(look.wait().unwrap().is_some(), "what was asked before is answered");
    }
    assert!(!journal.exists());
    assert!(f.catalog.user(f.user).wait().is_err());
}
