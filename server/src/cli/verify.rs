//! `towlined verify`: what was typed, and what a person or a program is told.

use super::output::{Events, NOT_WRITTEN, printable};
use super::store::StoreArgs;
use anyhow::{Context as _, bail};
use bytesize::ByteSize;
use clap::Args;
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use towline_engine::storage::FolderError;
use towline_engine::verify::{
    self, Content, Done, Finding, Seen, Subject, Summary, VerifyError, Wrong,
};

/// `towlined verify …`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Put right what can be put right without losing anything; the server must be
    /// stopped. Without this no file is changed, and the server may run
    #[arg(long)]
    repair: bool,
    /// One JSON object a line on standard output
    #[arg(long)]
    json: bool,
}

/// Says whether all is well.
pub(super) fn run(arguments: &VerifyArgs, store: &StoreArgs) -> anyhow::Result<bool> {
    let (mut out, mut events) = (io::stdout().lock(), Events::default());
    let folder = store.open()?;
    let mode = if arguments.repair { verify::Mode::Repair } else { verify::Mode::Look };
    let verified = verify::verify(folder.path(), mode, &mut |finding| {
        if arguments.json {
            events.print(&mut out, "finding", fields(finding))
        } else {
            write!(out, "{}", Told(finding))
        }
    });
    let summary = match verified {
        Err(VerifyError::Folder(error @ FolderError::InUse { .. })) => {
            bail!(
                "{error}. A repair needs it for itself: stop the server first, or leave out \
                 --repair, for looking is possible at any time"
            );
        }
        verified => verified?,
    };
    if arguments.json {
        events.print(&mut out, "summary", closing(&summary)).context(NOT_WRITTEN)?;
    } else {
        write!(out, "{}", Closing(&summary, arguments.repair)).context(NOT_WRITTEN)?;
    }
    out.flush().context(NOT_WRITTEN)?;
    Ok(summary.findings == 0)
}

/// What a person reads of one finding.
struct Told<'a>(&'a Finding);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { path, subject, wrong, done } = self.0;
        let path = path.as_deref().map(printable);
        writeln!(f, "{:<11}{}", headline(wrong), path.as_deref().unwrap_or("(in the catalog)"))?;
        let seen = subject.as_ref().map_or(Seen::File, |subject| subject.seen);
        if let Some(Subject { document_id, owner, name, .. }) = subject {
            let name = name.as_deref().map(|name| format!("{name}, ")).unwrap_or_default();
            let seen = match seen {
                Seen::File => "",
                Seen::OlderVersion => ", an older version",
                Seen::Removed => ", in the trash",
            };
            writeln!(f, "  document {document_id} of {name}user {owner}{seen}")?;
        }
        match wrong {
            Wrong::Damaged { expected, found } => told_contents(f, expected, found)?,
            Wrong::Missing { deserted: true, .. } => {
                writeln!(
                    f,
                    "  the file is not there; its document is left as it is: perhaps a disk"
                )?;
                writeln!(f, "  is not mounted, or the whole folder was removed")?;
            }
            Wrong::Missing { replaced: false, .. } => writeln!(f, "  the file is not there")?,
            Wrong::Missing { replaced: true, .. } => {
                writeln!(
                    f,
                    "  the file is not there; something else has its name, or the name of"
                )?;
                writeln!(f, "  one of its folders")?;
            }
            Wrong::UploadDamaged { blocks } => {
                writeln!(
                    f,
                    "  an unfinished upload; what was received has changed on the disk{}",
                    Blocks(blocks)
                )?;
            }
            Wrong::UploadShort { promised, found_bytes } => {
                let found =
                    found_bytes.map_or_else(|| "no file".to_owned(), |n| format!("{n} bytes"));
                writeln!(
                    f,
                    "  an unfinished upload; {promised} bytes were promised, {found} found"
                )?;
                writeln!(
                    f,
                    "  the next start of the server gives it up; its owner sends it again"
                )?;
            }
            Wrong::Unreadable(why) => {
                writeln!(f, "  {}", why.escape_debug())?;
                writeln!(f, "  it may be whole: see to it that it can be read, and verify again")?;
            }
            Wrong::UnreadableRow(why) => {
                writeln!(f, "  {}", why.escape_debug())?;
                writeln!(f, "  row and file stay as they are until somebody has mended the row")?;
            }
            Wrong::NoDocument => {
                writeln!(f, "  no document has this file; it stays where it is, is never served")?;
                writeln!(f, "  and never written over")?;
            }
            Wrong::NoUpload => writeln!(f, "  no upload has this file")?,
        }
        match done {
            Done::Nothing => Ok(()),
            Done::Refused(why) => {
                writeln!(f, "  → not repaired: {}", why.escape_debug())?;
                writeln!(f, "    see to that, and repair again")
            }
            Done::Doubted => {
                writeln!(
                    f,
                    "  → the server does not call this file uploaded any more; its owner can"
                )?;
                writeln!(f, "    upload it again, under another name until it is repaired")
            }
            Done::SetAside(place) if seen != Seen::File => {
                writeln!(f, "  → moved to {}; its owner does", printable(place))?;
                writeln!(f, "    not see it any more")
            }
            Done::Failed if seen != Seen::File => {
                writeln!(f, "  → its owner does not see it any more")
            }
            Done::SetAside(place) => {
                writeln!(f, "  → moved to {}; the document counts as", printable(place))?;
                writeln!(f, "    failed, and can be uploaded again")
            }
            Done::Failed => {
                writeln!(f, "  → the document counts as failed, and can be uploaded again")
            }
            Done::Withdrawn => {
                writeln!(f, "  → its owner will be asked for these bytes again, the rest is kept")
            }
            Done::OutOfTheWay(place) => writeln!(f, "  → moved to {}", printable(place)),
        }
    }
}

fn headline(wrong: &Wrong) -> &'static str {
    match wrong {
        Wrong::Damaged { .. } | Wrong::UploadDamaged { .. } => "DAMAGED",
        Wrong::Missing { .. } => "MISSING",
        Wrong::UploadShort { .. } => "TOO SHORT",
        Wrong::Unreadable(_) | Wrong::UnreadableRow(_) => "UNREADABLE",
        Wrong::NoDocument | Wrong::NoUpload => "UNKNOWN",
    }
}

fn told_contents(f: &mut fmt::Formatter<'_>, expected: &Content, found: &Content) -> fmt::Result {
    if expected.filesize != found.filesize {
        return writeln!(
            f,
            "  it was {} bytes long and is {} bytes long",
            expected.filesize, found.filesize
        );
    }
    for (when, content) in [("was", expected), ("is", found)] {
        if let Some(blake3) = content.blake3 {
            writeln!(f, "  BLAKE3 {when:<3} {blake3}")?;
        }
    }
    Ok(())
}

/// Which blocks, as far as a person wants to know it.
struct Blocks<'a>(&'a [Range<u64>]);

impl fmt::Display for Blocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: u64 = self.0.iter().map(|range| range.end - range.start).sum();
        match (count, self.0.first()) {
            (0, _) | (_, None) => Ok(()),
            (1, Some(first)) => write!(f, "\n  (block {})", first.start),
            (_, Some(first)) => write!(f, "\n  ({count} blocks, the first is {})", first.start),
        }
    }
}

/// The last words, and what to do now.
struct Closing<'a>(&'a Summary, bool);

impl fmt::Display for Closing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(summary, repair) = self;
        let Summary { documents, uploads, bytes, took, findings, repairable, repaired } = summary;
        let many =
            |count: &u64, one, more| format!("{count} {}", if *count == 1 { one } else { more });
        let documents = many(documents, "document", "documents");
        let uploads = many(uploads, "unfinished upload", "unfinished uploads");
        let (bytes, seconds) = (ByteSize::b(*bytes), took.as_secs_f64());
        writeln!(f, "verified {documents} and {uploads}: {bytes} in {seconds:.1} s")?;
        if *findings == 0 {
            return writeln!(f, "all is well");
        }
        let found = many(findings, "finding", "findings");
        if *repair {
            return writeln!(f, "{found}, {repaired} dealt with; nothing was deleted");
        }
        writeln!(f, "{found}; no file was changed")?;
        if *repairable > 0 {
            writeln!(f, "With the server stopped, `towlined verify --repair` moves damaged files")?;
            writeln!(f, "aside and lets their owners send them again. It deletes nothing.")?;
        }
        Ok(())
    }
}

fn fields(finding: &Finding) -> Value {
    let Finding { path, subject, wrong, done } = finding;
    let mut fields = json!({ "kind": wrong.word() });
    let mut set = |key: &str, value: Value| fields[key] = value;
    set("path", json!(path.as_deref().map(Path::to_string_lossy)));
    set("document_id", json!(subject.as_ref().map(|subject| subject.document_id)));
    set("user_id", json!(subject.as_ref().map(|subject| subject.owner)));
    set("user", json!(subject.as_ref().and_then(|subject| subject.name.clone())));
    set(
        "seen",
        match subject.as_ref().map(|subject| subject.seen) {
            None | Some(Seen::File) => Value::Null,
            Some(Seen::OlderVersion) => json!("older_version"),
            Some(Seen::Removed) => json!("removed"),
        },
    );
    match wrong {
        Wrong::Damaged { expected, found } => {
            set("expected_filesize", json!(expected.filesize));
            set("found_filesize", json!(found.filesize));
            set("expected_blake3", json!(expected.blake3));
            set("found_blake3", json!(found.blake3));
        }
        Wrong::UploadDamaged { blocks } => {
            let pairs = blocks.iter().map(|range| [range.start, range.end - range.start]);
            set("blocks", json!(pairs.collect::<Vec<_>>()));
        }
        Wrong::UploadShort { promised, found_bytes } => {
            set("promised", json!(promised));
            set("found_filesize", json!(found_bytes));
        }
        Wrong::Unreadable(why) | Wrong::UnreadableRow(why) => set("message", json!(why)),
        Wrong::Missing { deserted, .. } => set("deserted", json!(deserted)),
        Wrong::NoDocument | Wrong::NoUpload => {}
    }
    let (done, moved_to) = match done {
        Done::Nothing => ("nothing", None),
        Done::Refused(why) => {
            set("refused", json!(why));
            ("refused", None)
        }
        Done::Doubted => ("doubted", None),
        Done::SetAside(place) => ("set_aside", Some(place)),
        Done::Failed => ("failed", None),
        Done::Withdrawn => ("withdrawn", None),
        Done::OutOfTheWay(place) => ("out_of_the_way", Some(place)),
    };
    set("done", json!(done));
    set("moved_to", json!(moved_to.map(|place| place.to_string_lossy())));
    fields
}

fn closing(summary: &Summary) -> Value {
    json!({
        "documents": summary.documents,
        "uploads": summary.uploads,
        "bytes": summary.bytes,
        "seconds": summary.took.as_secs_f64(),
        "findings": summary.findings,
        "repaired": summary.repaired,
    })
}
