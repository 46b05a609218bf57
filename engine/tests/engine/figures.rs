//! What an engine counts, and how it stands.

use crate::kit::{BLOCK, Server, file, id, kind, new_upload, soon, without_timed_checkpoints};
use towline_engine::metrics::Figures;
use towline_engine::{ResumeRequest, SendingMode};
use towline_types::BlockIndex;

/// The figure of that name.
fn figure(figures: &Figures, name: &str) -> f64 {
    let found = figures.samples.iter().find(|sample| sample.metric.name == name);
    found.unwrap_or_else(|| panic!("no {name}")).value
}

/// The counters that are not 0, without the prefix that all have.
fn counted(server: &Server) -> Vec<(&'static str, f64)> {
    let samples = server.engine.figures().samples.into_iter();
    let counters = samples.filter(|sample| sample.label.is_none() && sample.value > 0.0);
    let counters = counters.filter_map(|sample| {
        let name = sample.metric.name.strip_prefix("towline_")?.strip_suffix("_total")?;
        (name != "syncs").then_some((name, sample.value))
    });
    counters.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_bytes_and_refusals_are_counted() {
    let server = Server::with(without_timed_checkpoints).await;
    assert_eq!(counted(&server), []);
    let stored = server.put("doc", &file(3000, 1)).await.receipt;
    server.put_whole(new_upload("small", 100), &file(100, 2)).await.unwrap();
    assert_eq!(counted(&server), [("uploads_completed", 2.0), ("received_bytes", 3100.0)]);
    server.read(stored.document_id()).await;
    assert_eq!(counted(&server)[2], ("sent_bytes", 3000.0));
    assert!(figure(&server.engine.figures(), "towline_syncs_total") >= 2.0);

    let bytes = file(2 * BLOCK, 3);
    let mut first = server.begin("large", bytes.len()).await;
    server.write(&mut first, &bytes, 0..BLOCK + 1000).await;
    soon(first.position()).await.unwrap();
    let figures = server.engine.figures();
    assert_eq!(figures.standing.uploads_sending, 1);
    assert_eq!(figures.standing.lag_bytes, BLOCK as u64 + 1000);
    assert_eq!(figure(&figures, "towline_lag_bytes"), (BLOCK + 1000) as f64);
    // Taken over while it is written to, and then resumed once more while nobody writes to it.
    let mut second = server.resume(first.id()).await;
    assert_eq!(server.engine.figures().standing.uploads_sending, 1);
    let withdrawn = BlockIndex::FIRST..BlockIndex::new(2).unwrap();
    soon(second.withdraw(vec![withdrawn])).await.unwrap();
    soon(second.pause()).await;
    let second = server.resume(first.id()).await;
    soon(second.pause()).await;
    let figures = server.engine.figures();
    assert_eq!(figures.standing.uploads_sending, 0);
    for (name, value) in [
        ("towline_takeovers_total", 1.0),
        ("towline_uploads_resumed_total", 2.0),
        ("towline_taken_back_bytes_total", (BLOCK + 1000) as f64),
    ] {
        assert_eq!(figure(&figures, name), value, "{name}");
    }
    soon(server.account().cancel(first.id())).await.unwrap();
    assert_eq!(figure(&server.engine.figures(), "towline_uploads_cancelled_total"), 1.0);
    for _ in 0..3 {
        let unknown = ResumeRequest::of(id(77), SendingMode::PLAIN);
        kind(soon(server.account().resume(unknown)).await);
    }
    soon(server.account().begin(new_upload("huge", 1 << 40))).await.map(drop).unwrap_err();
    let refusals = server.engine.figures().refusals;
    assert_eq!((refusals["not_found"], refusals["no_space"]), (3, 1));
}
