//! Which lines a person sees at which moment.

use super::*;
use towline_types::{DocumentId, FileSize, Offset};

const MIB: u64 = 1 << 20;

fn status(name: &str, received: u64, filesize: u64) -> UploadStatus {
    UploadStatus {
        path: format!("/x/{name}").into(),
        document_id: DocumentId::MIN,
        filename: name.to_owned(),
        folder: Vec::new(),
        filesize: FileSize::try_from(filesize).unwrap(),
        is_open: false,
        received: Offset::try_from(received).unwrap(),
        durable: Offset::ZERO,
        held_bytes: received,
        safe_bytes: 0,
        sent_bytes: 0,
        progress: String::new(),
    }
}

fn known(files: u64, bytes: u64) -> Vec<Arc<FoundFiles>> {
    vec![Arc::new(FoundFiles::known(files, bytes))]
}

fn after(begin: Instant, seconds: u64) -> Instant {
    begin + Duration::from_secs(seconds)
}

#[test]
fn a_stall_keeps_name_and_percent_and_so_does_a_lost_connection() {
    let begin = Instant::now();
    let mut screen = Screen::new(Viewer::Terminal, begin);
    screen.begin(&status("two.bin", 0, 100 * MIB), begin);
    screen.advance(&status("two.bin", 58 * MIB, 100 * MIB), after(begin, 1));
    let at = |screen: &Screen, seconds| screen.lines(79, after(begin, seconds)).join("\n");
    assert!(at(&screen, 2).contains("MiB/s"), "{}", at(&screen, 2));
    let text = at(&screen, 13);
    for part in ["two.bin", "stalled for 12 s at 58%", "Ctrl-C"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("MiB/s"), "{text}");
    screen.wait(Path::new("/x/two.bin"), "no connection; trying again");
    let text = at(&screen, 14);
    for part in ["two.bin", "58%", "no connection"] {
        assert!(text.contains(part), "{text}");
    }
    // The connection is back: the bytes that the server had before do not count for the rate.
    screen.begin(&status("two.bin", 58 * MIB, 100 * MIB), after(begin, 20));
    screen.advance(&status("two.bin", 59 * MIB, 100 * MIB), after(begin, 21));
    assert!(at(&screen, 21).contains("1.0 MiB/s"), "{}", at(&screen, 21));
}

#[test]
fn a_file_that_waits_says_why_before_it_begins_and_behind_others() {
    let begin = Instant::now();
    let mut screen = Screen::new(Viewer::Terminal, begin);
    let at = |screen: &Screen, seconds| screen.lines(79, after(begin, seconds)).join("\n");
    screen.listen(begin);
    assert_eq!(at(&screen, 1), "");
    assert!(at(&screen, 2).contains("waiting for the server"), "{}", at(&screen, 2));
    screen.heard();
    screen.wait(Path::new("/x/a"), "connection refused");
    let text = at(&screen, 3);
    assert!(text.starts_with("a  connection refused; Ctrl-C"), "{text}");
    let minute = screen.minute(after(begin, 11)).unwrap();
    assert_eq!(minute, "/x/a: connection refused");
    // The comparison is over when the file waits.
    screen.check(Deed::Compares, Path::new("/x/a"), 100, 100, begin);
    screen.wait(Path::new("/x/a"), "connection refused");
    assert!(!at(&screen, 3).contains("comparing"), "{}", at(&screen, 3));
    screen.begin(&status("a", 0, MIB), begin);
    assert!(!at(&screen, 1).contains("refused"), "{}", at(&screen, 1));
    // The file goes behind another one, and its reason stays visible.
    screen.wait(Path::new("/x/a"), "its disk is busy");
    screen.wait(Path::new("/x/c"), "its disk is full");
    screen.begin(&status("b", 0, MIB), begin);
    screen.wait(Path::new("/x/a"), "its disk is busy");
    let lines = screen.lines(79, begin);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("b ") && lines[1].contains("busy; 1 other"), "{lines:?}");
    screen.end(Some(Path::new("/x/a")), begin);
    screen.end(Some(Path::new("/x/b")), begin);
    assert!(at(&screen, 0).starts_with("c  its disk is full"), "{}", at(&screen, 0));
    screen.close();
    assert_eq!(at(&screen, 9), "");
}

#[test]
fn what_is_compared_or_waits_does_not_stall() {
    let begin = Instant::now();
    let mut screen = Screen::new(Viewer::Terminal, begin);
    screen.expect(known(3, 40 * MIB), begin);
    let last = |screen: &Screen| screen.lines(79, after(begin, 9)).pop().unwrap();
    assert!(last(&screen).contains("stalled"), "{}", last(&screen));
    screen.check(Deed::Compares, Path::new("/x/a"), 100, 0, begin);
    assert!(!last(&screen).contains("stalled"), "{}", last(&screen));
    screen.wait(Path::new("/x/a"), "no connection");
    assert!(!last(&screen).contains("stalled"), "{}", last(&screen));
}

#[test]
fn a_job_of_many_files_has_a_line_a_minute_without_a_terminal() {
    let begin = Instant::now();
    let mut screen = Screen::new(Viewer::Log, begin);
    screen.expect(known(300, 300 * MIB), begin);
    let mut said = Vec::new();
    for second in 1..=130 {
        let now = after(begin, second);
        screen.begin(&status("x", 0, MIB), now);
        screen.end(Some(Path::new("/x/x")), now);
        screen.count(MIB, MIB, now);
        said.extend(screen.minute(now));
    }
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("10 of 300 files, 10.0 of 300 MiB"), "{said:?}");
    assert!(said[1].starts_with("70 of 300 files, 70.0 of 300 MiB"), "{said:?}");
}

#[test]
fn a_job_has_a_line_of_its_own() {
    let begin = Instant::now();
    let mut screen = Screen::new(Viewer::Terminal, begin);
    screen.expect(known(3, 40 * MIB), begin);
    screen.count(10 * MIB, 10 * MIB, after(begin, 1));
    screen.begin(&status("b", 0, 20 * MIB), after(begin, 1));
    screen.advance(&status("b", 10 * MIB, 20 * MIB), after(begin, 2));
    let lines = screen.lines(79, after(begin, 2));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[1], "1 of 3 files, 20.0 of 40.0 MiB, 0:02 left");
    // Small files have no line of their own, so this line says that no byte arrives.
    screen.end(None, after(begin, 2));
    screen.count(20 * MIB, 0, after(begin, 2));
    let lines = screen.lines(79, after(begin, 6));
    assert_eq!(lines, ["2 of 3 files, 30.0 of 40.0 MiB, stalled for 4 s (Ctrl-C pauses)"]);
}

#[test]
fn a_long_list_without_a_file_shows_how_long_it_is() {
    let begin = Instant::now();
    let found = Arc::new(FoundFiles::default());
    for viewer in [Viewer::Terminal, Viewer::Log] {
        let mut screen = Screen::new(viewer, begin);
        screen.expect(vec![Arc::clone(&found)], begin);
        let mut shown = |seconds| match viewer {
            Viewer::Terminal => screen.lines(79, after(begin, seconds)).join("\n"),
            _ => screen.minute(after(begin, seconds)).unwrap_or_default(),
        };
        if viewer == Viewer::Terminal {
            assert_eq!(shown(61), "");
            (0..20_000).for_each(|_| found.is_listed());
        }
        assert!(shown(130).contains("20000 entries so far"), "{viewer:?}");
    }
    found.are_all();
    let mut screen = Screen::new(Viewer::Terminal, begin);
    screen.expect(vec![found], begin);
    assert!(screen.lines(79, begin).is_empty());
}

#[test]
fn comparing_has_a_bar_until_the_sending_begins() {
    let begin = Instant::now();
    let mut screen = Screen::new(Viewer::Terminal, begin);
    let path = Path::new("/x/two.bin");
    assert!(screen.check(Deed::Compares, path, 2048 * MIB, 0, begin), "it is new");
    assert!(!screen.check(Deed::Compares, path, 2048 * MIB, 512 * MIB, after(begin, 1)));
    let line = screen.lines(79, after(begin, 1)).join("\n");
    for part in ["comparing", " 25%", "0.5/2.0 GiB", "512 MiB/s", "0:03 left"] {
        assert!(line.contains(part), "{line}");
    }
    // The copy that follows the comparison is a new step, with a rate of its own.
    assert!(screen.check(Deed::Copies, path, 2048 * MIB, 0, after(begin, 2)));
    assert!(!screen.check(Deed::Copies, path, 2048 * MIB, MIB, after(begin, 3)));
    let line = screen.lines(79, after(begin, 3)).join("\n");
    assert!(line.starts_with("two.bin  the server copies it: 0%"), "{line}");
    for width in 36..120 {
        let line = screen.lines(width, after(begin, 3)).join("\n");
        assert!(line.starts_with("two.bin") && line.contains("0%"), "{line}");
    }
    screen.begin(&status("two.bin", 0, 2048 * MIB), after(begin, 4));
    let line = screen.lines(79, after(begin, 4)).join("\n");
    assert!(line.contains("two.bin") && !line.contains("comparing"), "{line}");
}

#[test]
fn a_comparison_counts_files_and_bytes_and_shows_a_file_that_takes_long() {
    let begin = Instant::now();
    let mut screen = Screen::new(Viewer::Terminal, begin);
    screen.compare(0, 0);
    assert_says(&at_each_width(&screen, begin), &["0 files compared, 0 bytes"]);
    screen.compare(1, 2048 * MIB);
    screen.check(Deed::Compares, Path::new("/x/two.bin"), 2048 * MIB, 0, begin);
    screen.check(Deed::Compares, Path::new("/x/two.bin"), 2048 * MIB, 512 * MIB, after(begin, 1));
    let lines = at_each_width(&screen, after(begin, 1));
    assert_says(&lines, &["25%", "1 file compared, 2.0 GiB"]);
    assert!(lines[2][0].starts_with("comparing two.bin"), "{lines:?}");
    assert_eq!(lines[1][1], "1 file compared, 2.0 GiB (Ctrl-C ends this)");
    screen.close();
    assert!(at_each_width(&screen, after(begin, 2)).iter().all(Vec::is_empty));

    let mut log = Screen::new(Viewer::Log, begin);
    log.compare(12_345, MIB);
    assert_eq!(log.minute(after(begin, 9)), None);
    assert_eq!(log.minute(after(begin, 10)).unwrap(), "12345 files compared, 1.0 MiB");
    assert_eq!(log.minute(after(begin, 69)), None);
    log.check(Deed::Compares, Path::new("/x/two.bin"), 100 * MIB, 50 * MIB, after(begin, 70));
    let text = log.minute(after(begin, 70)).unwrap();
    assert!(text.starts_with("comparing two.bin: 50.0 MiB of 100 MiB"), "{text}");
    assert!(text.ends_with("; 12345 files compared, 1.0 MiB"), "{text}");
}

#[test]
fn without_a_terminal_there_is_a_line_a_minute() {
    let begin = Instant::now();
    let mut screen = Screen::new(Viewer::Log, begin);
    screen.begin(&status("two.bin", 0, 100 * MIB), begin);
    let mut said = Vec::new();
    for second in 1..=180 {
        let received = (second * MIB / 2).min(40 * MIB);
        screen.advance(&status("two.bin", received, 100 * MIB), after(begin, second));
        said.extend(screen.minute(after(begin, second)));
    }
    assert_eq!(said.len(), 3, "{said:?}");
    for part in ["two.bin", "5.0 MiB of 100 MiB (5 %)", "512 KiB/s", "3:10 left"] {
        assert!(said[0].contains(part), "{said:?}");
    }
    assert!(said[1].contains("35.0 MiB of 100 MiB"), "{said:?}");
    assert!(said[2].contains("stalled for 50 s"), "{said:?}");
}

/// Terminals of these widths; three columns at the right edge stay free.
const WIDTHS: [usize; 4] = [40, 80, 120, 200];

/// The lines of a screen at each of the widths: none is wider, and none is cut.
fn at_each_width(screen: &Screen, now: Instant) -> Vec<Vec<String>> {
    let at = |width: usize| {
        let lines = screen.lines(width - 3, now);
        for line in &lines {
            assert!(console::measure_text_width(line) <= width - 3, "{width}: {line}");
        }
        lines
    };
    WIDTHS.into_iter().map(at).collect()
}

/// Each part stands in a line of each width.
fn assert_says(lines: &[Vec<String>], parts: &[&str]) {
    for (width, lines) in WIDTHS.iter().zip(lines) {
        for part in parts {
            assert!(lines.iter().any(|line| line.contains(part)), "{width}, {part}: {lines:?}");
        }
    }
}

/// What a person sees of a `put` of a folder, from its beginning to its end, and of a `get`: in a
/// narrow terminal the words become fewer, and the numbers stay.
#[test]
fn at_every_width_the_numbers_stay_and_nothing_wraps() {
    let begin = Instant::now();
    let mut screen = Screen::new(Viewer::Terminal, begin);
    let name = "a very long file name of a holiday film (final) [1080p].mkv";
    screen.listen(begin);
    assert_says(&at_each_width(&screen, after(begin, 3)), &["waiting for the server"]);
    screen.heard();
    // The folder is still being walked through.
    let found = Arc::new(FoundFiles::default());
    (0..12_345).for_each(|_| found.add(8 * MIB));
    screen.expect(vec![Arc::clone(&found)], begin);
    screen.begin(&status(name, 0, 1000 * MIB), begin);
    let lines = at_each_width(&screen, begin);
    assert_says(&lines, &["a very", "0%", "12345"]);
    assert!(lines[1][1].contains("of at least 12345 files"), "{lines:?}");
    found.are_all();
    for second in 1..=4 {
        let now = after(begin, second);
        screen.count(8 * MIB, 8 * MIB, now);
        screen.advance(&status(name, second * 100 * MIB, 1000 * MIB), now);
    }
    let lines = at_each_width(&screen, after(begin, 4));
    assert_says(&lines, &["40%", "100 MiB/s", "0:06 left", "12345 files", "15:"]);
    assert!(lines[1][1].starts_with("4 of 12345 files, 0.4 of 96.4 GiB"), "{lines:?}");
    // It stalls, loses the connection, and waits for the server.
    assert_says(&at_each_width(&screen, after(begin, 16)), &["stalled for 12 s at 40%"]);
    screen.wait(
        &status(name, 0, 0).path,
        "connection refused (attempt 3 failed; the next is in 2 s)",
    );
    let lines = at_each_width(&screen, after(begin, 17));
    assert_says(&lines, &["a very", "40%"]);
    assert!(lines[0][0].contains("no connection"), "{lines:?}");
    assert!(lines[3][0].contains("connection refused (attempt 3 failed"), "{lines:?}");
    screen.end(Some(&status(name, 0, 0).path), after(begin, 18));
    // Small files have no line of their own.
    screen.count(MIB, 0, after(begin, 18));
    let lines = at_each_width(&screen, after(begin, 25));
    assert_says(&lines, &["12345 files", "stalled for 7 s"]);
    screen.close();
    assert!(at_each_width(&screen, after(begin, 26)).iter().all(Vec::is_empty));

    // `get` shows a file in the same way.
    let mut screen = Screen::new(Viewer::Terminal, begin);
    screen.expect(known(3, 300 * MIB), begin);
    for second in 0..=3 {
        screen.follow(&status(name, second * 10 * MIB, 100 * MIB), after(begin, second));
    }
    let lines = at_each_width(&screen, after(begin, 3));
    assert_says(&lines, &["30%", "10.0 MiB/s", "0:07 left", "3 files"]);
}
