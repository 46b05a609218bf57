//! The Towline server: `towlined` and what is behind it, for embedding.
//!
//! It has the doors to a `towline_engine::Engine`: it authenticates users, moves bytes between
//! sockets and buffers, and translates between protocols and the engine's commands and events.
//! Data flows one way: socket → frame ([`tcp::frame_reader`]) → command
//! ([`tcp::translate`]) → engine → event → reply.

#![allow(rustdoc::private_intra_doc_links, reason = "the map of the rooms is for their builders")]

mod access;
mod audit;
pub mod cli;
mod config;
mod door;
mod http;
mod http_config;
mod json_line;
mod links;
mod listener;
mod listening;
mod log;
mod login_log;
mod operators_files;
mod own_addresses;
mod places;
mod run;
mod scanner;
mod secret_file;
mod shared;
mod socket;
mod status;
mod tcp;
mod tls;
pub mod token;
mod token_use;
mod user_numbers;

pub use audit::{AuditError, AuditFile};
pub use config::{Config, Timings};
pub use http_config::{
    AddressRange, AllowedOrigins, BadAddressRange, BadHttpUrl, BadOrigin, HttpConfig, HttpUrl,
    OriginArgument, PageOrigin, TrustedProxies,
};
pub use log::LogFormat;
pub use own_addresses::own_addresses;
pub use places::PlaceLimits;
pub use run::{Reloaded, Reloader, RunError, Server, run};
pub use tls::{TlsError, TlsFiles};
pub use token::TrustedProvider;
