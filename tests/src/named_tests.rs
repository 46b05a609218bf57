//! The tests that a document names, and whether each of them exists: a document that names
//! a test which was renamed or removed promises something that no test checks.

use std::path::Path;

const BINARIES: [&str; 8] =
    ["behaviour", "commands", "corpora", "faults", "http", "model", "network", "torture"];

/// The names in back quotes that begin with the name of a test binary: `faults::table::*`.
pub fn named(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| name.split_once("::").is_some_and(|(binary, _)| BINARIES.contains(&binary)))
}

/// The names for which no test function is found.
#[must_use]
pub fn missing(text: &str) -> Vec<&str> {
    named(text).filter(|name| !exists(name)).collect()
}

fn exists(name: &str) -> bool {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut parts: Vec<&str> = name.split("::").collect();
    let Some(test) = parts.pop() else { return false };
    let file = match parts.len() {
        1 => tests.join(parts[0]).join("main.rs"),
        _ => tests.join(parts.join("/")).with_extension("rs"),
    };
    let Ok(text) = std::fs::read_to_string(file) else { return false };
    test == "*" || text.contains(&format!("fn {test}()"))
}

/// The text of a document in the folder of this package.
///
/// # Panics
/// Where there is no such file.
#[must_use]
pub fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).expect("the document is in the folder of the tests")
}
