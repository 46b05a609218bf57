//! Makes the answers of a server to the question how it is.

use super::answer::{Answer, Said};
use crate::shared::Shared;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// How long the server looks at its uploads before it says that it still does. An upload whose disk
/// does not answer cannot be looked at until that does.
const MAKING_MAX: Duration = Duration::from_secs(5);

/// Makes one answer at a time: an upload that cannot be looked at holds one thread, however often the
/// operator asks.
pub(crate) struct AnswerMaker {
    shared: Arc<Shared>,
    under_way: Option<(Instant, JoinHandle<Answer>)>,
}

impl AnswerMaker {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, under_way: None }
    }

    /// A new answer, or for how long one has been under way. `None` where the server is at fault.
    pub(crate) async fn make(&mut self) -> Option<Said> {
        // It was made for a question of before, and its figures are as old.
        self.under_way
            .take_if(|(since, making)| making.is_finished() && since.elapsed() > MAKING_MAX);
        let (since, making) = self.under_way.get_or_insert_with(|| {
            let shared = Arc::clone(&self.shared);
            (Instant::now(), spawn_blocking(move || Answer::of(&shared)))
        });
        match timeout(MAKING_MAX.saturating_sub(since.elapsed()), making).await {
            Ok(made) => {
                self.under_way = None;
                made.ok().map(|answer| Said::Answer(Box::new(answer)))
            }
            Err(_) => Some(Said::Waits { waits_seconds: since.elapsed().as_secs() }),
        }
    }
}
