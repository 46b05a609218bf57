//! Golden frames: every kind and every action, both ways. The bytes are in the `.hex` files
//! beside this one; the modules say what they mean. A change here is a change of the protocol,
//! and of `SPEC.md` with it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop where a test may")]

mod binary;
mod changes;
mod download_url;
mod file;
mod receipts;
mod refused;
mod replies;
mod requests;
mod tree;
mod values;
