//! `towline receipt verify`: checks receipts, without a server.

mod lines;
mod local;
mod teller;
mod trusted;

use super::arguments::{Receipt, ReceiptCommand, VerifyReceipts};
use super::error::CliError;
use super::resolve;
use crate::exit::Exit;
use crate::receipts::verify;
use lines::{Lines, cannot_read};
use local::LocalFiles;
use teller::{Teller, Verdict};
use trusted::TrustedKeys;

pub(super) fn run(receipt: &Receipt) -> Result<Exit, CliError> {
    match &receipt.command {
        ReceiptCommand::Verify(verify) => run_verify(verify),
    }
}

fn run_verify(verify: &VerifyReceipts) -> Result<Exit, CliError> {
    let folder = resolve::folder(verify.folder.as_deref())?;
    let keys = TrustedKeys::chosen(verify)?;
    let files = match &verify.dir {
        Some(dir) => Some(LocalFiles::of(dir, folder, &keys, &verify.file)?),
        None => None,
    };
    let mut teller = Teller::new(verify.answer.style(), &keys);
    for line in Lines::of(&verify.file)? {
        let (number, line) = line.map_err(|error| cannot_read(&verify.file, &error))?;
        let receipt = match line {
            Ok(receipt) => receipt,
            Err(bad) => {
                teller.tell_bad_line(number, &bad);
                continue;
            }
        };
        let verdict = match self::verify(&receipt) {
            Err(bad) => Verdict::of(bad),
            Ok(key) if !keys.has(key) => Verdict::UnknownKey(key),
            Ok(_) => files.as_ref().map_or(Verdict::Good, |files| files.compared(&receipt)),
        };
        teller.tell(number, &receipt.statement, &verdict);
    }
    Ok(teller.end(&verify.file))
}
