//! Where a session comes from.

use crate::audit::{AuditObserver, AuditRecord};
use std::fmt;
use std::sync::Arc;

/// Where a session comes from, as its door says it: an address, as a rule. It is for the log alone,
/// and for a record of what the session does.
#[derive(Debug, Clone)]
pub struct Origin {
    text: Arc<str>,
    observer: Option<Arc<dyn AuditObserver>>,
}

impl Origin {
    /// An origin that the log shows as `text`.
    pub fn new(text: impl fmt::Display) -> Self {
        Self { text: text.to_string().into(), observer: None }
    }

    /// The same with an observer that hears what comes from there.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn AuditObserver>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Whether an observer hears what comes from there.
    pub(crate) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Tells the observer, if there is one. Only then is the record made.
    pub(crate) fn observe(&self, record: impl FnOnce() -> AuditRecord) {
        if let Some(observer) = &self.observer {
            observer.observe(record());
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
