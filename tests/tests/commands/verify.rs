//! `towline verify`: every difference between a folder and the server is told, and nothing else.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::terminal::Terminal;
use towline_tests::test_file::TestFile;

struct Desk {
    _server: TestServer,
    cli: CliFixture,
}

impl Desk {
    /// `proj` has a file in a folder, an empty folder, a link to the file, and a file `x.tmp`.
    async fn new() -> Self {
        let server = TestServer::start().await;
        let cli = CliFixture::new(&server.site, &server.user, server.address());
        cli.write("proj/src/a", &TestFile::new(100, 980));
        cli.write("proj/x.tmp", &TestFile::new(100, 981));
        std::fs::create_dir(cli.path("proj/empty")).unwrap();
        symlink("src/a", cli.path("proj/link")).unwrap();
        Self { _server: server, cli }
    }

    fn proj(&self, name: &str) -> PathBuf {
        self.cli.path("proj").join(name)
    }

    async fn put(&self, more: &[&str]) {
        let mut put = self.cli.put(&self.cli.path("proj"));
        put.args(more);
        run(put).await.assert_done();
    }

    async fn verify(&self, more: &[&str]) -> Outcome {
        let mut verify = self.cli.at_home("verify", &self.cli.path("state"));
        self.cli.reach(&mut verify);
        verify.arg("proj").args(more).current_dir(self.cli.path("."));
        run(verify).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_empty_folders_are_compared_too() {
    let desk = Desk::new().await;
    desk.put(&[]).await;
    let same = desk.verify(&[]).await;
    assert!(
        same.assert_done().out.contains("2 files and 1 link the same, 0 different"),
        "{same:?}"
    );

    std::fs::remove_file(desk.proj("link")).unwrap();
    symlink("x.tmp", desk.proj("link")).unwrap();
    std::fs::remove_dir(desk.proj("empty")).unwrap();
    std::fs::create_dir(desk.proj("another")).unwrap();
    symlink("src", desk.proj("way")).unwrap();
    std::fs::remove_file(desk.proj("x.tmp")).unwrap();
    std::fs::create_dir(desk.proj("x.tmp")).unwrap();
    let told = desk.verify(&[]).await;
    told.assert_code(1);
    let mut lines: Vec<_> = told.out.lines().collect();
    let sums = lines.pop().unwrap();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "proj/another: is not on the server",
            "proj/empty: is only on the server",
            "proj/link: differs",
            "proj/way: is not on the server",
            "proj/x.tmp: differs",
        ]
    );
    assert_eq!(sums, "1 file the same, 2 different, 2 only here, 1 only on the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_a_server_sorts_in_another_way_are_compared_too() {
    let desk = Desk::new().await;
    // A server sorts them without regard to upper and lower case and to accents that are written
    // in two ways; a file system does not.
    let names = [
        "Zeta/a",
        "alpha",
        "Beta",
        "beta.d/x",
        "beta-2",
        "a b/c",
        "a-b",
        "a.b/c",
        "_x",
        ".hidden",
        "\u{c4}rger",
        "a\u{308}rmel",
        "stra\u{df}e",
        "STRASSF",
        "10",
        "9",
        "C/Z",
        "C/a",
        "c.txt",
    ];
    for (number, name) in names.iter().enumerate() {
        desk.cli.write(&format!("proj/{name}"), &TestFile::new(10, 985 + number as u64));
    }
    desk.put(&[]).await;
    let same = desk.verify(&[]).await;
    assert!(same.assert_done().out.starts_with("21 files and 1 link the same, 0 "), "{same:?}");
    for name in ["Beta", "C/a"] {
        std::fs::remove_file(desk.proj(name)).unwrap();
    }
    std::fs::write(desk.proj("beta-2"), "other").unwrap();
    std::fs::write(desk.proj("bEtA-3"), "new").unwrap();
    let told = desk.verify(&[]).await;
    let lines: Vec<_> = told.assert_code(1).out.lines().collect();
    assert_eq!(
        lines,
        [
            "proj/Beta: is only on the server",
            "proj/beta-2: differs",
            "proj/bEtA-3: is not on the server",
            "proj/C/a: is only on the server",
            "18 files and 1 link the same, 1 different, 1 only here, 2 only on the server",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_two_spellings_are_compared_whichever_the_server_lists_first() {
    let desk = Desk::new().await;
    // The server lists the one first that it had first.
    for (number, name) in ["dir/b", "DIR/c/d", "Dir/a"].iter().enumerate() {
        let file =
            desk.cli.write(&format!("proj/{name}"), &TestFile::new(10, 1010 + number as u64));
        let (folder, _) = name.rsplit_once('/').unwrap();
        let mut put = desk.cli.put(&file);
        put.args(["--folder", &format!("proj/{folder}")]);
        run(put).await.assert_done();
    }
    let rest =
        ["--exclude", "/src/", "--exclude", "/x.tmp", "--exclude", "/empty/", "--exclude", "/link"];
    let same = desk.verify(&rest).await;
    assert!(same.assert_done().out.starts_with("3 files the same, 0 different"), "{same:?}");
    std::fs::remove_dir_all(desk.proj("DIR")).unwrap();
    std::fs::write(desk.proj("Dir/e"), "new").unwrap();
    let told = desk.verify(&rest).await;
    let lines: Vec<_> = told.assert_code(1).out.lines().collect();
    assert_eq!(
        lines,
        [
            "proj/DIR: is only on the server",
            "proj/DIR/c: is only on the server",
            "proj/DIR/c/d: is only on the server",
            "proj/Dir/e: is not on the server",
            "2 files the same, 0 different, 1 only here, 3 only on the server",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_how_far_it_is() {
    let mut desk = Desk::new().await;
    for number in 0..200 {
        desk.cli.write(&format!("proj/{number}"), &TestFile::new(1, number));
    }
    desk.put(&[]).await;
    // The listing takes some seconds.
    let proxy = FaultProxy::start(desk.cli.to, []).await;
    proxy.otherwise(Faults::slow(20_000));
    desk.cli.to = proxy.address();
    let mut verify = desk.cli.at_home("verify", &desk.cli.path("state"));
    desk.cli.reach(&mut verify);
    verify.arg("proj").current_dir(desk.cli.path("."));
    let mut terminal = Terminal::run(verify, 80);
    terminal.shows(|text| text.contains("0 files compared, 0 bytes (Ctrl-C ends this)")).await;
    terminal.shows(|text| text.contains("202 files and 1 link the same, 0 different")).await;
    assert_eq!(terminal.child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_put_left_out_is_left_out() {
    for choice in [["--exclude", "*.tmp"], ["--include", "a"], ["--exclude", "/src/"]] {
        let desk = Desk::new().await;
        desk.put(&choice).await;
        desk.verify(&choice).await.assert_done();
        desk.verify(&[]).await.assert_code(1);
        // Also where the server has more than that.
        desk.put(&[]).await;
        let told = desk.verify(&choice).await;
        told.assert_done();
        desk.verify(&[]).await.assert_done();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_links_lead_to_is_compared_where_it_was_sent() {
    let desk = Desk::new().await;
    desk.put(&["--copy-links"]).await;
    let same = desk.verify(&["-L"]).await;
    assert!(same.assert_done().out.contains("3 files the same"), "{same:?}");
    let told = desk.verify(&[]).await;
    told.assert_code(1);
    assert!(told.out.contains("proj/link: differs"), "{told:?}");
}
