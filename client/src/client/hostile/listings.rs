//! Listings that do not come to an end.

use super::rogue::{Deed, Rogue, honest, welcome};
use crate::failure::Failure;
use crate::timeouts::Timeouts;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use towline_types::NodePath;

/// A frame of a listing, with `entries` entries, that is not the last one.
fn part(request: &Value, entries: usize) -> Value {
    let entry = |number: usize| {
        json!({"node_id": 9, "kind": "folder", "name": format!("{number:05}"), "place_rev": 1,
            "content_rev": 1})
    };
    json!({"action": "list", "channel": request["channel"],
        "entries": (0..entries).map(entry).collect::<Vec<_>>()})
}

/// What becomes of a listing that is answered with that.
async fn listed(
    answer: impl Fn(&Value) -> Deed + Send + Sync + 'static,
    timeouts: Timeouts,
) -> Failure {
    let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
        Some("hello") => {
            let mut welcome = welcome();
            welcome["features"] = json!(["tree"]);
            Deed::Say(welcome)
        }
        Some("list") => answer(request),
        _ => honest(request, "a"),
    });
    let mut client = rogue.client().timeouts(timeouts);
    client.list(&NodePath::ROOT, true, None).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_has_no_more_entries_than_were_asked_for() {
    for entries in [0, 1, 99] {
        let answer = move |request: &Value| Deed::Flood(part(request, entries));
        let failure = listed(answer, Timeouts::default()).await;
        assert!(matches!(failure, Failure::Protocol(_)), "{entries}: {failure:?}");
        assert!(failure.to_string().contains("without an end"), "{entries}: {failure}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_in_drops_is_not_waited_for_without_end() {
    let timeouts = Timeouts { answer: Duration::from_millis(200), ..Timeouts::default() };
    let drops =
        |request: &Value| Deed::Slowly(vec![part(request, 1); 900], Duration::from_millis(40));
    let began = Instant::now();
    let failure = listed(drops, timeouts).await;
    assert!(matches!(failure, Failure::Unreachable { .. }), "{failure:?}");
    assert!(failure.to_string().contains("the end of an answer"), "{failure}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
