//! Places at which a test can have the server die, panic, wait, or leave a step out.
//!
//! They exist only in builds with debug assertions: in a release build every function here is
//! empty, and none of the names is in the program (`.ci/run` checks that). A cargo feature could
//! not promise it, because the features of all packages of a workspace build are united.
//!
//! The environment variable `TOWLINE_FAILPOINTS` says what happens. It is read once, when the first
//! point is reached:
//!
//! ```text
//! publish.renamed=kill@3, sync.data=fake
//! ```
//!
//! Each part names a point, an action, and after `@` at which time the point is reached that the
//! action is taken; without `@` it is taken every time. `kill` is SIGKILL, `panic` a panic,
//! `wait:250` a wait of 250 milliseconds, and `fake` leaves the step out and calls it done: so a
//! test can ask whether the other tests would notice that the step is missing.

#[cfg(not(debug_assertions))]
pub(crate) use asleep::{is_faked, reach};
#[cfg(debug_assertions)]
pub(crate) use awake::{is_faked, reach};

#[cfg(not(debug_assertions))]
mod asleep {
    #[inline(always)]
    pub(crate) const fn reach(_: &str) {}

    #[inline(always)]
    pub(crate) const fn is_faked(_: &str) -> bool {
        false
    }
}

#[cfg(debug_assertions)]
mod awake {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// The action at one point.
    #[derive(Debug)]
    struct Plan {
        point: String,
        action: Action,
        /// At which time the point is reached; none is every time.
        at: Option<u64>,
        reached: AtomicU64,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        Kill,
        Panic,
        Wait(Duration),
        Fake,
    }

    /// The server is at this point.
    pub(crate) fn reach(point: &str) {
        let _ = is_faked(point);
    }

    /// The server is at this step: is it to be left out and called done?
    pub(crate) fn is_faked(step: &str) -> bool {
        match due(plans(), step) {
            Some(Action::Kill) => drop(kill_process(getpid(), Signal::KILL)),
            Some(Action::Panic) => panic!("failpoint {step}"),
            Some(Action::Wait(time)) => {
                tracing::warn!(step, "a failpoint waits");
                std::thread::sleep(time);
            }
            Some(Action::Fake) => return true,
            None => {}
        }
        false
    }

    fn plans() -> &'static [Plan] {
        static PLANS: OnceLock<Vec<Plan>> = OnceLock::new();
        PLANS.get_or_init(|| {
            let Ok(text) = std::env::var("TOWLINE_FAILPOINTS") else { return Vec::new() };
            tracing::warn!(%text, "failpoints are set");
            parse(&text).unwrap_or_else(|wrong| panic!("TOWLINE_FAILPOINTS: '{wrong}'"))
        })
    }

    fn due(plans: &[Plan], point: &str) -> Option<Action> {
        let plan = plans.iter().find(|plan| plan.point == point)?;
        let time = plan.reached.fetch_add(1, Ordering::SeqCst) + 1;
        plan.at.is_none_or(|at| at == time).then_some(plan.action)
    }

    /// The plans; or the part of the text that is not a plan.
    fn parse(text: &str) -> Result<Vec<Plan>, &str> {
        text.split(',').map(|part| plan(part.trim()).ok_or(part)).collect()
    }

    fn plan(text: &str) -> Option<Plan> {
        let (point, rest) = text.split_once('=')?;
        let (action, at) = match rest.split_once('@') {
            Some((action, at)) => (action, Some(at.parse().ok()?)),
            None => (rest, None),
        };
        let action = match (action, action.split_once(':')) {
            ("kill", _) => Action::Kill,
            ("panic", _) => Action::Panic,
            ("fake", _) => Action::Fake,
            (_, Some(("wait", ms))) => Action::Wait(Duration::from_millis(ms.parse().ok()?)),
            _ => return None,
        };
        Some(Plan { point: point.to_owned(), action, at, reached: AtomicU64::new(0) })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_plan_says_what_happens_where_and_when() {
            let plans = parse("a.b=kill@2, c=wait:250,d=fake").unwrap();
            assert_eq!(due(&plans, "a.b"), None);
            assert_eq!(due(&plans, "a.b"), Some(Action::Kill));
            assert_eq!(due(&plans, "a.b"), None);
            assert_eq!(due(&plans, "c"), Some(Action::Wait(Duration::from_millis(250))));
            assert_eq!(due(&plans, "d"), Some(Action::Fake));
            assert_eq!(due(&plans, "d"), Some(Action::Fake));
            assert_eq!(due(&plans, "e"), None);
            for wrong in ["a", "a=", "a=stop", "a=kill@x", "a=wait:x", ""] {
                assert!(parse(wrong).is_err(), "{wrong}");
            }
        }
    }
}
