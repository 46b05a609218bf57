//! What survives a restart: the state file that both sides keep, and, behind
//! the feature `catalog` that only the server turns on, the catalog itself.
//! `FORMAT.md` beside this crate describes every byte and its invariants.
//!
//! Nothing here opens a socket or decides what an upload may do.

#[cfg(feature = "catalog")]
pub mod catalog;
pub mod clock;
mod directory;
pub mod state_file;
pub mod turns;

#[cfg(feature = "catalog")]
pub use catalog::{Catalog, CatalogError};
pub use state_file::{StateFile, StateFileError, UploadsState};
