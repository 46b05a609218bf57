//! The sentences about how the upload of a file ended. Each names the file once, its size in units
//! for people, and where it is now.

use super::Detail;
use crate::events::{FetchSummary, Fetched, Receipt, Summary, UploadStatus};
use crate::text::printable;
use crate::text::shown;
use crate::units;
use crate::walk::NotKept;
use std::path::Path;
use std::time::Duration;
use towline_types::FileHash;

/// A rate that was measured over less time than this is not printed.
const RATE_WORTH_SAYING: Duration = Duration::from_millis(100);

/// The line about a file that the server has confirmed. `took` is how long the sending took, where
/// that is known.
pub(super) fn completed(receipt: &Receipt, took: Option<Duration>, detail: Detail) -> String {
    let size = units::size(receipt.filesize.get());
    let document = receipt.document_id;
    let hash = hash(receipt.blake3, detail);
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
            "{head}  {size}, not sent: the server already had the same bytes and copied them, \
             document {document}{hash}"
        );
    }
    let durable = if receipt.durable { "" } else { ", safe on the server's disk in a few seconds" };
    let sent = sending(receipt, took);
    format!("{head}  {size}{sent}, verified{durable}, document {document}{hash}")
}

/// The hash, where each file is told in detail.
fn hash(hash: FileHash, detail: Detail) -> String {
    match detail {
        Detail::EachFile => format!(", blake3 {hash}"),
        Detail::Errors | Detail::Usual => String::new(),
    }
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
        (true, 0) => format!("{path}: all of it has changed; sending {left}"),
        (true, _) => {
            let stays = units::part_of(held, whole);
            format!("{path}: {stays} are unchanged and are kept; sending {left}")
        }
        (false, 0) => return None,
        (false, _) if status.is_open => format!("{path}: resuming at {}", units::size(held)),
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

/// What a person can do to learn more, or to have fewer errors.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hints {
    /// The command has an option that leaves the refused files out.
    pub(super) can_skip: bool,
    /// Some files got another name that was not printed.
    pub(super) hides_names: bool,
}

/// The last line of a run of several files.
pub(super) fn summary(summary: &Summary, hints: Hints) -> String {
    let Summary { sent, copied, existing, skipped, refused, failed, paused, .. } = *summary;
    let mut text = format!("{sent} sent");
    if copied > 0 {
        text += &format!(", {copied} copied on the server without sending");
    }
    if summary.renamed > 0 {
        text += &format!(", {} of them under another name", summary.renamed);
        if hints.hides_names {
            text += " (--verbose shows the names)";
        }
    }
    if summary.made > 0 {
        text += &format!(", {} made", links_and_folders(summary.made));
    }
    text += &format!(", {existing} already there, {skipped} skipped");
    if summary.excluded > 0 {
        text += &format!(", {} left out by rules", summary.excluded);
    }
    if refused > 0 {
        text += &format!(", {refused} refused");
        if hints.can_skip {
            text += " (--skip-refused leaves them out)";
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
        text += &format!("; {safe} of the unfinished files are safe on the server");
    }
    if let Some(not_kept) = not_kept(summary.not_kept) {
        text += &format!("; not kept: {not_kept}");
    }
    text
}

/// The number of links and empty folders: no file brings them along.
pub(in crate::cli) fn links_and_folders(number: usize) -> String {
    match number {
        1 => "1 link or empty folder".to_owned(),
        _ => format!("{number} links and empty folders"),
    }
}

impl Detail {
    /// What a person is told of it. No server keeps the times of folders and links, so only a
    /// person who asks for everything is told of them.
    pub(in crate::cli) fn told(self, not_kept: NotKept) -> NotKept {
        match self {
            Self::EachFile => not_kept,
            Self::Errors | Self::Usual => not_kept.unusual(),
        }
    }
}

fn folders_and_links(number: u64) -> String {
    match number {
        1 => "1 folder or link".to_owned(),
        _ => format!("{number} folders and links"),
    }
}

/// What of the files, folders and links is not on the server; `None` where all of it is.
pub(in crate::cli) fn not_kept(not_kept: NotKept) -> Option<String> {
    let NotKept { owners, special_bits, hard_links, times } = not_kept;
    let of = |number: u64| match number {
        1 => "1 of them".to_owned(),
        _ => format!("{number} of them"),
    };
    let parts = [
        (owners, format!("the owner of {}", of(owners))),
        (special_bits, format!("the setuid, setgid or sticky bit of {}", of(special_bits))),
        (hard_links, format!("the hard links of {}, which are separate files now", of(hard_links))),
        (times, format!("the time of modification of {}", folders_and_links(times))),
    ];
    let told = parts.into_iter().filter(|(number, _)| *number > 0).map(|(_, words)| words);
    Some(told.collect::<Vec<_>>().join(", ")).filter(|words| !words.is_empty())
}

/// A file is here. `took` is how long its bytes took, where that is known.
pub(super) fn fetched(fetched: &Fetched, took: Option<Duration>, detail: Detail) -> String {
    let Fetched { path, document_id, filesize, blake3, existing } = fetched;
    let (path, size) = (shown(path), units::size(filesize.get()));
    let hash = hash(*blake3, detail);
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
    let made = match made {
        0 => String::new(),
        1 => ", 1 folder or link made".to_owned(),
        made => format!(", {made} folders and links made"),
    };
    let excluded = match summary.excluded {
        0 => String::new(),
        excluded => format!(", {excluded} left out by rules"),
    };
    format!(
        "{fetched} fetched, {existing} already there{made}, {skipped} skipped{excluded}, {failed} failed; {} in {took}",
        units::size(fetched_bytes)
    )
}

/// The line that is printed once a minute about a file whose length is not known yet.
pub(super) fn open_minute(path: &Path, part: u64, rate: Option<u64>) -> String {
    format!("{}: {}", shown(path), sent_so_far(part, rate))
}

/// How much of a file was sent whose length is not known yet.
pub(super) fn sent_so_far(part: u64, rate: Option<u64>) -> String {
    let rate = rate.map_or_else(String::new, |rate| format!(", {}", units::rate(rate)));
    format!("{} sent{rate}", units::size(part))
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
    use towline_types::{DocumentId, FileSize, Offset};

    fn receipt(path: &str, filename: &str) -> Receipt {
        let asked = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
        Receipt {
            signed: None,
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
        let text = completed(&receipt("/x/two.bin", "two.bin"), took, Detail::Usual);
        assert_eq!(text, "dup/two.bin  2.0 GiB in 47 s (43.3 MiB/s), verified, document 8");
        let text = completed(&receipt("/x/two.bin", "two.bin"), None, Detail::EachFile);
        assert!(text.contains("blake3 0000") && !text.contains(" in "), "{text}");
        let half = Receipt { sent_bytes: 1 << 30, ..receipt("/x/two.bin", "two.bin") };
        assert!(completed(&half, took, Detail::Usual).contains("1.0 GiB of it sent in 47 s"));
        let relaxed = Receipt { durable: false, ..receipt("/x/two.bin", "two.bin") };
        assert!(completed(&relaxed, took, Detail::Usual).contains("disk in a few seconds"));
    }

    #[test]
    fn what_is_there_is_said_with_its_place() {
        let there = Receipt { existing: true, sent_bytes: 0, ..receipt("/x/a.txt", "a.txt") };
        let text = completed(&there, None, Detail::Usual);
        assert!(text.starts_with("already there: dup/a.txt"), "{text}");
    }

    #[test]
    fn a_copy_is_said_not_to_have_been_sent() {
        let copied = Receipt { copied: true, sent_bytes: 0, ..receipt("/x/a.txt", "a.txt") };
        let text = completed(&copied, None, Detail::Usual);
        assert!(text.starts_with("dup/a.txt") && text.contains("not sent: the server"), "{text}");
    }

    #[test]
    fn another_name_than_the_one_asked_for_is_said() {
        let text = completed(&receipt("/x/a.txt", "a (1).txt"), None, Detail::Usual);
        assert!(text.contains("dup/a.txt exists; stored as \"a (1).txt\""), "{text}");
    }

    #[test]
    fn a_receipt_cannot_upset_a_terminal() {
        let mut bad = receipt("/x", "a\u{1b}[31m");
        bad.folder = vec!["b\n".to_owned()];
        for existing in [false, true] {
            bad.existing = existing;
            assert!(!completed(&bad, None, Detail::EachFile).chars().any(char::is_control));
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
            is_open: false,
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
        assert!(!text.contains("kept") && text.contains("sending 2.0 GiB"), "{text}");
    }

    #[test]
    fn a_summary_counts_everything() {
        let skipping = Hints { can_skip: true, hides_names: false };
        let all = Summary {
            sent: 661,
            existing: 28,
            sent_bytes: 9_646_899,
            milliseconds: 900,
            ..Summary::default()
        };
        assert_eq!(
            summary(&all, skipping),
            "661 sent, 28 already there, 0 skipped, 0 failed; 9.2 MiB in 0.9 s"
        );
        // The bytes that were sent of an unfinished file count as sent.
        let cut = Summary { sent: 0, paused: 1, safe_bytes: 5 << 20, ..all.clone() };
        let text = summary(&cut, skipping);
        assert!(text.contains("1 not finished; 9.2 MiB in 0.9 s; 5.0 MiB"), "{text}");
        assert!(text.ends_with("of the unfinished files are safe on the server"), "{text}");
        // The advice names only an option that the command has.
        let refused = Summary { refused: 2, ..all.clone() };
        assert!(summary(&refused, skipping).contains("2 refused (--skip-refused leaves"));
        assert!(summary(&refused, Hints::default()).contains("2 refused, 0 failed"));
        let renamed = Summary { renamed: 30, ..all };
        assert!(summary(&renamed, skipping).contains("661 sent, 30 of them under another name,"));
        assert!(
            summary(&renamed, Hints { hides_names: true, ..skipping })
                .contains("another name (--verbose shows the names), 28")
        );
    }
}
