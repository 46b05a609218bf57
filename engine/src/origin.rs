//! Where a session comes from.

use std::fmt;
use std::sync::Arc;

/// Where a session comes from, as its door says it: an address, as a rule. It is for the log alone.
#[derive(Debug, Clone)]
pub struct Origin(Arc<str>);

impl Origin {
    /// An origin that the log shows as `text`.
    pub fn new(text: impl fmt::Display) -> Self {
        Self(text.to_string().into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
