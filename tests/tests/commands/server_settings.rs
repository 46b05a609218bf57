//! The settings of a server: sizes and addresses in the form that people type, and errors that name
//! the place and end with exit code 2.

use rustix::process::Signal;
use std::net::Ipv6Addr;
use std::process::Output;
use towline_protocol::{Code, Reply};
use towline_tests::process::{Launch, ServerProcess, output, towlined};
use towline_tests::raw_client::{RawClient, ZERO, upload_of_size};
use towline_tests::site::{Site, TestUser};
use towline_tests::volume::skipped;
use towline_types::FileSize;

/// Runs `towlined` with arguments that make no sense. Returns the message.
async fn refused(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = output(towlined().args(arguments)).await;
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(2), "{arguments:?}: {said}");
    said
}

/// The same with a line in the configuration file.
async fn refused_line(site: &Site, line: &str) -> String {
    let file = site.settings(&format!("durability = \"durable\"\n{line}"));
    let path = file.to_str().unwrap();
    let data_dir = site.path().to_str().unwrap();
    let said = refused(&["--data-dir", data_dir, "--config", path]).await;
    assert!(said.contains(path), "names the file: {said}");
    assert!(said.contains("line 2"), "names the line: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_is_none_is_said_with_an_example() {
    let said = refused(&["--max-file-size", "abc"]).await;
    assert!(said.contains("\"abc\" is not a size; write 500MB or 2GiB"), "{said}");
    let said = refused(&["--max-file-size", "0"]).await;
    assert!(said.contains("refuse every file"), "{said}");
    refused(&["--max-file-size", "-1"]).await;
    refused(&["--max-file-size=20EB"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_none_is_said_with_an_example() {
    let said = refused(&["--keep-trash", "30"]).await;
    let example = "\"30\" is not a length of time; write 30d, 12h, forever or none";
    assert!(said.contains(example), "{said}");
    let said = refused(&["--keep-versions", "7d,1d,30d"]).await;
    assert!(said.contains("as long as the one before it or longer"), "{said}");
    refused(&["--keep-changes", "always"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_the_configuration_file_is_said_with_file_line_and_key() {
    let site = Site::new();
    for (line, key) in [
        ("max_file_size = \"10 apples\"", "max_file_size"),
        ("max_file_size = 0", "max_file_size"),
        ("reserve = -1", "reserve"),
        ("expire_after = \"soon\"", "expire_after"),
        ("listen = \"host:port\"", "listen"),
        ("max_conections = 5", "max_conections"),
        ("max_connections = \"many\"", "max_connections"),
        ("durabilty = relaxed", "durabilty"),
        ("keep_trash = \"soon\"", "write 30d, 12h, forever or none"),
        ("keep_versions = \"1d,7d\"", "neither one time nor three"),
        ("keep_changes = 90", "keep_changes"),
    ] {
        let said = refused_line(&site, line).await;
        assert!(said.contains(key), "{line}: {said}");
    }
    refused(&["--config", "/nonexistent.toml"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_taken_as_people_type_them() {
    for listen in ["127.0.0.1:0", ":0", "*:0", "localhost:0", "0", "0.0.0.0:0"] {
        serve(listen).await;
    }
    for listen in ["host:port", "127.0.0.1:99999", "[::1", "no-such-host.invalid:0"] {
        let site = Site::new();
        let data_dir = site.path().to_str().unwrap().to_owned();
        let said = refused(&["--data-dir", &data_dir, "--listen", listen]).await;
        assert!(said.contains(listen), "{listen}: {said}");
    }
}

/// Starts a server on the address that was typed, and stops it.
async fn serve(listen: &str) {
    let site = Site::in_memory();
    // The tests may run as root, and some of these addresses can be reached by other machines.
    let launch = Launch::over(&site).listen_on(listen).arguments(&["--allow-root"]);
    let mut server = launch.start().await;
    assert_ne!(server.address().port(), 0, "{listen}");
    server.signal(Signal::TERM);
    assert!(server.ended().await.success(), "{listen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_a_link_is_taken_with_its_zone() {
    // "fe80…  index  prefix  scope  flags  name", the address without colons.
    let known = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let link = known.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [digits, _, _, "20", _, name] = fields[..] else { return None };
        let address = Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?);
        Some(format!("[{address}%{name}]:0"))
    });
    match link {
        Some(listen) => serve(&listen).await,
        None => skipped(&"no link of this machine has an IPv6 address"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_limit_is_said_as_the_largest_number() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let mut server = Launch::over(&site).start().await;
    assert_eq!(limit(&server, &user).await, 9_223_372_036_854_775_807);
    // A file that fits on no disk is refused for that reason, before a byte is sent.
    let mut client = server.client(&user).await;
    let begin = upload_of_size("all.bin", FileSize::MAX);
    assert!(client.upload_refused(begin, Code::NoSpace).await.missing.is_some());
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
}

/// The largest size of a file that a server says it allows.
async fn limit(server: &ServerProcess, user: &TestUser) -> u64 {
    let mut client = RawClient::connect(server.address()).await;
    client.hello(&user.token).await;
    let Reply::Welcome(welcome) = client.reply_on(ZERO).await else { panic!("no welcome") };
    welcome.max_filesize.get()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_takes_numbers_and_what_is_typed_overrides_it() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let file = site.settings("max_file_size = 1000\nlisten = 1\nreserve = 0\n");
    let launch = Launch::over(&site).settings(&file);
    let server = launch.clone().start().await;
    assert_eq!(limit(&server, &user).await, 1000);
    drop(server.gone().await);
    let server = launch.arguments(&["--max-file-size", "500MB"]).start().await;
    assert_eq!(limit(&server, &user).await, 500_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_names_every_key_and_the_exit_codes() {
    let Output { status, stdout, .. } = output(towlined().arg("--help")).await;
    assert!(status.success());
    let help = String::from_utf8(stdout).unwrap();
    for word in [
        "reserve",
        "expire_after",
        "max_connections",
        "max_connections_per_user",
        "max_logins_per_address",
        "max_unfinished_per_user",
        "--keep-trash",
        "--keep-versions",
        "--keep-changes",
        "forever",
        "Exit codes",
        "TOWLINE_LOG",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
}
