//! A question to Towline alone: no peer is measured, but there is a goal.

use crate::metric::Metrics;
use crate::workspace::{MEMORY_BYTES_MAX, Workspace};
use anyhow::Result;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// One such question.
pub(crate) trait GoalTest {
    /// As it is typed.
    fn name(&self) -> &'static str;

    /// What is asked, for a person.
    fn title(&self) -> String;

    /// The least space on the disk with which anything can be found out.
    fn space_bytes(&self) -> u64;

    /// Finds out.
    ///
    /// # Errors
    /// Where that does not go well; nothing of it runs then.
    fn run(&self, site: &Site) -> Result<Metrics>;
}

/// Where a goal test runs, and within which limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) workspace: &'a Workspace,
    /// The longest that one upload, or all that go at the same time, may take.
    pub(crate) limit: Duration,
    pub(crate) seed: u64,
    /// Whether the figures mean nothing.
    pub(crate) quick: bool,
}

/// The result of one goal test.
#[derive(Debug)]
pub(crate) struct GoalTestResult {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) took: Duration,
    pub(crate) metrics: Result<Metrics>,
}

impl GoalTestResult {
    /// Runs a goal test now, if the disk has room for it.
    pub(crate) fn of(goal_test: &dyn GoalTest, site: &Site) -> Self {
        say(&format!("\n{}", goal_test.title()));
        let began = Instant::now();
        let metrics = match site.lacks_bytes(goal_test.space_bytes()) {
            Some(why) => Ok(Metrics { skipped: vec![why], ..Metrics::default() }),
            None => goal_test.run(site),
        };
        let took = began.elapsed();
        match &metrics {
            Ok(metrics) => {
                for why in &metrics.skipped {
                    say(&format!("  skipped: {why}"));
                }
                for figure in &metrics.figures {
                    say(&format!("  {}: {}", figure.what, figure.value));
                }
            }
            Err(error) => say(&format!("  failed: {error:#}")),
        }
        Self { name: goal_test.name(), title: goal_test.title(), took, metrics }
    }
}

/// Nothing takes longer for each GiB unless it hangs.
const GIB_LIMIT: Duration = Duration::from_secs(10);

impl Site<'_> {
    /// The longest that that number of bytes may take.
    pub(crate) fn limit_for(&self, bytes: u64) -> Duration {
        self.limit.max(GIB_LIMIT.saturating_mul(u32::try_from(bytes >> 30).unwrap_or(u32::MAX)))
    }

    /// Sees to it that what is measured next finds free memory that the machine
    /// really has. Not where the figures mean nothing.
    pub(crate) fn free_memory(&self, bytes: u64) -> Result<()> {
        if self.quick { Ok(()) } else { self.workspace.free_memory(bytes) }
    }

    /// Whether there is no room for that number of bytes more; then the reason, for a person.
    pub(crate) fn lacks(&self, what: &str, bytes: u64) -> Option<String> {
        self.lacks_bytes(bytes).map(|why| format!("{what}: {why}"))
    }

    /// The same, with what [`Self::free_memory`] writes for a while.
    fn lacks_bytes(&self, bytes: u64) -> Option<String> {
        let held = if self.quick { 0 } else { MEMORY_BYTES_MAX };
        self.workspace.lacks(bytes.saturating_add(held))
    }
}

/// Prints how far a goal test is, on standard error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
