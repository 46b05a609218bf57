//! Uploads are given up, once, with a reason; so are documents that are lost.

use crate::fixture::{Fixture, MIB, at, block, checkpoint, id, path, refusal, size};
use towline_state::catalog::Refusal;
use towline_upload::Phase;

#[test]
fn giving_up_frees_the_place_and_forgets_the_blocks() {
    for ending in [Phase::Failed, Phase::Cancelled, Phase::Expired] {
        let f = Fixture::new();
        let (a, b) = (f.create("a", MIB), f.create("b", MIB));
        f.catalog.checkpoint(vec![checkpoint(a, MIB, vec![block(0, 1)])]).wait().unwrap();
        f.begin(a).unwrap();
        for id in [a, b] {
            f.catalog.finish(id, ending, "because", at(40)).wait().unwrap();
            let document = f.document(id);
            assert_eq!(document.phase, ending);
            assert_eq!(document.reason.as_deref(), Some("because"));
            assert_eq!((document.file_path, document.blake3), (None, None));
            assert_eq!((document.created_at, document.finished_at), (None, Some(at(40))));
            assert_eq!(f.catalog.blocks(id).wait().unwrap(), []);
        }
        assert_eq!(f.complete("a", 1).1, "a");
    }
}

#[test]
fn what_is_finished_stays_as_it_is() {
    let f = Fixture::new();
    let finish = |id, ending| f.catalog.finish(id, ending, "", at(50)).wait();
    let (done, _) = f.complete("a", 1);
    assert_eq!(refusal(finish(done, Phase::Failed)), Refusal::WrongPhase(Phase::Completed));
    let gone = f.create("b", 1);
    finish(gone, Phase::Cancelled).unwrap();
    assert_eq!(refusal(finish(gone, Phase::Expired)), Refusal::WrongPhase(Phase::Cancelled));
    assert_eq!(refusal(finish(id(99), Phase::Failed)), Refusal::NoSuchDocument);
    let alive = f.create("c", 1);
    for phase in [Phase::Uploading, Phase::Publishing, Phase::Completed] {
        assert_eq!(refusal(finish(alive, phase)), Refusal::NotAnEnding(phase));
    }
    assert_eq!(f.document(alive).phase, Phase::Uploading);
}

#[test]
fn a_lost_document_is_vouched_for_no_more_and_can_come_again() {
    let f = Fixture::new();
    let (lost, place) = f.complete("docs/a", 7);
    f.catalog.lose(lost, "it rotted", at(50)).wait().unwrap();
    let document = f.document(lost);
    assert_eq!((document.phase, document.reason.as_deref()), (Phase::Failed, Some("it rotted")));
    assert_eq!((document.file_path, document.blake3, document.created_at), (None, None, None));
    assert_eq!(document.finished_at, Some(at(50)));
    assert!(!f.catalog.find(f.user, &path("z"), size(7), None).wait().unwrap().same_size);
    assert_eq!(f.complete("docs/a", 7).1, place, "its place is free");
    // Only what was completed can be lost, and only once.
    let alive = f.create("b", 1);
    for (id, phase) in [(lost, Phase::Failed), (alive, Phase::Uploading)] {
        let again = f.catalog.lose(id, "", at(60)).wait();
        assert_eq!(refusal(again), Refusal::WrongPhase(phase));
    }
}
