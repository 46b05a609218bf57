//! What the catalog promises, a file per behaviour, against real files.
#![allow(clippy::unwrap_used, reason = "tests say so by panicking")]

mod bounded;
mod checkpoints;
mod documents;
mod endings;
mod fixture;
mod found;
mod groups;
mod inventory;
mod lengths;
mod looking;
mod lookups;
mod opening;
mod processes;
mod publishing;
mod storage_failure;
mod store;
mod unfinished;
mod users;
