//! What is told of each receipt, and at the end.

use super::lines::NoReceipt;
use super::trusted::TrustedKeys;
use crate::cli::error::{CliError, Reader};
use crate::cli::json;
use crate::cli::nodes::{minute, time};
use crate::cli::output::line;
use crate::cli::printer::OutputStyle;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::public_key::fingerprint;
use crate::receipts::{BadLine, BadReceipt, Statement};
use crate::text::{printable, shown};
use crate::units;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use towline_protocol::receipt::FORMAT;
use towline_types::Fingerprint;

/// What was found about a receipt.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Signature and key are good.
    Good,
    /// The same, and the local file is the one of the receipt.
    Same,
    /// The receipt is good, and another receipt is about a newer version of the file.
    Replaced,
    /// The receipt is good, and its file does not lie in the folder that is compared.
    Elsewhere,
    /// The receipt is good, and the local file is another one.
    Differs,
    /// The receipt is good, and there is no local file.
    Missing,
    /// The receipt is good, and the local file could not be read.
    NotCompared(PathBuf, Failure),
    /// The signature is good, and the key is not trusted.
    UnknownKey(Fingerprint),
    /// This version cannot check the receipt.
    NotChecked(BadReceipt),
    WrongSignature,
}

impl Verdict {
    pub(super) fn of(bad: BadReceipt) -> Self {
        match bad {
            BadReceipt::WrongSignature => Self::WrongSignature,
            other => Self::NotChecked(other),
        }
    }

    /// The word for it in the output for programs.
    const fn word(&self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Same => "same",
            Self::Replaced => "replaced",
            Self::Elsewhere => "elsewhere",
            Self::Differs => "differs",
            Self::Missing => "missing",
            Self::NotCompared(..) => "not_compared",
            Self::UnknownKey(_) => "unknown_key",
            Self::NotChecked(_) => "not_checked",
            Self::WrongSignature => "wrong_signature",
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Good | Self::Same | Self::Replaced | Self::Elsewhere => Exit::Done,
            Self::NotCompared(_, failure) => failure.exit(),
            Self::Differs | Self::Missing | Self::UnknownKey(_) | Self::NotChecked(_) => {
                Exit::Refused
            }
            Self::WrongSignature => Exit::Integrity,
        }
    }

    /// Why the receipt does not count, in words.
    fn trouble(&self) -> Option<String> {
        Some(match self {
            Self::Good | Self::Same | Self::Replaced | Self::Elsewhere => return None,
            Self::Differs => "the file here is another one".to_owned(),
            Self::Missing => "the file is not here".to_owned(),
            Self::NotCompared(path, failure) => format!("{}: {failure}", shown(path)),
            Self::UnknownKey(key) => {
                format!("the signature is good, and the key {key} is not known")
            }
            Self::NotChecked(bad) => bad.to_string(),
            Self::WrongSignature => {
                "THE SIGNATURE IS WRONG: the receipt was changed, or is forged".to_owned()
            }
        })
    }
}

#[derive(Serialize)]
struct Told<'a> {
    line: u64,
    verdict: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten)]
    said: Option<Said<'a>>,
}

/// What the receipt says.
#[derive(Serialize)]
struct Said<'a> {
    path: String,
    document_id: u64,
    filesize: u64,
    blake3: String,
    created_at: u64,
    signed_at: u64,
    durable: bool,
    server_id: String,
    user_id: u64,
    user: &'a str,
    key: String,
}

#[derive(Serialize)]
struct Sums {
    good: usize,
    wrong_signature: usize,
    unknown_key: usize,
    unreadable: usize,
    differs: usize,
    missing: usize,
    exit: u8,
}

/// See the module's description.
pub(super) struct Teller<'a> {
    reader: Reader,
    keys: &'a TrustedKeys,
    sums: Sums,
    exit: Exit,
    /// The keys that have signed receipts and are not trusted.
    unknown: BTreeSet<Fingerprint>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(style: OutputStyle, keys: &'a TrustedKeys) -> Self {
        let sums = Sums {
            good: 0,
            wrong_signature: 0,
            unknown_key: 0,
            unreadable: 0,
            differs: 0,
            missing: 0,
            exit: 0,
        };
        Self { reader: style.reader, keys, sums, exit: Exit::Done, unknown: BTreeSet::new() }
    }

    /// A line that is no receipt.
    pub(super) fn tell_bad_line(&mut self, number: u64, bad: &NoReceipt) {
        self.sums.unreadable += 1;
        self.exit = self.exit.max(Exit::Refused);
        let (verdict, reason) = match bad {
            NoReceipt::Bad(BadLine::Newer(format)) => (
                "newer",
                format!(
                    "it has the format {format}, and this version reads {FORMAT}: update towline"
                ),
            ),
            NoReceipt::Bad(BadLine::Unreadable(error)) => {
                ("unreadable", format!("it is no receipt: {}", printable(&error.to_string())))
            }
            NoReceipt::Torn => (
                "torn",
                "the file ends inside of it, as after a crash; `towline put --receipts` with the \
                 same files adds it again"
                    .to_owned(),
            ),
            NoReceipt::TooLong => ("unreadable", "it is longer than any receipt".to_owned()),
        };
        if self.reader == Reader::Program {
            let told = Told { line: number, verdict, reason: Some(reason), said: None };
            return json::event("receipt", &told);
        }
        line(&format!("line {number}: {reason}"));
    }

    pub(super) fn tell(&mut self, number: u64, statement: &Statement, verdict: &Verdict) {
        self.exit = self.exit.max(verdict.exit());
        let counter = match verdict {
            Verdict::WrongSignature => &mut self.sums.wrong_signature,
            Verdict::UnknownKey(key) => {
                self.unknown.insert(*key);
                &mut self.sums.unknown_key
            }
            Verdict::NotChecked(_) => &mut self.sums.unreadable,
            Verdict::Differs => &mut self.sums.differs,
            Verdict::Missing | Verdict::NotCompared(..) => &mut self.sums.missing,
            Verdict::Good | Verdict::Same | Verdict::Replaced | Verdict::Elsewhere => {
                &mut self.sums.good
            }
        };
        *counter += 1;
        let key = fingerprint(&statement.public_key.0);
        let names = statement.folder.iter().chain([&statement.filename]);
        let path = names.map(String::as_str).collect::<Vec<_>>().join("/");
        if self.reader == Reader::Program {
            let said = Said {
                path,
                document_id: statement.document_id.get(),
                filesize: statement.filesize.get(),
                blake3: statement.blake3.to_string(),
                created_at: statement.created_at.get(),
                signed_at: statement.signed_at.get(),
                durable: statement.durable,
                server_id: statement.server_id.to_string(),
                user_id: statement.user_id.get(),
                user: &statement.user,
                key: key.to_string(),
            };
            let (verdict, reason) = (verdict.word(), verdict.trouble());
            let told = Told { line: number, verdict, reason, said: Some(said) };
            return json::event("receipt", &told);
        }
        let path = printable(&path);
        if let Some(trouble) = verdict.trouble() {
            return line(&format!("line {number}: {path}: {trouble}"));
        }
        let also = match verdict {
            Verdict::Same => "; the file here is the same",
            Verdict::Replaced => "; of an earlier version",
            Verdict::Elsewhere => "; not compared",
            _ => "",
        };
        let relaxed = if statement.durable { "" } else { ", not yet safe from a power cut" };
        line(&format!(
            "{path}: good; {}, received {}{relaxed}, for {}, signed by {}{also}",
            units::size(statement.filesize.get()),
            minute(Some(time(statement.created_at))),
            printable(&statement.user),
            printable(self.keys.name_of(key).unwrap_or_default()),
        ));
    }

    /// Prints the result.
    pub(super) fn end(self, file: &Path) -> Exit {
        let Self { reader, mut sums, mut exit, unknown, .. } = self;
        let Sums { good, wrong_signature, unknown_key, unreadable, differs, missing, .. } = sums;
        let all = good + wrong_signature + unknown_key + unreadable + differs + missing;
        if all == 0 {
            exit = exit.max(Exit::Refused);
            let message = format!("{}: there is no receipt in it", shown(file));
            CliError::new(Exit::Refused, message).report(Some(file), reader);
        }
        if let Some(key) = unknown.first() {
            let message = match unknown.len() {
                1 => format!("the key {key} is not that of a server that you know"),
                more => {
                    format!("{more} keys are not those of servers that you know, such as {key}")
                }
            };
            let error = CliError::new(Exit::Refused, message).advising(
                "if you have the key from its server (it prints its key when it starts), add \
                 --fingerprint and the key; else the receipts prove nothing: anyone can make a key",
            );
            error.report(None, reader);
        }
        if reader == Reader::Program {
            sums.exit = exit.code();
            json::event("summary", &sums);
            return exit;
        }
        let mut text = format!("{} of {} good", good, units::count(all, "receipt"));
        for (count, what) in [
            (wrong_signature, "with a wrong signature"),
            (unknown_key, "by an unknown key"),
            (unreadable, "not readable"),
            (differs, "of other files than those here"),
            (missing, "of files that are not here"),
        ] {
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        line(&text);
        exit
    }
}
