//! A mistake in what was typed or configured.

/// Something on the command line or in the configuration file is not valid.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);
