//! Checkpoints record what is durable, and only of uploads that still take bytes.

use crate::fixture::{Fixture, MIB, at, block, checkpoint, id, offset, refusal};
use std::iter::once;
use towline_state::CatalogError;
use towline_state::catalog::{DurableOffset, Refusal};
use towline_types::{DocumentId, Offset};
use towline_upload::Phase;

/// What a commit says that it has promised.
fn promised(recorded: Vec<(DocumentId, DurableOffset)>) -> Vec<(DocumentId, Offset)> {
    recorded.into_iter().map(|(id, durable)| (id, durable.get())).collect()
}

#[test]
fn offsets_and_blocks_are_recorded() {
    let f = Fixture::new();
    let (a, b) = (f.create("a", 10 * MIB), f.create("b", 10 * MIB));
    let recorded = f
        .catalog
        .checkpoint(vec![
            checkpoint(b, 5, vec![]),
            checkpoint(a, 2 * MIB, vec![block(1, 11), block(0, 10), block(7, 17)]),
        ])
        .wait()
        .unwrap();
    assert_eq!(promised(recorded), [(b, offset(5)), (a, offset(2 * MIB))]);
    assert_eq!(f.document(a).durable_offset.get(), offset(2 * MIB));
    assert_eq!(f.document(a).last_chunk_at, at(15));
    assert_eq!(f.document(b).durable_offset.get(), offset(5));
    let blocks = f.catalog.blocks(a).wait().unwrap();
    assert_eq!(blocks, [block(0, 10), block(1, 11), block(7, 17)]);
    assert_eq!(f.catalog.blocks(b).wait().unwrap(), []);
}

#[test]
fn a_block_sent_again_gets_the_new_value_and_an_offset_may_fall() {
    let f = Fixture::new();
    let a = f.create("a", 10 * MIB);
    f.catalog.checkpoint(vec![checkpoint(a, 2 * MIB, vec![block(0, 1)])]).wait().unwrap();
    f.catalog.checkpoint(vec![checkpoint(a, MIB, vec![block(0, 2)])]).wait().unwrap();
    assert_eq!(f.catalog.blocks(a).wait().unwrap(), [block(0, 2)]);
    assert_eq!(f.document(a).durable_offset.get(), offset(MIB));
}

#[test]
fn uploads_that_take_no_bytes_are_passed_over() {
    let f = Fixture::new();
    let (a, b, c) = (f.create("a", MIB), f.create("b", MIB), f.create("c", MIB));
    f.begin(a).unwrap();
    f.catalog.finish(b, Phase::Cancelled, "", at(40)).wait().unwrap();
    let recorded = f
        .catalog
        .checkpoint([a, b, id(99), c].map(|id| checkpoint(id, 7, vec![block(0, 1)])).into())
        .wait()
        .unwrap();
    assert_eq!(promised(recorded), [(c, offset(7))]);
    assert_eq!(f.document(a).durable_offset.get(), offset(0));
    assert_eq!(f.catalog.blocks(a).wait().unwrap(), []);
    assert_eq!(f.document(b).durable_offset.get(), offset(0));
    assert_eq!(f.catalog.blocks(b).wait().unwrap(), []);
}

#[test]
fn a_promise_beyond_the_end_of_the_file_is_never_recorded() {
    let f = Fixture::new();
    let (a, b) = (f.create("a", 10), f.create("b", 10));
    let result =
        f.catalog.checkpoint(vec![checkpoint(a, 5, vec![]), checkpoint(b, 11, vec![])]).wait();
    assert!(matches!(result, Err(CatalogError::Sql(_))), "{result:?}");
    assert_eq!(f.document(a).durable_offset.get(), offset(0), "all or none");
}

#[test]
fn withdrawn_blocks_are_gone() {
    let f = Fixture::new();
    let a = f.create("a", 10 * MIB);
    let blocks = (0..10).map(|index| block(index, 1)).collect();
    f.catalog.checkpoint(vec![checkpoint(a, 10 * MIB, blocks)]).wait().unwrap();
    f.catalog.withdraw_blocks(a, vec![2..4, 8..u64::MAX], offset(2 * MIB)).wait().unwrap();
    let left: Vec<u64> =
        f.catalog.blocks(a).wait().unwrap().iter().map(|(index, _)| index.get()).collect();
    assert_eq!(left, [0, 1, 4, 5, 6, 7]);
    assert_eq!(f.document(a).durable_offset.get(), offset(2 * MIB));

    let refused = f.catalog.withdraw_blocks(id(99), vec![], offset(0)).wait();
    assert_eq!(refusal(refused), Refusal::NoSuchDocument);
    f.begin(a).unwrap();
    let refused = f.catalog.withdraw_blocks(a, once(0..9).collect(), offset(0)).wait();
    assert_eq!(refusal(refused), Refusal::WrongPhase(Phase::Publishing));
}
