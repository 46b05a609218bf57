//! Calls that come together share a transaction, and only that.

use crate::fixture::{Fixture, at, checkpoint, offset, refusal};
use towline_state::CatalogError;
use towline_state::catalog::Refusal;

#[test]
fn calls_that_wait_together_are_committed_together() {
    let f = Fixture::new();
    let before = f.catalog.counters();
    let other = f.by_hand();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // The thread waits for the other program with whatever came first.
    let replies: Vec<_> =
        (0..300).map(|n| f.catalog.add_user(format!("user{n}"), None, at(2))).collect();
    other.execute_batch("COMMIT").unwrap();
    for reply in replies {
        reply.wait().unwrap();
    }
    let after = f.catalog.counters();
    assert_eq!(after.jobs - before.jobs, 300);
    let transactions = after.transactions - before.transactions;
    assert!((2..=3).contains(&transactions), "{transactions} transactions");
}

#[test]
fn reads_alone_open_no_transaction() {
    let f = Fixture::new();
    let before = f.catalog.counters();
    let other = f.by_hand();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(f.catalog.users().wait().unwrap().len(), 1, "a writer elsewhere stops no reader");
    let after = f.catalog.counters();
    assert_eq!((after.jobs, after.transactions), (before.jobs + 1, before.transactions));
}

#[test]
fn a_refused_call_does_not_undo_its_neighbours() {
    let f = Fixture::new();
    let a = f.create("a", 10);
    let before = f.catalog.counters();
    let other = f.by_hand();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let first = f.catalog.add_user("first", None, at(2));
    let good = f.catalog.add_user("good", None, at(2));
    let refused = f.catalog.add_user("good", None, at(2));
    // The database itself refuses the second half of this one.
    let broken = f.catalog.checkpoint(vec![checkpoint(a, 5, vec![]), checkpoint(a, 11, vec![])]);
    let last = f.catalog.checkpoint(vec![checkpoint(a, 3, vec![])]);
    let seen = f.catalog.user_named("good");
    other.execute_batch("COMMIT").unwrap();
    first.wait().unwrap();
    good.wait().unwrap();
    assert!(matches!(refusal(refused.wait()), Refusal::NameTaken { .. }));
    assert!(matches!(broken.wait(), Err(CatalogError::Sql(_))));
    let recorded: Vec<_> = last.wait().unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(recorded, [a]);
    assert!(seen.wait().unwrap().is_some(), "a read sees the writes asked for before it");
    assert_eq!(f.document(a).durable_offset.get(), offset(3));
    assert!(f.catalog.counters().transactions - before.transactions <= 2);
}

#[test]
fn a_database_kept_busy_answers_so_and_recovers() {
    let f = Fixture::new();
    let other = f.by_hand();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = f.catalog.add_user("bob", None, at(2)).wait();
    assert!(matches!(refused, Err(CatalogError::Busy)), "{refused:?}");
    other.execute_batch("COMMIT").unwrap();
    assert!(!f.catalog.is_read_only());
    f.catalog.add_user("bob", None, at(2)).wait().unwrap();
}

#[test]
fn blocking_callers_wait_for_room_in_the_queue() {
    let f = Fixture::new();
    let other = f.by_hand();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let replies: Vec<_> =
        (0..2000).map(|n| f.catalog.add_user(format!("user{n}"), None, at(2))).collect();
    other.execute_batch("COMMIT").unwrap();
    for reply in replies {
        reply.wait().unwrap();
    }
    assert_eq!(f.catalog.users().wait().unwrap().len(), 2001);
}

#[tokio::test]
async fn more_calls_than_the_queue_holds_wait_their_turn() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("catalog.db");
    let catalog = tokio::task::spawn_blocking(move || towline_state::Catalog::open(path))
        .await
        .unwrap()
        .unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..3000 {
        let catalog = catalog.clone();
        calls.spawn(async move { catalog.add_user(format!("user{n}"), None, at(2)).await });
    }
    while let Some(answer) = calls.join_next().await {
        answer.unwrap().unwrap();
    }
    assert_eq!(catalog.users().await.unwrap().len(), 3000);
    let counters = catalog.counters();
    assert_eq!(counters.jobs, 3001);
    assert!(counters.transactions < 300, "{counters:?}");
}

#[test]
fn a_call_that_nobody_waits_for_is_carried_out() {
    let f = Fixture::new();
    drop(f.catalog.add_user("bob", None, at(2)));
    assert!(f.catalog.user_named("bob").wait().unwrap().is_some());
}
