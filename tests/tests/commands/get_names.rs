//! Local names that several things are to get, and names that are taken here: what `--on-conflict`
//! says is done, also for links, and nothing is lost.

use std::fs::{read, read_link, write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

struct Desk {
    server: TestServer,
    cli: CliFixture,
}

impl Desk {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let cli = CliFixture::new(&server.site, &server.user, server.address());
        std::fs::create_dir(cli.path("back")).unwrap();
        Self { server, cli }
    }

    async fn put(&self, name: &str) -> Outcome {
        let mut put = self.cli.put(&self.cli.path(name));
        put.arg("--json");
        let outcome = run(put).await;
        outcome.assert_done();
        outcome
    }

    /// `towline get` into the folder `back`.
    async fn get(&self, arguments: &[&str]) -> Outcome {
        let mut get = self.cli.at_home("get", &self.cli.path("state"));
        self.cli.reach(&mut get);
        get.args(arguments).arg("--json").current_dir(self.cli.path("back"));
        run(get).await
    }

    fn back(&self, name: &str) -> PathBuf {
        self.cli.path("back").join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.cli.path("back")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A name that a file has while it is fetched.
fn staging_name(of: &str, end: &str) -> String {
    format!(".towline-{}{end}", &blake3::hash(of.as_bytes()).to_hex()[..16])
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_of_one_name_come_one_after_the_other() {
    let desk = Desk::new().await;
    let files = [TestFile::new(20 * BLOCK, 960), TestFile::new(3 * BLOCK, 961)];
    for (folder, file) in ["a", "b"].iter().zip(&files) {
        desk.cli.write(&format!("{folder}/x"), file);
        desk.put(folder).await;
    }
    let refused = desk.get(&["a/x", "b/x"]).await;
    refused.assert_code(1);
    assert!(refused.err.contains("another file with this name"), "{refused:?}");
    assert!(read(desk.back("x")).unwrap() == files[0].bytes);
    std::fs::remove_file(desk.back("x")).unwrap();

    desk.get(&["a/x", "b/x", "--on-conflict", "rename"]).await.assert_done();
    assert_eq!(desk.names(), ["x", "x (1)"]);
    assert!(read(desk.back("x")).unwrap() == files[0].bytes);
    assert!(read(desk.back("x (1)")).unwrap() == files[1].bytes);

    // The same file twice is there already the second time.
    std::fs::remove_file(desk.back("x")).unwrap();
    let summary = desk.get(&["a/x", "a/x"]).await.assert_done().event("summary");
    assert_eq!((&summary["fetched"], &summary["existing"]), (&1.into(), &1.into()), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_numbered_name_of_the_server_is_not_taken_twice() {
    let desk = Desk::new().await;
    let files = [TestFile::new(9 * BLOCK, 962), TestFile::new(2 * BLOCK, 963)];
    desk.cli.write("proj/a", &files[0]);
    desk.cli.write("proj/a (1)", &files[1]);
    desk.put("proj").await;
    std::fs::create_dir(desk.back("proj")).unwrap();
    write(desk.back("proj/a"), b"mine").unwrap();
    desk.get(&["proj", "--on-conflict", "rename"]).await.assert_done();
    assert_eq!(read(desk.back("proj/a")).unwrap(), b"mine");
    assert!(read(desk.back("proj/a (1)")).unwrap() == files[0].bytes);
    let entries = std::fs::read_dir(desk.back("proj")).unwrap();
    let other = entries.map(|entry| entry.unwrap().path());
    let mut other = other.filter(|path| !path.ends_with("a") && !path.ends_with("a (1)"));
    assert!(read(other.next().unwrap()).unwrap() == files[1].bytes && other.next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_get_has_left_is_no_part_of_a_tree() {
    let desk = Desk::new().await;
    let file = TestFile::new(2 * BLOCK, 964);
    desk.cli.write("proj/f", &file);
    for end in [".part", ".values"] {
        desk.cli.write(&format!("proj/{}", staging_name("f", end)), &TestFile::new(7, 965));
    }
    let put = desk.put("proj").await;
    assert_eq!(put.event("summary")["skipped"], 2, "{put:?}");
    assert!(put.err.contains("`towline get` has not fetched to its end"), "{put:?}");

    // Another client may have sent such a file. It is refused here, and can be had by itself.
    let (theirs, part) = (TestFile::new(9, 966), staging_name("f", ".part"));
    desk.cli.write(&part, &theirs);
    desk.put(&part).await;
    let moved = ["mv", &part, "proj"];
    let mut mv = desk.cli.at_home(moved[0], &desk.cli.path("state"));
    desk.cli.reach(&mut mv);
    mv.args(&moved[1..]);
    run(mv).await.assert_done();
    for choice in ["reject", "replace"] {
        let outcome = desk.get(&["proj", "--on-conflict", choice]).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("-o NAME"), "{outcome:?}");
        assert!(read(desk.back("proj/f")).unwrap() == file.bytes);
        assert_eq!(std::fs::read_dir(desk.back("proj")).unwrap().count(), 1);
    }
    let alone = format!("proj/{part}");
    desk.get(&[&alone, "-o", "other"]).await.assert_done();
    assert!(read(desk.back("other")).unwrap() == theirs.bytes);
    drop(desk.server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_treated_as_a_file_where_its_name_is_taken() {
    let desk = Desk::new().await;
    desk.cli.write("proj/a", &TestFile::new(10, 967));
    symlink("a", desk.cli.path("proj/link")).unwrap();
    desk.put("proj").await;
    let link = desk.back("proj/link");
    desk.get(&["proj"]).await.assert_done();
    for (choice, code, target) in
        [("reject", 1, "mine"), ("skip", 0, "mine"), ("rename", 0, "mine"), ("replace", 0, "a")]
    {
        std::fs::remove_file(&link).unwrap();
        symlink("mine", &link).unwrap();
        let outcome = desk.get(&["proj", "--on-conflict", choice]).await;
        outcome.assert_code(code);
        assert_eq!(read_link(&link).unwrap().to_str(), Some(target), "{choice}");
        if choice == "reject" {
            assert!(outcome.err.contains("a symbolic link with this name"), "{outcome:?}");
            assert!(outcome.err.contains("--on-conflict rename, skip or replace"), "{outcome:?}");
        }
    }
    let renamed = desk.back("proj/link (1)");
    assert_eq!(read_link(&renamed).unwrap().to_str(), Some("a"));
    // It is there now under its number, so it is not made once more.
    std::fs::remove_file(&link).unwrap();
    symlink("mine", &link).unwrap();
    desk.get(&["proj", "--on-conflict", "rename"]).await.assert_done();
    assert_eq!(std::fs::read_dir(desk.back("proj")).unwrap().count(), 3);
    // A link takes a file's place, and a file a link's: never what the link leads to.
    std::fs::remove_file(&link).unwrap();
    write(&link, b"a file").unwrap();
    std::fs::remove_file(desk.back("proj/a")).unwrap();
    write(desk.back("outside"), b"outside").unwrap();
    symlink("../outside", desk.back("proj/a")).unwrap();
    desk.get(&["proj", "--on-conflict", "replace"]).await.assert_done();
    assert_eq!(read_link(&link).unwrap().to_str(), Some("a"));
    assert!(read(desk.back("proj/a")).unwrap() == TestFile::new(10, 967).bytes);
    assert_eq!(read(desk.back("outside")).unwrap(), b"outside");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_never_replaced_and_the_advice_does_not_say_so() {
    let desk = Desk::new().await;
    desk.cli.write("a", &TestFile::new(10, 968));
    desk.put("a").await;
    std::fs::create_dir(desk.back("a")).unwrap();
    for choice in ["reject", "replace"] {
        let outcome = desk.get(&["a", "--on-conflict", choice]).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("a folder with this name exists here"), "{outcome:?}");
        assert!(outcome.err.contains("--on-conflict rename or skip"), "{outcome:?}");
    }
    desk.get(&["a", "--on-conflict", "rename"]).await.assert_done();
    assert_eq!(desk.names(), ["a", "a (1)"]);
}
