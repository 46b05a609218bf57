//! The answer: all figures of the server, with their names, and who has its connections.

use crate::places::Shares;
use crate::shared::Shared;
use serde::{Deserialize, Serialize};
use towline_engine::metrics::{Metric, MetricKind, Sample};
use towline_types::UserId;

/// How many users are named who have the most connections.
const TOP_USERS: usize = 10;

/// What a server says to a question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Said {
    Answer(Box<Answer>),
    /// An upload cannot be looked at, for that time so far.
    Waits {
        waits_seconds: u64,
    },
}

/// What a server says of itself. What a later version adds is passed over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) version: String,
    pub(crate) uptime_seconds: u64,
    /// All that is counted.
    pub(crate) figures: Vec<Figure>,
    /// Users and the numbers of their connections, the largest number first.
    pub(crate) users: Vec<(UserId, u64)>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) unit: Option<String>,
    pub(crate) help: String,
    /// The name of a label and its value.
    pub(crate) label: Option<(String, String)>,
    pub(crate) value: f64,
}

impl From<Sample> for Figure {
    fn from(sample: Sample) -> Self {
        let Sample { metric: Metric { name, kind, unit, help }, label, value } = sample;
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            unit: unit.map(str::to_owned),
            help: help.to_owned(),
            label: label.map(|(name, value)| (name.to_owned(), value)),
            value,
        }
    }
}

const LOGINS: Metric = Metric {
    name: "towline_logins_total",
    kind: MetricKind::Counter,
    unit: None,
    help: "Connections that have logged in.",
};

const LOGINS_REFUSED: Metric = Metric {
    name: "towline_logins_refused_total",
    kind: MetricKind::Counter,
    unit: None,
    help: "Connections that were refused before they had logged in, by code.",
};

const CONNECTIONS: Metric = Metric {
    name: "towline_connections",
    kind: MetricKind::Gauge,
    unit: None,
    help: "Connections that are open, by place: of users, or of strangers who have not logged in.",
};

const CONNECTIONS_MAX: Metric = Metric {
    name: "towline_connections_max",
    kind: MetricKind::Gauge,
    unit: None,
    help: "The most connections that the server takes.",
};

const USERS: Metric = Metric {
    name: "towline_connected_users",
    kind: MetricKind::Gauge,
    unit: None,
    help: "Users who have a connection.",
};

const AUDIT_LOST: Metric = Metric {
    name: "towline_audit_lines_lost_total",
    kind: MetricKind::Counter,
    unit: None,
    help: "Lines of the audit log that could not be written.",
};

impl Answer {
    /// The answer as of now. Blocks.
    pub(super) fn of(shared: &Shared) -> Self {
        let Shares { strangers, users, connected_users, all, top } =
            shared.places.shares(TOP_USERS);
        let mut samples = shared.engine.figures().samples;
        samples.push(Sample::of(LOGINS, shared.logins.accepted.get()));
        samples.extend(
            shared.logins.refusals.get().into_iter().map(|(code, count)| {
                Sample::labelled(LOGINS_REFUSED, "code", code.to_owned(), count)
            }),
        );
        samples.extend([
            Sample::labelled(CONNECTIONS, "place", "users".to_owned(), users),
            Sample::labelled(CONNECTIONS, "place", "strangers".to_owned(), strangers),
            Sample::of(CONNECTIONS_MAX, all),
            Sample::of(USERS, connected_users),
        ]);
        samples.extend(shared.audit.as_ref().map(|audit| Sample::of(AUDIT_LOST, audit.lost())));
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: shared.started.elapsed().as_secs(),
            figures: samples.into_iter().map(Figure::from).collect(),
            users: top,
        }
    }
}
