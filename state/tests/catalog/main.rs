//! What the catalog promises, a file per behaviour, against real files.
#![allow(clippy::unwrap_used, reason = "tests say so by panicking")]

mod block_values;
mod bounded;
mod checkpoints;
mod cursors;
mod documents;
mod endings;
mod expired_trash;
mod fixture;
mod found;
mod groups;
mod histories;
mod inventory;
mod joins;
mod large_listing;
mod lengths;
mod log_checker;
mod looking;
mod lookups;
mod many_writers;
mod opening;
mod processes;
mod publishing;
mod quotas;
mod random_tree;
mod replacing;
mod scans;
mod storage_failure;
mod store;
mod tidying;
mod tokens;
mod tree;
mod unfinished;
mod users;
