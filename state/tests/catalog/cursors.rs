//! A reader of the log is told where to go on, and when it has to begin anew.

use crate::fixture::{Fixture, at, id, refusal};
use crate::log_checker::{check, rebuilt, whole_log};
use towline_state::Catalog;
use towline_state::catalog::{Cursor, Refusal, ResetReason, back_up};
use towline_types::ChangeId;

#[test]
fn a_snapshot_is_followed_by_what_was_changed_meanwhile() {
    let f = Fixture::new();
    for n in 0..10 {
        f.complete(&format!("a/{n}"), 5);
    }
    let first = f.catalog.delta(f.user, None, 4).wait().unwrap();
    assert!(first.has_more && first.next.is_snapshot());
    assert_eq!(first.changes.len(), 4);
    assert!(first.changes.iter().all(|change| change.at.is_none()));
    let (late, _) = f.complete("b/late", 5);
    f.catalog.lose(id(5), "gone", at(50)).wait().unwrap();
    let (mut since, mut told) = (first.next, first.changes);
    loop {
        let delta = f.catalog.delta(f.user, Some(since), 4).wait().unwrap();
        told.extend(delta.changes);
        since = delta.next.to_string().parse().unwrap();
        if !delta.has_more {
            break;
        }
    }
    assert!(!since.is_snapshot());
    let has = |document| {
        told.iter().any(|change| change.node.version.is_some_and(|v| v.document_id == document))
    };
    assert!(has(late));
    let again = f.catalog.delta(f.user, Some(since), 4).wait().unwrap();
    assert_eq!((again.changes.len(), again.next, again.has_more), (0, since, false));
    let head = f.catalog.log_head(f.user).wait().unwrap();
    assert_eq!(Cursor::at(f.user, &head), since);
}

/// Whatever lies in the trash: others wait for the look to end.
#[test]
fn a_look_at_a_snapshot_looks_at_no_more_rows_than_it_may_tell_of() {
    let f = Fixture::new();
    f.by_hand()
        .execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
             INSERT INTO nodes (node_id, user_id, kind, name, name_key, place_rev, content_rev, \
             deleted_at) SELECT i, 1, 'folder', 'f' || i, 'f' || i, i, i, 50 FROM n",
            [],
        )
        .unwrap();
    f.complete("there", 5);
    let first = f.catalog.delta(f.user, None, 100).wait().unwrap();
    assert!(first.changes.is_empty() && first.has_more);
    let at = first.next.to_string();
    assert!(at.starts_with("s1.") && at.ends_with(".100"), "{at}");
    let told = whole_log(&f.catalog, f.user, 100);
    assert_eq!(told.len(), 1);
}

#[test]
fn a_cursor_is_one_users_and_one_historys() {
    let f = Fixture::new();
    f.complete("a", 5);
    let head = f.catalog.log_head(f.user).wait().unwrap();
    assert!(head.epoch > 0);
    let bob = f.catalog.add_user("bob", None, at(2)).wait().unwrap().user_id;
    let delta = |user, cursor| f.catalog.delta(user, Some(cursor), 9).wait();
    let here = Cursor::at(f.user, &head);
    assert_eq!(refusal(delta(bob, here)), Refusal::BadCursor);
    let restored = Refusal::CursorReset { reason: ResetReason::Restored };
    let ahead = Cursor::behind(f.user, &head, ChangeId::try_from(2).unwrap());
    assert_eq!(refusal(delta(f.user, ahead)), restored, "not given out yet");
    f.catalog.begin_epoch(at(5)).wait().unwrap();
    assert_eq!(refusal(delta(f.user, here)), restored);
    let head = f.catalog.log_head(f.user).wait().unwrap();
    assert_eq!(delta(f.user, Cursor::at(f.user, &head)).unwrap().changes.len(), 0);
}

#[test]
fn old_changes_are_forgotten_from_the_first_one_on() {
    let f = Fixture::new();
    for n in 0..5 {
        let document = f.create(&format!("{n}"), 5);
        f.begin(document).unwrap();
        f.catalog.complete_publish(document, None, at(100 + n)).wait().unwrap();
    }
    let behind = |number| {
        let head = f.catalog.log_head(f.user).wait().unwrap();
        Cursor::behind(f.user, &head, ChangeId::try_from(number).unwrap())
    };
    let trim = |before, limit| f.catalog.trim_changes(f.user, at(before), limit).wait().unwrap();
    assert_eq!(trim(100, 99), 0);
    assert_eq!(trim(103, 2), 2, "no more than asked for");
    assert_eq!(trim(103, 99), 1);
    let head = f.catalog.log_head(f.user).wait().unwrap();
    assert_eq!((head.horizon.get(), head.last.get()), (3, 5));
    let delta = |cursor| f.catalog.delta(f.user, Some(cursor), 9).wait();
    let expired = Refusal::CursorReset { reason: ResetReason::Expired };
    assert_eq!(refusal(delta(behind(2))), expired);
    let left = delta(behind(3)).unwrap().changes;
    assert_eq!(left.iter().map(|change| change.change_id.get()).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(trim(1000, 99), 2);
    assert_eq!(delta(behind(5)).unwrap().changes, []);
    assert_eq!(f.complete("new", 5).1, "new");
    assert_eq!(delta(behind(5)).unwrap().changes.len(), 1, "numbers go on");
}

#[test]
fn a_copy_that_is_put_back_has_another_history_and_other_numbers() {
    let f = Fixture::new();
    f.complete("a", 5);
    let copy = f.folder.path().join("copy.db");
    back_up(f.path(), &copy).unwrap();
    let here = Cursor::at(f.user, &f.catalog.log_head(f.user).wait().unwrap());
    let (_, later) = f.complete("b", 5);
    assert_eq!(later, "b");
    let restored = Catalog::open(&copy).unwrap();
    let refused = restored.delta(f.user, Some(here), 9).wait();
    let reset = Refusal::CursorReset { reason: ResetReason::Restored };
    assert_eq!(refusal(refused), reset);
    let epoch = restored.log_head(f.user).wait().unwrap().epoch;
    assert!(epoch > 1_700_000_000_000, "{epoch}");
    restored.close().wait().unwrap();
    let restored = Catalog::open(&copy).unwrap();
    assert_eq!(restored.log_head(f.user).wait().unwrap().epoch, epoch, "once");
    let tree = check(&restored, f.user);
    assert_eq!(tree.len(), 1);
    let number: i64 = rusqlite::Connection::open(&copy)
        .unwrap()
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'nodes'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(number, 1_000_001);
}

#[test]
fn a_change_that_is_refused_takes_no_number() {
    let f = Fixture::new();
    f.complete("a", 5);
    for _ in 0..3 {
        let refused = f.catalog.complete_publish(id(1), None, at(50)).wait();
        assert!(refused.is_err());
    }
    // Together with others in one transaction.
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let path = towline_types::NodePath::typed(&format!("f{n}")).unwrap();
            let made = f.catalog.make_folder(f.user, path, None, at(50));
            let taken = towline_types::NodePath::typed("a/x").unwrap();
            (made, f.catalog.make_folder(f.user, taken, None, at(50)))
        })
        .collect();
    for (made, refused) in calls {
        made.wait().unwrap();
        assert_eq!(refusal(refused.wait()), Refusal::FolderTaken);
    }
    assert_eq!(rebuilt(&whole_log(&f.catalog, f.user, 99)).len(), 21);
    check(&f.catalog, f.user);
}
