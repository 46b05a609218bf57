//! The list of unfinished uploads, which outlives a run in the state file.

mod entry_fields;
mod found;
mod granted;
mod jobs;
mod list;
#[cfg(test)]
mod tests;
mod wanted;

pub use entry_fields::token_file;
pub(crate) use entry_fields::{is_not_there, proof, set_token_file};
pub use found::{Found, read};
pub(crate) use granted::Granted;
pub(crate) use jobs::covers;
pub(crate) use list::{BegunWith, Uploads};
pub(crate) use wanted::{Remembered, Wanted};
