//! Where a first start makes a new store, and where it refuses to: in a folder with other files,
//! and inside another store.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use towline_tests::process::{Launch, output, towlined};
use towline_tests::site::{MARKER, Site};
use towline_tests::tamper::contents;
use towline_tests::volume::Volume;

/// Checks that the start is refused with exit code 1, and that nothing below `whole` has changed.
/// Returns the message.
async fn refused(data_dir: &Path, whole: &Path, arguments: &[&str]) -> String {
    let before = contents(whole);
    let launch = Launch::over_path(data_dir).arguments(arguments);
    let ended = launch.try_start().await.expect_err("the server does not start");
    let said = ended.said.join("\n");
    assert_eq!(ended.status.and_then(|status| status.code()), Some(1), "{said}");
    assert!(said.contains("Nothing was changed"), "{said}");
    assert!(said.contains(&data_dir.display().to_string()), "{said}");
    assert_eq!(contents(whole), before, "nothing was changed: {said}");
    said
}

async fn accepted(data_dir: &Path) {
    Launch::over_path(data_dir).start().await.gone().await;
    assert!(data_dir.join(MARKER).exists());
}

fn write(folder: &Path, file: &str) -> PathBuf {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "of somebody").unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_holds_other_things_is_named_with_them_and_stays_as_it_is() {
    for file in ["report.odt", ".bashrc", "photos/2026/a.jpg", "ada.token", "a\nb\u{1b}[31m"] {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path(), file);
        let said = refused(temp.path(), temp.path(), &[]).await;
        let name = Path::new(file).components().next().unwrap();
        assert!(said.contains(&format!("holds {:?}", name.as_os_str())), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
        for advice in ["empty or does not exist yet", "state/", "shall be made among these files"] {
            assert!(said.contains(advice), "{advice}: {said}");
        }
    }
    // What the message advises works.
    let temp = tempfile::tempdir().unwrap();
    write(temp.path(), "report.odt");
    accepted(&temp.path().join("storage")).await;
    let taken = Launch::over_path(temp.path()).arguments(&["--adopt-folders"]);
    taken.start().await.gone().await;
    accepted(temp.path()).await;
    assert_eq!(fs::read_to_string(temp.path().join("report.odt")).unwrap(), "of somebody");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_store_without_its_catalog_is_no_first_start() {
    for (file, name) in [
        ("keys/ed25519.pk8", "ed25519.pk8"),
        ("state/uploads_state.json", "uploads_state.json"),
        ("uploads/.staging/1.tmp", "1.tmp"),
        ("uploads/photos/a.jpg", "photos"),
        ("uploads/notes.txt", "notes.txt"),
    ] {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path(), file);
        let said = refused(temp.path(), temp.path(), &[]).await;
        assert!(said.contains("there is no catalog in") && said.contains(name), "{said}");
        assert!(said.contains("from a backup") && said.contains("--adopt-folders"), "{said}");
        assert!(!said.contains("does not exist yet"), "it was a store: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_or_mount_and_what_a_first_start_leaves_become_a_store() {
    let temp = tempfile::tempdir().unwrap();
    let empty = temp.path().join("empty");
    fs::create_dir(&empty).unwrap();
    accepted(&empty).await;
    accepted(&temp.path().join("not/there/yet")).await;
    let led = temp.path().join("led");
    fs::create_dir(temp.path().join("elsewhere")).unwrap();
    symlink(temp.path().join("elsewhere"), &led).unwrap();
    accepted(&led).await;
    let folders = temp.path().join("folders");
    for folder in ["lost+found", "uploads/7/lost+found", "uploads/photos", "keys/lost+found"] {
        fs::create_dir_all(folders.join(folder)).unwrap();
    }
    accepted(&folders).await;
    // The state of a first start that was cut off before the catalog had its first table.
    let cut_off = temp.path().join("cut off");
    for file in ["towlined.lock", "state/catalog.db.lock", "state/.catalog.x1.tmp"] {
        write(&cut_off, file);
    }
    fs::write(cut_off.join("state/catalog.db"), "").unwrap();
    accepted(&cut_off).await;
    if let Some(volume) = Volume::ext4(80 << 20) {
        assert!(volume.path().join("lost+found").exists());
        accepted(volume.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_store_is_made_inside_another_one() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    Launch::over(&site).start().await.gone().await;
    let documents = site.documents(&ada);
    fs::create_dir_all(documents.join("photos")).unwrap();
    fs::create_dir(site.path().join("empty")).unwrap();
    let link = site.outside().join("link");
    symlink(&documents, &link).unwrap();
    let store = site.path().canonicalize().unwrap();
    for folder in [
        site.uploads(),
        site.staging_folder(),
        site.path().join("state"),
        site.path().join("keys"),
        site.path().join("empty"),
        site.path().join("not/there"),
        documents.clone(),
        documents.join("photos"),
        link.join("photos"),
    ] {
        for arguments in [&[][..], &["--adopt-folders"]] {
            let said = refused(&folder, site.path(), arguments).await;
            assert!(said.contains(&format!("--data-dir {}", store.display())), "{said}");
        }
    }
    let done = output(towlined().args(["user", "list", "--data-dir"]).arg(&documents)).await;
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains(&format!("--data-dir {}", store.display())), "{said}");
    // The outer store has not changed, and a store beside it can be made.
    Launch::over(&site).start().await.gone().await;
    accepted(&site.outside().join("beside")).await;
    // When the outer store is given up, what the message advises works.
    fs::remove_file(site.path().join(MARKER)).unwrap();
    accepted(&site.path().join("empty")).await;
}

/// The disk with state/ is not mounted, and the marker of the data folder itself is cut short. The
/// message must not say that the folder is inside another store, because that store would be the
/// folder itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_torn_marker_and_no_catalog_is_not_said_to_lie_in_itself() {
    for torn in ["", "towline-sto", "towline-store 1\nstore_id 7\n"] {
        let site = Site::new();
        site.add_user("ada").await;
        Launch::over(&site).start().await.gone().await;
        fs::remove_dir_all(site.path().join("state")).unwrap();
        fs::write(site.path().join(MARKER), torn).unwrap();
        let said = refused(site.path(), site.path(), &[]).await;
        assert!(said.contains("cannot be read as a marker file"), "{said}");
        assert!(!said.contains("lies in the store"), "{said}");
        assert!(said.contains("Mount the disk with state/"), "{said}");
        let done = output(towlined().args(["user", "list", "--data-dir"]).arg(site.path())).await;
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(said.contains("cannot be read as a marker file"), "{said}");
        // What the message advises works.
        let adopting = Launch::over(&site).arguments(&["--adopt-folders"]);
        adopting.start().await.gone().await;
        Launch::over(&site).start().await.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_requires_a_store_makes_none_where_its_disk_is_not_mounted() {
    let temp = tempfile::tempdir().unwrap();
    let (mount_point, data_dir) = (temp.path(), temp.path().join("storage"));
    let arguments = ["--require-store"];
    let said = refused(&data_dir, mount_point, &arguments).await;
    assert!(said.contains("not mounted") && said.contains("once without"), "{said}");
    // Nor in an empty folder, because a mount point is an empty folder.
    refused(mount_point, mount_point, &arguments).await;
    let file = temp.path().join("towlined.toml");
    fs::write(&file, "require_store = true").unwrap();
    refused(&data_dir, mount_point, &["--config", file.to_str().unwrap()]).await;
    accepted(&data_dir).await;
    Launch::over_path(&data_dir).arguments(&arguments).start().await.gone().await;
}
