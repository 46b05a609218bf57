//! Scanners of the engine that are programs of their own: clamd, and any command.

mod clamd;
mod command;

pub use clamd::BadClamdAddress;
pub(crate) use clamd::{Clamd, ClamdAddress};
pub(crate) use command::CommandScanner;
