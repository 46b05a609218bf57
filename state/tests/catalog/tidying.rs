//! What an operator and time end: cancelled uploads, those of removed users, rows that ended.

use crate::fixture::{Fixture, at, id, refusal};
use std::collections::BTreeSet;
use towline_state::catalog::{CancelledBy, EndedKept, Refusal};
use towline_upload::Phase;

#[test]
fn a_cancelled_upload_is_named_until_it_has_ended() {
    let f = Fixture::new();
    let (a, b) = (f.create("a", 5), f.create("b", 5));
    let (done, _) = f.complete("c", 1);
    let cancel = |id| f.catalog.cancel_later(id, at(9)).wait();
    let named = || f.catalog.to_cancel(10).wait().unwrap();
    assert_eq!(named(), []);
    cancel(a).unwrap();
    cancel(a).unwrap();
    assert_eq!(named(), [(a, CancelledBy::Operator)]);
    assert_eq!(refusal(cancel(done)), Refusal::WrongPhase(Phase::Completed));
    assert_eq!(refusal(cancel(id(99))), Refusal::NoSuchDocument);
    f.catalog.finish(a, Phase::Cancelled, "", at(10)).wait().unwrap();
    assert_eq!(named(), []);
    f.catalog.forget_cancellations().wait().unwrap();
    let left = "SELECT count(*) FROM cancellations";
    let left: u32 = f.by_hand().query_row(left, [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);

    f.catalog.remove_user(f.user, at(11)).wait().unwrap();
    assert_eq!(named(), [(b, CancelledBy::RemovalOfUser)]);
}

#[test]
fn of_ended_uploads_the_last_ones_stay_for_a_while() {
    let f = Fixture::new();
    let (done, _) = f.complete("done", 1);
    let open = f.create("open", 1);
    let ended: Vec<_> = (0..20)
        .map(|number| {
            let id = f.create(&number.to_string(), 1);
            f.catalog.finish(id, Phase::Cancelled, "", at(100 + number)).wait().unwrap();
            id
        })
        .collect();
    let forget = |since, count, limit| {
        let kept = EndedKept { since: at(since), count };
        f.catalog.forget_ended(kept, i64::MIN, limit).wait().unwrap()
    };
    let left = || -> BTreeSet<_> {
        let row = |id: &_| f.catalog.document(*id).wait().unwrap().is_some();
        ended.iter().copied().filter(row).collect()
    };
    assert_eq!(forget(0, 20, 100), None);
    assert_eq!(left().len(), 20);
    assert_eq!(forget(105, 100, 100), None);
    assert_eq!(left(), ended[5..].iter().copied().collect(), "the others ended before");
    assert_eq!(forget(0, 4, 3), Some(i64::MIN), "there is more of the first user");
    assert_eq!(left().len(), 12, "at most so many at a time");
    assert_eq!(forget(0, 4, 100), None);
    assert_eq!(left(), ended[16..].iter().copied().collect());
    for id in [done, open] {
        assert!(f.catalog.document(id).wait().unwrap().is_some());
    }
}
