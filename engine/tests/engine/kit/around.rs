//! What happens around an engine: its log, edits of its catalog by another program, and time.

use super::*;
use std::io::Write;
use towline_engine::Phase;

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Does that, and returns what this thread has logged meanwhile.
pub(crate) fn logged<T>(work: impl FnOnce() -> T) -> (T, String) {
    let log = Log::default();
    let here = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || here.clone());
    let done = tracing::subscriber::with_default(subscriber.finish(), work);
    let log = log.0.lock().unwrap().clone();
    (done, String::from_utf8(log).unwrap())
}

/// Changes the catalog in that data folder as another program does, without any of its checks.
pub(crate) fn edit_catalog(folder: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(folder.join("state/catalog.db")).unwrap();
    let unchecked = format!("PRAGMA ignore_check_constraints = ON; {sql}");
    connection.execute_batch(&unchecked).unwrap();
}

impl Server {
    /// As [`over_folder`](Self::over_folder), with what the start has logged.
    pub(crate) fn over_folder_logged(folder: Arc<TempDir>, storage: Scripted) -> (Self, String) {
        logged(|| Self::open(folder, storage, Arc::new(|_| {})))
    }

    /// Waits until the document is in that phase, without asking for it.
    pub(crate) async fn comes_to(&self, id: DocumentId, phase: Phase) {
        soon(async {
            while self.status(id).await.phase != phase {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until no staging area is left: a copied one is removed behind the row.
    pub(crate) async fn has_no_area(&self) {
        soon(async {
            while !self.storage.areas().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

impl Client {
    /// How far the upload is and how far its copy to another file system, when that is reported
    /// the next time.
    pub(crate) async fn copied(&mut self) -> (Position, Offset) {
        loop {
            let event = self.event().await;
            match event.kind {
                EventKind::AtWork { position, copied: Some(copied) } => return (position, copied),
                EventKind::Progress(_) | EventKind::AtWork { .. } | EventKind::Granted(_) => {}
                _ => panic!("{}", text(&event)),
            }
        }
    }
}
