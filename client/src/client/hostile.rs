//! Servers that make trouble, and what the client does about it.

mod answers;
mod batches;
mod copies;
mod pauses;
mod retries;
mod rogue;
