//! The operator's commands work in the server's store or in none: they never make a second one.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::Output;
use towline_tests::process::{Launch, output, towlined};
use towline_tests::raw_client::RawClient;
use towline_tests::site::Site;
use towline_tests::tamper::contents;

async fn run(arguments: &[&str], folder: &Path, variable: Option<&Path>) -> Output {
    let mut command = towlined();
    command.args(arguments).current_dir(folder);
    if let Some(path) = variable {
        command.env("TOWLINE_DATA_DIR", path);
    }
    output(&mut command).await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_in_the_wrong_folder_say_so_and_make_nothing() {
    let wrong = tempfile::tempdir().unwrap();
    for arguments in [
        &["user", "list"][..],
        &["user", "add", "bob"],
        &["token", "--user", "ada"],
        &["verify"],
        &["verify", "--repair"],
    ] {
        let done = run(arguments, wrong.path(), None).await;
        assert_eq!(done.status.code(), Some(1), "{arguments:?}");
        let said = text(&done.stderr);
        let meant = wrong.path().join("storage");
        assert!(said.contains(&format!("no Towline store in {}", meant.display())), "{said}");
        assert!(said.contains("TOWLINE_DATA_DIR"), "{said}");
        assert_eq!(text(&done.stdout), "");
        assert_eq!(fs::read_dir(wrong.path()).unwrap().count(), 0, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_named_before_or_behind_the_command_by_a_variable_or_by_the_configuration() {
    let site = Site::new();
    site.add_user("ada").await;
    let server = Launch::over(&site).start().await;
    let data = site.path().to_str().unwrap();
    let file = site.settings(&format!("data_dir = '{data}'"));
    let file = file.to_str().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let token = ["token", "--user", "ada"];
    for (before, behind, variable) in [
        (&["--data-dir", data][..], &[][..], None),
        (&[], &["--data-dir", data], None),
        (&["--config", file], &[], None),
        (&[], &["--config", file], None),
        (&[], &[], Some(site.path())),
        // An option on the command line comes before the environment.
        (&[], &["--data-dir", data], Some(elsewhere.path())),
    ] {
        let arguments = [before, &token[..], behind].concat();
        let done = run(&arguments, elsewhere.path(), variable).await;
        let said = text(&done.stderr);
        assert!(done.status.success(), "{arguments:?}: {said}");
        assert_eq!(said, format!("data folder: {data}\n"), "{arguments:?}");
        let token = text(&done.stdout);
        drop(RawClient::login(server.address(), token.trim_end()).await);
    }
    for stray in ["--listen", "--max-file-size"] {
        let done = run(&[stray, "1", "user", "list"], elsewhere.path(), Some(site.path())).await;
        assert_eq!(done.status.code(), Some(2));
        assert!(text(&done.stderr).contains(stray), "{}", text(&done.stderr));
    }
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_by_root_leave_no_file_that_the_service_cannot_use() {
    if !rustix::process::geteuid().is_root() {
        println!("needs root: run by another user there is nothing to find out");
        return;
    }
    const SERVICE: u32 = 65_534;
    let site = Site::new();
    site.add_user("ada").await;
    Launch::over(&site).start().await.gone().await;
    fs::set_permissions(site.outside(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    // The files that exist only while the store is open, and that an operator may have removed.
    for name in ["state/catalog.db.lock", "towlined.lock"] {
        fs::remove_file(site.path().join(name)).unwrap();
    }
    for path in contents(site.path()).into_keys().chain([site.path().to_owned()]) {
        chown(&path, Some(SERVICE), Some(SERVICE)).unwrap();
    }
    let data = site.path().to_str().unwrap();
    for arguments in [
        &["user", "add", "bob"][..],
        &["user", "list"],
        &["token", "--user", "bob"],
        &["user", "remove", "bob"],
        &["verify"],
        &["verify", "--repair"],
    ] {
        let arguments = [arguments, &["--data-dir", data]].concat();
        let done = run(&arguments, site.outside(), None).await;
        assert!(done.status.success(), "{arguments:?}: {}", text(&done.stderr));
        for path in contents(site.path()).into_keys() {
            assert_eq!(path.metadata().unwrap().uid(), SERVICE, "{arguments:?}: {path:?}");
        }
    }
    assert!(site.path().join("state/catalog.db.lock").exists());
}
