//! What the documents say about the project exists: links have a target, and the README names the
//! options of `towline put`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use towline_tests::process::{stdout, towline};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The anchors of a page: its headings in the form of the usual renderers.
fn anchors(page: &str) -> BTreeSet<String> {
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect::<String>()
    };
    page.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "ARCHITECTURE.md",
        "docs/client.md",
        "docs/json.md",
        "docs/operator.md",
        "state/FORMAT.md",
        "tests/FAULTS.md",
        "tests/fuzz/README.md",
    ];
    let mut seen = 0;
    for name in pages {
        let path = root().join(name);
        let page = read(&path);
        for link in page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{name}: {link}");
            assert!(
                anchor.is_empty() || anchors(&read(&target)).contains(anchor),
                "{name}: {link}: no such heading"
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} links");
}

/// The long options in a text.
fn options(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
    text.split("--")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| is_part(*c)).collect::<String>())
        .filter(|option| option.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}

#[tokio::test]
async fn readme_names_the_options_of_put() {
    let page = read(&root().join("README.md"));
    let (_, client) = page.split_once("\n## The client\n").unwrap();
    let block = client.split("```").nth(1).unwrap();
    let (put, _) = block.split_once("\ntowline resume").unwrap();
    let help = stdout(towline().args(["put", "--help"])).await;
    let lines: String = help
        .lines()
        .filter(|line| line.trim_start().starts_with('-'))
        .map(|line| line.trim_start().split("  ").next().unwrap().to_owned() + "\n")
        .collect();
    let mut has = options(&lines);
    has.retain(|option| option != "help" && option != "version");
    assert_eq!(options(put), has, "README and `towline put --help`");
}
