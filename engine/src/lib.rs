//! Towline without a transport: one store of documents, the uploads into it, and every rule
//! and promise about them.
//!
//! # How to write a door
//!
//! A door is what speaks a protocol (TCP, HTTP, …) with clients. It
//! 1. authenticates a user and takes the user's [`Account`] from the [`Engine`];
//! 2. where clients send one request and wait: asks the account, and writes to an
//!    [`UploadHandle`]; where they send many at a time: opens a [`Session`], gives it [`Command`]s,
//!    and tells its client what the [`Event`]s say;
//! 3. reads payload into [`BlockBuffer`]s of the [`BufferPool`], which bounds the memory of all
//!    clients together;
//! 4. maps each [`RejectionKind`] to a code of its protocol, in one exhaustive match;
//! 5. closes its sessions when its clients go.
//!
//! `examples/in_memory_door.rs` does all of it without a socket.
//!
//! # The way of the data
//!
//! [`Command`] → writer (`session`, `lane`, `writer`) → rules of an upload (`towline-upload`,
//! `active`) → [`storage`] (bytes) → catalog (promise: `checkpoint`, `publish`) → [`Event`].
//! Nothing here knows a protocol, and nothing here waits for a socket.

#![allow(rustdoc::private_intra_doc_links, reason = "the map of the modules is for their builders")]

mod account;
mod active;
mod background;
pub mod backup;
mod buffer;
mod checkpoint;
mod clock;
mod command;
mod config;
mod data_source;
mod end;
mod engine;
mod error;
mod event;
mod expiry;
mod failpoint;
mod file_hash;
pub mod identity;
mod lane;
pub mod log;
mod may_block;
mod origin;
mod presence;
mod publish;
mod receipt;
mod recovery;
mod rejection;
mod rights;
mod session;
mod shared;
mod state_copy;
pub mod storage;
pub mod units;
mod uploads;
pub mod verify;
mod writer;

pub use account::{Account, Begun, Completion, Content, UploadHandle};
pub use buffer::{BlockBuffer, BufferPool, UNITS, WHOLE_BYTES};
pub use clock::Clock;
pub use command::{
    BlockPages, Command, CompleteRequest, NewUpload, PAGE_BLOCKS, Query, RejectedRequest,
    RequestEnd, ResumeRequest, WHOLE_BYTES_MAX, WholeUpload,
};
pub use config::{Durability, EngineConfig, EngineLimits, EngineTimings};
pub use data_source::{DataSource, Pulled};
pub use engine::{Engine, OpenError, ShutdownError};
pub use event::{
    Answer, Event, EventKind, EventReceiver, Found, Grant, GrantedBy, PageHold, Position, Status,
    Tag,
};
pub use origin::Origin;
pub use receipt::Receipt;
pub use rejection::{Rejection, RejectionKind};
pub use session::{Admitted, Client, Closed, REQUESTS_MAX, Session};
pub use towline_upload::{BlockOrder, Integrity, Length, Phase, SendingMode};
