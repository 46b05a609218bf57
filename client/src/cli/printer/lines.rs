//! The sentences about how the upload of a file ended. Each names the file once, its size in units
//! for people, and where it is now.

use crate::events::{FetchSummary, Fetched, Receipt, Summary, UploadStatus};
use crate::text::printable;
use crate::text::shown;
use crate::units;
use std::path::Path;
use std::time::Duration;

/// A rate that was measured over less time than this is not printed.
const RATE_WORTH_SAYING: Duration = Duration::from_millis(100);

/// The line about a file that the server has confirmed. `took` is how long the sending took, where
/// that is known.
pub(super) fn completed(receipt: &Receipt, took: Option<Duration>, verbose: bool) -> String {
    let size = units::size(receipt.filesize.get());
    let document = receipt.document_id;
    let hash = if verbose { format!(", blake3 {}", receipt.blake3) } else { String::new() };
    let place = place(&receipt.folder, &receipt.filename);
    if receipt.existing {
        return format!("already there: {place} ({size}, document {document}{hash})");
    }
    let wanted = renamed(receipt);
    let head = match &wanted {
        Some(wanted) => {
            let wanted = self::place(&receipt.folder, wanted);
            format!("{wanted} exists; stored as \"{}\"", printable(&receipt.filename))
        }
        None => place,
    };
    if receipt.copied {
        return format!(
            "{head}  {size}, stored without sending: the server had the same bytes, document \
             {document}{hash}"
        );
    }
    let durable = if receipt.durable { "" } else { ", on its way to the server's disk" };
    let sent = sending(receipt, took);
    format!("{head}  {size}{sent}, verified{durable}, document {document}{hash}")
}

/// ` in 47 s (45.1 MiB/s)`, or how much of the file this run has sent.
fn sending(receipt: &Receipt, took: Option<Duration>) -> String {
    let Some(took) = took else { return String::new() };
    let rate = u128::from(receipt.sent_bytes) * 1000 / took.as_millis().max(1);
    let rate = u64::try_from(rate).unwrap_or(u64::MAX);
    let rate = if took >= RATE_WORTH_SAYING && receipt.sent_bytes > 0 {
        format!(" ({})", units::rate(rate))
    } else {
        String::new()
    };
    let took = units::took(took);
    if receipt.sent_bytes < receipt.filesize.get() {
        format!(", {} of it sent in {took}{rate}", units::size(receipt.sent_bytes))
    } else {
        format!(" in {took}{rate}")
    }
}

/// The name that was asked for, where the file was stored under another name. A file that exists
/// already has the same name, perhaps with letters of another case.
pub(super) fn renamed(receipt: &Receipt) -> Option<String> {
    receipt.asked_filename.clone().filter(|_| !receipt.existing)
}

/// The sentence about an upload that is continued. `left_bytes` have yet to be sent. Nothing where
/// the server has no byte of the file: then the upload begins.
pub(super) fn resumed(status: &UploadStatus, left_bytes: u64, changed: bool) -> Option<String> {
    let path = shown(&status.path);
    let (held, whole) = (status.held_bytes, status.filesize.get());
    let left = units::size(left_bytes);
    Some(match (changed, held) {
        (true, 0) => format!("{path}: it was changed everywhere; sending {left}"),
        (true, _) => {
            let stays = units::part_of(held, whole);
            format!("{path}: {stays} are unchanged and stay; sending {left}")
        }
        (false, 0) => return None,
        (false, _) => format!("{path}: resuming at {}", units::share(held, whole)),
    })
}

/// The sentence about an upload that rests, and how a person continues it, unless one sentence says
/// that for several files.
pub(super) fn paused(status: &UploadStatus, how: &str) -> String {
    let share = units::share(status.safe_bytes, status.filesize.get());
    let how = if how.is_empty() { String::new() } else { format!("; {how}") };
    format!("{}: paused at {share}{how}", shown(&status.path))
}

/// The last line of a run of several files. `can_skip`: the command has an option that leaves the
/// refused files out. `hides_names`: some files got another name that was not printed.
pub(super) fn summary(summary: &Summary, can_skip: bool, hides_names: bool) -> String {
    let Summary { sent, copied, existing, skipped, refused, failed, paused, .. } = *summary;
    let mut text = format!("{sent} sent");
    if copied > 0 {
        text += &format!(", {copied} stored without sending");
    }
    if summary.renamed > 0 {
        text += &format!(", {} of them under another name", summary.renamed);
        if hides_names {
            text += " (--verbose names each)";
        }
    }
    text += &format!(", {existing} already there, {skipped} skipped");
    if summary.excluded > 0 {
        text += &format!(", {} left out by rules", summary.excluded);
    }
    if refused > 0 {
        text += &format!(", {refused} refused");
        if can_skip {
            text += " (--skip-refused leaves such files out)";
        }
    }
    text += &format!(", {failed} failed");
    if paused > 0 {
        text += &format!(", {paused} not finished");
    }
    let took = units::took(Duration::from_millis(summary.milliseconds));
    text += &format!("; {} in {took}", units::size(summary.sent_bytes));
    if summary.safe_bytes > 0 {
        let safe = units::size(summary.safe_bytes);
        text += &format!("; of what is not finished, {safe} are safe on the server");
    }
    text
}

/// A file is here. `took` is how long its bytes took, where that is known.
pub(super) fn fetched(fetched: &Fetched, took: Option<Duration>, verbose: bool) -> String {
    let Fetched { path, document_id, filesize, blake3, existing } = fetched;
    let (path, size) = (shown(path), units::size(filesize.get()));
    let hash = if verbose { format!(", blake3 {blake3}") } else { String::new() };
    if *existing {
        return format!("already there: {path} ({size}, document {document_id}{hash})");
    }
    let took = took.filter(|took| *took >= RATE_WORTH_SAYING);
    let took = took.map_or_else(String::new, |took| format!(" in {}", units::took(took)));
    format!("{path}  {size}{took}, verified, document {document_id}{hash}")
}

/// The last line of a run that fetches several things.
pub(super) fn fetch_summary(summary: &FetchSummary) -> String {
    let FetchSummary { fetched, existing, made, skipped, failed, fetched_bytes, .. } = *summary;
    let took = units::took(Duration::from_millis(summary.milliseconds));
    let made = if made > 0 { format!(", {made} folders and links made") } else { String::new() };
    format!(
        "{fetched} fetched, {existing} already there{made}, {skipped} skipped, {failed} failed; {} in {took}",
        units::size(fetched_bytes)
    )
}

/// The line that is printed once a minute where there is no terminal.
pub(super) fn minute(
    path: &Path,
    part: u64,
    whole: u64,
    rate: Option<u64>,
    left: Option<Duration>,
) -> String {
    let mut text = format!("{}: {}", shown(path), units::share(part, whole));
    if let Some(rate) = rate {
        text += &format!(", {}", units::rate(rate));
    }
    if let Some(left) = left {
        text += &format!(", {} left", units::clock(left));
    }
    text
}

fn place(folder: &[String], filename: &str) -> String {
    folder.iter().map(String::as_str).chain([filename]).map(printable).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_types::{DocumentId, FileHash, FileSize, Offset};

    fn receipt(path: &str, filename: &str) -> Receipt {
        let asked = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
        Receipt {
            path: path.into(),
            document_id: DocumentId::try_from(8).unwrap(),
            filename: filename.to_owned(),
            folder: vec!["dup".to_owned()],
            filesize: FileSize::try_from(2_147_483_648).unwrap(),
            blake3: FileHash::from_bytes([0; 32]),
            asked_filename: asked.filter(|asked| asked != filename),
            existing: false,
            copied: false,
            durable: true,
            sent_bytes: 2_147_483_648,
        }
    }

    #[test]
    fn a_receipt_is_one_short_line() {
        let took = Some(Duration::from_millis(47_300));
        let text = completed(&receipt("/x/two.bin", "two.bin"), took, false);
        assert_eq!(text, "dup/two.bin  2.0 GiB in 47 s (43.3 MiB/s), verified, document 8");
        let text = completed(&receipt("/x/two.bin", "two.bin"), None, true);
        assert!(text.contains("blake3 0000") && !text.contains(" in "), "{text}");
        let half = Receipt { sent_bytes: 1 << 30, ..receipt("/x/two.bin", "two.bin") };
        assert!(completed(&half, took, false).contains("1.0 GiB of it sent in 47 s"));
        let relaxed = Receipt { durable: false, ..receipt("/x/two.bin", "two.bin") };
        assert!(completed(&relaxed, took, false).contains("on its way to the server's disk"));
    }

    #[test]
    fn what_is_there_is_said_with_its_place() {
        let there = Receipt { existing: true, sent_bytes: 0, ..receipt("/x/a.txt", "a.txt") };
        let text = completed(&there, None, false);
        assert!(text.starts_with("already there: dup/a.txt"), "{text}");
    }

    #[test]
    fn a_copy_is_said_not_to_have_been_sent() {
        let copied = Receipt { copied: true, sent_bytes: 0, ..receipt("/x/a.txt", "a.txt") };
        let text = completed(&copied, None, false);
        assert!(text.starts_with("dup/a.txt") && text.contains("without sending"), "{text}");
    }

    #[test]
    fn another_name_than_the_one_asked_for_is_said() {
        let text = completed(&receipt("/x/a.txt", "a (1).txt"), None, false);
        assert!(text.contains("dup/a.txt exists; stored as \"a (1).txt\""), "{text}");
    }

    #[test]
    fn a_receipt_cannot_upset_a_terminal() {
        let mut bad = receipt("/x", "a\u{1b}[31m");
        bad.folder = vec!["b\n".to_owned()];
        for existing in [false, true] {
            bad.existing = existing;
            assert!(!completed(&bad, None, true).chars().any(char::is_control));
        }
    }

    #[test]
    fn the_sums_of_a_resumption_are_right() {
        let status = UploadStatus {
            path: "/x/two.bin".into(),
            document_id: DocumentId::MIN,
            filename: "two.bin".to_owned(),
            folder: Vec::new(),
            filesize: FileSize::try_from(2_147_483_648).unwrap(),
            received: Offset::try_from(38_017_979).unwrap(),
            durable: Offset::try_from(38_017_979).unwrap(),
            // The server also has a block beyond the first gap, which need not be sent.
            held_bytes: 38_017_979 + (1 << 20),
            safe_bytes: 38_017_979,
            sent_bytes: 0,
            progress: String::new(),
        };
        let left = 2_147_483_648 - status.held_bytes;
        let text = resumed(&status, left, false).unwrap();
        assert!(text.contains("resuming at 37.3 MiB of 2.0 GiB (1 %)"), "{text}");
        let text = paused(&status, "");
        assert!(text.contains("paused at 36.3 MiB of 2.0 GiB (1 %)"), "{text}");
        let half = UploadStatus { held_bytes: 1 << 30, ..status.clone() };
        let text = resumed(&half, 1 << 30, true).unwrap();
        assert!(text.contains("1.0 of 2.0 GiB are unchanged"), "{text}");
        assert!(text.contains("sending 1.0 GiB"), "{text}");
        // An upload that begins is not called resumed; and where every block differs, no block is
        // kept.
        let none = UploadStatus { held_bytes: 0, ..status };
        assert_eq!(resumed(&none, 2_147_483_648, false), None);
        let text = resumed(&none, 2_147_483_648, true).unwrap();
        assert!(!text.contains("stay") && text.contains("sending 2.0 GiB"), "{text}");
    }

    #[test]
    fn a_summary_counts_everything() {
        let all = Summary {
            sent: 661,
            existing: 28,
            sent_bytes: 9_646_899,
            milliseconds: 900,
            ..Summary::default()
        };
        assert_eq!(
            summary(&all, true, false),
            "661 sent, 28 already there, 0 skipped, 0 failed; 9.2 MiB in 0.9 s"
        );
        // The bytes that were sent of an unfinished file count as sent.
        let cut = Summary { sent: 0, paused: 1, safe_bytes: 5 << 20, ..all.clone() };
        let text = summary(&cut, true, false);
        assert!(text.contains("1 not finished; 9.2 MiB in 0.9 s; of what"), "{text}");
        assert!(text.ends_with("5.0 MiB are safe on the server"), "{text}");
        // The advice names only an option that the command has.
        let refused = Summary { refused: 2, ..all.clone() };
        assert!(summary(&refused, true, false).contains("2 refused (--skip-refused leaves"));
        assert!(summary(&refused, false, false).contains("2 refused, 0 failed"));
        let renamed = Summary { renamed: 30, ..all };
        assert!(
            summary(&renamed, true, false).contains("661 sent, 30 of them under another name,")
        );
        assert!(summary(&renamed, true, true).contains("another name (--verbose names each), 28"));
    }
}
