//! What a command sends, found by a thread while the first files are already being sent.

pub(super) mod found_files;
mod queue;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::item::{Item, ItemKind};
use crate::walk::{Found, FoundFolder, Walk, WalkOptions};
use found_files::FoundFiles;
use queue::Queue;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A command waits for that number of files to be found before it sends the first one, so that
/// it can tell a few files from many.
const FIRST_LOOK_FILES: u64 = 21;

/// It waits for no longer than this.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// What was found besides what is sent, and is told to the person.
#[derive(Debug)]
pub(super) enum Aside {
    /// Files that cannot be uploaded, and why.
    Refused(PathBuf, Failure),
    /// What is passed over, and why.
    Skipped(PathBuf, String),
    /// A file or folder that a rule leaves out.
    Excluded,
    /// A folder that was named and holds nothing that could be uploaded or is refused.
    Barren(PathBuf),
    /// Something else worth knowing.
    Note(PathBuf, String),
}

/// The same, with the place of its command.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) command: usize,
    pub(super) aside: Aside,
}

/// What a thread finds at and below the paths of one command.
#[derive(Debug)]
pub(super) struct Selection {
    queue: Arc<Queue>,
    files: Arc<FoundFiles>,
}

impl Selection {
    /// Starts the thread. `asides` is told of everything that is not sent, with `command`. The
    /// thread waits where it is far ahead of what is sent, so that memory stays the same however
    /// many files there are.
    pub(super) fn start(
        paths: Vec<PathBuf>,
        options: WalkOptions,
        command: usize,
        asides: mpsc::Sender<Told>,
    ) -> Self {
        let (queue, files) = (Arc::new(Queue::default()), Arc::new(FoundFiles::default()));
        let walker =
            Walker { queue: Arc::clone(&queue), files: Arc::clone(&files), command, asides };
        let walk = Walk::of(paths, options);
        let started = std::thread::Builder::new()
            .name("towline-walk".to_owned())
            .spawn(move || walker.run(walk));
        // Without the thread nothing is found, and the command does not come to its end.
        if started.is_err() {
            queue.end();
        }
        Self { queue, files }
    }

    /// How many files were found so far.
    pub(super) fn files(&self) -> &Arc<FoundFiles> {
        &self.files
    }

    /// What is to be sent, one after the other. The iterator blocks.
    pub(super) fn into_items(self) -> impl Iterator<Item = Item> + Send + 'static {
        let queue = self.queue;
        std::iter::from_fn(move || queue.take())
    }

    /// A handle to stop the thread with.
    pub(super) fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.queue))
    }

    /// Waits until a few files were found, or all, or until a moment has passed.
    ///
    /// Cancel-safe: it changes nothing.
    pub(super) fn first_look(&self) -> impl Future<Output = ()> + use<> {
        let (files, queue) = (Arc::clone(&self.files), Arc::clone(&self.queue));
        let looked = tokio::task::spawn_blocking(move || {
            queue.wait(FIRST_LOOK, || files.count() >= FIRST_LOOK_FILES || files.is_all());
        });
        async { drop(looked.await) }
    }
}

/// Stops the thread of a selection: what it has found and was not taken is handed over.
#[derive(Debug)]
pub(super) struct Stopper(Arc<Queue>);

impl Stopper {
    /// What was found and not taken. From now on nothing is found.
    pub(super) fn stop(&self) -> Vec<Item> {
        self.0.close()
    }
}

/// The work of the thread.
struct Walker {
    queue: Arc<Queue>,
    files: Arc<FoundFiles>,
    command: usize,
    asides: mpsc::Sender<Told>,
}

impl Walker {
    fn run(self, mut walk: Walk) {
        while let Some(found) = walk.next() {
            let not_kept = walk.not_kept();
            let goes_on = match found {
                Found::File(document, bytes) => {
                    self.files.add(bytes);
                    self.queue.put(Item { not_kept, ..Item::file(document) })
                }
                Found::Folder(FoundFolder { document, mode, is_empty }) => {
                    self.files.add_folder_or_link();
                    let kind = ItemKind::Folder { mode, is_empty };
                    self.queue.put(Item { document, kind, not_kept })
                }
                Found::Link(document, target) => {
                    self.files.add_folder_or_link();
                    self.queue.put(Item { document, kind: ItemKind::Link(target), not_kept })
                }
                Found::Skipped(path, why) => self.aside(Aside::Skipped(path, why)),
                Found::Refused(path, failure) => {
                    // A later run may be able to read it.
                    if failure.exit() == Exit::Resumable {
                        self.files.add(0);
                    }
                    self.aside(Aside::Refused(path, failure))
                }
                Found::Excluded => self.aside(Aside::Excluded),
                Found::Barren(path) => self.aside(Aside::Barren(path)),
                Found::BadLine(path, why) => {
                    let text = format!("a line in it is not a rule: {why}");
                    self.aside(Aside::Note(path, text))
                }
            };
            if !goes_on {
                return self.queue.end();
            }
        }
        self.files.are_all();
        self.queue.end();
    }

    fn aside(&self, aside: Aside) -> bool {
        !self.queue.is_closed()
            && self.asides.blocking_send(Told { command: self.command, aside }).is_ok()
    }
}
