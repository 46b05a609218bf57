//! The whole comparison, at a size at which its figures mean nothing.

use std::path::Path;
use std::process::{Command, Output};

/// In the folder `target/`, which is on a disk where a comparison has to be.
fn compare(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline-bench"));
    command.args(["compare", "--quick", "--rounds", "1", "--size", "2MiB", "--files", "20"]);
    command.arg("--dir").arg(folder);
    command
        .arg("--markdown")
        .arg(folder.join("page.md"))
        .arg("--svg")
        .arg(folder.join("chart.svg"));
    command.args(arguments).output().expect("the program was built")
}

#[test]
fn table_page_and_chart_name_the_contenders() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = compare(folder.path(), &["--only", "floor,cp,towline durable", "--seed", "1"]);
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    if is_in_memory(&said) {
        return;
    }
    assert!(output.status.success(), "{said}");
    let page = std::fs::read_to_string(folder.path().join("page.md")).unwrap();
    let chart = std::fs::read_to_string(folder.path().join("chart.svg")).unwrap();
    for name in ["floor", "floor+sync", "floor+paced", "cp", "towline durable"] {
        for place in [&table, &page, &chart] {
            assert!(place.contains(name), "{name} is not in:\n{place}");
        }
    }
    for place in [&table, &page, &chart] {
        assert!(!place.contains("rsync") && !place.contains("ailed"), "{place}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(page.contains("seed 1") && page.contains("chart.svg"), "{page}");
    assert!(chart.starts_with("<svg") && chart.ends_with("</svg>\n"), "{chart}");
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "only page and chart are left");
}

#[test]
fn what_cannot_take_part_is_named_with_the_reason() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline-bench"));
    // Nothing is on this PATH, and no server of tus where else servers are.
    command.args([
        "compare",
        "--quick",
        "--size",
        "1MiB",
        "--section",
        "big",
        "--only",
        "tusd,floor",
    ]);
    command.arg("--dir").arg(folder.path());
    command.arg("--markdown").arg(folder.path().join("page.md"));
    command.arg("--svg").arg(folder.path().join("chart.svg"));
    let output = command.env("PATH", folder.path()).output().unwrap();
    let said = text(&output.stderr);
    if is_in_memory(&said) {
        return;
    }
    assert!(output.status.success(), "{said}");
    assert!(text(&output.stdout).contains("skipped: tusd: "), "{}", text(&output.stdout));
    let page = std::fs::read_to_string(folder.path().join("page.md")).unwrap();
    assert!(page.contains("skipped: tusd: "), "{page}");
}

#[test]
fn a_section_that_is_none_is_refused() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = compare(folder.path(), &["--section", "huge"]);
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("there are big, small, get, many"), "{said}");
}

/// Each in its quick form, which takes a second or two.
#[test]
fn sections_of_towline_alone_say_what_was_found_and_what_should_be() {
    for (section, figures) in [
        ("many", &["all together / one", "slowest client / median client", "VmHWM"][..]),
        ("idle", &["each connection", "beside / alone"]),
        ("resume", &["live: granted", "restarted: first byte", "read back"]),
        ("sizes", &["16 MiB: by the clock", "server's CPU", "plain file"]),
        ("weak", &["connections", "the least that one was good for"]),
    ] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let output = compare(folder.path(), &["--section", section]);
        let (table, said) = (text(&output.stdout), text(&output.stderr));
        if is_in_memory(&said) {
            return;
        }
        assert!(output.status.success(), "{said}");
        let page = std::fs::read_to_string(folder.path().join("page.md")).unwrap();
        for figure in figures {
            assert!(table.contains(figure) && page.contains(figure), "no {figure} in:\n{table}");
        }
        assert!(table.contains("all of it took") && !table.contains("FAILED"), "{table}");
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        let chart = std::fs::read_to_string(folder.path().join("chart.svg")).unwrap();
        assert_eq!(chart.contains("<polyline"), section == "sizes", "{chart}");
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2, "only page and chart are left");
    }
}

#[test]
fn calls_are_counted_where_strace_is_there_and_skipped_where_not() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = compare(folder.path(), &["--section", "counters"]);
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    if is_in_memory(&said) {
        return;
    }
    assert!(output.status.success(), "{said}");
    let is_skipped = table.contains("skipped: strace is not on PATH");
    assert!(is_skipped || table.contains("20 files: catalog transactions"), "{table}");
}

/// Whether nothing can be compared in `target/`; says so aloud.
fn is_in_memory(said: &str) -> bool {
    let is_in_memory = said.contains("is in memory");
    if is_in_memory {
        eprintln!("skipped: {said}");
    }
    is_in_memory
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
