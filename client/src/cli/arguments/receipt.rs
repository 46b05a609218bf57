//! The arguments of `towline receipt`.

use super::AnswerArgs;
use crate::address::ServerAddress;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use towline_types::Fingerprint;

#[derive(Debug, Args)]
pub(in crate::cli) struct Receipt {
    #[command(subcommand)]
    pub(in crate::cli) command: ReceiptCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ReceiptCommand {
    /// Check receipts that `towline put --receipts` has kept; no server is needed
    #[command(
        display_name = "towline",
        after_help = "\
Examples:
  towline receipt verify deposit.jsonl                   by the keys of servers that you know
  towline receipt verify deposit.jsonl --fingerprint SHA256:...
  towline receipt verify deposit.jsonl --dir copies      and compare files with the receipts

Exit codes:
  0  all receipts are good
  1  a receipt is not readable or its key is not known, or a file is missing or differs
  2  the command line is wrong
  4  a signature is wrong: a receipt was changed or forged"
    )]
    Verify(VerifyReceipts),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyReceipts {
    /// The file of receipts
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    /// Accept receipts that are signed by this key; may be given several times [default: the keys of
    /// all servers that you have met]
    #[arg(long, value_name = "SHA256:...")]
    pub(in crate::cli) fingerprint: Vec<Fingerprint>,
    /// Accept receipts that are signed by the key that you know of this server; may be given several
    /// times
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(in crate::cli) to: Vec<ServerAddress>,
    /// Compare files in this local folder with the newest receipt of each: DIR/photos/a.jpg with the
    /// receipt of photos/a.jpg
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
    /// The folder on the server that DIR was put into (put --folder)
    #[arg(long, value_name = "A/B", requires = "dir")]
    pub(in crate::cli) folder: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

impl Receipt {
    pub(super) const fn answer(&self) -> AnswerArgs {
        match &self.command {
            ReceiptCommand::Verify(verify) => verify.answer,
        }
    }
}
