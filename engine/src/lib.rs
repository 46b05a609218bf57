//! Towline without a transport: one store of documents, the uploads into it, and every rule
//! and promise about them. A door (TCP, HTTP, …) authenticates a user, opens a [`Session`],
//! gives it [`Command`]s and tells its client what the [`Event`]s say.
//!
//! Data flows one way: [`Command`] → writer ([`session`], `channel`) → rules of an upload
//! (`towline-upload`, `live`) → [`storage`] (bytes) → catalog (promise: `checkpoint`,
//! `publish`) → [`Event`]. Nothing here knows a protocol, and nothing here waits for a socket.

#![allow(rustdoc::private_intra_doc_links, reason = "the map of the rooms is for their builders")]

mod backlog;
pub mod backup;
mod buffer;
mod calendar;
mod channel;
mod checkpoint;
mod clock;
mod command;
mod config;
mod data_source;
mod engine;
mod event;
mod expiry;
mod failpoint;
mod failure;
mod file_hash;
pub mod identity;
mod lane;
mod live;
pub mod log;
mod mirror;
mod moving;
mod newborn;
mod origin;
mod presence;
mod publish;
mod receipt;
mod recovery;
mod registry;
mod rejection;
mod rights;
mod service;
mod session;
mod settling;
pub mod storage;
pub mod units;
pub mod verify;

pub use buffer::{BlockBuffer, BufferPool, UNITS, WHOLE_BYTES};
pub use clock::Clock;
pub use command::{
    Command, CompleteRequest, NewUpload, Query, RejectedRequest, ResumeRequest, WHOLE_BYTES_MAX,
    WholeUpload,
};
pub use config::{Durability, EngineConfig, EngineLimits, EngineTimings};
pub use data_source::{DataSource, Pulled};
pub use engine::{Engine, OpenError, ShutdownError};
pub use event::{
    Answer, Event, EventKind, EventReceiver, Found, Grant, GrantedBy, Position, Status, Tag,
};
pub use origin::Origin;
pub use receipt::Receipt;
pub use rejection::{Rejection, RejectionKind};
pub use session::{Admitted, Closed, REQUESTS_MAX, Session};
pub use towline_upload::{BlockOrder, Integrity, Phase, SendingMode};
