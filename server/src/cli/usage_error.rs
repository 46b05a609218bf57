//! A mistake in what was typed or configured.

/// What was typed, or stands in the configuration file, cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);
