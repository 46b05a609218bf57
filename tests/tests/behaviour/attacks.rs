//! Checks that every test that `ATTACKS.md` names exists, and that every row names one.

use towline_tests::named_tests::{document, missing, named};

#[test]
fn every_attack_names_a_test_that_exists() {
    let text = document("ATTACKS.md");
    let missing = missing(&text);
    assert!(missing.is_empty(), "{missing:#?}");
    let is_row = |line: &&str| {
        line.strip_prefix("| ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let rows: Vec<&str> = text.lines().filter(is_row).collect();
    assert!(rows.len() > 20, "the rows are not recognised: {rows:#?}");
    for (number, row) in (1..).zip(rows) {
        assert!(row.starts_with(&format!("| {number} | ")), "row {number} is not here: {row}");
        assert!(named(row).next().is_some(), "no test for it: {row}");
    }
}
