//! The Towline client: a library that uploads files and continues every interrupted upload, and
//! [`cli`], the command line on top of it.
//!
//! - [`Client::new`] makes a client of one server; [`Client::state_file`] gives it a list of
//!   unfinished uploads that outlives the process.
//! - [`Client::put`] uploads one [`Document`], [`Client::put_many`] uploads many, as [`PutOptions`]
//!   say, and [`Client::put_pipe`] what comes through a pipe. All of them tell an [`Event`] of
//!   everything that happens and end with a [`Receipt`] or a [`Failure`].
//! - [`Client::receipts`] has the server sign what it confirms; [`receipts::verify`] checks that later,
//!   without the server.
//! - [`Client::status`] and [`Client::cancel`] ask about one document.
//! - [`Failure::exit`] says what a failure means for a script, [`Failure::advice`] what a person
//!   can do about it.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tokio_util::sync::CancellationToken;
//! use towline_client::{Client, Document, PutOptions, Token};
//!
//! let mut client = Client::new("files.example".parse()?, Token::from_file("token".as_ref())?);
//! let document = Document::in_folder("report.pdf", Vec::new())?;
//! let receipt = client
//!     .put(&document, &PutOptions::default(), &CancellationToken::new(), &mut |event| {
//!         println!("{event:?}");
//!     })
//!     .await?;
//! println!("document {}", receipt.document_id);
//! # Ok(())
//! # }
//! ```

// The items that a caller uses.
mod address;
pub mod cli;
mod client;
mod document;
mod events;
mod exit;
mod failure;
mod parallel;
pub mod receipts;
mod security;
mod timeouts;
mod token;
pub mod uploads;

// Uploads of files, and the folders and links around them.
mod attempt_end;
mod backoff;
mod block_reader;
mod feed;
#[cfg(unix)]
mod get;
mod item;
mod making;
mod moment;
mod pipe;
mod place;
mod plan;
mod proof;
mod rate_limit;
mod small_file_batch;
mod source;
mod staging_name;
mod transfer;
mod walk;

// The connection to the server.
mod connection;
mod locked;
mod long_work;
mod public_key;
mod route;
mod send_queue;

// Words for people.
mod system;
mod text;
mod units;

#[cfg(feature = "serve")]
mod demo;

pub use address::{BadAddress, DEFAULT_PORT, ServerAddress};
pub use client::Client;
pub use client::joining::Joined;
pub use client::link::{Link, LinkReach};
pub use client::many::Ending;
pub use document::Document;
pub use events::{
    ErrorReport, Event, FetchSummary, Fetched, Fetching, Listener, Receipt, Summary, UploadStatus,
};
pub use exit::Exit;
pub use failure::{Failure, NameTaken, ReceiptFailure, SavedProgress};
pub use parallel::{BadParallel, Parallel};
pub use route::greeting::Greeting;
pub use route::no_server::NoServer;
pub use route::other_addresses::KnownAddresses;
pub use security::Security;
pub use text::printable;
pub use timeouts::Timeouts;
pub use token::{BadToken, Token};
pub use transfer::options::PutOptions;
pub use walk::NotKept;
