//! A question to Towline alone: no peer is measured, but there is a goal.

use crate::finding::Findings;
use crate::ground::{Ground, MEMORY_BYTES_MAX};
use anyhow::Result;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// One such question.
pub(crate) trait Trial {
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
    fn run(&self, site: &Site) -> Result<Findings>;
}

/// Where a trial takes place, and within which bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) ground: &'a Ground,
    /// The longest that one upload, or all that go at the same time, may take.
    pub(crate) limit: Duration,
    pub(crate) seed: u64,
    /// Whether the figures mean nothing.
    pub(crate) quick: bool,
}

/// What came of one.
#[derive(Debug)]
pub(crate) struct TrialResult {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) took: Duration,
    pub(crate) findings: Result<Findings>,
}

impl TrialResult {
    /// Of a trial that is now carried out, if the disk has room for it.
    pub(crate) fn of(trial: &dyn Trial, site: &Site) -> Self {
        say(&format!("\n{}", trial.title()));
        let began = Instant::now();
        let findings = match site.lacks_bytes(trial.space_bytes()) {
            Some(why) => Ok(Findings { skipped: vec![why], ..Findings::default() }),
            None => trial.run(site),
        };
        let took = began.elapsed();
        match &findings {
            Ok(findings) => {
                for why in &findings.skipped {
                    say(&format!("  skipped: {why}"));
                }
                for figure in &findings.figures {
                    say(&format!("  {}: {}", figure.what, figure.value));
                }
            }
            Err(error) => say(&format!("  failed: {error:#}")),
        }
        Self { name: trial.name(), title: trial.title(), took, findings }
    }
}

/// Nothing takes longer for each GiB unless it hangs.
const GIB_LIMIT: Duration = Duration::from_secs(10);

impl Site<'_> {
    /// The longest that so many bytes may take.
    pub(crate) fn limit_for(&self, bytes: u64) -> Duration {
        self.limit.max(GIB_LIMIT.saturating_mul(u32::try_from(bytes >> 30).unwrap_or(u32::MAX)))
    }

    /// Sees to it that what is measured next finds so much free memory that the machine
    /// really has. Not where the figures mean nothing.
    pub(crate) fn free_memory(&self, bytes: u64) -> Result<()> {
        if self.quick { Ok(()) } else { self.ground.free_memory(bytes) }
    }

    /// Whether there is no room for so much more; then why not, for a person.
    pub(crate) fn lacks(&self, what: &str, bytes: u64) -> Option<String> {
        self.lacks_bytes(bytes).map(|why| format!("{what}: {why}"))
    }

    /// The same, with what [`Self::free_memory`] writes for a while.
    fn lacks_bytes(&self, bytes: u64) -> Option<String> {
        let held = if self.quick { 0 } else { MEMORY_BYTES_MAX };
        self.ground.lacks(bytes.saturating_add(held))
    }
}

/// How far a trial is, on standard error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
