//! The list of unfinished uploads that outlives a run: the state file.

mod jobs;

use crate::proof::Proof;
pub(crate) use jobs::covers;
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::oneshot;
use towline_state::state_file::{
    EntryStatus, JobEntry, KnownServer, ModifiedNs, Relation, UploadEntry,
};
use towline_state::{StateFile, StateFileError, UploadsState, clock};
use towline_types::{DocumentId, DocumentPath, FileSize, Offset, Timestamp, UserId};

/// After that time without a byte a server may have given an upload up. It is asked: the
/// clock of this machine alone decides nothing.
const MAY_BE_GONE_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The field of an entry that says where the token lay. Never the token itself.
const TOKEN_FILE: &str = "token_file";

/// The field of an entry that proves which blocks are the file's.
const PROOF: &str = "proof";

/// The state file as it was found.
#[derive(Debug)]
pub struct Found {
    /// What it says.
    pub state: UploadsState,
    /// What a person should know about it.
    pub notices: Vec<String>,
}

/// Reads the state file. A damaged one is set aside, never deleted; the notices say so.
/// Blocks.
///
/// # Errors
/// Where a later Towline wrote it, or where it can be neither read nor moved.
pub fn read(file: &StateFile) -> Result<Found, StateFileError> {
    let now = clock::now();
    let mut notices = Vec::new();
    let state = match file.read() {
        Ok(state) => state,
        Err(StateFileError::Corrupt { path, source }) => {
            let aside = file.set_aside(now)?;
            let aside = aside.map_or_else(String::new, |aside| format!(" to {}", aside.display()));
            notices.push(format!(
                "{} is damaged ({source}); it was moved{aside}. Unfinished uploads are found again \
                 by putting the same files",
                path.display(),
            ));
            UploadsState::default()
        }
        Err(error) => return Err(error),
    };
    Ok(Found { state, notices })
}

/// Where the token for an entry lay, if it lay in a file.
#[must_use]
pub fn token_file(entry: &UploadEntry) -> Option<PathBuf> {
    entry.other.get(TOKEN_FILE).and_then(|path| path.as_str()).map(PathBuf::from)
}

/// Notes where it lay.
pub(crate) fn set_token_file(entry: &mut UploadEntry, path: &Path) {
    if let Some(path) = path.to_str() {
        entry.other.insert(TOKEN_FILE.to_owned(), path.into());
    }
}

/// What the entry can prove of the server's blocks.
pub(crate) fn proof(entry: &UploadEntry) -> Option<Proof> {
    serde_json::from_value(entry.other.get(PROOF)?.clone()).ok()
}

fn prove(entry: &mut UploadEntry, proof: &Proof) {
    if let Ok(proof) = serde_json::to_value(proof) {
        entry.other.insert(PROOF.to_owned(), proof);
    }
}

fn may_be_gone(entry: &UploadEntry, now: Timestamp) -> bool {
    let last = entry.last_chunk_time.or(entry.start_time);
    last.is_some_and(|last| now.since(last) > MAY_BE_GONE_AFTER)
}

/// What is written down when an upload is granted.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub(crate) document_id: DocumentId,
    pub(crate) server: KnownServer,
    pub(crate) remote: DocumentPath,
    pub(crate) local: PathBuf,
    pub(crate) filesize: FileSize,
    pub(crate) modified: Option<ModifiedNs>,
    pub(crate) chunk_bytes: u32,
    pub(crate) user_id: UserId,
    pub(crate) offset: Offset,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) proof: Proof,
}

/// What is looked for before an upload begins.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) server: KnownServer,
    pub(crate) remote: DocumentPath,
    pub(crate) local: PathBuf,
    pub(crate) user_id: UserId,
    /// This very one, where the caller knows.
    pub(crate) document_id: Option<DocumentId>,
}

/// Which local file an upload of the list was begun with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BegunWith {
    /// The one in question, as far as the list knows.
    This,
    /// Another one, which is there still.
    Another,
    /// One that is no longer where it was; with its time of modification.
    Gone(Option<ModifiedNs>),
}

/// Whether nothing is at a path.
pub(crate) fn is_not_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What the list says of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Remembered {
    /// This upload of it is unfinished.
    Entry(DocumentId, Box<UploadEntry>),
    /// The upload that would be gone on with is on another server, which had this address.
    OtherServer,
    Nothing,
}

type Work = Box<dyn FnOnce(&StateFile) + Send>;

/// Keeps the state file. All work on it is done by one thread, in the order in
/// which it was asked for, so that an upload's last word is written last and no
/// async thread waits for a disk. Without a file it keeps nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uploads {
    work: Option<mpsc::Sender<Work>>,
    /// The file can be read and not written: nothing new is kept.
    is_only_read: bool,
}

impl Uploads {
    pub(crate) fn kept_in(file: StateFile) -> Self {
        let (work, todo) = mpsc::channel::<Work>();
        let thread =
            std::thread::Builder::new().name("towline-state".to_owned()).spawn(move || {
                for work in todo {
                    work(&file);
                }
            });
        Self { work: thread.is_ok().then_some(work), is_only_read: false }
    }

    /// The same for a file that cannot be written.
    pub(crate) fn read_from(file: StateFile) -> Self {
        Self { is_only_read: true, ..Self::kept_in(file) }
    }

    /// The entry to go on with.
    pub(crate) async fn find(&self, wanted: Wanted) -> Remembered {
        // A file that cannot be read was reported when it was opened.
        let found = self.run(move |file| Some(find(&file.read().ok()?, &wanted)));
        found.await.flatten().unwrap_or(Remembered::Nothing)
    }

    /// Whether the list tells of an upload that was begun at that address, or of a command
    /// that has reached its server there: a server was there.
    pub(crate) async fn knows(&self, server: &KnownServer) -> bool {
        let server = server.clone();
        let found = self.run(move |file| {
            let state = file.read().ok()?;
            let is_command = |job: &JobEntry| {
                job.server_id.is_some()
                    && server.relation_to(job.server.as_deref(), job.server_id).is_same()
            };
            let is_upload = |entry: &UploadEntry| server.relation(entry).is_same();
            Some(state.uploads.values().any(is_upload) || state.jobs.iter().any(is_command))
        });
        found.await.flatten().unwrap_or(false)
    }

    /// The local files that the list speaks of.
    pub(crate) async fn locals(&self) -> HashSet<PathBuf> {
        let found = self.run(|file| {
            let state = file.read().ok()?;
            Some(state.uploads.into_values().filter_map(|entry| entry.path).collect())
        });
        found.await.flatten().unwrap_or_default()
    }

    /// Which other local file that upload was begun with, if another one.
    pub(crate) async fn begun_with(
        &self,
        server: &KnownServer,
        document_id: DocumentId,
        local: &Path,
    ) -> BegunWith {
        let (server, local) = (server.clone(), local.to_owned());
        let found = self.run(move |file| {
            let state = file.read().ok()?;
            let (_, entry) = state.find(document_id, Some(&server))?;
            let path = entry.path.as_ref().filter(|path| **path != local)?;
            Some(match std::fs::symlink_metadata(path) {
                // The file was moved, and may be the one that is put now.
                Err(error) if is_not_there(&error) => BegunWith::Gone(entry.modified_ns),
                _ => BegunWith::Another,
            })
        });
        found.await.flatten().unwrap_or(BegunWith::This)
    }

    /// Writes an upload down, or that it goes on. The work begins at once; the
    /// future tells how it ended.
    pub(crate) fn granted(
        &self,
        granted: Granted,
    ) -> impl Future<Output = Result<(), StateFileError>> + use<> {
        let written = self.write(move |state| write_down(state, granted));
        async { written.await.unwrap_or(Ok(())) }
    }

    /// Notes how far an upload is. Does not wait.
    pub(crate) fn reached(
        &self,
        server: &KnownServer,
        document_id: DocumentId,
        offset: Offset,
        proof: Proof,
    ) {
        self.change(server, document_id, move |entry| {
            entry.offset = offset;
            prove(entry, &proof);
            entry.last_chunk_time = Some(clock::now());
        });
    }

    /// Notes that an upload rests. Does not wait: see [`settle`](Self::settle).
    pub(crate) fn paused(
        &self,
        server: &KnownServer,
        document_id: DocumentId,
        offset: Offset,
        proof: Proof,
    ) {
        self.change(server, document_id, move |entry| {
            entry.offset = offset;
            prove(entry, &proof);
            entry.status = EntryStatus::Paused;
        });
    }

    /// Forgets an upload.
    pub(crate) async fn remove(
        &self,
        server: &KnownServer,
        document_id: DocumentId,
    ) -> Result<(), StateFileError> {
        let server = server.clone();
        self.write(move |state| {
            if let Some(key) = key_of(state, document_id, &server) {
                state.uploads.remove(&key);
            }
        })
        .await
        .unwrap_or(Ok(()))
    }

    /// Uploads of that user on that server that have rested for more than a week by the clock
    /// of this machine: the server may have given them up.
    pub(crate) async fn resting(&self, server: &KnownServer, user: UserId) -> Vec<DocumentId> {
        let server = server.clone();
        let found = self.run(move |file| {
            let now = clock::now();
            let state = file.read().ok()?;
            let is_ours = |entry: &UploadEntry| {
                server.relation(entry).is_same() && entry.user_id == Some(user)
            };
            let resting = |(key, entry): (&String, &UploadEntry)| {
                let resting = is_ours(entry) && may_be_gone(entry, now);
                resting.then(|| UploadsState::document_id_of(key)).flatten()
            };
            Some(state.uploads.iter().filter_map(resting).collect())
        });
        found.await.flatten().unwrap_or_default()
    }

    /// Waits until everything asked for so far is on disk.
    pub(crate) async fn settle(&self) {
        self.run(|_| ()).await;
    }

    fn change(
        &self,
        server: &KnownServer,
        document_id: DocumentId,
        change: impl FnOnce(&mut UploadEntry) + Send + 'static,
    ) {
        let server = server.clone();
        // The last thing known is only a convenience: the server decides
        // where an upload goes on. A later write reports a broken disk.
        drop(self.write(move |state| {
            let entry =
                key_of(state, document_id, &server).and_then(|key| state.uploads.get_mut(&key));
            if let Some(entry) = entry {
                change(entry);
            }
        }));
    }

    /// Changes what the file says, where it can be written. The work begins at once.
    fn write(
        &self,
        change: impl FnOnce(&mut UploadsState) + Send + 'static,
    ) -> oneshot::Receiver<Result<(), StateFileError>> {
        if self.is_only_read {
            return oneshot::channel().1;
        }
        self.start(move |file| file.update(change))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StateFile) -> T + Send + 'static,
    ) -> Option<T> {
        self.start(work).await.ok()
    }

    fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StateFile) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        self.post(Box::new(move |file| {
            // A caller that no longer waits needs no answer; the work is done.
            let _ = answer.send(work(file));
        }));
        answered
    }

    fn post(&self, work: Work) {
        if let Some(todo) = &self.work {
            // The thread ends only after the last of these handles.
            let _ = todo.send(work);
        }
    }
}

fn key_of(state: &UploadsState, document_id: DocumentId, server: &KnownServer) -> Option<String> {
    state.find(document_id, Some(server)).map(|(key, _)| key.to_owned())
}

fn find(state: &UploadsState, wanted: &Wanted) -> Remembered {
    let is_of_file = |entry: &UploadEntry| {
        entry.user_id.is_none_or(|of| of == wanted.user_id)
            && entry.filename == *wanted.remote.filename()
            && entry.folder == wanted.remote.folder()
    };
    let related = |entry: &UploadEntry| wanted.server.relation(entry);
    if let Some(document_id) = wanted.document_id {
        let found = state.numbered(document_id).min_by_key(|(_, entry)| related(entry));
        return match found {
            Some((_, entry)) if related(entry) == Relation::Other => Remembered::OtherServer,
            // A number that was named, and an address: the server may have moved. It is
            // asked, and it has this document with this name and size, or it has not.
            Some((_, entry)) if is_of_file(entry) => {
                Remembered::Entry(document_id, Box::new(entry.clone()))
            }
            _ => Remembered::Nothing,
        };
    }
    let fitting = |entry: &UploadEntry| is_of_file(entry) && is_of(entry, &wanted.local);
    let entries = state.uploads.iter().filter(|(_, entry)| fitting(entry));
    let usable = entries.clone().filter(|(_, entry)| related(entry).may_be_used());
    let latest = usable
        .filter_map(|(key, entry)| Some((UploadsState::document_id_of(key)?, entry)))
        .max_by_key(|(document_id, entry)| (entry.last_chunk_time, *document_id));
    if let Some((document_id, entry)) = latest {
        return Remembered::Entry(document_id, Box::new(entry.clone()));
    }
    let is_at_this_address =
        |entry: &UploadEntry| entry.server.as_deref() == Some(&wanted.server.address);
    match entries.into_iter().any(|(_, entry)| is_at_this_address(entry)) {
        true => Remembered::OtherServer,
        false => Remembered::Nothing,
    }
}

fn is_of(entry: &UploadEntry, local: &Path) -> bool {
    entry.path.as_deref() == Some(local)
}

fn write_down(state: &mut UploadsState, granted: Granted) {
    // An entry that names no server is this upload's only if it is about this file.
    let is_this = |entry: &UploadEntry| {
        entry.server.is_some()
            || (entry.filename == *granted.remote.filename()
                && entry.folder == granted.remote.folder()
                && entry.total_size == granted.filesize)
    };
    let known = state.find(granted.document_id, Some(&granted.server));
    let key = match known.filter(|(_, entry)| is_this(entry)) {
        Some((key, _)) => key.to_owned(),
        None => state.key_for(granted.document_id, Some(&granted.server)),
    };
    let now = clock::now();
    let entry = state.uploads.entry(key).or_insert_with(|| {
        let filename = granted.remote.filename().clone();
        UploadEntry::new(filename, granted.filesize, granted.offset, EntryStatus::Uploading)
    });
    entry.filename = granted.remote.filename().clone();
    entry.folder = granted.remote.folder().to_vec();
    entry.total_size = granted.filesize;
    entry.offset = granted.offset;
    entry.chunk_size = Some(granted.chunk_bytes);
    entry.user_id = Some(granted.user_id);
    entry.start_time.get_or_insert(now);
    entry.last_chunk_time = Some(now);
    entry.status = EntryStatus::Uploading;
    entry.path = Some(granted.local);
    entry.server = Some(granted.server.address);
    entry.server_id = granted.server.id.or(entry.server_id);
    entry.modified_ns = granted.modified;
    prove(entry, &granted.proof);
    if let Some(token_file) = &granted.token_file {
        set_token_file(entry, token_file);
    }
    let entry = entry.clone();
    jobs::now_an_upload(state, &entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_types::Name;

    fn granted(document_id: u64, server: &str, name: &str) -> Granted {
        Granted {
            document_id: document_id.try_into().unwrap(),
            server: at(server),
            remote: DocumentPath::parse(name).unwrap(),
            local: PathBuf::from("/home/me").join(name),
            filesize: FileSize::try_from(1000).unwrap(),
            modified: Some(ModifiedNs::from(7)),
            chunk_bytes: 65_536,
            user_id: UserId::MIN,
            offset: Offset::ZERO,
            token_file: Some("/home/me/token".into()),
            proof: nothing(),
        }
    }

    fn at(address: &str) -> KnownServer {
        KnownServer::new(format!("{address}:8695"), None)
    }

    fn with_id(address: &str, digit: &str) -> KnownServer {
        KnownServer { id: digit.repeat(32).parse().ok(), ..at(address) }
    }

    async fn found(uploads: &Uploads, wanted: Wanted) -> Option<(DocumentId, UploadEntry)> {
        match uploads.find(wanted).await {
            Remembered::Entry(document_id, entry) => Some((document_id, *entry)),
            Remembered::OtherServer | Remembered::Nothing => None,
        }
    }

    fn nothing() -> Proof {
        Proof::of(crate::source::Identity::default(), &[], Offset::ZERO)
    }

    fn wanted(server: &str, name: &str) -> Wanted {
        Wanted {
            server: at(server),
            remote: DocumentPath::parse(name).unwrap(),
            local: PathBuf::from("/home/me").join(name),
            user_id: UserId::MIN,
            document_id: None,
        }
    }

    #[tokio::test]
    async fn an_upload_is_written_down_found_again_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::at(folder.path().join("state/uploads_state.json"));
        let uploads = Uploads::kept_in(file.clone());
        uploads.granted(granted(1, "a", "x.pdf")).await.unwrap();
        uploads.granted(granted(1, "b", "x.pdf")).await.unwrap();
        let server = at("b");
        let id = DocumentId::MIN;
        uploads.reached(&server, id, Offset::try_from(500).unwrap(), nothing());
        uploads.paused(&server, id, Offset::try_from(600).unwrap(), nothing());
        let (document_id, entry) = found(&uploads, wanted("b", "x.pdf")).await.unwrap();
        assert_eq!((document_id, entry.offset.get(), entry.status), (id, 600, EntryStatus::Paused));
        assert_eq!(token_file(&entry), Some("/home/me/token".into()));
        let (_, entry) = found(&uploads, wanted("a", "x.pdf")).await.unwrap();
        assert_eq!((entry.offset.get(), entry.status), (0, EntryStatus::Uploading));
        assert!(found(&uploads, wanted("a", "y.pdf")).await.is_none());

        uploads.remove(&server, id).await.unwrap();
        assert!(found(&uploads, wanted("b", "x.pdf")).await.is_none());
        // What comes too late brings nothing back.
        uploads.reached(&server, id, Offset::ZERO, nothing());
        uploads.settle().await;
        assert_eq!(file.read().unwrap().uploads.len(), 1);
    }

    #[test]
    fn a_server_is_known_by_its_identity_and_not_by_its_address() {
        let mut state = UploadsState::default();
        let of_server = |server| Granted { server, ..granted(7, "a", "x.pdf") };
        write_down(&mut state, of_server(with_id("a", "1")));
        let find = |server, document_id| {
            let document_id: Option<u64> = document_id;
            let document_id = document_id.map(|number| number.try_into().unwrap());
            find(&state, &Wanted { server, document_id, ..wanted("a", "x.pdf") })
        };
        let is_found = |remembered| matches!(remembered, Remembered::Entry(..));
        for number in [None, Some(7)] {
            assert!(is_found(find(with_id("a", "1"), number)), "where it was");
            assert!(is_found(find(with_id("b", "1"), number)), "it has moved");
            assert_eq!(find(with_id("a", "2"), number), Remembered::OtherServer, "made anew");
            assert!(is_found(find(at("a"), number)), "an older server again");
        }
        assert_eq!(find(with_id("b", "2"), None), Remembered::Nothing);
        assert_eq!(find(at("b"), None), Remembered::Nothing, "there is nothing to tell it by");
        assert!(is_found(find(at("b"), Some(7))), "a number that was named is asked for");

        // The other server's document of that number has an entry of its own.
        write_down(&mut state, of_server(with_id("a", "2")));
        assert_eq!(state.uploads.len(), 2);
        assert_eq!(state.uploads["7"].server_id, with_id("a", "1").id);
        // And the one that has moved has its address put right.
        write_down(&mut state, of_server(with_id("b", "1")));
        assert_eq!(state.uploads.len(), 2);
        assert_eq!(state.uploads["7"].server.as_deref(), Some("b:8695"));
    }

    #[test]
    fn an_entry_without_a_server_is_not_overwritten_by_another_files() {
        let mut state = UploadsState::default();
        let size = FileSize::try_from(5).unwrap();
        let name = Name::new("x.zip").unwrap();
        let entry = UploadEntry::new(name, size, Offset::ZERO, EntryStatus::Paused);
        state.uploads.insert("7".into(), entry.clone());
        write_down(&mut state, granted(7, "a", "y.pdf"));
        assert_eq!(state.uploads["7"], entry);
        assert_eq!(key_of(&state, DocumentId::try_from(7).unwrap(), &at("a")).unwrap(), "7@a:8695");
    }

    #[test]
    fn the_clock_alone_drops_nothing_and_damage_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::at(folder.path().join("uploads_state.json"));
        let name = Name::new("old.pdf").unwrap();
        let size = FileSize::try_from(1).unwrap();
        let mut entry = UploadEntry::new(name, size, Offset::ZERO, EntryStatus::Paused);
        // Written while the clock stood at its beginning, and far ahead.
        for (key, seconds) in [("1", 0), ("2", 1 << 33)] {
            entry.last_chunk_time = Some(Timestamp::from_secs(seconds));
            file.update(|state| state.uploads.insert(key.to_owned(), entry.clone())).unwrap();
        }
        let found = read(&file).unwrap();
        assert_eq!(found.state.uploads.keys().collect::<Vec<_>>(), ["1", "2"]);
        assert!(found.notices.is_empty());

        std::fs::write(file.path(), "{torn").unwrap();
        let found = read(&file).unwrap();
        assert!(found.state.uploads.is_empty() && found.notices.len() == 1);
        assert!(read(&file).unwrap().notices.is_empty());

        std::fs::write(file.path(), r#"{"version":99,"uploads":{}}"#).unwrap();
        assert!(matches!(read(&file), Err(StateFileError::NewerVersion { .. })));
    }

    #[tokio::test]
    async fn what_rested_for_long_on_a_server_is_asked_about_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::at(folder.path().join("uploads_state.json"));
        let uploads = Uploads::kept_in(file.clone());
        for (number, server) in [(1, "a"), (2, "a"), (3, "b")] {
            uploads.granted(granted(number, server, "x.pdf")).await.unwrap();
        }
        let old = |key: &str, state: &mut UploadsState| {
            state.uploads.get_mut(key).unwrap().last_chunk_time = Some(Timestamp::from_secs(1));
        };
        file.update(|state| ["1", "3"].map(|key| old(key, state))).unwrap();
        assert_eq!(uploads.resting(&at("a"), UserId::MIN).await, [DocumentId::MIN]);
        let other = UserId::try_from(9).unwrap();
        assert!(uploads.resting(&at("a"), other).await.is_empty());
    }

    #[tokio::test]
    async fn an_upload_whose_file_was_moved_is_told_from_another_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::at(folder.path().join("uploads_state.json"));
        let uploads = Uploads::kept_in(file);
        let (old, new) = (folder.path().join("x.pdf"), folder.path().join("moved/x.pdf"));
        uploads.granted(Granted { local: old.clone(), ..granted(1, "a", "x.pdf") }).await.unwrap();
        let server = at("a");
        let begun_with =
            async |local: &Path| uploads.begun_with(&server, DocumentId::MIN, local).await;
        assert_eq!(begun_with(&old).await, BegunWith::This);
        assert_eq!(begun_with(&new).await, BegunWith::Gone(Some(ModifiedNs::from(7))));
        std::fs::write(&old, "it is there").unwrap();
        assert_eq!(begun_with(&new).await, BegunWith::Another);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_read_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::at(folder.path().join("uploads_state.json"));
        Uploads::kept_in(file.clone()).granted(granted(1, "a", "x.pdf")).await.unwrap();
        let uploads = Uploads::read_from(file.clone());
        assert!(found(&uploads, wanted("a", "x.pdf")).await.is_some());
        uploads.granted(granted(2, "a", "y.pdf")).await.unwrap();
        uploads.remove(&at("a"), DocumentId::MIN).await.unwrap();
        uploads.settle().await;
        assert_eq!(file.read().unwrap().uploads.keys().collect::<Vec<_>>(), ["1"]);
    }

    #[tokio::test]
    async fn without_a_file_nothing_is_kept() {
        let uploads = Uploads::default();
        uploads.granted(granted(1, "a", "x.pdf")).await.unwrap();
        assert!(found(&uploads, wanted("a", "x.pdf")).await.is_none());
        uploads.settle().await;
    }
}
