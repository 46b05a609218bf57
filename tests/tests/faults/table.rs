//! Whether every test that `FAULTS.md` names is there.

use std::path::Path;

const BINARIES: [&str; 7] =
    ["behaviour", "commands", "corpora", "faults", "model", "network", "torture"];

/// The names in back quotes that begin with one of our binaries.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| name.split_once("::").is_some_and(|(binary, _)| BINARIES.contains(&binary)))
}

fn is_there(name: &str) -> bool {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut parts: Vec<&str> = name.split("::").collect();
    let test = parts.pop().expect("a name has parts");
    let file = match parts.len() {
        1 => tests.join(parts[0]).join("main.rs"),
        _ => tests.join(parts.join("/")).with_extension("rs"),
    };
    let Ok(text) = std::fs::read_to_string(file) else { return false };
    test == "*" || text.contains(&format!("fn {test}()"))
}

#[test]
fn names_only_tests_that_there_are() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("FAULTS.md");
    let text = std::fs::read_to_string(table).expect("FAULTS.md");
    let missing: Vec<&str> = named(&text).filter(|name| !is_there(name)).collect();
    assert!(named(&text).count() > 40, "the names are not recognised");
    assert!(missing.is_empty(), "{missing:#?}");
    for row in 1..=38 {
        assert!(text.contains(&format!("\n| {row} | ")), "row {row} is missing");
    }
}
