//! From where a session comes.

use std::fmt;
use std::sync::Arc;

/// What a door says of where a session comes from: an address, as a rule. It is for the log
/// alone.
#[derive(Debug, Clone)]
pub struct Origin(Arc<str>);

impl Origin {
    /// An origin that is written so.
    pub fn new(text: impl fmt::Display) -> Self {
        Self(text.to_string().into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
