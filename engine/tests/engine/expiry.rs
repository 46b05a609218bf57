//! Uploads for which no byte came for too long, with a clock of the test's own.

use crate::kit::{Server, complete, file, kind, offset, soon, without_timed_checkpoints};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use towline_engine::{Clock, EngineConfig, Phase, ResumeRequest, SendingMode};
use towline_types::{DocumentId, Timestamp};

const START_MS: u64 = 1_700_000_000_000;
const DAY_MS: u64 = 86_400_000;

/// The wall clock and the steady clock go together.
#[derive(Clone, Default)]
struct Time(Arc<AtomicU64>);

impl Time {
    fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    fn configure(&self) -> impl Fn(&mut EngineConfig) + Send + Sync + 'static {
        let time = self.clone();
        move |config| {
            without_timed_checkpoints(config);
            let (wall, steady) = (time.clone(), time.clone());
            let now =
                move || Timestamp::try_from(START_MS + wall.0.load(Ordering::SeqCst)).unwrap();
            let steady = move || Duration::from_millis(steady.0.load(Ordering::SeqCst));
            config.clock = Clock::with_steady(now, steady);
        }
    }
}

async fn paused(server: &Server) -> DocumentId {
    let mut upload = server.begin("a/doc", 1000).await;
    server.write(&mut upload, &file(1000, 1), 0..300).await;
    let id = upload.id();
    soon(upload.pause()).await;
    id
}

fn request(id: DocumentId) -> ResumeRequest {
    ResumeRequest::of(id, SendingMode::PLAIN)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_waits_too_long_is_given_up_when_it_is_resumed() {
    let time = Time::default();
    let server = Server::with(time.configure()).await;
    let id = paused(&server).await;
    let expires_at = Timestamp::try_from(START_MS + 7 * DAY_MS).unwrap();
    assert_eq!(server.status(id).await.expires_at, Some(expires_at));
    time.pass(7 * DAY_MS - 1);
    let mut upload = server.resume(id).await;
    assert_eq!(upload.offset(), offset(300));
    // A byte, and not a resume, begins the time anew.
    server.write(&mut upload, &file(1000, 1), 300..301).await;
    soon(upload.pause()).await;
    time.pass(7 * DAY_MS - 1);
    soon(server.resume(id).await.pause()).await;
    time.pass(2);
    assert_eq!(kind(soon(server.account().resume(request(id))).await), "Expired");
    let status = server.status(id).await;
    assert_eq!((status.phase, status.reason.is_some()), (Phase::Expired, true));
    assert_eq!(kind(soon(server.account().resume(request(id))).await), "Expired");
    assert_eq!(kind(soon(server.account().cancel(id)).await), "Expired");
    assert_eq!(server.storage.areas(), []);
    assert_eq!(server.put("a/doc", &file(1000, 2)).await.receipt.path().to_string(), "a/doc");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_only_just_started_gives_nothing_up() {
    let time = Time::default();
    let server = Server::with(time.configure()).await;
    let id = paused(&server).await;
    let (folder, storage) = server.stop().await;
    time.pass(30 * DAY_MS);
    let server = Server::over_folder_with(folder, storage.after_kill(), time.configure()).await;
    let status = server.status(id).await;
    assert_eq!(status.phase, Phase::Uploading);
    assert_eq!(server.resume(id).await.offset(), offset(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_jumps_gives_nothing_up() {
    // The wall clock alone says that thirty days have passed.
    let wall = Arc::new(AtomicU64::new(START_MS));
    let now = Arc::clone(&wall);
    let server = Server::with(move |config| {
        without_timed_checkpoints(config);
        let now = Arc::clone(&now);
        let now = move || Timestamp::try_from(now.load(Ordering::SeqCst)).unwrap();
        config.clock = Clock::with_steady(now, || Duration::from_secs(5));
    })
    .await;
    let id = paused(&server).await;
    wall.fetch_add(30 * DAY_MS, Ordering::SeqCst);
    assert_eq!(server.resume(id).await.offset(), offset(300));
    assert_eq!(server.status(id).await.phase, Phase::Uploading);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_being_sent_does_not_expire() {
    let time = Time::default();
    let server = Server::with(time.configure()).await;
    let mut upload = server.begin("a/doc", 1000).await;
    server.write(&mut upload, &file(1000, 1), 0..300).await;
    soon(upload.position()).await.unwrap();
    time.pass(8 * DAY_MS);
    server.write(&mut upload, &file(1000, 1), 300..1000).await;
    complete(upload, None).await.unwrap();
}
