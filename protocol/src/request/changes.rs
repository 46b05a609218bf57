//! Requests for what has changed.

use super::is_default;
use crate::frame::Channel;
use serde::{Deserialize, Serialize};

/// `{"action":"delta","since":"c1.123.1.12345"}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// What the answer before said in `cursor`; absent, all that is there; `latest`, nothing but
    /// the cursor of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The most changes in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where nothing has changed: how long to wait for a change, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u32>,
}

/// `{"action":"watch"}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The channel that is told of changes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
}
