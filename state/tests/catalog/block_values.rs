//! The values of blocks stay with a completed document, page by page.

use crate::fixture::{Fixture, MIB, at, block, checkpoint, id};
use towline_state::catalog::BLOCKS_PER_PAGE;
use towline_types::ChainingValue;

fn value(byte: u8) -> ChainingValue {
    ChainingValue::from_bytes([byte; 32])
}

#[test]
fn values_that_were_recorded_are_kept() {
    let f = Fixture::new();
    let count = BLOCKS_PER_PAGE + 3;
    let document = f.create("big", count * MIB - 5);
    let byte = |index: u64| u8::try_from(index % 251).unwrap();
    let blocks = (0..count).map(|index| block(index, byte(index))).collect();
    let durable = checkpoint(document, count * MIB - 5, blocks);
    f.catalog.checkpoint(vec![durable]).wait().unwrap();
    assert_eq!(f.catalog.block_values(document, 0).wait().unwrap(), None, "not completed yet");
    f.begin(document).unwrap();
    f.catalog.complete_publish(document, None, at(30)).wait().unwrap();
    let pages: Vec<_> =
        (0..3).map(|page| f.catalog.block_values(document, page).wait().unwrap()).collect();
    let expected: Vec<_> = (0..count).map(|index| value(byte(index))).collect();
    let (first, second) = expected.split_at(usize::try_from(BLOCKS_PER_PAGE).unwrap());
    assert_eq!(pages, [Some(first.to_vec()), Some(second.to_vec()), None]);
    assert_eq!(f.catalog.blocks(document).wait().unwrap(), []);
    f.catalog.lose(document, "gone", at(40)).wait().unwrap();
    assert_eq!(f.catalog.block_values(document, 0).wait().unwrap(), None);
}

#[test]
fn values_that_are_not_all_known_are_not_kept_and_can_be_found_later() {
    let f = Fixture::new();
    let document = f.create("a", 3 * MIB);
    let some = checkpoint(document, MIB, vec![block(0, 1), block(2, 3)]);
    f.catalog.checkpoint(vec![some]).wait().unwrap();
    f.begin(document).unwrap();
    f.catalog.complete_publish(document, None, at(30)).wait().unwrap();
    assert_eq!(f.catalog.block_values(document, 0).wait().unwrap(), None);
    let values = vec![value(1), value(2), value(3)];
    f.catalog.keep_block_values(document, 0, values.clone()).wait().unwrap();
    assert_eq!(f.catalog.block_values(document, 0).wait().unwrap(), Some(values.clone()));
    // One that is small, one that is not completed, one that is not there.
    let (small, _) = f.complete("small", 5);
    assert_eq!(f.catalog.block_values(small, 0).wait().unwrap(), None);
    let uploading = f.create("b", 3 * MIB);
    for other in [uploading, id(99)] {
        f.catalog.keep_block_values(other, 0, values.clone()).wait().unwrap();
        assert_eq!(f.catalog.block_values(other, 0).wait().unwrap(), None);
    }
}
