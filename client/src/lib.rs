//! The Towline client: a library that uploads files and never makes them start
//! again, and [`cli`], the command line on top of it.
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

mod address;
mod attempt_end;
mod backoff;
mod block_reader;
pub mod cli;
mod client;
mod connection;
#[cfg(feature = "serve")]
mod demo;
mod document;
mod events;
mod exit;
mod failure;
mod long_work;
mod parallel;
mod place;
mod plan;
mod proof;
mod route;
mod send_queue;
mod small_file_batch;
mod source;
mod system;
mod text;
mod timeouts;
mod token;
mod transfer;
mod units;
pub mod uploads;

pub use address::{BadAddress, DEFAULT_PORT, ServerAddress};
pub use client::Client;
pub use client::many::Ending;
pub use document::Document;
pub use events::{ErrorReport, Event, Listener, Receipt, Summary, UploadStatus};
pub use exit::Exit;
pub use failure::{Failure, SavedProgress};
pub use parallel::{BadParallel, Parallel};
pub use route::greeting::Greeting;
pub use route::no_server::NoServer;
pub use text::printable;
pub use timeouts::Timeouts;
pub use token::{BadToken, Token};
pub use transfer::options::PutOptions;
