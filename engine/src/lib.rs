//! Towline without a transport: one store of documents, the uploads into it, and every rule
//! and promise about them.
//!
//! # How to write a door
//!
//! A door speaks a protocol (TCP, HTTP, …) with clients. It
//! 1. authenticates a user (the engine only knows whether a user [exists](Engine::user)) and takes
//!    the [`Account`] of the user from the [`Engine`], with an [`Origin`] for the log;
//! 2. for clients that send one request and wait for its answer: asks the account, and writes to an
//!    [`UploadHandle`]. A handle that is dropped pauses its upload, and
//!    [`resume`](Account::resume) continues it, so a door may keep the handle from request to
//!    request or take a new one for each;
//! 3. for clients that send many requests at a time: opens a [`Session`], gives it [`Command`]s,
//!    and tells its client what the [`Event`]s say;
//! 4. reads payload into [`BlockBuffer`]s of the [`BufferPool`], which bounds the memory of all
//!    clients together. It bounds the number of its connections itself;
//! 5. maps each [`RejectionKind`] to a code of its protocol, in one exhaustive match;
//! 6. at its end calls [`Engine::begin_shut_down`], closes its sessions and drops its handles, and
//!    then calls [`Engine::shut_down`].
//!
//! Functions whose description says that they block are called on a blocking thread. Paths, hashes
//! and numbers of documents are types of `towline-types`.
//!
//! `examples/in_memory_door.rs` does all of it without a socket, except for a [`Session`].
//!
//! # The way of the data
//!
//! [`Command`] → writer (`session`, `lane`, `writer`) → rules of an upload (`towline-upload`,
//! `active`) → [`storage`] (bytes) → catalog (promise: `checkpoint`, `publish`) → [`Event`].
//! Nothing here knows a protocol, and nothing here waits for a socket, except for a writer to which
//! a door has lent its socket as a [`DataSource`].
//!
//! # Words
//!
//! P1 to P7 in comments are the promises in the README: a comment names the promise that its code
//! keeps. The *catalog* is the database that says what was promised, and a *row* is its entry for
//! one document. The *rules* are the [`Upload`](towline_upload::Upload) of an upload: they decide,
//! and touch neither disk nor catalog. A *lease* is the right to write to an upload; a takeover
//! ends it. To *read back* is to read bytes from a staging file in order to hash them again.

#![allow(rustdoc::private_intra_doc_links, reason = "the map of the modules is for their builders")]

mod account;
mod active;
mod audit;
mod background;
pub mod backup;
mod buffer;
mod checkpoint;
pub mod cleanup;
mod clock;
mod command;
mod config;
mod content_type;
mod core_shares;
mod data_source;
mod end;
mod ended_uploads;
mod engine;
mod error;
mod event;
mod expiry;
mod failpoint;
mod history;
pub mod identity;
mod job_signal;
mod jobs;
mod lane;
mod large_reads;
pub mod log;
mod made_folders;
mod may_block;
pub mod metrics;
mod origin;
mod page_hold;
mod piece;
mod presence;
mod publish;
mod read_and_hash;
mod reading;
mod receipt;
mod recovery;
mod rejection;
pub mod restore;
pub mod scanning;
mod session;
mod shared;
mod shell_word;
mod standing;
mod state_file_copy;
pub mod storage;
pub mod strict_modes;
mod tidying;
mod tree;
pub mod units;
mod uploads;
pub mod verify;
mod writer;

pub use account::{Account, Begun, Completion, Content, HeldBytes, OpenFile, UploadHandle};
pub use audit::{AuditAction, AuditObserver, AuditRecord, AuditResult};
pub use buffer::{BlockBuffer, BufferPool, BufferRequest, UNITS, WHOLE_BYTES};
pub use clock::Clock;
pub use command::{
    BlockPages, Command, CompleteRequest, NewUpload, PAGE_BLOCKS, PAGE_RANGES_MAX, Query,
    ReadRequest, ReadTarget, RejectedRequest, RequestEnd, ResumeRequest, Verifier, WHOLE_BYTES_MAX,
    WholeUpload,
};
pub use config::{Durability, EngineConfig, EngineLimits, EngineTimings, Keep};
pub use data_source::{DataSource, Pulled};
pub use engine::{Engine, OpenError, ShutdownError, Unready};
pub use event::{
    Answer, Event, EventKind, EventReceiver, Found, Grant, GrantedBy, Opened, Position, ReadEvent,
    Status, Tag,
};
pub use origin::Origin;
pub use page_hold::PageHold;
pub use piece::Piece;
pub use reading::READS_MAX;
pub use receipt::Receipt;
pub use rejection::{Rejection, RejectionKind};
pub use session::{Admitted, Client, Closed, REQUESTS_MAX, Session};
pub use shell_word::shell_word;
pub use towline_upload::{BlockOrder, Integrity, Length, Phase, SendingMode};
pub use tree::request::{
    DeltaRequest, ListFilter, ListRequest, NewLink, NodeAction, PAGE_CHANGES_MAX, PAGE_ENTRIES_MAX,
    PlacedNode, Since, TreeAnswer, TreeRequest, UnfinishedUpload, UploadPage, WAIT_MAX,
};
pub use tree::{ChangeWatch, Swept};
