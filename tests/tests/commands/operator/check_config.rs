//! `towlined check-config` says everything that a start would refuse, and changes nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use towline_tests::process::{Launch, output, towlined};
use towline_tests::site::Site;

/// What the command said, and its exit code.
async fn check(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = towlined();
    command.arg("check-config").arg("--data-dir").arg(site.path()).args(arguments);
    let Output { status, stdout, stderr } = output(&mut command).await;
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_configuration_is_said_to_be_good_beside_its_server_too() {
    let site = Site::new();
    site.add_user("ada").await;
    let server = Launch::over(&site).start().await;
    let key = server.says_in_one_line(&["key SHA256:"]).await;
    let settings = site.settings(&format!("listen = \"{}\"\nallow_root = true", server.address()));
    let arguments = ["--config", settings.to_str().unwrap()];
    let (code, said) = check(&site, &arguments).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("good:") && said.contains(&key) && said.contains("a server runs"),
        "{said}"
    );
    // The server has not noticed.
    let _ = server.client(&site.add_user("bob").await).await;
    server.gone().await;
    let (code, said) = check(&site, &arguments).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("note:"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_does_not_exist_is_not_made() {
    let site = Site::new();
    let none = site.outside().join("none");
    let none = none.to_str().unwrap();
    let mut command = towlined();
    let done =
        output(command.args(["check-config", "--listen", "127.0.0.1:0", "--data-dir", none]));
    let Output { status, stdout, .. } = done.await;
    assert!(status.success());
    assert!(String::from_utf8(stdout).unwrap().contains("the first start makes one"));
    assert!(!fs::exists(none).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_is_said_at_once() {
    let site = Site::new();
    site.add_user("ada").await;
    Launch::over(&site).start().await.gone().await;
    let keys = site.path().join("keys");
    fs::set_permissions(&keys, Permissions::from_mode(0o777)).unwrap();
    fs::write(keys.join("ed25519.pk8"), "no key").unwrap();
    fs::write(keys.join("tls.pem"), "no certificate").unwrap();
    fs::remove_dir_all(site.path().join("uploads/.staging")).unwrap();
    let provider = site.outside().join("keys.json");
    fs::write(&provider, "no keys").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let provider = provider.to_str().unwrap();
    let arguments = ["--listen", &*address, "--token-keys", provider];
    let (code, said) = check(&site, &arguments).await;
    assert_eq!(code, Some(1), "{said}");
    for part in [
        &*format!("cannot listen on {address}"),
        "everybody on this machine may write into",
        "uploads/.staging is missing",
        "ed25519.pk8 holds no Ed25519 key",
        "tls.pem: ",
        provider,
        "6 things are wrong",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    // With mistakes in the configuration file it is another exit code, and all the rest as well.
    let settings = site.settings(
        "durability = \"slow\"\nmax_connections = 5\nmax_conections = 5\nlisten = \"host:port\"\n\
         tls_cert = \"a.pem\"\nuser = \"no-such-user\"\nkeep_trash = ",
    );
    let (code, said) = check(&site, &["--config", settings.to_str().unwrap()]).await;
    assert_eq!(code, Some(2), "{said}");
    for part in [
        "line 1",
        "line 3",
        "line 4",
        "line 7",
        "tls_cert and tls_key belong together",
        "no-such-user",
        "uploads/.staging is missing",
        "holds no Ed25519 key",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("line 2"), "that line is good: {said}");
}
