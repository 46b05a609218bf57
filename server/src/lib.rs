//! The Towline server: `towlined` and what is behind it, for embedding.
//!
//! Data flows one way: socket → frame ([`tcp::frame_reader`]) → door ([`tcp::session`])
//! → command ([`session`]) → upload rules ([`channel`], [`live`]) → [`storage`] (bytes) →
//! catalog (promise, [`checkpoint`] and [`publish`]) → event → reply ([`tcp::translate`]).

#![allow(rustdoc::private_intra_doc_links, reason = "the map of the rooms is for their builders")]

mod access;
mod backlog;
mod backup;
mod calendar;
mod channel;
mod checkpoint;
pub mod cli;
mod clock;
mod command;
mod config;
mod data_source;
mod event;
mod expiry;
mod failpoint;
mod failure;
mod file_hash;
mod identity;
mod lane;
mod listener;
mod live;
mod log;
mod mirror;
mod moving;
mod newborn;
mod origin;
mod pool;
mod presence;
mod publish;
mod recovery;
mod registry;
mod rejection;
mod rights;
mod run;
mod service;
mod session;
mod settling;
mod socket;
pub mod storage;
mod tcp;
pub mod token;
mod units;
mod user_numbers;
mod verify;

pub use clock::Clock;
pub use config::{Config, Durability, Limits, Timings};
pub use identity::{IdentityError, Mismatch};
pub use log::LogFormat;
pub use run::{RunError, Server, run};
