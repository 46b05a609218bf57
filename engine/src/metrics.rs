//! The figures of an engine: what it has done since it was opened, and how it stands now. Each has
//! a name, a unit and a help text, so that a door can give all of them out without a list of its
//! own. Names follow the conventions of Prometheus.

mod sync_times;

pub use sync_times::SyncSummary;
pub(crate) use sync_times::SyncTimes;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a figure is, apart from its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name: `towline_`, what is counted, its unit if it has one, and `_total` if it only grows.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: MetricKind,
    /// The unit of the value; none where it counts things.
    pub unit: Option<&'static str>,
    /// What it says, in a sentence.
    pub help: &'static str,
}

/// How a figure changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It grows, and begins at 0 with each start.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A figure as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What it is.
    pub metric: Metric,
    /// The name of a label and its value, where there are several figures of that name.
    pub label: Option<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// A figure without a label.
    #[must_use]
    pub fn of(metric: Metric, value: u64) -> Self {
        Self { metric, label: None, value: as_float(value) }
    }

    /// One of several figures of that name.
    #[must_use]
    pub fn labelled(metric: Metric, name: &'static str, label: String, value: u64) -> Self {
        Self { label: Some((name, label)), ..Self::of(metric, value) }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people and graphs")]
const fn as_float(value: u64) -> f64 {
    value as f64
}

/// Something that is counted.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// That many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that is counted for each code by itself. The codes are words of the program, so there
/// are few of them.
#[derive(Debug, Default)]
pub struct CodeCounter(Mutex<BTreeMap<&'static str, u64>>);

impl CodeCounter {
    /// One more of that code.
    pub fn increment(&self, code: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(code).or_default() += 1;
    }

    /// How many there were of each code that there was.
    #[must_use]
    pub fn get(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Declares a struct of counters, and a function that lists them with their descriptions.
macro_rules! counters {
    ($(#[$doc:meta])* $visibility:vis struct $type:ident {
        $($field:ident: $name:literal, $unit:expr, $help:literal;)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        $visibility struct $type {
            $(#[doc = $help] pub(crate) $field: $crate::metrics::Counter,)*
        }

        impl $type {
            /// All of them, in the order of their declaration.
            fn samples(&self) -> Vec<Sample> {
                vec![$(Sample::of(
                    Metric { name: $name, kind: MetricKind::Counter, unit: $unit, help: $help },
                    self.$field.get(),
                ),)*]
            }
        }
    };
}

counters! {
    /// What an engine has done since it was opened.
    pub(crate) struct Counters {
        uploads_completed: "towline_uploads_completed_total", None,
            "Uploads that have become documents, with the copies that the server made.";
        uploads_failed: "towline_uploads_failed_total", None,
            "Uploads that have ended because of an error.";
        uploads_cancelled: "towline_uploads_cancelled_total", None,
            "Uploads that were given up by their owners or by the operator.";
        uploads_expired: "towline_uploads_expired_total", None,
            "Uploads that have ended because no byte came for too long.";
        uploads_resumed: "towline_uploads_resumed_total", None,
            "Uploads that went on over another connection, or over the same one once more.";
        takeovers: "towline_takeovers_total", None,
            "Resumed uploads that another connection was still writing to.";
        received_bytes: "towline_received_bytes_total", Some("bytes"),
            "Bytes of files that were received and written.";
        taken_back_bytes: "towline_taken_back_bytes_total", Some("bytes"),
            "Bytes of files that were received and have to be sent again: the block was damaged on the way, or the file has changed.";
        sent_bytes: "towline_sent_bytes_total", Some("bytes"),
            "Bytes of files that were given out to readers.";
    }
}

/// The registry of an engine: everything that it counts while it works.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) counters: Counters,
    /// Requests that were refused, by code.
    pub(crate) refusals: CodeCounter,
    /// Scans of documents, by what they found.
    pub(crate) verdicts: CodeCounter,
    pub(crate) syncs: SyncTimes,
}

/// How an engine stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Uploads that a client is writing to.
    pub uploads_sending: u64,
    /// Uploads that are whole and get their names just now.
    pub uploads_publishing: u64,
    /// Bytes of uploads that were received and are not durable yet.
    pub lag_bytes: u64,
    /// Documents that have their names and are not durable yet: only where durability is relaxed.
    pub deferred_documents: u64,
    /// Bytes that are free on the disk of the data folder; none where the system does not say.
    pub free_bytes: Option<u64>,
    /// How long the syncs of the last minutes took.
    pub syncs: SyncSummary,
}

/// Everything that an engine can say of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// How it stands now.
    pub standing: Standing,
    /// Requests that were refused since it was opened, by code.
    pub refusals: BTreeMap<&'static str, u64>,
    /// All figures, those above among them.
    pub samples: Vec<Sample>,
}

const fn gauge(name: &'static str, unit: Option<&'static str>, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, unit, help }
}

const REFUSALS: Metric = Metric {
    name: "towline_refusals_total",
    kind: MetricKind::Counter,
    unit: None,
    help: "Requests that were refused, by code.",
};

const SCANS: Metric = Metric {
    name: "towline_scans_total",
    kind: MetricKind::Counter,
    unit: None,
    help: "Scans of documents, by verdict; those that are to be tried again included.",
};

const SYNCS: Metric = Metric {
    name: "towline_syncs_total",
    kind: MetricKind::Counter,
    unit: None,
    help: "Files that were synced to the disk.",
};

const SYNC_SECONDS: Metric = gauge(
    "towline_sync_seconds",
    Some("seconds"),
    "How long the syncs of the last five minutes took, by quantile.",
);

impl Metrics {
    /// Everything that is counted, with how the engine stands.
    pub(crate) fn figures(&self, standing: Standing) -> Figures {
        let refusals = self.refusals.get();
        let mut samples = self.counters.samples();
        samples.extend(
            refusals.iter().map(|(code, count)| {
                Sample::labelled(REFUSALS, "code", (*code).to_owned(), *count)
            }),
        );
        samples.extend(self.verdicts.get().iter().map(|(verdict, count)| {
            Sample::labelled(SCANS, "verdict", (*verdict).to_owned(), *count)
        }));
        samples.push(Sample::of(SYNCS, self.syncs.count()));
        let SyncSummary { median, most, largest, .. } = standing.syncs;
        let quantiles = [("0.5", median), ("0.99", most), ("1", largest)];
        samples.extend(quantiles.map(|(quantile, time)| Sample {
            metric: SYNC_SECONDS,
            label: Some(("quantile", quantile.to_owned())),
            value: time.as_secs_f64(),
        }));
        samples.extend(standing.samples());
        Figures { standing, refusals, samples }
    }
}

impl Standing {
    fn samples(&self) -> Vec<Sample> {
        let uploads = gauge(
            "towline_uploads",
            None,
            "Uploads that are under way, by phase: a client is sending, or they get their names.",
        );
        let lag = gauge(
            "towline_lag_bytes",
            Some("bytes"),
            "Bytes of uploads that were received and are not durable yet.",
        );
        let deferred = gauge(
            "towline_deferred_documents",
            None,
            "Documents that have their names and are not durable yet.",
        );
        let free = gauge(
            "towline_disk_free_bytes",
            Some("bytes"),
            "Bytes that are free on the disk of the data folder.",
        );
        let phase =
            |phase: &str, count| Sample::labelled(uploads, "phase", phase.to_owned(), count);
        let mut samples = vec![
            phase("sending", self.uploads_sending),
            phase("publishing", self.uploads_publishing),
            Sample::of(lag, self.lag_bytes),
            Sample::of(deferred, self.deferred_documents),
        ];
        samples.extend(self.free_bytes.map(|bytes| Sample::of(free, bytes)));
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_follow_the_conventions_and_each_has_a_help_text() {
        let metrics = Metrics::default();
        metrics.refusals.increment("not_found");
        let standing = Standing {
            uploads_sending: 1,
            uploads_publishing: 0,
            lag_bytes: 0,
            deferred_documents: 0,
            free_bytes: Some(7),
            syncs: metrics.syncs.summary(),
        };
        let figures = metrics.figures(standing);
        let mut seen = BTreeSet::new();
        for Sample { metric, label, .. } in &figures.samples {
            let Metric { name, kind, unit, help } = metric;
            assert!(seen.insert((name, label)), "{name} twice");
            let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.starts_with("towline_") && name.chars().all(is_word), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == MetricKind::Counter, "{name}");
            let stem = name.trim_end_matches("_total");
            assert!(unit.is_none_or(|unit| stem.ends_with(unit)), "{name} is in {unit:?}");
            assert!(help.ends_with('.') && help.len() > 20, "{name}: {help}");
        }
        assert!(seen.len() > 15);
    }
}
