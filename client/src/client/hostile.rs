//! Servers that break the protocol or do not advance, and what the client does about it.

mod answers;
mod batches;
mod copies;
mod folders;
mod listings;
mod pauses;
mod pipes;
#[cfg(unix)]
mod reads;
mod receipts;
mod retries;
mod rogue;
