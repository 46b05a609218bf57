//! How documents are scanned before they are given out: as typed on the command line, or as the
//! configuration file says.

use super::span::Span;
use super::usage_error::UsageError;
use crate::scanner::{BadClamdAddress, Clamd, ClamdAddress, CommandScanner};
use clap::Args;
use std::str::FromStr;
use std::sync::Arc;
use towline_engine::scanning::{Scanner, Scanning, Unscannable};

/// What can be said about it, on the command line and in the configuration file.
#[derive(Debug, Clone, Default, Args)]
pub struct ScanArgs {
    /// Let clamd scan each document before it is given out: unix:/PATH or tcp:HOST:PORT
    #[arg(long, value_name = "ADDRESS", conflicts_with = "scan_command")]
    pub scan_clamd: Option<ScanClamd>,
    /// Let this command scan each document before it is given out. It gets the bytes on standard
    /// input and exits with 0: clean, or 1: infected (the name on the first line of its output)
    #[arg(long, value_name = "COMMAND")]
    pub scan_command: Option<String>,
    /// What becomes of a document that cannot be scanned, as it is too large: it goes into the
    /// quarantine, it is not given out, or it is [default: fail]
    #[arg(long, value_name = "POLICY")]
    pub scan_unscannable: Option<UnscannablePolicy>,
    /// How long a scan may take, and a second more for each 10 MiB [default: 5m]
    #[arg(long, value_name = "TIME")]
    pub scan_timeout: Option<Span>,
}

/// The address of clamd, as it is typed.
#[derive(Debug, Clone)]
pub struct ScanClamd(ClamdAddress);

impl FromStr for ScanClamd {
    type Err = BadClamdAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What becomes of a document that cannot be scanned, as it is typed.
#[derive(Debug, Clone, Copy, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnscannablePolicy {
    /// It goes into the quarantine.
    Quarantine,
    /// It is not given out.
    Fail,
    /// It is given out.
    Allow,
}

impl From<UnscannablePolicy> for Unscannable {
    fn from(typed: UnscannablePolicy) -> Self {
        match typed {
            UnscannablePolicy::Quarantine => Self::Quarantine,
            UnscannablePolicy::Fail => Self::Fail,
            UnscannablePolicy::Allow => Self::Allow,
        }
    }
}

impl ScanArgs {
    /// Whether the scanner is a command: as typed, and else as the configuration file says.
    pub(super) fn is_command(&self, file: &Self) -> bool {
        let is_typed = self.scan_clamd.is_some() || self.scan_command.is_some();
        let named = if is_typed { self } else { file };
        named.scan_command.is_some()
    }

    /// What was typed, and else what the configuration file says; nothing where no scanner is named.
    ///
    /// # Errors
    /// Where two scanners are named, or settings of a scanner without one.
    pub(super) fn or(&self, file: Self) -> Result<Option<Scanning>, UsageError> {
        let is_typed = self.scan_clamd.is_some() || self.scan_command.is_some();
        let (clamd, command) = match is_typed {
            true => (self.scan_clamd.clone(), self.scan_command.clone()),
            false => (file.scan_clamd, file.scan_command),
        };
        let unscannable = self.scan_unscannable.or(file.scan_unscannable);
        let timeout = self.scan_timeout.or(file.scan_timeout);
        let scanner: Arc<dyn Scanner> = match (clamd, command) {
            (Some(ScanClamd(address)), None) => Arc::new(Clamd::at(address)),
            (None, Some(command)) if !command.trim().is_empty() => {
                Arc::new(CommandScanner::new(command))
            }
            (None, Some(_)) => {
                return Err(UsageError("scan_command: the command is empty".to_owned()));
            }
            (Some(_), Some(_)) => {
                let message = "scan_clamd and scan_command: name one scanner and not two";
                return Err(UsageError(message.to_owned()));
            }
            (None, None) if unscannable.is_some() || timeout.is_some() => {
                let message = "scan_unscannable and scan_timeout belong to a scanner: name it with \
                               scan_clamd or scan_command";
                return Err(UsageError(message.to_owned()));
            }
            (None, None) => return Ok(None),
        };
        let with = Scanning::with(scanner);
        Ok(Some(Scanning {
            unscannable: unscannable.map_or(with.unscannable, Unscannable::from),
            timeout: timeout.map_or(with.timeout, Span::duration),
            ..with
        }))
    }
}
