//! What the log says of an upload whose length is not known.

use crate::door::{Door, MIB, bytes, new, size};
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use towline_engine::{Length, NewUpload, SendingMode};

/// All lines that the engines of this program have logged.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_says_how_much_has_come_and_not_the_largest_length() {
    tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).init();
    let door = Door::open().await;
    let mut client = door.client();
    let name = "of a length that is not known";
    let length = Length::Open { max: size(100 * MIB) };
    let (id, _) = client.begin(1, NewUpload { length, ..new(name, 0, SendingMode::PLAIN) }).await;
    client.send(1, 0, &bytes(1000, 1)).await;
    client.close().await;
    door.account().cancel(id).await.unwrap();
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(name)).collect();
    let [paused, cancelled] = lines[..] else { panic!("{lines:?}") };
    assert!(paused.contains("paused") && paused.contains(" of=1000 "), "{paused}");
    assert!(cancelled.contains("cancelled") && cancelled.contains(" of=1000 "), "{cancelled}");
}
