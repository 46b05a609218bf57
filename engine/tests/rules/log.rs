//! What the log says of uploads, and that no client waits for a slow log.

use crate::door::{Door, MIB, bytes, new, size};
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;
use tokio::task::block_in_place;
use towline_engine::{
    Command, CompleteRequest, EventKind, Length, NewUpload, RejectionKind, SendingMode,
};

/// All lines that the engines of this program have logged.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The lines with these words are not written yet, and whether there is one.
static HELD: Mutex<Option<([&str; 2], bool)>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let mut held = locked(&HELD);
        while let Some((words, is_reached)) = &mut *held
            && words.iter().all(|words| line.contains(words))
        {
            *is_reached = true;
            CHANGED.notify_all();
            held = CHANGED.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        drop(held);
        locked(&LOG).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From the first call on, the engines of this program log.
fn begin_log() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).init());
}

/// The lines with that name in them.
fn lines(name: &str) -> Vec<String> {
    let log = String::from_utf8(locked(&LOG).clone()).unwrap();
    log.lines().filter(|line| line.contains(name)).map(str::to_owned).collect()
}

/// Holds up who logs a line with these words, until it is dropped.
struct Hold;

impl Hold {
    fn on(words: [&'static str; 2]) -> Self {
        *locked(&HELD) = Some((words, false));
        Self
    }

    /// Waits until somebody is held up.
    fn reached(&self) {
        let is_awaited = |held: &mut Option<([&str; 2], bool)>| !held.is_some_and(|(_, is)| is);
        let waited = CHANGED.wait_timeout_while(locked(&HELD), PATIENCE, is_awaited);
        assert!(
            !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(),
            "no such line comes"
        );
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        *locked(&HELD) = None;
        CHANGED.notify_all();
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_line_says_how_much_has_come_and_not_the_largest_length() {
    begin_log();
    let door = Door::open().await;
    let mut client = door.client();
    let name = "of a length that is not known";
    let length = Length::Open { max: size(100 * MIB) };
    let (id, _) = client.begin(1, NewUpload { length, ..new(name, 0, SendingMode::PLAIN) }).await;
    client.send(1, 0, &bytes(1000, 1)).await;
    client.close().await;
    door.account().cancel(id).await.unwrap();
    let lines = lines(name);
    let [paused, cancelled] = &lines[..] else { panic!("{lines:?}") };
    assert!(paused.contains("paused") && paused.contains(" of=1000 "), "{paused}");
    assert!(cancelled.contains("cancelled") && cancelled.contains(" of=1000 "), "{cancelled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_paused_when_its_last_writer_leaves_it() {
    begin_log();
    let door = Door::open().await;
    let name = "of two writers";
    let (mut first, mut second) = (door.client(), door.client());
    let (id, grant) = first.begin(1, new(name, 3000, SendingMode::RANGES)).await;
    second.granted(2, Command::Join { id, lease: grant.lease.unwrap() }).await;
    first.send(1, 0, &bytes(1000, 1)).await;
    first.close().await;
    assert!(lines(name).is_empty(), "{:?}", lines(name));
    second.close().await;
    let lines = lines(name);
    let [paused] = &lines[..] else { panic!("{lines:?}") };
    assert!(paused.contains("paused") && paused.contains(" bytes=1000 "), "{paused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_its_writer_gives_up_is_not_paused_before() {
    begin_log();
    let door = Door::open().await;
    let name = "given up by its writer";
    let mut client = door.client();
    let (id, _) = client.begin(1, new(name, 3000, SendingMode::PLAIN)).await;
    client.send(1, 0, &bytes(1000, 1)).await;
    client.say(1, Command::Cancel(id)).await;
    assert!(matches!(client.answer(1).await, EventKind::Cancelled));
    client.close().await;
    let lines = lines(name);
    let [cancelled] = &lines[..] else { panic!("{lines:?}") };
    assert!(cancelled.contains("cancelled"), "{cancelled}");
}

/// A writer that has only a refusal to tell has let go of its place in the session: a client that
/// hears it may send its next request at once, with another tag.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_is_only_to_be_logged_and_told_keeps_no_place() {
    begin_log();
    let door = Door::open().await;
    let who = "the client of a slow log";
    let mut client = door.client_of(who, 1);
    let hold = Hold::on([who, "a request was refused"]);
    client.say(1, Command::Complete(CompleteRequest::default())).await;
    block_in_place(|| hold.reached());
    assert!(client.may_begin(2, new("a", 10, SendingMode::PLAIN)).await);
    assert!(matches!(client.answer(2).await, EventKind::Granted(_)));
    drop(hold);
    assert_eq!(client.rejected(1).await.kind, RejectionKind::NoActiveUpload);
    client.close().await;
}
