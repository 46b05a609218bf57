//! Checks that every test that `FAULTS.md` names exists.

use towline_tests::named_tests::{document, missing, named};

#[test]
fn names_only_tests_that_there_are() {
    let text = document("FAULTS.md");
    assert!(named(&text).count() > 40, "the names are not recognised");
    let missing = missing(&text);
    assert!(missing.is_empty(), "{missing:#?}");
    for row in 1..=38 {
        assert!(text.contains(&format!("\n| {row} | ")), "row {row} is missing");
    }
}
