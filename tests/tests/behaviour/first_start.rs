//! What a server prints at its first start and at each later one.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use towline_state::catalog::Catalog;
use towline_tests::process::{Launch, ServerProcess, output, towline};
use towline_tests::site::Site;

fn lines(server: &ServerProcess) -> String {
    server.said().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_says_what_was_made_and_every_start_says_which_store_it_is() {
    let site = Site::new();
    // The path of the token file is a link that leads elsewhere; its target must not change.
    let elsewhere = site.outside().join("elsewhere");
    fs::write(&elsewhere, "kept").unwrap();
    symlink(&elsewhere, site.path().join("ann.token")).unwrap();
    // The catalog of a first start that was cut off. Without a catalog the start would be refused.
    Catalog::open(site.catalog_path()).unwrap().close().await.unwrap();
    let launch = Launch::over(&site).variable("USER", "ann");
    let server = launch.start().await;
    server.says("try it:").await;
    let said = lines(&server);
    let data = site.path().display().to_string();
    assert!(said.contains(&format!("data folder {data}, largest file: unlimited")), "{said}");
    assert!(said.contains(concat!("towlined ", env!("CARGO_PKG_VERSION"))), "{said}");
    assert!(said.contains("Created user \"ann\" and a token valid for 30 days"), "{said}");
    assert!(said.contains(&format!("towlined token --user ann --data-dir {data}")), "{said}");
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "kept");
    let token = site.path().join("ann-1.token");
    assert_eq!(token.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // The line after `try it:` works as it is printed.
    let line = said.lines().find_map(|line| line.strip_prefix("try it:")).unwrap();
    let file = site.outside().join("file");
    fs::write(&file, "content").unwrap();
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let words =
        words.iter().map(|word| if *word == "FILE" { file.to_str().unwrap() } else { word });
    let mut put = towline();
    put.args(words).env("HOME", site.outside());
    let done = output(&mut put).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    server.gone().await;

    let server = launch.arguments(&["--max-file-size", "5MB"]).start().await;
    server.says("data folder").await;
    let said = lines(&server);
    assert!(said.contains(&format!("data folder {data}, largest file: 5 MB")), "{said}");
    assert!(!said.contains("Created user"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_gone_is_warned_of() {
    let site = Site::new();
    site.add_user("ann").await;
    let server = Launch::over(&site).arguments(&["--allow-root"]).start().await;
    let said = lines(&server);
    assert!(!said.contains("WARN"), "{said}");
    server.gone().await;
    let key = site.path().join("keys/ed25519.pk8");
    fs::remove_file(&key).unwrap();
    let said = Launch::over(&site).start().await.gone().await.join("\n");
    assert!(said.contains("there is no key at"), "{said}");
}
