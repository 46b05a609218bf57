//! The request for receipts.

use super::is_default;
use crate::frame::Channel;
use serde::{Deserialize, Serialize};

/// `{"action":"receipts"}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipts {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
}
