//! The data folder of a test: its users and its files.

use crate::PATIENCE;
use crate::test_file::TestFile;
use crate::volume::{Volume, fast_folder};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use towline_engine::Clock;
use towline_engine::storage::DataFolder;
use towline_server::token::Tokens;
use towline_state::catalog::{Catalog, Peek};
use towline_state::state_file::{StateFile, UploadsState};
use towline_types::{DocumentId, Timestamp, UserId};

/// How long tokens are valid: longer than any test, also one that moves the clock by weeks.
const TOKEN_TTL: Duration = Duration::from_secs(90 * 86_400);

/// The name of the file that has the id of the folder's store.
pub const MARKER: &str = ".towline-store";

/// A data folder that is removed when the test ends. It holds no file open, so that a volume can be
/// unmounted under it.
#[derive(Debug)]
pub struct Site {
    temporary: TempDir,
    data_dir: PathBuf,
}

/// A user and a token.
#[derive(Debug, Clone)]
pub struct TestUser {
    /// The number.
    pub id: UserId,
    /// The name.
    pub name: String,
    /// A valid token.
    pub token: String,
}

impl Site {
    /// A new data folder, without users.
    #[must_use]
    pub fn new() -> Self {
        Self::within(tempfile::tempdir().expect("a temporary folder"))
    }

    /// A new data folder in that temporary folder.
    #[must_use]
    pub fn within(temporary: TempDir) -> Self {
        let data_dir = temporary.path().join("storage");
        Self { temporary, data_dir }.opened()
    }

    /// A new data folder in memory, where the machine has a file system in memory: for tests that
    /// start many servers and cut no power.
    #[must_use]
    pub fn in_memory() -> Self {
        let Some(folder) = fast_folder() else { return Self::new() };
        Self::within(tempfile::tempdir_in(folder).expect("a temporary folder"))
    }

    /// A new data folder on that volume. The folder [`outside`](Self::outside) is not on the
    /// volume.
    #[must_use]
    pub fn on(volume: &Volume) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let data_dir = volume.path().join("storage");
        let site = Self { temporary, data_dir }.opened();
        // The administrator of the data folder has to make its name durable.
        let parent = std::fs::File::open(volume.path()).expect("a folder");
        parent.sync_all().expect("a folder that can be synced");
        site
    }

    /// A data folder with copies of all files of that one.
    ///
    /// # Panics
    /// Where a file cannot be copied.
    #[must_use]
    pub fn copy_of(data_dir: &Path) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let site = Self { data_dir: temporary.path().join("storage"), temporary };
        copy(data_dir, &site.data_dir);
        site
    }

    fn opened(self) -> Self {
        drop(DataFolder::open(&self.data_dir).expect("a data folder"));
        self
    }

    /// The data folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.data_dir
    }

    /// A folder outside the data folder, for other files of the test.
    #[must_use]
    pub fn outside(&self) -> &Path {
        self.temporary.path()
    }

    /// Writes a configuration file with these lines.
    ///
    /// # Panics
    /// Where it cannot be written.
    #[must_use]
    pub fn settings(&self, lines: &str) -> PathBuf {
        let path = self.outside().join("towlined.toml");
        std::fs::write(&path, lines).expect("a configuration file");
        path
    }

    /// Adds a user, whether a server runs or not.
    pub async fn add_user(&self, name: &str) -> TestUser {
        let mut added = self.add_users([name.to_owned()]).await;
        added.pop().expect("one was added")
    }

    /// Adds many users.
    pub async fn add_users(&self, names: impl IntoIterator<Item = String>) -> Vec<TestUser> {
        let catalog = Catalog::open(self.catalog_path()).expect("the catalog opens");
        let now = Clock::system().now();
        // All users are asked for before the first answer is awaited, so they share a transaction.
        let adding: Vec<_> =
            names.into_iter().map(|name| catalog.add_user(name, None, now)).collect();
        let mut users = Vec::new();
        for added in adding {
            let user = added.await.expect("the user is added");
            let token = self.token(user.user_id, TOKEN_TTL);
            users.push(TestUser { id: user.user_id, name: user.name, token });
        }
        catalog.close().await.expect("the catalog closes");
        users
    }

    /// A token for a user, valid from now on for that time.
    #[must_use]
    pub fn token(&self, user: UserId, ttl: Duration) -> String {
        let peek = Peek::at(self.catalog_path()).expect("the catalog can be looked at");
        let store = peek.store.unwrap_or_else(|| {
            Catalog::open(self.catalog_path()).expect("the catalog opens").store()
        });
        let keys = self.path().join("keys");
        let tokens = Tokens::open(&keys, &store, Clock::system()).expect("a key");
        tokens.issue(user, Timestamp::MIN, ttl).expect("a token").token
    }

    /// The folder of the published documents of a user.
    #[must_use]
    pub fn documents(&self, user: &TestUser) -> PathBuf {
        self.uploads().join(user.id.to_string())
    }

    /// The path at which a document of a user is published.
    #[must_use]
    pub fn document(&self, user: &TestUser, name: &str) -> PathBuf {
        self.documents(user).join(name)
    }

    /// The path of the staging file of an upload.
    #[must_use]
    pub fn staging(&self, document: DocumentId) -> PathBuf {
        self.staging_folder().join(format!("{document}.tmp"))
    }

    /// The folder of the staging files.
    #[must_use]
    pub fn staging_folder(&self) -> PathBuf {
        self.uploads().join(".staging")
    }

    /// The names of the staging files, in order, without the marker of the folder.
    ///
    /// # Panics
    /// Where the folder cannot be read.
    #[must_use]
    pub fn staged_names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.staging_folder()).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| name != MARKER).collect();
        names.sort();
        names
    }

    /// The folder of all uploads and documents.
    #[must_use]
    pub fn uploads(&self) -> PathBuf {
        self.path().join("uploads")
    }

    /// The state file.
    #[must_use]
    pub fn state_path(&self) -> PathBuf {
        self.path().join("state/uploads_state.json")
    }

    /// The catalog's file.
    #[must_use]
    pub fn catalog_path(&self) -> PathBuf {
        self.path().join("state/catalog.db")
    }

    /// The content of the state file.
    #[must_use]
    pub fn state(&self) -> UploadsState {
        StateFile::at(self.state_path()).read().expect("the state file reads well")
    }

    /// The content of the state file, as soon as the condition is true. The file is a copy that the
    /// server writes later, and no event announces that, so this function reads it again and again.
    ///
    /// # Panics
    /// Where the condition is not true in time.
    pub async fn state_that(
        &self,
        what: &str,
        is_it: impl Fn(&UploadsState) -> bool,
    ) -> UploadsState {
        let began = Instant::now();
        loop {
            let state = self.state();
            if is_it(&state) {
                return state;
            }
            assert!(began.elapsed() < PATIENCE, "the state file does not say: {what}; {state:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the state file has no unfinished upload.
    pub async fn state_is_empty(&self) {
        self.state_that("nothing is on its way", |state| state.uploads.is_empty()).await;
    }

    /// Everything under `uploads/`, folders and links included, with the length of each file. The
    /// markers are left out.
    #[must_use]
    pub fn on_disk(&self) -> BTreeMap<PathBuf, u64> {
        let mut found = BTreeMap::new();
        list(&self.uploads(), &mut found);
        found
    }

    /// Compares the published document with the file that it was made from.
    ///
    /// # Panics
    /// Where the document is missing or differs.
    pub fn assert_published(&self, user: &TestUser, name: &str, test_file: &TestFile) {
        let path = self.document(user, name);
        let bytes = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{} is not published: {error}", path.display()));
        assert_eq!(bytes.len(), test_file.size(), "length of {}", path.display());
        if let Some(at) =
            bytes.iter().zip(&test_file.bytes).position(|(ours, theirs)| ours != theirs)
        {
            panic!("{} differs from byte {at} on", path.display());
        }
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("a folder that can be read") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("a file can be copied");
        }
    }
}

fn list(folder: &Path, found: &mut BTreeMap<PathBuf, u64>) {
    for entry in std::fs::read_dir(folder).expect("a folder that can be read") {
        let path = entry.expect("an entry").path();
        let about = path.symlink_metadata().expect("an entry that stays");
        if about.is_dir() {
            found.insert(path.clone(), 0);
            list(&path, found);
        } else if !path.ends_with(MARKER) {
            found.insert(path, about.len());
        }
    }
}
