//! Another program with rights in the data folder swaps a folder for a link that leads out of it,
//! again and again, while uploads are published there. The server never writes outside, loses no
//! upload, and publishes some of the uploads meanwhile.

use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Code, Reply, Request};
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{RawClient, ZERO, position, resume, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::TestFile;
use towline_types::DocumentId;

/// The number of uploads while the folder and the link are swapped. Measured in eight runs: 67 to
/// 88 of them succeed, during 22,000 to 101,000 swaps.
const ATTEMPTS: usize = 200;

/// Swaps a folder and a link until it is dropped; after that the name belongs to the folder.
struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Swapper {
    fn start(folder: PathBuf, link: PathBuf) -> Self {
        let (stop, swaps) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&swaps));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) || folder.is_symlink() {
                renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE).expect("a swap");
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { stop, swaps, thread: Some(thread) }
    }

    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().expect("it runs").join().expect("it swaps without a mistake");
        self.swaps.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_place_of_a_users_folder_leads_no_upload_out() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let folder = site.documents(&user).join("a");
    std::fs::create_dir_all(&folder).unwrap();
    swapped(&site, &user, folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_place_of_the_user_leads_no_upload_out() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let folder = site.documents(&user);
    std::fs::create_dir_all(&folder).unwrap();
    swapped(&site, &user, folder).await;
}

async fn swapped(site: &Site, user: &TestUser, folder: PathBuf) {
    let outside = site.outside().join("elsewhere");
    std::fs::create_dir(&outside).expect("a folder");
    let link = site.uploads().join("link");
    symlink(&outside, &link).expect("a link");
    let server = Launch::over(site).start().await;
    let test_file = TestFile::new(3000, 990);
    let swapper = Swapper::start(folder, link);
    let mut waiting = Vec::new();
    let mut done = Vec::new();
    for number in 0..ATTEMPTS {
        let name = format!("{number}.bin");
        // New folders, too: the server must not make one outside, either.
        let folders = ["a".to_owned(), format!("{}", number % 7)][..1 + number % 2].to_vec();
        match put(&server, user, &name, folders.clone(), &test_file).await {
            Ok(()) => done.push([folders, vec![name]].concat().join("/")),
            Err(Some(id)) => waiting.push(id),
            Err(None) => {}
        }
    }
    let swaps = swapper.stop();
    println!("{swaps} swaps, {} published meanwhile, {} afterwards", done.len(), waiting.len());
    assert!(swaps >= 1000, "the folder and the link were hardly swapped: {swaps} times");
    assert!(done.len() >= ATTEMPTS / 10, "too few uploads succeeded: {} of {ATTEMPTS}", done.len());
    assert!(done.len() < ATTEMPTS, "no upload met the link");
    // The name belongs to the folder again: now every upload succeeds.
    for number in ATTEMPTS..ATTEMPTS + 10 {
        let name = format!("{number}.bin");
        let put = put(&server, user, &name, vec!["a".to_owned()], &test_file).await;
        put.expect("no link is there any more");
        done.push(format!("a/{name}"));
    }
    for name in done {
        site.assert_published(user, &name, &test_file);
    }
    assert_nothing_in(&outside);
    for id in waiting {
        let mut client = RawClient::login(server.address(), &user.token).await;
        client.send(&Request::Resume(resume(id))).await;
        match client.reply_on(ZERO).await {
            Reply::Success(_) => continue,
            Reply::Resume(granted) => {
                let from = position(granted.offset);
                client.chunks(ZERO, &test_file, from..test_file.size()).await;
            }
            other => panic!("{other:?}"),
        }
        client.complete(ZERO).await;
    }
    assert_nothing_in(&outside);
    for (path, length) in site.on_disk() {
        let is_file = path.symlink_metadata().expect("what is listed is there").is_file();
        assert!(!is_file || length == 3000, "{}", path.display());
    }
    server.gone().await;
}

/// Uploads a file. Where that fails, returns the number of the upload that waits.
async fn put(
    server: &ServerProcess,
    user: &TestUser,
    name: &str,
    folder: Vec<String>,
    test_file: &TestFile,
) -> Result<(), Option<DocumentId>> {
    let mut client = RawClient::login(server.address(), &user.token).await;
    client.send(&Request::Upload(Upload { folder, ..upload(name, test_file) })).await;
    let id = match client.reply_on(ZERO).await {
        Reply::Upload(granted) => granted.document_id,
        Reply::Error(error) if matches!(error.code, Code::Internal | Code::StorageRefused) => {
            return Err(None);
        }
        other => panic!("{other:?}"),
    };
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.send(&Request::Complete(Complete::default())).await;
    match client.reply_on(ZERO).await {
        Reply::Success(_) => Ok(()),
        Reply::Error(error) if error.code != Code::StorageFailed => Err(Some(id)),
        other => panic!("{other:?}"),
    }
}

fn assert_nothing_in(outside: &Path) {
    let found: Vec<_> = std::fs::read_dir(outside).expect("a folder").collect();
    assert!(found.is_empty(), "written outside: {found:?}");
}
