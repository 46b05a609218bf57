//! What came out of a section that asks Towline alone.

use bytesize::ByteSize;

/// The figures, and what could not be found out.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) figures: Vec<Metric>,
    /// Each with the reason.
    pub(crate) skipped: Vec<String>,
    pub(crate) curve: Option<Curve>,
}

/// One figure, in words.
#[derive(Debug)]
pub(crate) struct Metric {
    /// Of what.
    pub(crate) what: String,
    pub(crate) value: String,
    pub(crate) goal: Option<Goal>,
}

/// What a figure should be.
#[derive(Debug)]
pub(crate) struct Goal {
    /// `≤ 2`.
    pub(crate) text: String,
    pub(crate) is_met: bool,
}

/// Figures that hang on one other: a picture says more of them.
#[derive(Debug)]
pub(crate) struct Curve {
    /// From left to right.
    pub(crate) places: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

/// One line of a picture, with a point at each place.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<f64>,
}

impl Metrics {
    /// A figure that should be nothing in particular.
    pub(crate) fn add(&mut self, what: impl Into<String>, value: impl Into<String>) {
        self.figures.push(Metric { what: what.into(), value: value.into(), goal: None });
    }

    /// A figure, and whether it is what it should be.
    pub(crate) fn add_with_goal(
        &mut self,
        what: impl Into<String>,
        value: impl Into<String>,
        goal: Goal,
    ) {
        self.figures.push(Metric { what: what.into(), value: value.into(), goal: Some(goal) });
    }
}

impl Goal {
    /// Something that is so or not.
    pub(crate) fn of(text: impl Into<String>, is_met: bool) -> Self {
        Self { text: text.into(), is_met }
    }

    /// How it stands, in a word.
    pub(crate) fn word(&self) -> &'static str {
        if self.is_met { "met" } else { "MISSED" }
    }
}

/// A length as it is typed: `4 MiB`.
pub(crate) fn plain(bytes: u64) -> String {
    ByteSize(bytes).to_string().replace(".0 ", " ")
}

/// `12.3 MiB`.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// `812 MiB/s`.
pub(crate) fn mebibytes_per_second(rate: f64) -> String {
    format!("{:.0} MiB/s", rate / f64::from(1 << 20))
}

/// `93 %`.
pub(crate) fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}
